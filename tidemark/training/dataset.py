"""The training set: what `P.labels` says, up to an offset and a time.

A label counts from its `known_at`. Several annotations of an event, corrections and retractions become one verdict
(`tidemark.evaluation.labels`).

Labels belong to events, not to a pipeline file. A feature of a labeled event is what was recorded of it if that was
computed by the same definition, else what was recomputed from the raw topic, else missing.
"""

from __future__ import annotations

import bisect
import hashlib
import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemark.errors import RecordError
from tidemark.evaluation.labels import FinalLabel, resolved
from tidemark.pipeline.numbers import from_to
from tidemark.records import ENDING, NO_MODEL, SOURCES, Label, LabelSource, decode
from tidemark.records.event_id import parse_event_id
from tidemark.registry.schema import ModelSchema
from tidemark.registry.values import Values
from tidemark.training.inclusion import inclusion_of, is_uneven

_FARTHEST: Final = 2**62
STEP: Final = "label"
"""Step that the dead letters of labels name."""
Origin = Literal["drawn", "chosen", "other"]
"""Drawn at random; chosen without a model; all others."""
Recomputed = Mapping[str, Mapping[str, float | None]]
"""Of each event the features that were recomputed, by the id of their definition."""
_NOTHING: Final[Recomputed] = {}


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows to learn from, one for each event, in the order the events were first labeled.

    features: (n, d) float64, NaN is missing.  target: (n,) int64, index of the class.
    event_ids: n of them.  first_seen: (n,) int64, position of the event's first annotation among all.
    known_until: µs, the latest `known_at` of the annotations that were taken into account.
    known_at: (n,) int64, µs: when each row's label was known. None: in the order of the rows.
    inclusion: (n,) float64, the probability by which each event was drawn to be labeled, or what is to it as their
        weights are (`tidemark.training.inclusion`); NaN where it was chosen for what it is. None: nothing is known.
    uneven: whether that probability depends on the class: of a common one fewer outcomes are taken.
    keys: of each event the value of the pipeline's first key, None where nobody knows. None: of no event.
    times: (n,) int64, µs, of the events. None: nothing is known of them.
    sources: who said each row's class; None of a source that is beyond doubt. None: nothing is known of them.
    words: whose word counted, of each row. None: nothing is known of them.
    conflicts: rows of which somebody else said another class.  order: whose word counts, first to last.
    trust: (n,) what each label counts (`tidemark.training.trust`), 0 to 1. None: all alike.
    numbers: (n,) float64, where labels are numbers; `target` is 0 then. None: they are classes.
    """

    features: NDArray[np.float64]
    target: NDArray[np.int64]
    event_ids: tuple[str, ...]
    first_seen: NDArray[np.int64]
    known_until: int
    known_at: NDArray[np.int64] | None = None
    inclusion: NDArray[np.float64] | None = None
    keys: tuple[str | None, ...] | None = None
    times: NDArray[np.int64] | None = None
    sources: tuple[str | None, ...] | None = None
    trust: NDArray[np.float64] | None = None
    words: tuple[LabelSource, ...] | None = None
    conflicts: int = 0
    order: tuple[LabelSource, ...] = SOURCES
    uneven: bool = False
    numbers: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        """Rows."""
        return len(self.event_ids)

    @property
    def of_numbers(self) -> NDArray[np.float64]:
        """(n,) `numbers`.

        Raises:
            ValueError: the labels are classes.

        """
        if self.numbers is None:
            raise ValueError("these labels are classes, and not numbers")
        return self.numbers

    @property
    def answers(self) -> list[int] | list[float]:
        """What each row's label says: the index of a class, or a number."""
        answers: list[int] | list[float] = (self.target if self.numbers is None else self.numbers).tolist()
        return answers

    @property
    def known(self) -> NDArray[np.int64]:
        """(n,) when each row's label was known, or the rows' numbers where they are in that order."""
        return np.arange(len(self)) if self.known_at is None else self.known_at

    @property
    def moments(self) -> NDArray[np.int64]:
        """(n,) when each event happened, or the order in which labels were known where nobody tells."""
        return self.known if self.times is None else self.times

    def rows(self, chosen: NDArray[np.bool_]) -> Dataset:
        """Some of the rows, in the same order."""
        known_at = None if self.known_at is None else self.known_at[chosen]
        return Dataset(
            self.features[chosen],
            self.target[chosen],
            _chosen(self.event_ids, chosen),
            self.first_seen[chosen],
            self.known_until,
            known_at,
            None if self.inclusion is None else self.inclusion[chosen],
            None if self.keys is None else _chosen(self.keys, chosen),
            None if self.times is None else self.times[chosen],
            None if self.sources is None else _chosen(self.sources, chosen),
            None if self.trust is None else self.trust[chosen],
            None if self.words is None else _chosen(self.words, chosen),
            order=self.order,
            uneven=self.uneven,
            numbers=None if self.numbers is None else self.numbers[chosen],
        )

    @property
    def counts(self) -> NDArray[np.bool_]:
        """(n,) which labels count at all."""
        return np.ones(len(self), np.bool_) if self.trust is None else self.trust > 0

    def trusted(self, weights: NDArray[np.float64]) -> Dataset:
        """The rows with what each label counts.

        Args:
            weights: (n,) 0 to 1.

        Returns:
            All rows; as they are where all count alike, or where labels of one class alone would be left.

        """
        left = np.unique(self.target[weights > 0])
        return self if len(left) < 2 or (weights == 1.0).all() else replace(self, trust=weights)

    def known_before(self, moment: int) -> NDArray[np.bool_]:
        """Which rows' labels were known at a moment (µs): what a model of that time could have learnt from."""
        if self.known_at is None:
            raise ValueError("nobody has told when these labels were known")
        return self.known_at <= moment

    @property
    def event_ids_sha256(self) -> str:
        """SHA-256 over the sorted event ids, one a line: with the offsets, which labels these are."""
        return hashlib.sha256("".join(f"{event}\n" for event in sorted(self.event_ids)).encode()).hexdigest()

    @property
    def content_sha256(self) -> str:
        """SHA-256 over the sorted event ids with their answers: another answer is another training set."""
        lines = sorted(f"{event} {answer}\n" for event, answer in zip(self.event_ids, self.answers, strict=True))
        return hashlib.sha256("".join(lines).encode()).hexdigest()


_Item = TypeVar("_Item")


def _chosen(items: tuple[_Item, ...], chosen: NDArray[np.bool_]) -> tuple[_Item, ...]:
    return tuple(item for item, keep in zip(items, chosen.tolist(), strict=True) if keep)


def dataset(
    labels: Iterable[tuple[int, Label]],
    schema: ModelSchema,
    recomputed: Recomputed = _NOTHING,
    values: Values | None = None,
    sources: Sequence[LabelSource] = SOURCES,
) -> Dataset:
    """Training set of annotations, each with its position, in order.

    Args:
        labels: annotations that `check` accepted.
        schema: features and classes of the rows.
        recomputed: features that the annotations lack.
        values: how recorded features are read; by default those without definitions are taken for the schema's.
        sources: whose word counts, first to last.

    Returns:
        A row for each event with a verdict. What is known of a feature by another definition only is missing.

    """
    values = values or Values(schema)
    ordered = [(position, label) for position, label in labels if label.status in ENDING]
    first: dict[str, int] = {}
    for position, label in ordered:
        first.setdefault(label.event_id, position)
    verdicts = [
        each
        for each in resolved((label for _, label in ordered), sources)
        if each.label.status == "answered" and schema.answer(each.label.label or "") is not None
    ]
    answered = [each.label for each in verdicts]
    answers = [schema.answer(label.label or "") for label in answered]
    features = values.rows([(label.features, label.definitions) for label in answered])
    for row, label in enumerate(answered):
        if again := recomputed.get(label.event_id):
            for column, source in enumerate(values.sources(label.features, label.definitions)):
                value = None if source is not None else again.get(schema.definitions[column])
                if value is not None:
                    features[row, column] = value
    drawn = np.array([label.inclusion_probability or np.nan for label in answered], np.float64)
    taken = np.array([np.nan if each.share is None else each.share for each in verdicts], np.float64)
    return Dataset(
        features=features,
        target=np.array([0] * len(answers) if schema.is_number else answers, np.int64),
        event_ids=tuple(label.event_id for label in answered),
        first_seen=np.array([first[label.event_id] for label in answered], np.int64),
        known_until=max((label.known_at for _, label in ordered), default=0),
        known_at=np.array([label.known_at for label in answered], np.int64),
        inclusion=inclusion_of(drawn, taken),
        keys=tuple(label.key for label in answered),
        times=np.array([label.time for label in answered], np.int64),
        sources=tuple(_source(each) for each in verdicts),
        words=tuple(each.source for each in verdicts if each.source is not None),
        conflicts=sum(each.conflict for each in verdicts),
        order=tuple(sources),
        uneven=is_uneven(taken),
        numbers=np.array(answers, np.float64) if schema.is_number else None,
    )


def _source(final: FinalLabel) -> str | None:
    """Who said a label's class; None where that is beyond doubt: brought in from elsewhere, or said by several."""
    label = final.label
    beyond_doubt = final.source in {"outcome", "import"} or label.reason == "imported" or label.answers is not None
    return None if beyond_doubt else label.annotator


def check(value: bytes | None, schema: ModelSchema, raw_topics: Sequence[str], former: Collection[str] = ()) -> Label:
    """Label in a record of `P.labels`.

    Args:
        value: of the record.
        schema: of the pipeline as it is now.
        raw_topics: those of the pipeline.
        former: classes of earlier pipeline files. An answer of one counts as none.

    Returns:
        The label. Its features may be those of another pipeline file.

    Raises:
        RecordError: it is malformed, of an event of no raw topic of ours, or of an unknown class. The reason names
            what was expected.

    """
    label = decode(Label, value)
    for name in ("time", "known_at", "answered_at"):
        if not abs(getattr(label, name)) < _FARTHEST:
            raise RecordError(STEP, f"{name} is no time in µs since 1970")
    position = parse_event_id(label.event_id)
    if position.topic not in raw_topics:
        raise RecordError(
            STEP, f"event {label.event_id!r} is of topic {position.topic!r}; the raw topics are {list(raw_topics)}"
        )
    if label.status != "answered":
        return label
    if schema.answer(label.label or "") is not None:
        return label
    if label.label in former:
        return msgspec.structs.replace(label, status="withdrawn", label=None)
    if schema.bounds is not None:
        raise RecordError(STEP, f"{label.label!r} is no number {from_to(*schema.bounds)}, as the label is")
    raise RecordError(STEP, f"unknown class {label.label!r}; the classes are {list(schema.classes)}")


class LabelLog:
    """The annotations read so far, and how many events can be learnt from at the log's time.

    The log's time is the latest that its records tell of: it needs no clock, so a replay comes to the same.

    labels: annotations with their offsets, in order.  now: the log's time, µs.  ever: events that could be learnt
    from at some time so far, one that turned out to be of another class once more.
    sources: whose word counts, first to last.
    """

    def __init__(self, schema: ModelSchema, sources: Sequence[LabelSource] = SOURCES) -> None:
        self._schema = schema
        self._sources = sources
        self._counts = [0] * self._columns
        self.labels: list[tuple[int, Label]] = []
        self._waiting: list[tuple[int, int, Label]] = []
        self._known: dict[str, list[tuple[int, Label]]] = {}
        self._target: dict[str, int] = {}
        self._origin: dict[str, Origin] = {}
        self._by_origin: dict[Origin, list[int]] = {}
        self.now = 0
        self.ever = 0
        self._seen: dict[str, float] = {}

    @property
    def _columns(self) -> int:
        return 1 if self._schema.is_number else len(self._schema.classes)

    def __len__(self) -> int:
        """Annotations read."""
        return len(self.labels)

    @property
    def counts(self) -> list[int]:
        """Events that can be learnt from now, of each class; of a number, one count of all."""
        return list(self._counts)

    def counts_of(self, origin: Origin) -> list[int]:
        """As `counts`, of the cases that were asked about for one reason."""
        return list(self._by_origin.get(origin, [0] * self._columns))

    def add(self, offset: int, label: Label) -> None:
        """Take in an annotation that `check` accepted; what was said on the way to a label is passed over."""
        if label.status not in ENDING:
            return
        self.labels.append((offset, label))
        heapq.heappush(self._waiting, (label.known_at, offset, label))
        self.advance(self.now)

    def advance(self, now: int) -> None:
        """Let the log's time pass; µs. Annotations with `known_at` up to it become usable."""
        self.now = max(self.now, now)
        while self._waiting and self._waiting[0][0] <= self.now:
            _, offset, label = heapq.heappop(self._waiting)
            self._make_known(offset, label)

    def dataset(self, recomputed: Recomputed = _NOTHING, values: Values | None = None) -> Dataset:
        """Training set at the log's time; arguments as `dataset` has them."""
        known = ((at, label) for at, label in self.labels if label.known_at <= self.now)
        return dataset(known, self._schema, recomputed, values, self._sources)

    def _make_known(self, offset: int, label: Label) -> None:
        event = label.event_id
        annotations = self._known.setdefault(event, [])
        bisect.insort(annotations, (offset, label), key=lambda each: each[0])
        before = self._target.pop(event, None)
        if before is not None:
            self._count(event, before, -1)
        final = resolved((known for _, known in annotations), self._sources)
        if final and final[0].label.status == "answered":
            answer = self._schema.answer(final[0].label.label or "") or 0
            target = self._target[event] = 0 if self._schema.is_number else int(answer)
            self._origin[event] = _origin(final[0].label)
            self._count(event, target, 1)
            if self._seen.get(event) != answer:
                self._seen[event] = answer
                self.ever += 1

    def _count(self, event: str, target: int, by: int) -> None:
        self._counts[target] += by
        origin = self._origin[event]
        self._by_origin.setdefault(origin, [0] * self._columns)[target] += by


def _origin(label: Label) -> Origin:
    """Why a case was asked about, as far as the start of selection goes by it."""
    if label.reason == "explore":
        return "drawn"
    return "chosen" if label.reason == "cold" and label.model == NO_MODEL else "other"
