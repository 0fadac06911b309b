"""A pipeline with a webhook on a real Kafka, and records that it tells: `from hooking import ...`."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from feeding import feeder
from models import pipeline_text
from receiving import Receiver, Request

from dataflows.engine.config import EngineConfig
from dataflows.engine.shutdown import Stop
from dataflows.engine.webhook_task import WebhookTask
from support import wait_until
from tidemark.cli.topics_compared import made
from tidemark.kafka import ensure_topics
from tidemark.pipeline import Pipeline, parse
from tidemark.records import Champion, Label, Metric, encode
from tidemark.registry.codec import CHAMPION_KEY, signed
from tidemark.runtime.processor import Output
from tidemark.runtime.settings import Settings
from tidemark.webhooks.declared import requests_of

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
EVENTS = ("label.completed", "model.champion_changed", "drift.detected", "deadletter.added")
MICROS = 1_750_000_000_000_000


def hooked_text(name: str, *webhooks: tuple[str, str, Sequence[str]]) -> str:
    """The text of a pipeline file with webhooks: name, address and events of each."""
    tables = "".join(
        f'[[webhooks]]\nname = "{each}"\nurl = "{url}"\nevents = {list(events)}\nprivate_host = "127.0.0.1"\n'
        'secret_env = "HOOK_SECRET"\n'
        for each, url, events in webhooks
    )
    return pipeline_text(name, extra=tables)


def hooked(settings: Settings, folder: Path, text: str) -> tuple[Pipeline, Settings, Path]:
    """A pipeline of a text, with its topics made and a folder of state; its file is in the folder."""
    pipeline = parse(text, "p.toml")
    file = folder / "p.toml"
    file.write_text(text)
    own = settings.model_copy(update={"state_dir": folder / "state"})
    ensure_topics(own, made(pipeline))
    return pipeline, own, file


def label(number: int, name: str = "yes") -> Label:
    """A person's answer."""
    return Label(
        event_id=f"e{number}",
        business_id=None,
        key="k",
        time=MICROS + number,
        status="answered",
        label=name,
        annotator="ada",
        known_at=MICROS + number,
        answered_at=MICROS + number,
        reason="uncertain",
        inclusion_probability=None,
        tile=0,
        tile_count=1,
        policy="robust",
        features={},
        probabilities=None,
        uncertainty=None,
        model="none",
    )


def alarm(name: str = "quality_fell", number: int = 0) -> Metric:
    """An alarm of drift."""
    return Metric(
        name=name,
        value=1.0,
        low=None,
        high=None,
        n=100 + number,
        at=MICROS,
        model="",
        source="labels",
        detail={"since": MICROS},
    )


def champion(pipeline: Pipeline, serial: int) -> Output:
    """The record that names a champion."""
    pointer = Champion(version=f"v{serial:06d}-00000000", since=MICROS, parent=None)
    return signed(pipeline.topics.models, CHAMPION_KEY, encode(pointer), None)


def letter(pipeline: Pipeline, number: int, step: str = "decode") -> Output:
    """A dead letter."""
    headers = (("step", step.encode()), ("reason", b"is no JSON"), ("source_topic", b"p.raw"))
    return Output(pipeline.topics.deadletter, b"x%d" % number, headers=headers)


def produce(settings: Settings, outputs: Sequence[Output]) -> None:
    """Records of a producer without transactions; in Kafka when this returns."""
    produce_to(settings, outputs, -1)


def produce_to(settings: Settings, outputs: Sequence[Output], partition: int) -> None:
    """The same, to one partition, which may have been added just now; -1: whichever."""
    producer = feeder(settings)
    for topic in {output.topic for output in outputs if partition >= 0}:
        known = partial(_has, producer, topic, partition)
        wait_until(known, f"{topic} has no partition {partition}")
    for output in outputs:
        producer.produce(output.topic, output.value, output.key, partition, headers=list(output.headers))
    assert producer.flush(60) == 0


def labels(pipeline: Pipeline, first: int, last: int) -> list[Output]:
    """Answers by number."""
    return [Output(pipeline.topics.labels, encode(label(number)), b"k") for number in range(first, last)]


def _has(producer: Producer, topic: str, partition: int) -> bool:
    return partition in producer.list_topics(topic, timeout=10).topics[topic].partitions


def verified(request: Request) -> dict[str, Any]:
    """The body of a request whose signature is right, as a receiver of its own would check it."""
    headers = request.headers
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
    wanted = hmac.new(bytes(range(32)), content, hashlib.sha256).digest()
    given = [each.partition(",") for each in headers["webhook-signature"].split(" ")]
    assert any(version == "v1" and base64.b64decode(text) == wanted for version, _, text in given)
    body: dict[str, Any] = json.loads(request.body)
    return body


def events_told(receiver: Receiver) -> list[str]:
    """Event ids of the labels that came, each as often as it came."""
    with receiver.lock:
        return [verified(request)["data"]["event_id"] for request in receiver.requests]


@contextmanager
def running(
    pipeline: Pipeline, settings: Settings, name: str, *, clock: Callable[[], float], jitter: float = 0.5
) -> Iterator[WebhookTask]:
    """A webhook's task in this process, started; a test makes its steps.

    Args:
        pipeline: that declares it.
        settings: that name the Kafka.
        name: of the webhook.
        clock: s since 1970.
        jitter: what is drawn.

    Yields:
        The task.

    """
    spec = next(each for each in pipeline.webhooks if each.name == name)
    config = EngineConfig(group=f"{pipeline.name}.webhook.{name}", settings=settings)
    task = WebhookTask(config, pipeline, spec, Stop(), requests_of(pipeline, spec), clock=clock, jitter=lambda: jitter)
    task.start()
    try:
        yield task
    finally:
        task.close()
