"""Sources of a small pipeline, without Kafka and with it: `from sourcing import ...`."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Message
from models import pipeline_text
from offsets import read_settled

from dataflows.engine.config import EngineConfig
from dataflows.engine.shutdown import Stop
from dataflows.engine.source_task import SourceTask
from support import wait_until
from tidemark.kafka import ensure_topics
from tidemark.kafka.headers import headers_of
from tidemark.pipeline import Pipeline, parse
from tidemark.records.source_kinds import SOURCE_KINDS
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings
from tidemark.sources.source import Positions, Setting, Source, SourceRecord


def toml(value: object) -> str:
    """A value as TOML writes it, in a line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(name)} = {toml(inner)}" for name, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def pipeline_of(kind: str, options: Mapping[str, object], name: str = "p", **spec: object) -> Pipeline:
    """A pipeline with one source, `s`.

    Args:
        kind: of the source.
        options: of it.
        name: of the pipeline.
        spec: more keys of the source.

    Returns:
        The pipeline, whose columns are key, time, a, b and c.

    """
    more = "".join(f"{key} = {toml(value)}\n" for key, value in spec.items())
    extra = f'[[sources]]\nname = "s"\nkind = "{kind}"\noptions = {toml(options)}\n{more}'
    return parse(pipeline_text(name, extra=extra), "p.toml")


def source_of(pipeline: Pipeline) -> Any:  # noqa: ANN401 - tests look at what a kind has of its own
    """The source of a pipeline, not open."""
    spec = pipeline.sources[0]
    kind = SOURCE_KINDS.get(spec.kind)
    options = kind.options.model_validate(spec.options)
    return kind.open(Setting(spec.name, options, pipeline, spec, pipeline.raw_topics[0], lambda: "0a1b2c3d"))


def read_until(source: Source, count: int, seconds: float = 20.0) -> list[SourceRecord]:
    """Records, until there are so many."""
    found: list[SourceRecord] = []

    def enough() -> bool:
        found.extend(source.read(1_000, 0.05))
        return len(found) >= count

    wait_until(enough, lambda: f"{len(found)} of {count} records came: {found[-3:]}", seconds)
    return found


class Committing:
    """Reads and commits in a thread, as a task does, and keeps what came. Kafka is never asked."""

    def __init__(self, source: Source, known: Positions | None = None) -> None:
        self.records: list[SourceRecord] = []
        self.paused = threading.Event()
        self._source, self._end = source, threading.Event()
        source.open(known or Positions())
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.is_set():
            came = self._source.read(1_000, 0.05)
            while self.paused.is_set() and not self._end.is_set():
                self._end.wait(0.01)
            self.records += came
            self._source.positions()
            self._source.committed()

    def stop(self) -> None:
        """End the thread and the source."""
        self._end.set()
        self._thread.join()
        self._source.close()


@contextmanager
def committing(source: Source) -> Iterator[Committing]:
    """The same, ended with the block."""
    running = Committing(source)
    try:
        yield running
    finally:
        running.stop()


class Running:
    """The task of a source on a real Kafka, in a thread."""

    def __init__(self, settings: Settings, pipeline: Pipeline, home: Path, **config: Any) -> None:  # noqa: ANN401
        ensure_topics(
            settings,
            [
                TopicSpec(pipeline.raw_topics[0], pipeline.partitions, {}),
                TopicSpec(pipeline.topics.deadletter, 1, {}),
            ],
        )
        self.settings, self.pipeline, self.stop_asked = settings, pipeline, Stop()
        spec = pipeline.sources[0]
        mine = settings.model_copy(update={"state_dir": home})
        made = EngineConfig(group=f"{pipeline.name}.source.{spec.name}", settings=mine, **config)
        self.task = SourceTask(made, pipeline, spec, self.stop_asked)
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def source(self) -> Any:  # noqa: ANN401 as above
        """The source."""
        return self.task.source

    def _run(self) -> None:
        try:
            self.task.run()
        except BaseException as error:  # noqa: BLE001 the test's thread raises it
            self.error = error

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self.stop_asked.request()
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error


@contextmanager
def running(settings: Settings, pipeline: Pipeline, home: Path, **config: Any) -> Iterator[Running]:  # noqa: ANN401
    """The task of a source, ended with the block."""
    task = Running(settings, pipeline, home, **config)
    try:
        yield task
    finally:
        task.stop()


def raw(settings: Settings, pipeline: Pipeline) -> list[Message]:
    """What is in the raw topic."""
    return read_settled(settings, pipeline.raw_topics[0])


def values(messages: Sequence[Message]) -> list[object]:
    """The JSON of records."""
    return [json.loads(message.value() or b"null") for message in messages]


def headers(message: Message) -> dict[str, bytes | None]:
    """The headers of a record by name."""
    return dict(headers_of(message) or [])
