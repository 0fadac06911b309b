"""What a webhook makes of the records that it reads, and of its receiver's answers: records to write, without Kafka.

Each event becomes a delivery in the topic `P.webhooks`. It is tried once it is read back from there, and a tombstone
ends it. So what is under way is what the topic says, and a record that a person has sent again is one like any other.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

import numpy as np

from tidemark.errors import RecordError
from tidemark.pipeline.model import Pipeline, WebhookSpec
from tidemark.records import encode
from tidemark.records.dead_letter import dead_letter
from tidemark.records.webhook_telling import Deliveries
from tidemark.replay.sending import REPLAYED_FROM
from tidemark.runtime.processor import Batch, Output, Partition
from tidemark.webhooks.client import Attempt
from tidemark.webhooks.events import Event, Letters, Received, Teller
from tidemark.webhooks.outbox import Delivery, Held, Outbox, anew, delivery_of

_log = logging.getLogger(__name__)
_SECOND: Final = 1_000_000


class UnderWay:
    """The deliveries of one webhook. Used by one thread. Times are s since 1970.

    outbox: those that wait.  letters: dead letters that are not told yet.  counts: of what was delivered and given up.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        spec: WebhookSpec,
        secret: bytes | None,
        *,
        counts: Deliveries | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Begin with none.

        Args:
            pipeline: that declares the webhook.
            spec: of the webhook.
            secret: that the registry's records are signed with, if they are.
            counts: of what was delivered before.
            jitter: draws a number from 0 to 1.

        """
        self._topics, self._name, self._step = pipeline.topics, spec.name, f"webhook {spec.name}"
        self.outbox = Outbox(jitter)
        self.teller = Teller(pipeline, spec, secret)
        self.letters = Letters(pipeline.name, self._step, quotes=not pipeline.labeling.hidden)
        self.counts = counts or Deliveries()
        self._ending: set[str] = set()
        self._outputs: list[Output] = []
        self._incarnation = ""

    @property
    def standing(self) -> Deliveries:
        """How the webhook stands."""
        since = self.outbox.failing_since()
        reason = self.outbox.last_reason if since is not None else ""
        return replace(self.counts, waiting=len(self.outbox), failing_since=since, reason=reason)

    def outputs(self) -> list[Output]:
        """What is to be written, which is then taken for written."""
        outputs, self._outputs = self._outputs, []
        return outputs

    def next_at(self, now: float) -> float | None:
        """When there is something to do, None where nothing waits."""
        times = [at for at in (self.outbox.next_due(now), self.letters.due_at()) if at is not None]
        return min(times, default=None)

    def take(self, record: Received, now: float) -> None:
        """Take a record of a topic that is read."""
        if record.topic == self._topics.webhooks:
            self._take_delivery(record, now)
        elif record.topic == self._topics.deadletter:
            self.letters.add(record, now)
        else:
            self._tell(record, now)

    def tell_letters(self, now: float) -> None:
        """Put the dead letters that came into the outbox, once a minute."""
        event = self.letters.event(now)
        if event is not None:
            self._put(event, now)

    def settle(self, held: Held, attempt: Attempt, now: float) -> None:
        """Take note of what came of an attempt."""
        was_failing = self.outbox.failing_since() is not None
        settled = self.outbox.settle(held, attempt, now)
        if settled.again and not was_failing:
            _log.warning("webhook '%s': the receiver %s; it is tried again for a day", self._name, attempt.reason)
        for done in settled.done:
            self._end(done)
        for again in settled.again:
            self._outputs.append(self._record_of(again.delivery))
        for given_up, why in settled.given_up:
            _log.error("webhook '%s': %s is a dead letter: %s", self._name, given_up.delivery.id, why)
            self._outputs.append(self._dead_letter(given_up, why))
            self._end(given_up)
        self.counts = replace(
            self.counts,
            delivered=self.counts.delivered + len(settled.done),
            given_up=self.counts.given_up + len(settled.given_up),
        )

    def _tell(self, record: Received, now: float) -> None:
        try:
            event = self.teller.event(record)
        except RecordError as error:  # the flows' to refuse
            _log.warning("webhook '%s': %s is not told: %s", self._name, record.position, error.reason)
            return
        if event is not None:
            self._put(event, now)

    def _put(self, event: Event, now: float) -> None:
        at, body = int(now * _SECOND), event.body.decode()
        delivery = Delivery(webhook=self._name, id=event.identity, type=event.type, body=body, since=at, next_at=at)
        self._outputs.append(self._record_of(delivery))

    def _take_delivery(self, record: Received, now: float) -> None:
        key = record.key or b""
        if not key.startswith(f"{self._name}/".encode()):
            return
        self._incarnation = record.incarnation
        identity = key.decode(errors="replace").partition("/")[2]
        if record.value is None:
            self._ending.discard(identity)
            self.outbox.drop(identity)
            return
        if identity in self._ending:
            return  # behind it comes the tombstone
        try:
            delivery = delivery_of(key, record.value, self._name)
        except RecordError as error:
            _log.warning("webhook '%s': %s is no delivery: %s", self._name, record.position, error.reason)
            return
        if _is_replayed(record.headers) and identity not in self.outbox:
            delivery = anew(delivery, now)
            self._outputs.append(self._record_of(delivery))
        self.outbox.put(delivery, record.offset)

    def _record_of(self, delivery: Delivery) -> Output:
        return Output(self._topics.webhooks, encode(delivery), delivery.key, 0)

    def _end(self, held: Held) -> None:
        self._ending.add(held.delivery.id)
        self._outputs.append(Output(self._topics.webhooks, None, held.delivery.key, 0))

    def _dead_letter(self, held: Held, reason: str) -> Output:
        batch = Batch(
            Partition(self._topics.webhooks, 0, self._incarnation),
            np.array([held.offset]),
            np.array([held.delivery.since // 1_000]),
            [held.delivery.key],
            [encode(held.delivery)],
            [None],
        )
        return dead_letter(self._topics.deadletter, batch, 0, self._step, reason)


def _is_replayed(headers: Iterable[tuple[str, bytes | None]] | None) -> bool:
    return any(name == REPLAYED_FROM for name, _ in headers or ())
