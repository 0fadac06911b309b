"""A worker's own records of a topic that it reads as well, without waiting until Kafka shows them.

A record of an open transaction is not shown to readers of committed records. Who wrote it need not wait: the delivery
report tells at which offset it stands. The record may be processed in the transaction that it is part of, for both are
committed together or not at all. But it must not overtake a record of somebody else. So it is taken only where it
follows on what was read so far: at the next offset, or behind the one marker that the worker's last transaction has
left there. Any other record or marker between would have an offset of its own. Where one is, the record is read from
Kafka as any other, when it is committed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import Message

MOST_BYTES: Final = 16_000_000
"""Of a partition's records that are kept until they follow on what was read; beyond, they are read from Kafka."""
_OVERHEAD: Final = 500
"""Bytes of a record's objects beside its value, about: measured for a hop's."""


@dataclass(slots=True)
class Handover:
    """The worker's own records of one partition that Kafka has confirmed and nobody has read yet.

    Each has the lowest offset from which nothing but a marker of ours lies before it.
    """

    _waiting: deque[tuple[int, int, Message]] = field(default_factory=deque)
    _bytes: int = 0
    _last: int = -1
    _transaction: int = -1

    def confirm(self, message: Message, transaction: int) -> None:
        """Keep a record that Kafka has.

        Args:
            message: with its offset; a partition's come in the order of their offsets.
            transaction: number of the one it is part of. All before it are committed.

        """
        offset = message.offset()
        assert offset is not None  # noqa: S101 a confirmed record has one; the stubs cover others too
        behind_marker = 0 <= self._last == offset - 2 and self._transaction < transaction
        self._last, self._transaction = offset, transaction
        self._bytes += _size(message)
        if self._bytes > MOST_BYTES:
            self._waiting.clear()
            self._bytes = _size(message)
        self._waiting.append((offset - behind_marker, offset, message))

    def following(self, end: int) -> list[Message]:
        """Take the records that follow on what was read so far.

        Args:
            end: offset after the last record that was read.

        Returns:
            Them, in order. Those that were read from Kafka meanwhile are forgotten.

        """
        taken: list[Message] = []
        while self._waiting:
            begin, offset, message = self._waiting[0]
            if offset >= end:
                if begin > end:
                    break
                taken.append(message)
                end = offset + 1
            self._waiting.popleft()
            self._bytes -= _size(message)
        return taken

    def forget(self) -> None:
        """Nothing of what was confirmed counts any more."""
        self._waiting.clear()
        self._bytes = 0
        self._last = self._transaction = -1


def _size(message: Message) -> int:
    return len(message) + _OVERHEAD
