"""One owned partition: what was read of it and not yet processed, and how far its handling has come."""

from __future__ import annotations

import bisect
import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final

import numpy as np
from confluent_kafka import Message

from dataflows.engine.handover import Handover
from tidemark.kafka import headers_of_each
from tidemark.runtime.processor import Batch, Partition

_NEVER: Final = 2**62


@dataclass(slots=True, eq=False)
class Lane:
    """A partition as its session sees it.

    generation: changes whenever the partition is opened anew or taken away; rows that carry another are dropped.
    committed: offset up to which outputs are committed; rows below are replayed.
    position: offset after the last row that the sink has handled.
    taken: offset after the last row that was given to the processor.
    event_time: latest (µs) of the rows processed; pace: event time (µs) a row, as last measured.
    arrived: latest Kafka timestamp (µs) of the rows processed while no event time is known: rows that tell none.
    at_end: the log holds no more committed rows for now.  last_row: when a row last arrived (monotonic seconds).
    behind_since: since when it is not at the end (monotonic seconds); as it was opened, it is for long.
    told: of the rows, those that were there when the client last had no more to give of any partition.
    all_told: the client had no more to give when it was asked last, so that an empty partition is one.
    given_up: it had no rows for too long, though it is not at its end: nobody waits for it until one comes.
    stamp: Kafka timestamp (ms) of the last row that came; -1 where there was none, or it has none.
    taken_stamp: the same of the last row that was given to the processor; -1 where there was none.
    end: offset after the last row that came, whether it was read or handed over.
    asked: offset from which the client was last told to read.
    ended_at: where its log ended for readers of committed records when that was last told.
    own: what this worker wrote to the partition and nobody has read yet.
    """

    topic: str
    index: int
    generation: int = 0
    partition: Partition | None = None
    is_open: bool = False
    committed: int = 0
    position: int = 0
    taken: int = 0
    dirty: bool = False
    event_time: int | None = None
    pace: float = 0.0
    arrived: int | None = None
    at_end: bool = False
    last_row: float = 0.0
    behind_since: float = -math.inf
    told: int = 0
    all_told: bool = True
    given_up: bool = False
    stamp: int = -1
    taken_stamp: int = -1
    end: int = 0
    asked: int = 0
    ended_at: int = 0
    own: Handover = field(default_factory=Handover)
    paused: bool = False
    rows: int = 0
    bytes: int = 0
    _runs: deque[Sequence[Message]] = field(default_factory=deque)
    _sizes: deque[list[int]] = field(default_factory=deque)
    _head: int = 0

    @property
    def key(self) -> tuple[str, int]:
        """Topic and partition number."""
        return self.topic, self.index

    @property
    def replaying(self) -> bool:
        """Whether rows below the committed offset are still to come."""
        return self.position < self.committed

    @property
    def is_told(self) -> bool:
        """Whether all its rows were read that the client has, as far as anybody waits for them."""
        return self.all_told or self.given_up

    def open(self, partition: Partition, *, generation: int, start: int, committed: int, now: float) -> None:
        """Begin at offset `start`; rows below `committed` are replayed."""
        self.partition, self.generation, self.is_open = partition, generation, True
        self.position = self.taken = self.end = start
        self.committed = committed
        self.dirty = self.at_end = self.paused = False
        self.event_time, self.arrived, self.pace, self.last_row = None, None, 0.0, now
        self.behind_since, self.given_up, self.stamp, self.taken_stamp = -math.inf, False, -1, -1
        self._forget()

    def shut(self) -> None:
        """Drop what was read; whatever of it is under way is stale from now on."""
        self.is_open, self.generation, self.dirty = False, -1, False
        self._forget()

    def lag(self, now: float, wall: float) -> float:
        """Seconds by which what was given to the processor is behind the log; infinite where that is not known.

        Any thread may ask. now: monotonic seconds.  wall: seconds since 1970.
        """
        if self.is_open and self.at_end and not self.rows:
            return 0.0
        read = math.inf if self.taken_stamp < 0 else max(wall - self.taken_stamp / 1_000, 0.0)
        return min(now - self.behind_since, read) if self.is_open else math.inf

    def end_replay(self) -> None:
        """The log ends, and the last rows below the committed offset are no more: there is nothing left to replay.

        To be called when everything taken has been handled.
        """
        if self.at_end and self.rows == 0 and self.replaying:
            self.position = self.committed

    def advance(self, latest: int | None, batch: Batch) -> None:
        """Event time of the batch last processed; None: no row of it tells one."""
        if latest is None:
            if self.event_time is None:
                self.arrived = max(arrival(batch), self.arrived or 0)
            return
        rows = len(batch)
        if self.event_time is None:
            self.event_time = latest
            return
        self.pace = max(latest - self.event_time, 0) / rows
        self.event_time = max(latest, self.event_time)

    def read(self, messages: Sequence[Message], now: float) -> None:
        """Rows just read, in offset order; those that were handed over before are passed over."""
        if _offset(messages[0]) < self.end:
            messages = [message for message in messages if _offset(message) >= self.end]
        if messages:
            self.add(messages, now)

    def hand_over(self, now: float) -> None:
        """Take what this worker wrote to the partition itself, as far as it follows on what came so far."""
        if messages := self.own.following(self.end):
            self.add(messages, now)

    def add(self, messages: Sequence[Message], now: float) -> None:
        """Rows that just came, in offset order."""
        sizes = list(itertools.accumulate(map(len, messages)))
        self._runs.append(messages)
        self._sizes.append(sizes)  # bytes up to each row of the run, counted once: they are asked for several times
        self.rows += len(messages)
        self.bytes += sizes[-1]
        if self.at_end:
            self.behind_since, self.at_end = now, False
        self.last_row, self.given_up = now, False
        self.stamp = messages[-1].timestamp()[1]
        self.end = _offset(messages[-1]) + 1

    def hear(self, now: float, *, all_told: bool) -> None:
        """The client was asked, and had no more to give of any partition (`all_told`), or may have."""
        self.all_told = all_told
        if all_told:
            self.told = self.rows
        elif not self.rows and not self.at_end and not self.given_up:
            self.last_row = now  # its rows lie behind those of others

    def at(self, rows: Sequence[int]) -> Batch:
        """A look at some of the waiting rows, counted from 0 and rising; each below `rows`."""
        assert self.partition is not None  # noqa: S101 as in `take`
        found: list[Message] = []
        runs = iter(self._runs)
        run, begin = next(runs), -self._head
        for row in rows:
            while row >= begin + len(run):
                begin += len(run)
                run = next(runs)
            found.append(run[row - begin])
        return _batch(self.partition, found, replay=False)

    def fitting(self, rows: int, most_bytes: int) -> int:
        """How many of the next `rows` rows have at most `most_bytes` bytes; one even if it is big."""
        rows = min(rows, self.rows)
        if self.bytes <= most_bytes:
            return rows
        fits, head, left = 0, self._head, most_bytes
        for sizes in self._sizes:
            before = _before(sizes, head)
            stop = bisect.bisect_right(sizes, before + left, head)
            fits += stop - head
            if stop < len(sizes) or fits >= rows:
                break
            head, left = 0, left - (sizes[-1] - before)
        return max(min(fits, rows), 1)

    def take(self, rows: int, most_bytes: int) -> Batch:
        """The next at most `rows` rows, all on one side of the committed offset; at least one even if it is big.

        The lane must hold rows.
        """
        assert self.partition is not None  # noqa: S101 for the type checker: an open lane has one
        taken: list[Message] = []
        replay = False
        rows = self.fitting(rows, most_bytes)
        while self._runs and len(taken) < rows:
            run = self._runs[0]
            stop = min(len(run), self._head + rows - len(taken))
            if not taken:
                replay = _offset(run[self._head]) < self.committed
            if replay and _offset(run[stop - 1]) >= self.committed:
                stop = next(i for i in range(self._head, stop) if _offset(run[i]) >= self.committed)
            taken.extend(run[self._head : stop])
            sizes = self._sizes[0]
            self.bytes -= _before(sizes, stop) - _before(sizes, self._head)
            if stop < len(run):
                self._head = stop
                break
            self._runs.popleft()
            self._sizes.popleft()
            self._head = 0
        batch = _batch(self.partition, taken, replay=replay)
        self.rows -= len(taken)
        self.told = max(0, self.told - len(taken))
        self.taken, self.taken_stamp = int(batch.offsets[-1]) + 1, int(batch.timestamps[-1])
        return batch

    def _forget(self) -> None:
        self._runs.clear()
        self._sizes.clear()
        self.own.forget()
        self._head = self.rows = self.bytes = self.told = 0


def arrival(batch: Batch) -> int:
    """Latest Kafka timestamp (µs) of a batch; beyond every event time where its records have none."""
    latest = int(batch.timestamps.max(initial=-1))
    return min(latest * 1_000, _NEVER) if latest >= 0 else _NEVER


def _before(sizes: list[int], row: int) -> int:
    """Bytes of the rows of a run before one of them."""
    return sizes[row - 1] if row else 0


def _offset(message: Message) -> int:
    offset = message.offset()
    assert offset is not None  # noqa: S101 a consumed message has one; the stubs cover produced ones too
    return offset


def _batch(partition: Partition, messages: list[Message], *, replay: bool) -> Batch:
    n = len(messages)
    kind = type(messages[0]) if messages else Message  # by `methodcaller` each call takes five times as long
    return Batch(
        partition=partition,
        offsets=np.fromiter(map(kind.offset, messages), np.int64, n),
        timestamps=np.fromiter(map(itemgetter(1), map(kind.timestamp, messages)), np.int64, n),
        keys=list(map(kind.key, messages)),
        values=list(map(kind.value, messages)),
        headers=headers_of_each(messages),
        replay=replay,
    )
