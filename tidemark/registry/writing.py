"""What commands write to the models topic: in one transaction, after all that others wrote, checked as readers do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from confluent_kafka import KafkaException

from tidemark import kafka
from tidemark.errors import BrokerError
from tidemark.kafka import ensure_topics, wait_settled
from tidemark.pipeline import Pipeline
from tidemark.records import ModelManifest
from tidemark.registry.codec import Registry
from tidemark.registry.reading import read_registry
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.schema import ModelSchema
from tidemark.registry.validate import Validator
from tidemark.runtime.processor import Output
from tidemark.runtime.settings import Settings

T = TypeVar("T")
_TRANSACTION_SECONDS: Final = 30.0


def write_models(
    settings: Settings,
    pipeline: Pipeline,
    compose: Callable[[Registry], tuple[list[Output], T]],
    *,
    secret: bytes | None = None,
) -> T:
    """Write records to `P.models` that follow from what it holds.

    Args:
        settings: that name the Kafka.
        pipeline: whose topic it is.
        compose: gives the records, of what the topic holds, and what they are for. What it raises ends the writing.
        secret: the key with which records are signed, if they are.

    Returns:
        What the records are for.

    Raises:
        ModelError: `compose` refuses.
        BrokerError: Kafka does not take them.

    """
    topic = pipeline.topics.models
    specs = pipeline.topics.specs(
        raw=[], hops=[], partitions=pipeline.partitions, retention_ms=pipeline.retention.events // 1_000
    )
    ensure_topics(settings, [spec for spec in specs if spec.name == topic])
    producer = kafka.producer(settings, transactional_id=f"{pipeline.name}.train")
    try:
        # Ends what an earlier command left, so that the models it may have published are seen.
        producer.init_transactions(_TRANSACTION_SECONDS)
    except KafkaException as error:
        raise BrokerError(f"{topic}: Kafka gives no transactions: {error.args[0].str()}") from error
    outputs, found = compose(read_registry(settings, topic, secret=secret, settled=True))
    try:
        producer.begin_transaction()
        for output in outputs:
            producer.produce(output.topic, output.value, output.key, headers=list(output.headers))
        producer.commit_transaction(_TRANSACTION_SECONDS)
    except KafkaException as error:
        raise BrokerError(f"{topic}: the records could not be written: {error.args[0].str()}") from error
    wait_settled(settings, topic)  # so that a flow that is started next finds them
    return found


def checked(pipeline: Pipeline, outputs: list[Output], version: str, secret: bytes | None) -> ModelManifest:
    """A model as its readers will find it (`Validator.check_outputs`), in a sandbox of its own.

    Args:
        pipeline: that it must fit.
        outputs: the records that will publish it.
        version: of the model.
        secret: the key with which they are signed, if they are.

    Returns:
        The manifest.

    Raises:
        ModelError: the readers would refuse it, and why.

    """
    with Sandbox() as sandbox:
        return Validator(ModelSchema.of(pipeline), sandbox).check_outputs(outputs, version, secret).manifest
