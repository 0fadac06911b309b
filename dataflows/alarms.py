"""Follows the alarms of drift that a pipeline reacts to, for select and retrain."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from confluent_kafka import Message

from dataflows.engine.environment import connected
from tidemark.errors import ModelError
from tidemark.observe.tail import Tail
from tidemark.pipeline import Pipeline
from tidemark.registry.alarm import ALARM_KEY, ALARMS, Alarm, alarm_record, read_alarm
from tidemark.registry.reading import record_of
from tidemark.registry.signature import signing_key
from tidemark.runtime.processor import Output
from tidemark.runtime.settings import Settings

_log = logging.getLogger(__name__)


def announcing(pipeline: Pipeline, secret: Callable[[], bytes | None] = signing_key) -> Callable[[str, int], Output]:
    """What makes the record of an alarm.

    Args:
        pipeline: that follows it.
        secret: gives the key that models are signed with.

    Returns:
        From the alarm's name and time (µs) to its record.

    """
    return lambda name, at: alarm_record(pipeline.topics.models, Alarm(name=ALARMS[name], at=at), secret())


class AlarmFollower:
    """The newest alarm of a pipeline. Connects when it is first asked, and only where the pipeline reacts to any."""

    def __init__(
        self, pipeline: Pipeline, settings: Settings, secret: Callable[[], bytes | None] = signing_key
    ) -> None:
        self._topic, self._reacts = pipeline.topics.models, pipeline.drift.reaction is not None
        self._settings, self._secret = settings, secret
        self._lock = threading.Lock()
        self._tail: Tail | None = None
        self._closed = False
        self._newest: Alarm | None = None

    def newest(self) -> Alarm | None:
        """The alarm, None where there is none. Waits for the topic's end when it is first asked.

        Raises:
            BrokerError: Kafka does not answer then.

        """
        if not self._reacts:
            return None
        with self._lock:
            if self._closed:
                return self._newest
            if self._tail is None:
                self._tail = Tail(connected(self._settings), [self._topic])
                messages = self._tail.catch_up([self._topic])
            else:
                messages = self._tail.poll()
            for message in messages:
                self._take(message)
            return self._newest

    def at(self) -> int | None:
        """When it was noticed, µs; None where there is none."""
        alarm = self.newest()
        return None if alarm is None else alarm.at

    def close(self) -> None:
        """Follow no more."""
        with self._lock:
            self._closed = True
            if self._tail is not None:
                self._tail.close()

    def _take(self, message: Message) -> None:
        key, value, headers = record_of(message)
        if key != ALARM_KEY:
            return
        try:
            alarm = read_alarm(value, headers, self._secret())
        except ModelError as error:
            _log.warning("%s at offset %s: %s", self._topic, message.offset(), error)
            return
        if alarm is not None and (self._newest is None or alarm.at > self._newest.at):
            self._newest = alarm
