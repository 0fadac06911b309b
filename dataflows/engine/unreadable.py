"""Batches of a log that Kafka's client can't read: found, measured, and left to the session to step over.

A batch that is corrupt, or that unpacks to more than the client takes (`receive.message.max.bytes`), gives an error at
each fetch, for ever: the partition would stand still while its process looks alive. A lane that has had such errors,
and no row, for `patience` seconds is looked at by a consumer of its own. That consumer confirms the error, and searches
for the first offset behind the batch by doubling steps and halving intervals. The client names the first offset of the
batch that it can't read, so a second bad batch behind the first is told from it, and no good one in between is missed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from dataflows.engine.error_codes import UNREADABLE
from dataflows.engine.partition_buffer import Lane
from tidemark.errors import BrokerError

_log = logging.getLogger(__name__)
_TIMEOUT: Final = 10.0
"""Seconds for one question to Kafka."""
_POLL: Final = 0.2
_FORGOTTEN: Final = 5.0
"""Seconds without a further error after which the batch is taken for readable again."""
_SOON: Final = 1.0
"""Seconds of patience where a batch was stepped over before, or lies right behind one that was."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets `begin` to `end` (exclusive) of a lane can't be read."""

    lane: Lane
    generation: int
    begin: int
    end: int
    reason: str


@dataclass(slots=True)
class _Stuck:
    lane: Lane
    generation: int
    taken: int
    offset: int
    reason: str
    since: float
    latest: float
    end: Future[int] | None = None


class Unreadable:
    """The lanes of a session that stand at a batch that can't be read.

    consumer: makes a consumer, which never joins.
    patience: seconds for which errors must go on before a batch is given up.
    """

    def __init__(self, consumer: Callable[[], Consumer], admin: AdminClient, *, patience: float, group: str) -> None:
        self._consumer = consumer
        self._admin = admin
        self._patience = patience
        self._group = group
        self._stuck: dict[tuple[str, int], _Stuck] = {}
        self._passed: dict[tuple[str, int], int] = {}
        self._thread = ThreadPoolExecutor(1, f"unreadable {group}")

    def note(self, lane: Lane, offset: int, error: KafkaError, now: float) -> None:
        """The client could not read a batch of an open lane. offset: the first of the batch, or the one asked for."""
        stuck = self._stuck.get(lane.key)
        if stuck is not None and (stuck.generation, stuck.taken) == (lane.generation, lane.taken + lane.rows):
            stuck.latest = now
            return
        reached = lane.taken + lane.rows
        _log.warning("%s: %s [%d] can't be read: %s", self._group, lane.topic, lane.index, error.str())
        self._stuck[lane.key] = _Stuck(
            lane, lane.generation, reached, max(offset, lane.taken), error.str(), since=now, latest=now
        )

    def found(self, now: float) -> list[Gap]:
        """Gaps whose ends are known, of lanes that have nothing else left to process. Each is given once."""
        return [gap for stuck in list(self._stuck.values()) if (gap := self._advance(stuck, now)) is not None]

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    def _advance(self, stuck: _Stuck, now: float) -> Gap | None:
        lane = stuck.lane
        moved = lane.generation != stuck.generation or lane.taken + lane.rows != stuck.taken
        if moved or (stuck.end is None and now - stuck.latest > _FORGOTTEN):
            self._drop(stuck)
            return None
        if stuck.end is None:
            known = stuck.offset < lane.committed or self._passed.get(lane.key) == stuck.offset
            if now - stuck.since >= (min(_SOON, self._patience) if known else self._patience):
                stuck.end = self._thread.submit(self._end_of, lane.topic, lane.index, stuck.offset)
            return None
        if not stuck.end.done() or lane.rows:
            return None
        self._drop(stuck)
        try:
            end = stuck.end.result()
        except (KafkaException, BrokerError) as error:
            _log.warning("%s: the end of what can't be read is not known yet: %s", self._group, error)
            return None
        if end <= stuck.offset:
            _log.info("%s: %s [%d] can be read again", self._group, lane.topic, lane.index)
            return None
        self._passed[lane.key] = end
        return Gap(lane, stuck.generation, stuck.offset, end, stuck.reason)

    def _drop(self, stuck: _Stuck) -> None:
        if self._stuck.get(stuck.lane.key) is stuck:
            del self._stuck[stuck.lane.key]

    def _end_of(self, topic: str, index: int, begin: int) -> int:
        """First offset behind the batch at `begin`; `begin` itself if it can be read."""
        consumer = self._consumer()
        try:
            where = TopicPartition(topic, index)
            asked = self._admin.list_offsets(
                {where: OffsetSpec.latest()}, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_TIMEOUT
            )
            last = int(asked[where].result(_TIMEOUT * 2).offset)
            return end_of_batch(lambda offset: _first_of_bad(consumer, topic, index, offset), begin, last)
        finally:
            consumer.close()


def end_of_batch(first_of_bad: Callable[[int], int | None], begin: int, last: int) -> int:
    """First offset behind the batch at `begin` that can't be read; `begin` if it can.

    Args:
        first_of_bad: first offset of the unreadable batch that an offset lies in; None where it can be read.
        begin: an offset in the batch.
        last: end of the log; nothing at or behind it is asked for.

    Returns:
        An offset in (begin, last], or `begin`.

    """
    first = first_of_bad(begin)
    if first is None or begin >= last:
        return begin

    def same(offset: int) -> bool:
        found = first_of_bad(offset)
        return found is not None and found < offset and found <= begin

    low, step = begin, 1
    while low + step < last and same(low + step):
        low += step
        step *= 2
    high = min(low + step, last)
    while high - low > 1:
        middle = (low + high) // 2
        if same(middle):
            low = middle
        else:
            high = middle
    return high


def _first_of_bad(consumer: Consumer, topic: str, index: int, offset: int) -> int | None:
    consumer.assign([TopicPartition(topic, index, offset)])
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline:
        for message in consumer.consume(1, _POLL):
            error = message.error()
            at = message.offset()
            if error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 librdkafka's own code has no public name
                return None
            if error.code() in UNREADABLE and message.topic() == topic and at is not None and at >= 0:
                return at
    raise BrokerError(f"Kafka has not answered for {_TIMEOUT:g} s at {topic} [{index}] offset {offset}")


def gap_headers(gap: Gap, begin: int, *, patience: float, at: int) -> Sequence[tuple[str, bytes]]:
    """Headers of the dead letter of a gap, which has neither key nor value: nobody could read them.

    begin: first offset that is stepped over.  at: µs since 1970.
    """
    assert gap.lane.partition is not None  # noqa: S101 for the type checker: an open lane has one
    reason = (
        f"offsets {begin} to {gap.end - 1} can't be read: {gap.reason[:1_000]}; stepped over after {patience:g} s. "
        "Look at the producer's batch and at receive.message.max.bytes, and produce its records again"
    )
    return (
        ("source_topic", gap.lane.topic.encode()),
        ("source_partition", str(gap.lane.index).encode()),
        ("source_offset", str(begin).encode()),
        ("source_last_offset", str(gap.end - 1).encode()),
        ("source_incarnation", gap.lane.partition.incarnation.encode()),
        ("step", b"fetch"),
        ("reason", reason.encode()),
        ("at", str(at).encode()),
    )
