"""Watches the topics a flow reads: gone, re-created, grown.

A consumer of a re-created topic stalls without an error (confluent-kafka-python issue 1787), so ids are compared.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, TopicDescription

from tidemark.errors import BrokerError, TopicError
from tidemark.kafka.topics import incarnation_of

_TIMEOUT = 5.0
_log = logging.getLogger(__name__)


class Changed(Enum):
    """What a look at the topics has found."""

    NOTHING = auto()
    GROWN = auto()
    RECREATED = auto()


@dataclass(frozen=True, slots=True)
class _Seen:
    incarnation: str
    partitions: int


class TopicWatch:
    """Looks at the topics every `interval` seconds without blocking, or soon after `look_now`.

    fixed: topics whose number of partitions must be this.
    patience: seconds for which a topic may be gone before that is an error.
    """

    def __init__(
        self,
        admin: AdminClient,
        topics: tuple[str, ...],
        *,
        fixed: Mapping[str, int],
        interval: float,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admin = admin
        self._topics = topics
        self._fixed = fixed
        self._interval = interval
        self._patience = patience
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._asked: dict[str, Future[Any]] | None = None
        self._next = 0.0
        self._gone_since: float | None = None
        self._heard = -math.inf

    def start(self) -> None:
        """Look for the first time, and wait for the answer.

        Raises:
            TopicError: a topic is not there, or has other partitions than it must.
            BrokerError: Kafka does not answer within `patience`.

        """
        deadline = self._clock() + self._patience
        told = ""
        while len(self._seen) < len(self._topics):
            self._ask()
            asked, self._asked = self._asked or {}, None
            for name, future in asked.items():
                try:
                    self._seen[name] = _seen(future)
                except KafkaException as error:
                    told = self._refuse(name, error, deadline, told)
        self._check_fixed()
        self._heard = self._clock()
        self._next = self._heard + self._interval

    def _refuse(self, name: str, error: KafkaException, deadline: float, told: str) -> str:
        """Raise what is wrong with a topic at the start, unless Kafka may only need more time: told once a reason."""
        cause: KafkaError = error.args[0]
        if cause.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise TopicError(
                f"there is no topic {name!r}; `tidemark up` creates a pipeline's topics, or correct its name in the "
                "pipeline file"
            ) from error
        if self._clock() > deadline:
            raise BrokerError(
                f"Kafka has not described topic {name!r} for {self._patience:g} s: {cause.str()}; is it up, and may "
                "this client describe the topic?"
            ) from error
        if told != cause.name():
            _log.info("topic %s can't be looked at yet: %s; asking again", name, cause.str())
        return cause.name()

    @property
    def partitions(self) -> frozenset[tuple[str, int]]:
        """Topic and number of every partition, as last seen."""
        return frozenset((name, index) for name, seen in list(self._seen.items()) for index in range(seen.partitions))

    def unheard(self, now: float) -> float:
        """Seconds since Kafka described the topics, where it should have done so again; else 0. Any thread may ask.

        A client that is cut off from Kafka is told of no record, and of no end that has moved.
        """
        since = now - self._heard
        return since if since > self._interval + 2 * _TIMEOUT else 0.0

    def look_now(self) -> None:
        """Something is odd: look at once."""
        self._next = min(self._next, self._clock() + 0.1)

    def look(self) -> Changed | None:
        """What has changed since the last look, None if no new look has been taken.

        Raises:
            TopicError: a topic has been gone for too long, or a fixed one has grown.

        """
        now = self._clock()
        if self._asked is None:
            if now >= self._next:
                self._ask()
            return None
        if not all(future.done() for future in self._asked.values()):
            return None
        asked, self._asked = self._asked, None
        self._next = now + self._interval
        latest: dict[str, _Seen] = {}
        for name, future in asked.items():
            try:
                latest[name] = _seen(future)
            except KafkaException as error:
                if _is_unknown(error):
                    self._missing(name, now)
                else:
                    _log.info("topic %s can't be looked at: %s", name, error.args[0].str())
                return None
        self._gone_since, self._heard = None, now
        before, self._seen = self._seen, latest
        self._check_fixed()
        return _difference(before, latest)

    def _ask(self) -> None:
        self._asked = self._admin.describe_topics(TopicCollection(list(self._topics)), request_timeout=_TIMEOUT)

    def _missing(self, name: str, now: float) -> None:
        if self._gone_since is None:
            self._gone_since = now
            _log.error("topic %r was deleted; waiting for it to be created again", name)
        elif now - self._gone_since > self._patience:
            raise TopicError(f"topic {name!r} was deleted {self._patience:g} s ago or more; create it again")
        self._next = min(self._next, now + 1.0)

    def _check_fixed(self) -> None:
        for name, wanted in self._fixed.items():
            seen = self._seen.get(name)
            if seen is not None and seen.partitions != wanted:
                raise TopicError(
                    f"topic {name!r} has {seen.partitions} partitions where the pipeline says {wanted}: its records "
                    "are spread over them by key, so a key's windows would be torn. No partition can be taken back: "
                    "stop the pipeline and start it under another name, with the `partitions` that it should have"
                )


def _seen(future: Future[Any]) -> _Seen:
    description: TopicDescription = future.result()
    return _Seen(incarnation_of(description), len(description.partitions))


def _is_unknown(error: KafkaException) -> bool:
    cause: KafkaError = error.args[0]
    return cause.code() == KafkaError.UNKNOWN_TOPIC_OR_PART


def _difference(before: Mapping[str, _Seen], latest: Mapping[str, _Seen]) -> Changed:
    changed = Changed.NOTHING
    for name, now in latest.items():
        then = before[name]
        if now.incarnation != then.incarnation:
            _log.error("topic %r was deleted and created again: beginning with the new one, with empty windows", name)
            return Changed.RECREATED
        if now.partitions != then.partitions:
            _log.warning(
                "topic %r has grown from %d to %d partitions: keys may be in other partitions from now on, where their "
                "windows begin empty", name, then.partitions, now.partitions,
            )  # fmt: skip
            changed = Changed.GROWN
    return changed
