"""What the benchmarks of the flows share: a Kafka of their own, the fraud pipeline, its events, models to serve."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tidemark.broker import EmbeddedKafka
from tidemark.cli.up import prepare
from tidemark.kafka import producer_config
from tidemark.kafka.clients import connect
from tidemark.pipeline import Pipeline, load
from tidemark.runtime.settings import Settings
from tidemark.simulators.fraud import simulate
from tidemark.training.first import from_history, publish_first

PIPELINE_FILE = Path(__file__).parents[2] / "pipelines" / "fraud.toml"
_HISTORY = 20_000
_STEP = 0.05
_HELD_BACK = 0.25


@contextmanager
def own_kafka(folder: Path) -> Iterator[tuple[EmbeddedKafka, Settings]]:
    """A Kafka of the block's own in `folder`, and settings that name it and keep all other state there as well."""
    with EmbeddedKafka(folder / "kafka", settings=Settings.from_environment()) as kafka:
        settings = Settings.from_environment({}).at(kafka.bootstrap_servers)
        yield kafka, settings.model_copy(update={"state_dir": folder / "home"})


def set_up(settings: Settings) -> Pipeline:
    """The fraud pipeline, with its topics made."""
    pipeline = load(PIPELINE_FILE)
    prepare(pipeline, settings)
    return pipeline


def reset(settings: Settings, pipeline: Pipeline) -> None:
    """Delete what the flow made, and the raw records, so that it begins anew; models stay."""
    admin = connect(settings)
    made = [*pipeline.raw_topics, *pipeline.hop_topics, pipeline.topics.predictions, pipeline.topics.proposals]
    for future in admin.delete_topics(made).values():
        future.result(30)
    while set(made) & set(admin.list_topics(timeout=10).topics):
        time.sleep(0.1)
    for future in admin.delete_consumer_groups([f"{pipeline.name}.stream"]).values():
        try:
            future.result(30)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:  # no process of the flow has run yet
                raise
    set_up(settings)


def events(seed: int, count: int, *, disorder: int = 0) -> pl.DataFrame:
    """Simulated payments; each moved by up to `disorder` places from its place in time, most by far less."""
    frame = simulate(seed, count).events
    if disorder == 0:
        return frame
    rng = np.random.default_rng([seed, 0xD150])
    moved = np.where(rng.random(count) < 0.2, rng.exponential(disorder / 5, count), rng.random(count))
    return frame[np.argsort(np.arange(count) + np.minimum(moved, disorder), kind="stable")]


def publish_model(settings: Settings, pipeline: Pipeline, seed: int) -> str:
    """Train on a history of another seed and publish as champion, in the place of the one before; its version."""
    simulation = simulate(1_000 + seed, _HISTORY)
    truth = simulation.truth.select("business_id", pl.col("label").alias("_label"))
    history = simulation.events.join(truth, left_on="transaction_id", right_on="business_id", how="inner")
    spec = pipeline.label.model_copy(update={"column": "_label"})
    labeled = pipeline.model_copy(update={"label": spec})
    model = from_history(labeled, history, f"simulation {1_000 + seed}", all_known=True)
    return publish_first(settings, pipeline, model, replace=True).version


class RecordFeed:
    """Produces records, each a topic, a key and a value, from the first on."""

    def __init__(self, settings: Settings, records: Sequence[tuple[str, bytes, bytes]]) -> None:
        self._producer = Producer(producer_config(settings))
        self._records = records
        self.sent = 0

    def send(self, count: int) -> None:
        """The next `count` records, as far as there are any."""
        end = min(self.sent + count, len(self._records))
        for number in range(self.sent, end):
            topic, key, value = self._records[number]
            self._producer.produce(topic, value, key)
            if number % 1_000 == 0:
                self._producer.poll(0)
        self.sent = end

    def send_all(self) -> None:
        """All that is left; returns when it is in Kafka."""
        self.send(len(self._records))
        self.flush()

    def send_until(self, over: threading.Event, horizon: float) -> None:
        """Most records over `horizon` seconds, a trickle until something is `over`, and then the rest.

        So there are always new records while faults come: without them nobody can see who processes them.
        """
        everything = len(self._records)
        trickle = max(1, everything // 20_000)
        free = int(everything * (1 - _HELD_BACK))
        while not over.wait(_STEP):
            self.send(max(trickle, int((free - self.sent) * _STEP / horizon)))
        self.send_all()

    def flush(self) -> None:
        """Return when all that was sent is in Kafka."""
        if left := self._producer.flush(120):
            raise RuntimeError(f"{left} records were not acknowledged")


class Feed(RecordFeed):
    """Produces events as JSON, keyed by the pipeline's first key, from the first on."""

    def __init__(self, settings: Settings, pipeline: Pipeline, frame: pl.DataFrame) -> None:
        topic = pipeline.raw_topics[0]
        keys = [str(key).encode() for key in frame[pipeline.keys[0]].to_list()]
        values = frame.write_ndjson().encode().splitlines()
        super().__init__(settings, [(topic, key, value) for key, value in zip(keys, values, strict=True)])


def created(messages: list[Message]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """When each record was produced, ms since 1970, sorted."""
    return np.sort(np.array([message.timestamp()[1] for message in messages], np.int64))
