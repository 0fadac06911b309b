"""What a source refused, as the raw records that it would have made: after it was repaired."""

from __future__ import annotations

from typing import Final

import msgspec

from tidemark.features.raw_records import Records
from tidemark.formats.arrow_rows import MARK
from tidemark.pipeline import Pipeline
from tidemark.replay import Letter
from tidemark.runtime.processor import Output
from tidemark.sources.batches import Batches
from tidemark.sources.keying import Keyed
from tidemark.sources.source import SourceRecord

_told: Final = msgspec.json.Decoder(dict[str, str]).decode


class Resending:
    """Makes them."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Prepare.

        Args:
            pipeline: whose sources these are.

        """
        self._pipeline = pipeline

    def __call__(self, letter: Letter) -> list[Output]:
        """The raw records of a dead letter that a source made: of a batch a record for each row, else one.

        Args:
            letter: a dead letter, repaired or not.

        Returns:
            Records to produce.

        Raises:
            ValueError: none can be made of it; says why.

        """
        sender = letter.sender
        if sender is None:
            raise ValueError("no source made it")
        spec = next((spec for spec in self._pipeline.sources if spec.name == sender.name), None)
        if spec is None or sender.topic not in self._pipeline.raw_topics:
            raise ValueError(f"the pipeline has no source '{sender.name[:60]}' for this raw topic any more")
        value = letter.value or b""
        if value.startswith(MARK):
            keyed = Keyed(self._pipeline, spec, sender.topic)
            whole = SourceRecord(value, sender.position, _attributes(sender.told))
            rows = Batches(self._pipeline, spec).rows(whole)
            return [output for piece in rows for output in keyed.outputs(piece)]
        if not value.startswith(b"{"):
            raise ValueError("is neither an Arrow IPC stream nor a JSON object; repair it, as --corrections does")
        (raw,) = Records(self._pipeline, sender.topic).records([value])
        return [Output(sender.topic, raw.value, raw.key, headers=letter.headers)]


def _attributes(told: bytes) -> dict[str, str]:
    try:
        return _told(told) if told else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
