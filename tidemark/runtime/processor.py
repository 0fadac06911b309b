"""What a flow's domain logic owes the engine that runs it (docs/contributing/internals.md).

A processor knows neither Kafka clients nor Bytewax: it turns batches of one partition into outputs and
says where its state can be rebuilt from. The engine reads, commits, and rewinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:  # commands that read a few records have no batches
    import numpy as np
    from numpy.typing import NDArray

Headers = list[tuple[str, bytes | None]]
EARLIEST: Final = -1
"""Offset to rewind to: as far back as the topic reaches, wherever that is."""
UNKNOWN_TIME: Final = -(2**63)
"""In place of an event time that a record does not tell."""


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

    @classmethod
    def joined(cls, batches: Sequence[Batch]) -> Batch:
        """The rows of several batches, one after the other, as if of the first one's partition."""
        if len(batches) == 1:
            return batches[0]
        import numpy as np  # noqa: PLC0415 - as at the top

        return cls(
            batches[0].partition,
            np.concatenate([batch.offsets for batch in batches]),
            np.concatenate([batch.timestamps for batch in batches]),
            [key for batch in batches for key in batch.keys],
            [value for batch in batches for value in batch.values],
            [headers for batch in batches for headers in batch.headers],
            batches[0].replay,
        )


class Output(NamedTuple):
    """A record to produce. `partition` None: chosen by the key.  headers: bytes; None where a dead letter keeps one."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    headers: tuple[tuple[str, Any], ...] = ()


class TaskState(Protocol):
    """What is kept of the partitions that a worker has, and what is committed of it."""

    @property
    def topics(self) -> Sequence[str]:
        """Topics to subscribe to."""
        ...

    def open(self, partition: Partition, metadata: str) -> int | None:
        """Begin with a partition: empty state, or the small state in `metadata` ("" when nothing was committed).

        Returns the offset to rewind to; None means the committed offset, or the beginning if there is none. `EARLIEST`
        is the oldest record that the topic still has, so that nothing that retention has removed is missed.
        """
        ...

    def close(self, partition: Partition) -> None:
        """Drop the state of a partition that was revoked, or that will be opened again from what is committed."""
        ...

    def metadata(self, partition: Partition) -> str:
        """What to commit with the offset after the batch last processed: at most 4,000 bytes, ASCII."""
        ...

    def event_time(self, batch: Batch) -> int | None:
        """Latest event time (µs) of the last batch processed, for alignment; None: do not align."""
        ...


@runtime_checkable
class TimedState(TaskState, Protocol):
    """One that tells event times before rows are processed, so that batches may end near the same event time."""

    def event_times(self, batch: Batch) -> list[int]:
        """Event time (µs) of each record as it came; `UNKNOWN_TIME` where it tells none, or a wrong one.

        The records may be of several partitions of a topic.
        """
        ...


@runtime_checkable
class Processor(TaskState, Protocol):
    """Domain logic of a flow in one piece."""

    def process(self, batch: Batch) -> list[Output]:
        """Take in the rows of a batch; return what to produce, in order."""
        ...

    def tick(self, now: float) -> list[Output]:
        """Work that time brings, not rows. Called a few times a second; `now` is in seconds since 1970."""
        ...


@runtime_checkable
class RoundProcessor(Processor, TimedState, Protocol):
    """One to which batches of several partitions together cost less than one after the other.

    What they give is committed together.
    """

    def process_round(self, batches: Sequence[Batch]) -> list[Output]:
        """As `process`, of batches of different partitions: `replay` ones and others."""
        ...
