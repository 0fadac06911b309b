"""Which one of a flow's processes is active, where the flow needs all partitions of its topics in one place.

Each process is a member of a consumer group of its own kind (`GROUP.active`) over a topic with a single partition, of
which nothing is read. Kafka gives that partition to one member at a time and, when that one dies, to another. Only who
has it joins the flow's own group: whoever is not elected takes no partition away from who is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from dataflows.engine.config import EngineConfig
from dataflows.engine.error_codes import REFUSED
from tidemark import kafka
from tidemark.errors import BrokerError

_log = logging.getLogger(__name__)
_TOLD_AFTER: Final = 3.0
"""Seconds without being elected after which the log is told: an election takes less where nobody else stands."""
_LEAVING_POLLS: Final = 50
_LEAVING_SECONDS: Final = 0.1


class Election:
    """This process's part in the election. Used by one thread, which must ask `won` again and again."""

    def __init__(self, config: EngineConfig, topic: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._topic = topic
        self._clock = clock
        self._consumer: Consumer | None = None
        self._elected = False
        self._waiting_since: float | None = None
        self._failure: KafkaException | None = None

    def join(self) -> None:
        """Stand for election."""
        config = self._config
        self._consumer = kafka.consumer(
            config.settings,
            group=f"{config.group}.active",
            max_poll_interval_ms=int(config.max_poll_interval * 1_000),
            topic_metadata_refresh_interval_ms=int(config.topic_check_interval * 1_000),
        )
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )
        self._waiting_since = self._clock()

    def won(self, wait: float = 0.0) -> bool:
        """Whether this process is the active one now.

        Args:
            wait: seconds that one which stands by waits for its turn.

        Raises:
            BrokerError: Kafka refuses to let it stand.

        """
        if self._consumer is None:
            return False
        message = self._consumer.poll(0 if self._elected else wait)
        error = None if message is None else message.error()
        if error is not None and (error.code() in REFUSED or error.fatal()):
            raise self._refused(error.str())
        if self._failure is not None:
            raise self._refused(self._failure.args[0].str()) from self._failure
        if self._waiting_since is not None and self._clock() - self._waiting_since > _TOLD_AFTER:
            self._waiting_since = None
            _log.info(
                "%s: another process is active; this one stands by, and takes over when that one ends",
                self._config.group,
            )
        return self._elected

    def leave(self) -> None:
        """Stand no more; another process may be elected."""
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        try:  # given up before the close, within which it may hang (librdkafka issue 4884)
            consumer.unsubscribe()
            for _ in range(_LEAVING_POLLS):
                if not self._elected:
                    break
                consumer.poll(_LEAVING_SECONDS)
        except KafkaException as error:
            _log.info("%s: %s; closing all the same", self._config.group, error.args[0].str())
        consumer.close()
        self._elected = False

    def _refused(self, why: str) -> BrokerError:
        return BrokerError(
            f"Kafka refuses to let {self._config.group}.active read {self._topic!r}: {why}; check the permissions of "
            "that group and topic"
        )

    # An exception must not cross the client's C code, which may crash then: `won` raises it.

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if not partitions:
            return
        here = [TopicPartition(each.topic, each.partition, 0) for each in partitions]
        try:
            consumer.incremental_assign(here)
            consumer.pause(here)
        except KafkaException as error:
            self._failure = error
            return
        self._elected, self._waiting_since = True, None
        _log.info("%s: this process is the active one", self._config.group)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._elected, self._waiting_since = False, self._clock()
        try:
            consumer.incremental_unassign(partitions)
        except KafkaException as error:
            self._failure = error
