"""How far a webhook has read, as records of `P.webhooks`, and where it reads on.

They are no offsets of a consumer group: Kafka forgets those of a topic in which nothing happens for a week.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka.admin import AdminClient

from tidemark.errors import RecordError, TopicError
from tidemark.kafka.ends import beginnings, ends
from tidemark.records import Int64, Record, decode
from tidemark.runtime.processor import Output

_log = logging.getLogger(__name__)
_TIMEOUT: Final = 15.0
Place = tuple[str, int]
"""Topic and number of a partition."""


class Position(Record, frozen=True, kw_only=True):
    """How far a partition is read: the offset of its next record."""

    topic: str
    partition: Int64
    incarnation: str
    offset: Int64


class Progress(Record, frozen=True, kw_only=True):
    """`P.webhooks`, key `WEBHOOK`. champion: the version that was told last."""

    positions: list[Position]
    champion: str = ""


@dataclass(frozen=True, slots=True)
class Starts:
    """Where to read on, by partition. gaps: where records were removed that had not been read: first and next."""

    offsets: dict[Place, int] = field(default_factory=dict)
    gaps: list[tuple[Position, int]] = field(default_factory=list)


def progress_in(value: bytes, where: str, webhook: str) -> Progress:
    """How far a webhook has read, from its record.

    Raises:
        TopicError: the record does not tell it.

    """
    try:
        return decode(Progress, value)
    except RecordError as error:
        raise TopicError(
            f"{where} does not tell how far webhook '{webhook}' has read ({error.reason}): somebody else wrote it"
        ) from error


def starts(
    client: AdminClient, topics: Sequence[str], incarnations: Mapping[str, str], progress: Progress | None
) -> Starts:
    """Where to read on.

    Args:
        client: asks Kafka.
        topics: that are read.
        incarnations: of them.
        progress: that was committed; None: there is none.

    Returns:
        The offset that was committed; of a topic that is read for the first time its end, for what came before is not
        told; of one that was re-created, and of a partition that was added, its beginning.

    Raises:
        KafkaException: Kafka does not answer.

    """
    known = {} if progress is None else {(each.topic, each.partition): each for each in progress.positions}
    read_before = {topic for topic, _ in known}
    partitions = partitions_of(client, topics)
    lows, highs = beginnings(client, partitions), ends(client, partitions)
    found = Starts()
    for topic, indices in partitions.items():
        for index, low, high in zip(indices, lows[topic], highs[topic], strict=True):
            position = known.get((topic, index))
            if position is None:
                found.offsets[topic, index] = low if topic in read_before else high
            elif position.incarnation != incarnations[topic]:
                found.offsets[topic, index] = low
            else:
                found.offsets[topic, index] = max(position.offset, low)
                if position.offset < low:
                    found.gaps.append((position, low))
    return found


def partitions_of(client: AdminClient, topics: Sequence[str]) -> dict[str, list[int]]:
    """The partitions of topics.

    Raises:
        KafkaException: Kafka does not answer.

    """
    listed = client.list_topics(timeout=_TIMEOUT).topics
    return {topic: sorted(listed[topic].partitions) for topic in topics if topic in listed}


def champion_in(progress: Progress | None, topic: str, incarnation: str | None) -> str:
    """The version that was told last.

    Args:
        progress: that was committed; None: there is none.
        topic: of the models.
        incarnation: of it as it is now; None where it is not read.

    Returns:
        The version; "" where there is none, or where the topic was re-created: then serials begin anew.

    """
    if progress is None or any(each.topic == topic and each.incarnation != incarnation for each in progress.positions):
        return ""
    return progress.champion


def gap_letter(topic: str, step: str, position: Position, low: int, at: float) -> Output:
    """A dead letter that tells of records which retention has removed before they were read.

    Args:
        topic: of dead letters.
        step: that has not read them.
        position: of the first.
        low: offset of the first that is there.
        at: the time, s since 1970.

    Returns:
        The record.

    """
    reason = (
        f"{low - position.offset:,} records were removed by retention before {step} had read them; raise the topic's "
        "retention.ms above the longest time for which it may be down"
    )
    _log.error("%s[%d] at offset %d: %s", position.topic, position.partition, position.offset, reason)
    headers = (
        ("source_topic", position.topic.encode()),
        ("source_partition", str(position.partition).encode()),
        ("source_incarnation", position.incarnation.encode()),
        ("step", step.encode()),
        ("reason", reason.encode()),
        ("at", str(int(at * 1_000_000)).encode()),
    )
    return Output(topic, None, headers=headers)  # without an offset, for there is no record to send again
