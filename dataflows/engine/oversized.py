"""Records that are too large for their topics though they come from a single row.

Smaller batches don't help there, and a partition must not stand still for one row. The row is processed, so that its
state is what a replay would make of it; a dead letter takes the place of what its topic refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dataflows.engine.transactional_producer import RecordTooLarge, size_of
from tidemark.records.dead_letter import dead_letter, shortened
from tidemark.runtime.processor import Batch, Output

_LEAST: Final = 200
"""Bytes of a dead letter below which a topic is taken to refuse everything."""


class Oversized:
    """What topics were found to refuse of single rows. deadletter: topic of the dead letters."""

    def __init__(self, deadletter: str) -> None:
        self._deadletter = deadletter
        self._refused: dict[str, int] = {}

    def learn(self, failure: RecordTooLarge) -> bool:
        """Remember a refusal.

        Returns:
            Whether another attempt can succeed; False where the topic of the dead letters takes none, however short.

        """
        known = self._refused.get(failure.topic)
        self._refused[failure.topic] = failure.size if known is None else min(known, failure.size)
        return failure.topic != self._deadletter or failure.size >= _LEAST

    def forget(self) -> None:
        """Larger batches are tried again."""
        self._refused.clear()

    def replaced(self, batch: Batch, outputs: Sequence[Output]) -> list[Output]:
        """Outputs of a batch of one row, with a dead letter in place of what was found to be too large."""
        if not self._refused or len(batch) != 1:
            return list(outputs)
        kept: list[Output] = []
        told = False
        for output in outputs:
            size = size_of(output.key, output.value)
            if size < self._refused.get(output.topic, size + 1):
                kept.append(output)
            elif output.topic == self._deadletter:
                kept.append(shortened(output, self._refused[output.topic] // 2))
            elif not told:
                told = True
                letter = dead_letter(self._deadletter, batch, 0, "produce", _reason(output.topic, size))
                most = self._refused.get(self._deadletter)
                kept.append(letter if most is None else shortened(letter, most // 2))
        return kept


def _reason(topic: str, size: int) -> str:
    return (
        f"what is made of this record for topic {topic!r} is {size:,} bytes, more than the topic takes; raise its "
        "max.message.bytes, or send less in one record, then replay this dead letter"
    )
