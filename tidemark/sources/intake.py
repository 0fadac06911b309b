"""A bounded buffer between threads that receive records and the task that sends them.

Everything that is held counts: what waits, and what was taken and is not committed. So memory is flat, and who sends
learns at once that there is no room.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from tidemark.sources.source import SourceRecord

OVERHEAD: Final = 400
"""Bytes that Python needs for a record beside its body."""


def weight(records: Sequence[SourceRecord]) -> int:
    """Bytes that records take in memory, about."""
    attributes = sum(len(name) + len(value) + 120 for record in records for name, value in record.attributes.items())
    return attributes + sum(len(record.value) + OVERHEAD for record in records)


class Room:
    """Bytes that may be held at once. Used by several threads."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._held = 0
        self._lock = threading.Lock()
        self._freed = threading.Condition(self._lock)

    @property
    def held(self) -> int:
        """Bytes that are held."""
        return self._held

    def take(self, size: int) -> bool:
        """Hold so many more, if there is room."""
        with self._lock:
            if self._held + size > self.most:
                return False
            self._held += size
            return True

    def wait(self, size: int, seconds: float) -> bool:
        """As `take`, and wait for room."""
        with self._freed:
            if not self._freed.wait_for(lambda: self._held + size <= self.most, seconds):
                return False
            self._held += size
            return True

    def give(self, size: int) -> None:
        """Hold so many fewer."""
        with self._freed:
            self._held -= size
            self._freed.notify_all()


class Parcel:
    """Records that are acknowledged together.

    Args:
        records: in their order.
        held: bytes of the room that they hold, which are given back when the parcel is done with.
        done: told whether they are in Kafka.

    """

    __slots__ = ("done", "held", "records")

    def __init__(
        self, records: Sequence[SourceRecord], held: int, done: Callable[[bool], object] | None = None
    ) -> None:
        self.records, self.held, self.done = records, held, done


class Intake:
    """The buffer."""

    def __init__(self, room: Room) -> None:
        """Make one whose parcels hold bytes of a room."""
        self.room = room
        self._waiting: deque[Parcel] = deque()
        self._taken: deque[Parcel] = deque()
        self._lock = threading.Lock()
        self._came = threading.Condition(self._lock)
        self._closed = False

    def put(self, parcel: Parcel) -> None:
        """Hand a parcel over. Its bytes were taken from the room before."""
        with self._came:
            if not self._closed:
                self._waiting.append(parcel)
                self._came.notify()
                return
        self._finish([parcel], committed=False)

    def take(self, most: int, seconds: float) -> list[SourceRecord]:
        """Whole parcels, until there are `most` records; waits for the first.

        Args:
            most: records that are wanted.
            seconds: to wait.

        Returns:
            Their records, which are held until `committed`.

        """
        deadline = time.monotonic() + seconds
        records: list[SourceRecord] = []
        with self._came:
            while not self._waiting and (left := deadline - time.monotonic()) > 0:
                self._came.wait(left)
            while self._waiting and len(records) < most:
                parcel = self._waiting.popleft()
                self._taken.append(parcel)
                records += parcel.records
        return records

    def committed(self) -> None:
        """What was taken is in Kafka."""
        with self._lock:
            done, self._taken = list(self._taken), deque()
        self._finish(done, committed=True)

    def again(self) -> None:
        """What was taken is to be taken once more."""
        with self._came:
            self._waiting.extendleft(reversed(self._taken))
            self._taken.clear()
            self._came.notify()

    def close(self) -> None:
        """Take no more; what is held is not in Kafka."""
        with self._came:
            self._closed = True
            left = [*self._taken, *self._waiting]
            self._taken.clear()
            self._waiting.clear()
        self._finish(left, committed=False)

    def _finish(self, parcels: Sequence[Parcel], *, committed: bool) -> None:
        for parcel in parcels:
            self.room.give(parcel.held)
            if parcel.done is not None:
                parcel.done(committed)
