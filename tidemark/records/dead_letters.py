"""Rows that can't be processed, as records of the dead-letter topic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tidemark.records.dead_letter import dead_letter
from tidemark.runtime.processor import Batch, Output
from tidemark.runtime.steps import Refused


def dead_letters(topic: str, batches: Sequence[Batch], refused: Iterable[Refused]) -> list[Output]:
    """Dead letters in the order of the batches and their rows, whichever steps refused them.

    Args:
        topic: of the dead letters.
        batches: of the round.
        refused: rows of these batches, or rows of an earlier round that waited till now: those come last, as given.

    Returns:
        A record for each row.

    """
    place = {id(batch): number for number, batch in enumerate(batches)}
    last = len(batches), 0
    ordered = sorted(refused, key=lambda one: (place[id(one.batch)], one.row) if id(one.batch) in place else last)
    return [dead_letter(topic, one.batch, one.row, one.step, one.reason) for one in ordered]
