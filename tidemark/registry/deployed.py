"""The pipeline file that the stream flow last ran with, as `P.models` keeps it: what an edit is compared with."""

from __future__ import annotations

import logging
from typing import Final

from confluent_kafka import KafkaException

from tidemark import kafka
from tidemark.errors import BrokerError, RecordError, TopicError
from tidemark.kafka import read_all
from tidemark.pipeline import Pipeline
from tidemark.pipeline.definitions import definitions
from tidemark.pipeline.numbers import NumberReader
from tidemark.records import Record, decode, encode
from tidemark.registry import signature
from tidemark.registry.codec import signed
from tidemark.registry.reading import record_of
from tidemark.runtime.settings import Settings

KEY: Final = b"pipeline/deployed"
_FLUSH: Final = 10.0
_log = logging.getLogger(__name__)


class DeployedFeature(Record, frozen=True, kw_only=True):
    """A feature: the id of its definition, and the definition for people."""

    id: str
    text: str


class DeployedNumber(Record, frozen=True, kw_only=True):
    """A label that is a number: of what, and between which bounds."""

    unit: str
    least: float
    greatest: float


class Deployed(Record, frozen=True, kw_only=True):
    """`P.models`, key `pipeline/deployed`.

    features: in the file's order.  reach: how far behind the watermark rows matter to the windows of each key, µs.
    number: of a label that is one, which has no classes.
    """

    features: dict[str, DeployedFeature]
    classes: list[str]
    reach: dict[str, int]
    number: DeployedNumber | None = None

    @classmethod
    def of(cls, pipeline: Pipeline) -> Deployed:
        """What a pipeline file says."""
        features = {
            name: DeployedFeature(id=each.id, text=each.text[:500]) for name, each in definitions(pipeline).items()
        }
        sizes = {key: [window.size for window in pipeline.windows if window.key == key] for key in pipeline.keys}
        reach = {key: max(each, default=0) + pipeline.time.lateness for key, each in sizes.items()}
        label, number = pipeline.label, None
        if label.is_number:
            reader = NumberReader(label)
            number = DeployedNumber(unit=label.unit or "", least=reader.least, greatest=reader.greatest)
        return cls(features=features, classes=list(label.classes), reach=reach, number=number)


def read_deployed(
    settings: Settings, topic: str, *, secret: bytes | None = None, settled: bool = False
) -> Deployed | None:
    """What was recorded last in `topic` (`P.models`); None if nothing was, or not by whoever has the key.

    Args:
        settings: that name the Kafka.
        topic: its name.
        secret: the key with which its records are signed, if they are.
        settled: as `read_all` has it.

    Returns:
        The record, or None.

    Raises:
        BrokerError: Kafka does not answer.

    """
    found: Deployed | None = None
    try:
        messages = read_all(settings, topic, settled=settled)
    except TopicError:
        return None  # nothing was ever deployed
    for message in messages:
        key, value, headers = record_of(message)
        if key != KEY or value is None:
            continue
        given = signature.given(headers)
        why = signature.refusal(key, value, given, secret)
        try:
            found = None if why else decode(Deployed, value)
        except RecordError as error:
            why = error.reason
        if why:
            _log.error("%s: the record of the deployed pipeline is passed over: %s", topic, why)
    return found


def record_deployed(settings: Settings, pipeline: Pipeline, *, secret: bytes | None = None) -> None:
    """Record what the flows run with, where it is not what was recorded last.

    Raises:
        BrokerError: Kafka does not take it.

    """
    topic, now = pipeline.topics.models, Deployed.of(pipeline)
    if read_deployed(settings, topic, secret=secret) == now:
        return
    record = signed(topic, KEY, encode(now), secret)
    producer = kafka.producer(settings)
    try:
        producer.produce(topic, record.value, KEY, headers=list(record.headers))
        left = producer.flush(_FLUSH)
    except KafkaException as error:
        raise BrokerError(f"{topic}: what is deployed could not be recorded: {error.args[0].str()}") from error
    if left:
        raise BrokerError(f"{topic}: what is deployed could not be recorded within {_FLUSH:g} s; is Kafka overloaded?")
