"""Dead letters that somebody has dealt with, as the marks that `tidemark deadletter` leaves tell, mark by mark."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from tidemark.records import decode
from tidemark.replay.marks import Mark, letter_of


class HandledLetters:
    """Those that were sent again, or that need nothing more."""

    def __init__(self) -> None:
        self._offsets: dict[str, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))

    def take(self, key: bytes, value: bytes | None) -> None:
        """Take a record of the topic of marks in.

        Args:
            key: of the record; one that names no dead letter is passed over.
            value: of the record; None takes its mark back.

        Raises:
            RecordError: the value is no mark.

        """
        place = letter_of(key)
        if place is None:
            return
        incarnation, partition, offset = place
        if value is None:
            self._offsets[incarnation][partition].discard(offset)
            return
        decode(Mark, value)
        self._offsets[incarnation][partition].add(offset)

    def __bool__(self) -> bool:
        """Whether there is any, of whatever incarnation."""
        return any(offsets for partitions in self._offsets.values() for offsets in partitions.values())

    def count(self, incarnation: str, spans: Mapping[int, tuple[int, int]]) -> int:
        """How many of the dead letters that a topic holds were dealt with.

        Args:
            incarnation: of the topic.
            spans: of each of its partitions the first offset that is kept, and its end.

        Returns:
            How many.

        """
        offsets = self._offsets.get(incarnation, {})
        return sum(
            start <= offset < end for partition, (start, end) in spans.items() for offset in offsets.get(partition, ())
        )
