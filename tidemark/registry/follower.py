"""Hot swap: follows `P.models` in a thread of its own, checks each new champion there, and has it ready."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tidemark import kafka
from tidemark.errors import BrokerError, TidemarkError, TopicError
from tidemark.kafka import admin, topic_incarnation
from tidemark.pipeline import Pipeline
from tidemark.records import NO_MODEL, Metric, encode
from tidemark.registry.champion import ChampionKeeper
from tidemark.registry.label_counts import LabelCounts
from tidemark.registry.news import model_metric
from tidemark.registry.reading import record_of
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.schema import ModelSchema
from tidemark.registry.serving import ActiveModel
from tidemark.runtime.settings import Settings

_log = logging.getLogger(__name__)

_POLL: Final = 0.1
_INCARNATION_EVERY: Final = 2.0
_ASK: Final = 5.0
_LAST_WORDS: Final = 0.3
_BATCH: Final = 500
_START: Final = -2  # librdkafka's OFFSET_BEGINNING
_HELPER_KEPT: Final = 30.0
"""Seconds without a new champion after which the sandbox's helper ends: its start costs more than many checks, and
early models come seconds apart."""


class ModelWatcher:
    """The champion of a pipeline, kept current. A context manager; or `start` and `close`.

    A champion that fails a check is reported (log, and the metric `model_refused` in `P.metrics`) and the one before it
    stays in force.

    Each version that comes in force is told as well, as the metric `model_in_force`.

    secret: key that models must be signed with.  flow: who serves the models, for people.
    shadow: version of a model to have ready beside the champion, or `previous`.
    """

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        *,
        secret: bytes | None = None,
        flow: str = "stream",
        shadow: str | None = None,
    ) -> None:
        self._flow = flow
        self._told: str | None = None
        self._producer: Producer | None = None
        self._settings = settings
        self._topics = pipeline.topics
        self._admin: AdminClient | None = None
        self._keeper = ChampionKeeper(ModelSchema.of(pipeline), secret, self._report, shadow)
        self._sandbox = Sandbox()
        self._adopted_at = 0.0
        self._failure: TidemarkError | None = None
        self._ready = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"models-{pipeline.name}", daemon=True)

    @property
    def refused(self) -> dict[str, str]:
        """Why the latest refused versions and records were refused."""
        return dict(self._keeper.refused)

    def label_counts(self) -> LabelCounts | None:
        """What labels had told when there was no model; None where nothing is known. Never waits."""
        return self._keeper.label_counts

    def shadow(self) -> ActiveModel | None:
        """The model that is had ready beside the champion; None where there is none. Never waits."""
        return self._keeper.shadow

    def start(self) -> Self:
        """Begin to follow the topic."""
        self._thread.start()
        return self

    def current(self) -> ActiveModel | None:
        """The model in force now, None before the first. Never waits.

        Raises:
            TidemarkError: the topic can't be followed any more; whoever predicts must not go on with a stale model.

        """
        if self._failure is not None:
            raise self._failure
        if self._ready.is_set() and not self._thread.is_alive() and not self._stop.is_set():
            raise BrokerError(f"{self._topics.models} is no longer followed: a bug ended the thread; see the log")
        return self._keeper.current

    def wait_ready(self, timeout: float = 30.0) -> ActiveModel | None:
        """The model in force once the topic has been read to its end, so that a restart finds its champion.

        timeout: seconds.

        Raises:
            BrokerError: the end was not reached in time.
            TidemarkError: the topic can't be followed.

        """
        if not self._ready.wait(timeout):
            raise BrokerError(
                f"{self._topics.models}: not read to its end within {timeout:g} s; is Kafka up? Where the pipeline "
                "has not started yet, `tidemark up FILE` makes its topics"
            )
        return self.current()

    def close(self) -> None:
        """Stop following; the current model stays usable."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._follow_incarnation()
        except TidemarkError as error:
            self._failure = error
        except KafkaException as error:
            self._failure = BrokerError(f"{self._topics.models} can't be followed: {error.args[0].str()}")
        finally:
            self._sandbox.close()
            self._ready.set()
            self._leave()

    def _leave(self) -> None:
        """Let the clients go: one that stays looks for a Kafka that has ended, for as long as anybody knows this."""
        self._admin, producer, self._producer = None, self._producer, None
        if producer is not None:
            producer.flush(_LAST_WORDS)
            producer.purge()
            producer.close()

    def _follow_incarnation(self) -> None:
        """Follow the topic from its beginning until it is re-created or we are stopped."""
        topic = self._topics.models
        incarnation = self._wait_for_topic()
        if incarnation is None:
            return
        self._keeper.start_over(incarnation)
        partitions = self._partitions()
        if not partitions:
            return
        # Whoever starts waits for the end of the topic, which is told by a fetch that finds no records.
        wait = {"fetch_wait_max_ms": 100}
        consumer = kafka.consumer(self._settings, group=f"{topic}.watch", enable_partition_eof=True, **wait)
        try:
            consumer.assign([TopicPartition(topic, index, _START) for index in partitions])
            waiting, moved, checked_at = set(partitions), False, time.monotonic()
            while not self._stop.is_set():
                if self._producer is not None:
                    self._producer.poll(0)
                for message in consumer.consume(_BATCH, _POLL):
                    if _lost(message):
                        _log.warning("%s: the position is gone; following it from its beginning", topic)
                        return
                    moved |= self._take(message, waiting)
                if not waiting:
                    self._at_the_end(moved=moved)
                    moved = False
                if time.monotonic() - checked_at > _INCARNATION_EVERY:
                    checked_at = time.monotonic()
                    if self._incarnation() not in (incarnation, None):
                        _log.warning("%s was re-created; following the new one from its beginning", topic)
                        return
        finally:
            consumer.close()

    def _wait_for_topic(self) -> str | None:
        while not self._stop.wait(_POLL):
            if (incarnation := self._incarnation()) is not None:
                return incarnation
        return None

    def _incarnation(self) -> str | None:
        """None while the topic or Kafka is away: the current model stays in force meanwhile."""
        try:
            return topic_incarnation(self._client(), self._topics.models, timeout=_ASK)
        except TopicError:
            return None
        except (BrokerError, TimeoutError) as error:
            _log.warning("%s can't be looked at, and is tried again: %s", self._topics.models, error)
            return None

    def _partitions(self) -> list[int]:
        topic = self._topics.models
        try:
            return list(self._client().list_topics(topic, timeout=_ASK).topics[topic].partitions)
        except KafkaException as error:
            _log.warning("%s can't be looked at, and is tried again: %s", topic, error.args[0].str())
            return []

    def _client(self) -> AdminClient:
        if self._admin is None:
            self._admin = admin(self._settings)
        return self._admin

    def _take(self, message: Message, waiting: set[int]) -> bool:
        error = message.error()
        if error is None:
            return self._keeper.take(*record_of(message), f"offset {message.offset()}")
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own code has no public name
            waiting.discard(message.partition() or 0)
        elif error.fatal():
            raise BrokerError(f"{self._topics.models} can't be followed: {error.str()}")
        else:
            _log.warning("%s: %s", self._topics.models, error.str())
        return False

    def _at_the_end(self, *, moved: bool) -> None:
        """Put in force what the topic says now. The helper ends when no champion has come for a while."""
        if moved or not self._ready.is_set():
            self._keeper.adopt(self._sandbox)
            self._tell()
            self._adopted_at = time.monotonic()
        elif time.monotonic() - self._adopted_at > _HELPER_KEPT:
            self._sandbox.close()
        self._ready.set()

    def _tell(self) -> None:
        """Tell people which version is in force here, when that has changed."""
        version = self._keeper.version
        if self._told is None and version == NO_MODEL:
            return
        if version != self._told:
            self._told = version
            self._publish(model_metric(self._flow, version))

    def _report(self, what: str, reason: str) -> None:
        self._told = self._keeper.version
        self._publish(model_metric(self._flow, self._keeper.version, refused=what, reason=reason))

    def _publish(self, metric: Metric) -> None:
        """Hand a metric to Kafka, which nobody waits for: models must be followed on."""
        if self._producer is None:
            self._producer = kafka.producer(self._settings)
        self._producer.produce(self._topics.metrics, encode(metric), metric.name.encode(), on_delivery=self._published)
        self._producer.poll(0)

    def _published(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            _log.warning("what became of a model could not be written to %s: %s", self._topics.metrics, error.str())


def _lost(message: Message) -> bool:
    """Whether the consumer's position is no longer in the topic: it was re-created, or records were deleted."""
    error = message.error()
    return error is not None and error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)  # noqa: SLF001
