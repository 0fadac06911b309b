"""What a flow's domain logic owes the engine that runs it (docs/internals.md).

A processor knows neither Kafka clients nor Bytewax: it turns batches of one partition into outputs and
says where its state can be rebuilt from. The engine reads, commits, and rewinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Headers = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition of one incarnation of a topic."""

    topic: str
    index: int
    incarnation: str


@dataclass(slots=True)
class Batch:
    """Rows of one partition in offset order. Offsets may have gaps (transaction markers, compaction).

    offsets: (n,) int64.  timestamps: (n,) int64, Kafka's, milliseconds since 1970.
    replay: the rows lie below the committed offset; they rebuild state, and what they give is discarded.
    """

    partition: Partition
    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    keys: list[bytes | None]
    values: list[bytes | None]
    headers: list[Headers | None] = field(default_factory=list)
    replay: bool = False

    def __len__(self) -> int:
        """Rows in the batch."""
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Output:
    """A record to produce. `partition` None: chosen by the key."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Processor(Protocol):
    """Domain logic of a flow."""

    @property
    def topics(self) -> Sequence[str]:
        """Topics to subscribe to."""
        ...

    def open(self, partition: Partition, metadata: str) -> int | None:
        """Begin with a partition: empty state, or the small state in `metadata` ("" when nothing was committed).

        Returns the offset to rewind to; None means the committed offset, or the beginning if there is none.
        """
        ...

    def close(self, partition: Partition) -> None:
        """Drop the state of a partition that was revoked, or that will be opened again from what is committed."""
        ...

    def process(self, batch: Batch) -> list[Output]:
        """Take in the rows of a batch; return what to produce, in order."""
        ...

    def metadata(self, partition: Partition) -> str:
        """What to commit with the offset after the batch last processed: at most 4,000 bytes, ASCII."""
        ...

    def tick(self, now: float) -> list[Output]:
        """Work that time brings, not rows. Called a few times a second; `now` is in seconds since 1970."""
        ...

    def event_time(self, batch: Batch) -> int | None:
        """Latest event time (µs) of the last batch processed, for alignment; None: do not align."""
        ...
