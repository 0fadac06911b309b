"""What groups have committed, asked from outside."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tidemark.kafka.clients import consumer
from tidemark.runtime.settings import Settings


class CommittedOffsets:
    """Asks by a consumer of each group that never joins it. Used by one thread.

    The administration client's `list_consumer_group_offsets` is not asked: where a group's coordinator moves, or there
    is none yet, its answer ends the process (SIGSEGV in confluent-kafka 2.16.1).
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumers: dict[str, Consumer] = {}

    def of(self, group: str, places: Sequence[TopicPartition], *, timeout: float) -> list[TopicPartition]:
        """What a group has committed, transactions that are still open left out.

        Args:
            group: its name.
            places: partitions.
            timeout: seconds.

        Returns:
            The partitions with offset and metadata; the offset is below 0 where there is none.

        Raises:
            KafkaException: Kafka does not answer, or does not let us read the group.

        """
        if not places:
            return []
        if group not in self._consumers:
            # Uncommitted: what a transaction is about to commit is not waited for.
            self._consumers[group] = consumer(
                self._settings, group=group, isolation_level="read_uncommitted", log_level=2
            )
        found = self._consumers[group].committed(list(places), timeout)
        failed = next((place.error for place in found if place.error is not None), None)
        if failed is not None:
            raise KafkaException(failed)
        return found

    def close(self) -> None:
        """Let the clients go."""
        while self._consumers:
            self._consumers.popitem()[1].close()
