"""A Kafka of the benchmark's own, with new topics for each run of an engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from benchmarks.loop.fraud_loop import own_kafka, reset, set_up
from benchmarks.stream.engines import TIDEMARK, Engine, EngineProcess, Run
from benchmarks.stream.workload import Workload, publish_forest
from tidemark.kafka import ensure_topics
from tidemark.kafka.clients import connect
from tidemark.records.topics import TopicSpec

_PATIENCE: Final = 30.0


class Rig:
    """The broker, the model and the events of one invocation."""

    def __init__(self, folder: Path, stack: ExitStack, events: int) -> None:
        self.folder = folder
        kafka, self.settings = stack.enter_context(own_kafka(folder))
        self.broker_pid = next(iter(kafka.pids.values()))
        self.pipeline = set_up(self.settings)
        self.model_file = folder / "model.txt"
        self.version = publish_forest(self.settings, self.pipeline, self.model_file)
        self.workload = Workload(events, self.model_file)
        self.admin = connect(self.settings)
        self._runs = 0
        self._used = False

    @contextmanager
    def started(self, engine: Engine) -> Iterator[tuple[EngineProcess, Run]]:
        """An engine on new topics."""
        self._runs += 1
        folder = self.folder / f"run{self._runs}"
        folder.mkdir()
        engine.prepare()
        if engine.name == TIDEMARK:
            if self._used:
                reset(self.settings, self.pipeline)
            self._used = True
            source, target = self.pipeline.raw_topics[0], self.pipeline.topics.predictions
        else:
            source, target = f"bench{self._runs}.in", f"bench{self._runs}.out"
            specs = [TopicSpec(topic, self.pipeline.partitions, {}) for topic in (source, target)]
            ensure_topics(self.settings, specs)
        self._stamp_by_kafka(source)
        run = Run(self.settings, source, target, folder, self.model_file, self.version)
        with EngineProcess(engine, run) as process:
            yield process, run
        if engine.name != TIDEMARK:
            topics = self.admin.list_topics(timeout=10).topics
            made = [each for each in topics if each.startswith((source, target))]
            for future in self.admin.delete_topics(made).values():
                future.result(_PATIENCE)

    def _stamp_by_kafka(self, topic: str) -> None:
        """Let records have the time at which they were appended; asked again until all of Kafka knows the topic."""
        entry = ConfigEntry("message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self.admin.incremental_alter_configs([resource])[resource].result(_PATIENCE)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return
