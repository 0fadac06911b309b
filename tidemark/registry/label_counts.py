"""What labels have told before there is a model, as `P.models` keeps it: the start of selection goes by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from tidemark.errors import ModelError, RecordError
from tidemark.records import Record, decode, encode
from tidemark.registry import signature
from tidemark.registry.codec import Headers, signed
from tidemark.runtime.processor import Output

KEY: Final = b"pipeline/labels"
_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
_MOST_CLASSES: Final = 10_000


class LabelCounts(Record, frozen=True, kw_only=True):
    """`P.models`, key `pipeline/labels`: labels of each class, while there is no model.

    classes: the pipeline's when it was written.
    drawn: labels of cases that were drawn at random, in the order of `classes`.
    chosen: labels of cases that were chosen without a model.
    """

    classes: list[str]
    drawn: list[_Count]
    chosen: list[_Count]

    def of(self, classes: Sequence[str]) -> LabelCounts:
        """The same for other classes; labels of one that there is no longer do not count."""
        place = {name: index for index, name in enumerate(self.classes)}

        def ordered(counts: list[int]) -> list[int]:
            return [counts[place[name]] if name in place else 0 for name in classes]

        return LabelCounts(classes=list(classes), drawn=ordered(self.drawn), chosen=ordered(self.chosen))


def counts_record(topic: str, counts: LabelCounts, secret: bytes | None) -> Output:
    """The record of counts, with its digest."""
    return signed(topic, KEY, encode(counts), secret)


def read_counts(value: bytes | None, headers: Headers, secret: bytes | None) -> LabelCounts | None:
    """Counts in a record of the key `KEY`; None in a tombstone.

    Raises:
        ModelError: it is malformed, or its digest is wrong.

    """
    if value is None:
        return None
    given = signature.given(headers)
    if why := signature.refusal(KEY, value, given, secret):
        raise ModelError(f"the counts of labels are refused: {why}")
    try:
        counts = decode(LabelCounts, value)
    except RecordError as error:
        raise ModelError(f"the counts of labels are refused: {error.reason}") from error
    n = len(counts.classes)
    if n > _MOST_CLASSES or len(set(counts.classes)) != n or len(counts.drawn) != n or len(counts.chosen) != n:
        raise ModelError("the counts of labels are refused: they are not one for each class")
    return counts
