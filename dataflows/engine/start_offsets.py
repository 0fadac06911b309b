"""Where to begin with partitions that were just assigned: asked of Kafka without blocking the worker.

The committed offsets are asked for as *stable* ones: while a dead process's transaction holds pending offsets of a
partition the broker does not answer, so nobody begins at an offset that is about to move. That can take until the
transaction times out, and meanwhile the worker goes on with the partitions it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from dataflows.engine.partition_buffer import Lane
from tidemark import kafka
from tidemark.errors import TopicError
from tidemark.flows import FLOWS
from tidemark.kafka import topic_incarnation
from tidemark.runtime.processor import EARLIEST
from tidemark.runtime.settings import Settings

_TIMEOUT: Final = 2.0
"""Seconds a question waits for its answer; it is asked again."""
_PREFIX: Final = "v1"


def pack(incarnation: str, metadata: str) -> str:
    """Metadata to commit: the processor's, after the incarnation of the topic that the offset belongs to.

    Raises:
        ValueError: the processor's metadata is too long for the broker (4,000 characters) or not ASCII.

    """
    if len(metadata) > 4_000 or not metadata.isascii():
        raise ValueError(f"metadata of {len(metadata)} characters: at most 4,000 ASCII characters can be committed")
    return f"{_PREFIX}:{incarnation}:{metadata}"


def unpack(committed: str | None) -> tuple[str | None, str]:
    """Incarnation and processor's metadata of a committed offset; incarnation None if a foreign tool committed it."""
    version, _, rest = (committed or "").partition(":")
    incarnation, colon, metadata = rest.partition(":")
    if version != _PREFIX or not colon:
        return None, ""
    return incarnation, metadata


@dataclass(frozen=True, slots=True)
class Found:
    """What Kafka knows of a partition. `committed` is None if nothing is, for this incarnation of the topic.

    low: oldest offset still held.
    """

    incarnation: str
    committed: int | None
    metadata: str
    low: int
    stale: int | None
    """Offset that was committed for an earlier incarnation of the topic, and is not applied."""
    foreign: int | None = None
    """Offset that something else than a flow committed, such as `kafka-consumer-groups --reset-offsets`."""


class Lookup:
    """Asks Kafka where lanes of a group begin, on a thread and with a client of its own.

    The client is a consumer that never joins. (The administration client's `list_consumer_group_offsets` would need no
    thread, but on a broker that has just started it hung for ever, and once in a few times crashed the process:
    librdkafka 2.16.0.)
    """

    def __init__(self, settings: Settings, group: str, admin: AdminClient) -> None:
        self._consumer = kafka.consumer(settings, group=group, log_level=2)
        self._admin = admin
        self._thread = ThreadPoolExecutor(1, f"look-up {group}")

    def ask(self, lanes: Sequence[Lane]) -> Opening:
        """Begin to look up some lanes."""
        return Opening([(lane, lane.generation) for lane in lanes], self._thread.submit(self._look_up, lanes))

    def close(self) -> None:
        """End the thread and its client."""
        self._thread.shutdown()
        self._consumer.close()

    def _look_up(self, lanes: Sequence[Lane]) -> dict[tuple[str, int], Found]:
        ids = {
            topic: topic_incarnation(self._admin, topic, timeout=_TIMEOUT) for topic in {lane.topic for lane in lanes}
        }
        asked = [TopicPartition(lane.topic, lane.index) for lane in lanes]
        low = self._admin.list_offsets({tp: OffsetSpec.earliest() for tp in asked}, request_timeout=_TIMEOUT)
        found = {}
        for tp in self._consumer.committed(asked, _TIMEOUT):
            if tp.error is not None:
                raise KafkaException(tp.error)
            incarnation, metadata = unpack(tp.metadata)
            there = tp.offset >= 0
            applies = there and incarnation == ids[tp.topic]
            found[tp.topic, tp.partition] = Found(
                incarnation=ids[tp.topic],
                committed=tp.offset if applies else None,
                metadata=metadata if applies else "",
                low=low[TopicPartition(tp.topic, tp.partition)].result().offset,
                stale=tp.offset if there and incarnation is not None and not applies else None,
                foreign=tp.offset if there and incarnation is None else None,
            )
        return found


@dataclass(frozen=True, slots=True)
class Opening:
    """A look-up under way.

    lanes: with the generation they had when it was asked for.
    answer: fails with KafkaException or BrokerError if Kafka could not answer (a broker is away, offsets are unstable):
        ask again; with TopicError if a topic is not there.
    """

    lanes: list[tuple[Lane, int]]
    answer: Future[dict[tuple[str, int], Found]]


def check_own(lane: Lane, found: Found, *, group: str) -> None:
    """Refuse an offset that no flow has committed: it says neither what was published nor how to rebuild windows.

    Raises:
        TopicError: says how to set offsets rightly.

    """
    if found.foreign is None:
        return
    name, _, flow = group.rpartition(".")
    raise TopicError(
        f"{group}: the offset {found.foreign} of {lane.topic!r} partition {lane.index} was committed by something else "
        "than this flow (kafka-consumer-groups --reset-offsets?), so what was published and what the windows held is "
        f"not known. Stop the flow's processes and run {how_to_reset(name, flow)}"
    )


def how_to_reset(pipeline: str, flow: str) -> str:
    """The command that sets a flow's offsets rightly, and what it does.

    Args:
        pipeline: its name.
        flow: the flow's.

    Returns:
        The end of a sentence that begins with `Run`.

    """
    command = f"`tidemark reset {pipeline}.toml {flow} --to earliest"
    if flow in FLOWS.names() and FLOWS.get(flow).moves is None:
        return f"{command} --publish-again`: its metrics and dead letters come once more; models are not trained again"
    return (
        f"{command}` (or `latest`, a time, an offset): windows are rebuilt, and nothing is published twice, unless "
        "--publish-again is added"
    )


def start_offset(lane: Lane, found: Found, rewind: int | None, *, group: str, accept_gap: bool) -> int:
    """Where to begin reading.

    rewind: what the processor's `open` returned.

    Raises:
        TopicError: retention has removed records that the state, or the group, still needs; or the committed state
            wants to begin after what is committed, so that rows would be lost.

    """
    if found.committed is None:
        return found.low if rewind is None else max(rewind, found.low)
    wanted = wanted_offset(found.committed, found.low, rewind)
    if wanted > found.committed:
        raise TopicError(
            f"{lane.topic} [{lane.index}]: rewind to {wanted} is after the committed {found.committed}, so what is "
            f"committed for {group} is not the flow's; another program commits under its group, or it must be reset"
        )
    if wanted >= found.low:
        return wanted
    if accept_gap:
        return found.low
    raise TopicError(gap_message(lane, found, wanted, group=group))


def wanted_offset(committed: int, low: int, rewind: int | None) -> int:
    """Where a partition should be read from, whether or not it is still there; arguments as `start_offset` has them."""
    if rewind is None:
        return committed
    return min(low, committed) if rewind == EARLIEST else rewind


def gap_message(lane: Lane, found: Found, wanted: int, *, group: str) -> str:
    """Sentence about records that retention has removed before they were done with."""
    unread = max(0, found.low - (found.committed or 0))
    lost = f" and {unread} of them were never processed" if unread else ""
    return (
        f"topic {lane.topic!r} partition {lane.index} begins at offset {found.low}, but {group} has to read again from "
        f"{wanted} (committed: {found.committed}) to rebuild its windows: retention has removed {found.low - wanted} "
        f"records that are needed{lost}. Lengthen the topic's retention beyond the longest window and the longest "
        "outage; to go on now with windows that lack those records, start once with TIDEMARK_ACCEPT_GAP=1"
    )
