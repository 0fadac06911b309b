"""Offsets of a flow that does not run: looked at, and set together with the metadata that a start needs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec, TopicMetadata

from dataflows.engine.start_offsets import pack, unpack
from tidemark import kafka
from tidemark.errors import BrokerError, TopicError
from tidemark.kafka import connect, topic_incarnation
from tidemark.kafka.clients import unreachable
from tidemark.kafka.passing import asked_until
from tidemark.runtime.processor import Partition
from tidemark.runtime.settings import Settings

_TIMEOUT: Final = 30.0


@dataclass(frozen=True, slots=True)
class Place:
    """A partition that a flow reads.

    low, end: oldest offset that the topic holds, and the one behind its last committed record.  committed: offset that
    the flow has committed, None if it has none for this incarnation of the topic.  foreign: it was committed by
    something else than the flow.  metadata: the flow's, "" where there is none.  stale: the flow's offset is of an
    earlier incarnation of the topic.
    """

    partition: Partition
    low: int
    end: int
    committed: int | None
    foreign: bool
    metadata: str
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """What to commit for a partition."""

    partition: Partition
    offset: int
    metadata: str


class Group:
    """The consumer group of a flow, looked at from outside.

    Raises:
        BrokerError: Kafka does not answer.

    """

    def __init__(self, settings: Settings, group: str) -> None:
        self._settings = settings
        self._group = group
        self._client: AdminClient = connect(settings)

    def present(self, topics: Sequence[str]) -> list[str]:
        """Those of some topics that exist.

        Raises:
            BrokerError: Kafka does not answer.

        """
        listed = self._listed()
        return [topic for topic in topics if topic in listed]

    def places(self, topics: Sequence[str]) -> list[Place]:
        """The partitions of topics, and what is committed for each.

        Raises:
            TopicError: a topic does not exist.
            BrokerError: Kafka does not answer.

        """
        listed = self._listed()
        asked: list[TopicPartition] = []
        incarnations = {}
        for topic in topics:
            if topic not in listed:
                raise TopicError(
                    f"there is no topic {topic!r}; create it (`tidemark up`), or correct the pipeline file"
                )
            incarnations[topic] = topic_incarnation(self._client, topic)
            asked += [TopicPartition(topic, index) for index in sorted(listed[topic].partitions)]
        low, end = self._offsets(asked, OffsetSpec.earliest()), self._offsets(asked, OffsetSpec.latest())
        places = []
        for tp in self._committed(asked):
            own = incarnations[tp.topic]
            incarnation, metadata = unpack(tp.metadata)
            applies = tp.offset >= 0 and incarnation == own
            where = tp.topic, tp.partition
            places.append(
                Place(
                    Partition(*where, own),
                    low[where],
                    end[where],
                    tp.offset if applies else None,
                    foreign=tp.offset >= 0 and incarnation is None,
                    metadata=metadata if applies else "",
                    stale=tp.offset >= 0 and incarnation is not None and not applies,
                )
            )
        return places

    def _listed(self) -> dict[str, TopicMetadata]:
        try:
            return dict(self._client.list_topics(timeout=_TIMEOUT).topics)
        except KafkaException as error:
            raise unreachable(self._settings, error.args[0].str()) from error

    def _committed(self, asked: list[TopicPartition]) -> list[TopicPartition]:
        consumer = kafka.consumer(self._settings, group=self._group, log_level=2)

        def ask() -> list[TopicPartition]:
            found = consumer.committed(asked, _TIMEOUT)
            failed = next((tp.error for tp in found if tp.error is not None), None)
            if failed is not None:
                raise KafkaException(failed)
            return found

        try:
            return asked_until(time.monotonic() + _TIMEOUT, ask)
        except KafkaException as error:
            raise BrokerError(f"Kafka does not tell the offsets of {self._group}: {error.args[0].str()}") from error
        finally:
            consumer.close()

    def _offsets(self, asked: Sequence[TopicPartition], spec: OffsetSpec) -> dict[tuple[str, int], int]:
        def ask() -> dict[tuple[str, int], int]:
            futures = self._client.list_offsets(
                dict.fromkeys(asked, spec), isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_TIMEOUT
            )
            return {(tp.topic, tp.partition): int(future.result(_TIMEOUT).offset) for tp, future in futures.items()}

        try:
            return asked_until(time.monotonic() + _TIMEOUT, ask)
        except KafkaException as error:
            raise BrokerError(f"Kafka does not tell where topics begin and end: {error.args[0].str()}") from error


class StoppedGroup(Group):
    """The consumer group of a flow of which no process runs.

    Raises:
        BrokerError: Kafka does not answer, or a process of the flow is a member.

    """

    def __init__(self, settings: Settings, group: str) -> None:
        super().__init__(settings, group)
        self._check_stopped()

    def at_time(self, places: Sequence[Place], milliseconds: int) -> dict[Partition, int]:
        """The first offset of each partition that is not before a Kafka timestamp; the end where there is none."""
        asked = [TopicPartition(place.partition.topic, place.partition.index) for place in places]
        found = self._offsets(asked, OffsetSpec.for_timestamp(milliseconds))
        at = {place.partition: found[place.partition.topic, place.partition.index] for place in places}
        return {place.partition: place.end if at[place.partition] < 0 else at[place.partition] for place in places}

    def commit(self, moves: Sequence[Move]) -> None:
        """Commit offsets with their metadata, in the place of what is committed.

        Raises:
            BrokerError: Kafka refuses; a process of the flow has started meanwhile, or rights are missing.

        """
        self._check_stopped()
        offsets = [
            TopicPartition(
                move.partition.topic, move.partition.index, move.offset, pack(move.partition.incarnation, move.metadata)
            )
            for move in moves
        ]
        consumer = kafka.consumer(self._settings, group=self._group, log_level=2)

        def ask() -> list[TopicPartition]:
            done = consumer.commit(offsets=offsets, asynchronous=False) or []
            failed = next((tp.error for tp in done if tp.error is not None), None)
            if failed is not None:
                raise KafkaException(failed)
            return done

        try:
            asked_until(time.monotonic() + _TIMEOUT, ask)
        except KafkaException as error:
            raise self._refused(error.args[0]) from error
        finally:
            consumer.close()

    def _refused(self, error: KafkaError) -> BrokerError:
        return BrokerError(
            f"Kafka refuses to set the offsets of {self._group}: {error.str()}; stop every process of the flow, and "
            "try again"
        )

    def _check_stopped(self) -> None:
        def ask() -> int:
            (future,) = self._client.describe_consumer_groups([self._group], request_timeout=_TIMEOUT).values()
            return len(future.result(_TIMEOUT).members)

        try:
            members = asked_until(time.monotonic() + _TIMEOUT, ask)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return
            raise BrokerError(f"Kafka can't describe the group {self._group}: {error.args[0].str()}") from error
        if members:
            raise BrokerError(
                f"{members} process(es) of {self._group} run; stop them first (one that was killed counts for six "
                "seconds more)"
            )
