"""One observer for all who watch a pipeline: it looks at Kafka when somebody asks, and not more often than it must."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from console.loop.kafka import kafka_settings
from console.loop.series import Series
from tidemark.errors import TidemarkError
from tidemark.observe import Observer, Snapshot
from tidemark.observe.refusals import Refusals
from tidemark.observe.sampling import Sample
from tidemark.observe.status import shown_topics
from tidemark.pipeline import Pipeline
from tidemark.records import ModelManifest
from tidemark.runtime.settings import Settings

FRESH_SECONDS: Final = 2.0
_LEFT_SECONDS: Final = 300.0
"""After which Kafka is left, where nobody has asked."""


@dataclass(frozen=True, slots=True)
class Look:
    """A look at a pipeline. sample: None while it has never been started.  manifests: newest first.

    refused: dead letters of the last 24 hours, by the topic that their records were in.
    """

    snapshot: Snapshot
    sample: Sample | None
    manifests: Sequence[ModelManifest]
    series: Series
    refused: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Watch:
    """The observer of one pipeline, in a thread of its own."""

    pipeline: Pipeline
    settings: Settings
    file: str
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "console-watch"))
    _observer: Observer | None = None
    _refusals: Refusals | None = None
    _series: Series = field(default_factory=Series)
    _last: Look | None = None
    _looked: float = 0.0
    _failed: TidemarkError | None = None

    async def look(self) -> Look:
        """The pipeline now, or a moment ago.

        Raises:
            TidemarkError: Kafka can't be asked.

        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._look)

    async def close(self) -> None:
        """Leave Kafka."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._leave)
        self._thread.shutdown()

    def _look(self) -> Look:
        now = time.monotonic()
        if now - self._looked < FRESH_SECONDS:
            if self._failed is not None:  # a Kafka that is down takes seconds to say so, and others wait
                raise self._failed
            if self._last is not None:
                return self._last
        if self._observer is not None and now - self._looked > _LEFT_SECONDS:
            self._leave()
        try:
            if self._observer is None:
                self._open()
            observer = self._observer
            if observer is None:
                raise RuntimeError("an observer was opened and is not there")
            snapshot = observer.look()
            sample = observer.sample(snapshot, shown_topics(self.pipeline)) if snapshot.begun else None
            self._last = Look(snapshot, sample, observer.manifests, self._series, self._refused(snapshot))
        except TidemarkError as error:
            self._leave()
            self._failed, self._looked = error, time.monotonic()
            raise
        self._failed, self._looked = None, time.monotonic()
        return self._last

    def _refused(self, snapshot: Snapshot) -> Mapping[str, int]:
        ends = snapshot.parts.get(self.pipeline.topics.deadletter, {})
        return {} if self._refusals is None else self._refusals.look(ends, snapshot.at)

    def _open(self) -> None:
        settings = kafka_settings(self.settings)
        self._series = Series()
        log = settings.state_dir / "pipelines" / self.pipeline.name / "tidemark.log"
        self._observer = Observer(self.pipeline, settings, file=self.file, log=log, heard=self._series.take)
        self._refusals = Refusals(settings, self.pipeline.topics.deadletter)

    def _leave(self) -> None:
        observer, self._observer, self._last = self._observer, None, None
        refusals, self._refusals = self._refusals, None
        for each in (observer, refusals):
            if each is not None:
                each.close()
