"""Where to begin with partitions that were just assigned: asked of Kafka without blocking the worker.

The committed offsets are asked for as *stable* ones: while a dead process's transaction holds pending offsets of a
partition the broker does not answer, so nobody begins at an offset that is about to move. That can take until the
transaction times out, and meanwhile the worker goes on with the partitions it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec, TopicDescription

from dataflows.lanes import Lane
from tidemark.errors import TopicError
from tidemark.kafka.topics import incarnation_of

_PREFIX = "v1"


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
    """Offset that was committed for an earlier incarnation, or by a foreign tool, and is not applied."""


class Opening:
    """Look-ups under way for some lanes. Ask `ready`, then `found`."""

    def __init__(self, admin: AdminClient, group: str, lanes: Sequence[Lane], timeout: float) -> None:
        self.lanes = [(lane, lane.generation) for lane in lanes]
        partitions = [TopicPartition(lane.topic, lane.index) for lane in lanes]
        self._group: Future[Any] = admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, partitions)], require_stable=True, request_timeout=timeout
        )[group]
        self._low: dict[TopicPartition, Future[Any]] = admin.list_offsets(
            {partition: OffsetSpec.earliest() for partition in partitions}, request_timeout=timeout
        )
        self._topics: dict[str, Future[Any]] = admin.describe_topics(
            TopicCollection(sorted({lane.topic for lane in lanes})), request_timeout=timeout
        )

    def ready(self) -> bool:
        """Whether everything has been answered, or refused."""
        return self._group.done() and all(f.done() for f in (*self._low.values(), *self._topics.values()))

    def found(self) -> dict[tuple[str, int], Found]:
        """The answers by topic and partition.

        Raises:
            KafkaException: Kafka could not answer (a broker is away, offsets are unstable): ask again.

        """
        low = {(tp.topic, tp.partition): int(future.result().offset) for tp, future in self._low.items()}
        ids = {name: incarnation_of(_description(future)) for name, future in self._topics.items()}
        answers = {}
        for tp in self._group.result().topic_partitions:
            if tp.error is not None:
                raise KafkaException(tp.error)
            current = ids[tp.topic]
            incarnation, metadata = unpack(tp.metadata)
            applies = tp.offset >= 0 and incarnation == current
            answers[tp.topic, tp.partition] = Found(
                incarnation=current,
                committed=tp.offset if applies else None,
                metadata=metadata if applies else "",
                low=low[tp.topic, tp.partition],
                stale=tp.offset if tp.offset >= 0 and not applies else None,
            )
        return answers


def _description(future: Future[Any]) -> TopicDescription:
    description: TopicDescription = future.result()
    return description


def start_offset(lane: Lane, found: Found, rewind: int | None, *, group: str, accept_gap: bool) -> int:
    """Where to begin reading.

    rewind: what the processor's `open` returned.

    Raises:
        TopicError: retention has removed records that the state, or the group, still needs.
        ValueError: the processor wants to begin after what is committed: a bug, for rows would be lost.

    """
    if found.committed is None:
        return found.low if rewind is None else max(rewind, found.low)
    wanted = found.committed if rewind is None else rewind
    if wanted > found.committed:
        raise ValueError(f"{lane.topic} [{lane.index}]: rewind to {wanted} is after the committed {found.committed}")
    if wanted >= found.low:
        return wanted
    if accept_gap:
        return found.low
    raise TopicError(gap_message(lane, found, wanted, group=group))


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


def is_gone(error: KafkaException) -> bool:
    """Whether an answer says that the topic is not there."""
    cause: KafkaError = error.args[0]
    return cause.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID)
