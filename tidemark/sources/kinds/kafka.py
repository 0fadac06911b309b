"""Topics of another Kafka, each record once: how far they were read is committed with the records here."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from pydantic import Field, model_validator

from tidemark import kafka
from tidemark.errors import BrokerError, ConfigError, TopicError
from tidemark.kafka import topic_incarnation
from tidemark.kafka.headers import headers_of
from tidemark.records.source_kinds import SourceKind, SourceOptions
from tidemark.runtime.secrets import secret
from tidemark.runtime.settings import FIXED, Settings, is_secret
from tidemark.sources.source import Positions, Setting, SourceRecord

_log = logging.getLogger(__name__)
_LOOK_SECONDS: Final = 30.0
_ASK: Final = 10.0
_BATCH: Final = 1_000
_REFUSED: Final = {
    KafkaError._AUTHENTICATION,  # noqa: SLF001 the client's own codes have no public names
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
}
_GONE: Final = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}  # noqa: SLF001 as above


class KafkaOptions(SourceOptions):
    """Options of a `kafka` source."""

    bootstrap: Annotated[str, Field(min_length=1, max_length=2_000)]
    """The other Kafka, as `host:port,host:port`."""
    topics: Annotated[list[str], Field(min_length=1, max_length=100)]
    """Topics that are read."""
    settings: Annotated[dict[str, str], Field(default_factory=dict)]
    """Properties of librdkafka, such as `{ "security.protocol" = "SASL_SSL" }`. Secrets can't be here."""
    secret_files: Annotated[dict[str, str], Field(default_factory=dict)]
    """Properties that are secrets, such as `sasl.password`: property to file."""
    secret_envs: Annotated[dict[str, str], Field(default_factory=dict)]
    """The same: property to environment variable."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where a partition begins that was not read before."""
    gap: Literal["stop", "skip"] = "stop"
    """Where the other Kafka has removed records that were not read: stop and say so, or go on behind them."""

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        for name in self.settings:
            if is_secret(name):
                raise ValueError(f"{name} is a secret; name a file in secret_files, or a variable in secret_envs")
        for name in [*self.settings, *self.secret_files, *self.secret_envs]:
            if name in FIXED:
                raise ValueError(f"{name[:60]} can't be set: it is Tidemark's own")
        if twice := (self.settings.keys() & self.secret_files) | (self.secret_envs.keys() & self.secret_files):
            raise ValueError(f"{min(twice)[:60]} is given twice; keep one")
        return self


class KafkaSource:
    """Reads all partitions, without a group: offsets are kept here."""

    def __init__(self, setting: Setting) -> None:
        """Prepare for a setting."""
        options = setting.options
        assert isinstance(options, KafkaOptions)  # noqa: S101 by the kind
        self._setting, self._options = setting, options
        self._wanted = frozenset(setting.spec.columns.values()) - {"body"}
        self._consumer: Consumer | None = None
        self._next: dict[tuple[str, int], int] = {}
        self._moved: set[tuple[str, int]] = set()
        self._incarnations: dict[str, str] = {}
        self._known: Mapping[str, str | None] = {}
        self._looked = 0.0
        self._refused: list[KafkaError] = []

    def open(self, known: Positions) -> None:
        """Read on where it was committed.

        Raises:
            ConfigError: the other Kafka refuses the client, or has no such topic.
            BrokerError: it does not answer.

        """
        self.close()
        self._known, self._next, self._moved, self._refused = known.own, {}, set(), []
        settings = self._settings()
        try:
            self._incarnations = {
                topic: topic_incarnation(settings, topic, timeout=_ASK) for topic in self._options.topics
            }
        except TopicError as error:
            raise ConfigError(f"source '{self._setting.name}': {error}") from error
        self._consumer = kafka.consumer(
            settings,
            group=f"tidemark-{self._setting.pipeline.name}-{self._setting.name}",
            queued_max_messages_kbytes=16_384,
            error_cb=self._failed,
            log_level=2,
        )
        self._assign(self._consumer)

    def _settings(self) -> Settings:
        options, name = self._options, self._setting.name
        properties = dict(options.settings)
        for named, file in options.secret_files.items():
            properties[named] = secret(f"source '{name}'", named, str(self._setting.path(file)), None) or ""
        for named, variable in options.secret_envs.items():
            properties[named] = secret(f"source '{name}'", named, None, variable) or ""
        return Settings(bootstrap_servers=options.bootstrap, kafka=properties)

    def _failed(self, error: KafkaError) -> None:
        if error.code() in _REFUSED:
            self._refused.append(error)

    def _assign(self, consumer: Consumer) -> None:
        """Take the partitions that there are, also such as came later."""
        self._looked = time.monotonic()
        try:
            listed = consumer.list_topics(timeout=_ASK).topics
        except KafkaException as error:
            raise self._silent(error) from error
        fresh = [
            TopicPartition(topic, index, self._start(consumer, topic, index))
            for topic in self._options.topics
            if topic in listed
            for index in sorted(listed[topic].partitions)
            if (topic, index) not in self._next
        ]
        for partition in fresh:
            self._next[partition.topic, partition.partition] = partition.offset
            if f"{partition.topic}/{partition.partition}" not in self._known and partition.offset >= 0:
                self._moved.add((partition.topic, partition.partition))
        if fresh:
            consumer.incremental_assign(fresh)

    def _start(self, consumer: Consumer, topic: str, index: int) -> int:
        told = self._known.get(f"{topic}/{index}")
        if told is not None:
            offset, _, incarnation = told.partition(" ")
            if incarnation == self._incarnations[topic] and offset.isdecimal():
                return int(offset)
        first = not any(name.startswith(f"{topic}/") for name in self._known)
        latest = self._options.start == "latest" and first and told is None
        return self._end(consumer, topic, index) if latest else OFFSET_BEGINNING

    def _end(self, consumer: Consumer, topic: str, index: int) -> int:
        """The end as a number. It is committed before anything is read: the end is elsewhere when it is asked again."""
        try:
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, index), timeout=_ASK)
        except KafkaException as error:
            raise self._silent(error) from error
        return end

    def _silent(self, error: KafkaException) -> BrokerError:
        return BrokerError(
            f"source '{self._setting.name}': Kafka at {self._options.bootstrap} does not answer "
            f"({error.args[0].str()}); is it up, and are bootstrap and settings right?"
        )

    def read(self, most: int, seconds: float) -> Sequence[SourceRecord]:
        """The next records.

        Raises:
            ConfigError: the other Kafka refuses the client, or has removed records that were not read.

        """
        consumer = self._consumer
        assert consumer is not None  # noqa: S101 it is open
        if self._refused:
            raise ConfigError(
                f"source '{self._setting.name}': Kafka at {self._options.bootstrap} refuses the client: "
                f"{self._refused[0].str()}; correct settings and secrets"
            )
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            try:
                self._assign(consumer)
            except BrokerError as error:  # what is assigned is read again when it is back
                _log.warning("%s", error)
        # `consume` waits for its whole time-out with a batch that is not full.
        first = consumer.poll(seconds)
        if first is None:
            return []
        return [
            record
            for message in [first, *consumer.consume(min(most, _BATCH), 0.0)]
            if (record := self._record(consumer, message)) is not None
        ]

    def _record(self, consumer: Consumer, message: Message) -> SourceRecord | None:
        topic, index, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
        if (error := message.error()) is not None:
            self._see_to(consumer, error, topic, index)
            return None
        self._next[topic, index] = offset + 1
        self._moved.add((topic, index))
        return SourceRecord(message.value() or b"", f"{topic}[{index}] {offset}", self._attributes(message))

    def _see_to(self, consumer: Consumer, error: KafkaError, topic: str, index: int) -> None:
        if error.code() in _REFUSED:
            self._refused.append(error)
        elif error.code() in _GONE:
            if self._options.gap == "stop":
                raise ConfigError(
                    f"source '{self._setting.name}': {topic}[{index}] no longer has the records from offset "
                    f'{self._next[topic, index]} on, which were not read; write gap = "skip" to go on behind them'
                )
            place = TopicPartition(topic, index, OFFSET_BEGINNING)
            consumer.incremental_unassign([place])
            consumer.incremental_assign([place])

    def _attributes(self, message: Message) -> dict[str, str]:
        if not self._wanted:
            return {}
        kind, milliseconds = message.timestamp()
        told: dict[str, str] = {
            "topic": message.topic() or "",
            "partition": str(message.partition()),
            "offset": str(message.offset()),
        }
        if kind and 0 <= milliseconds < 253_402_300_800_000:
            told["timestamp"] = datetime.fromtimestamp(milliseconds / 1_000, UTC).isoformat(timespec="milliseconds")
        if (key := message.key()) is not None:
            told["key"] = _text(key)
        for name, value in reversed(headers_of(message) or []):
            if f"header.{name}" in self._wanted and value is not None:
                told[f"header.{name}"] = _text(value)
        return told

    def positions(self) -> Positions:
        """The offset behind what was read, of each partition that moved."""
        return Positions(
            {
                f"{topic}/{index}": f"{self._next[topic, index]} {self._incarnations[topic]}"
                for topic, index in self._moved
            }
        )

    def committed(self) -> None:
        """Positions that are committed need not be committed again."""
        self._known = {**self._known, **self.positions().own}
        self._moved = set()

    def close(self) -> None:
        """Let the client go."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode(errors="backslashreplace")


KIND: Final = SourceKind(
    meaning="Records of topics of another Kafka, each exactly once.",
    options=KafkaOptions,
    attributes={
        "topic": "Topic of the record.",
        "partition": "Partition of the record.",
        "offset": "Offset of the record.",
        "timestamp": "Kafka's timestamp of the record, as ISO 8601.",
        "key": "Key of the record, as text.",
        "header.": "A header of the record by its name.",
    },
    open=KafkaSource,
    alone=True,
    binary=True,
)
