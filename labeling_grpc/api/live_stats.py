"""What is told of the queue while it works: its numbers, who answers in it, and what happens to its cases."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from labeling_grpc.api import mapping
from labeling_grpc.commands.events import CaseEvent
from labeling_grpc.commands.labeling import (
    Counts,
)
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.contract.message_sizes import MAX_EVENTS
from labeling_grpc.kafka.leader import Problems
from labeling_grpc.queue import queries
from labeling_grpc.queue.consensus import CONSENSUS
from labeling_grpc.storage.group_commit import Writer
from labeling_grpc.storage.read_pool import Reader
from labeling_grpc.v1 import labeling_pb2 as pb

MAX_WATCHERS: Final = 1_000
MAX_ANNOTATORS: Final = 1_000
"""Counted by name; the first seen are forgotten first."""
_BUFFER: Final = 1_000
_OVERVIEW_SECONDS: Final = 1.0
_OVERVIEW_SHARE: Final = 20.0
"""A queue that takes long to count is counted seldom: at most a twentieth of a core counts."""

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Watcher:
    """Who hears of events. admin: of those of gold cases too, which tell others what has an answer already."""

    stats_only: bool
    admin: bool = True
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    events: deque[CaseEvent] = field(default_factory=deque)
    missed: int = 0
    size: int = 0

    def take(self, events: Iterable[CaseEvent]) -> None:
        """Keep events until they are sent, as many as may wait, and wake who sends them."""
        if not self.stats_only:
            for event in events:
                if event.gold and not self.admin:
                    continue
                if len(self.events) < _BUFFER and self.size < MAX_EVENTS:
                    self.events.append(event)
                    self.size += len(event.event_id) + len(event.annotator) + len(event.label or "")
                else:
                    self.missed += 1
        self.changed.set()


class LiveStats:
    """The queue in numbers, and who watches it. Lives in one event loop."""

    def __init__(
        self, pipeline: str, question: pb.Question, writer: Writer, problems: Problems, reader: Reader
    ) -> None:
        """Listen to `writer`. pipeline: its name.  problems: kept up to date by others."""
        self._loop = asyncio.get_running_loop()
        self._pipeline = pipeline
        self.question = question
        self._writer = writer
        self._problems = problems
        self._reader = reader
        self._overview = queries.NOTHING_WAITS
        self._overview_at = 0.0
        self._annotators: dict[str, pb.AnnotatorStats] = {}
        self._answers_counted = 0
        self._message: pb.QueueStats | None = None
        self._message_of: object = None
        self._watchers: set[Watcher] = set()
        self._stopping = False
        writer.listen(self._changed)

    def stop(self) -> None:
        """Wake whoever watches: there is no more to hear."""
        self._stopping = True
        for watcher in self._watchers:
            watcher.changed.set()

    def watch(self, *, stats_only: bool, admin: bool) -> Watcher:
        """Begin to watch; `unwatch` ends it.

        Raises:
            RefusedError: Too many watch already.

        """
        if len(self._watchers) >= MAX_WATCHERS:
            raise RefusedError(Reason.TOO_MANY_CALLS, f"{MAX_WATCHERS} watch already: come back later")
        watcher = Watcher(stats_only, admin)
        self._watchers.add(watcher)
        return watcher

    def unwatch(self, watcher: Watcher) -> None:
        """Give the watcher's place back."""
        self._watchers.discard(watcher)

    async def message(self) -> pb.QueueStats:
        """The queue in numbers; those that are counted row by row are up to a second old.

        Many watch at once: all are told by one message, made when something changes, which is the caller's to copy.
        """
        overview = await self._counted_overview()
        counts, problems = self._writer.store.counts, replace(self._problems)
        message_of = (counts, overview, problems, self._answers_counted)
        if self._message is None or self._message_of != message_of:
            self._message, self._message_of = self._built(counts, overview, problems), message_of
        self._message.now_us = self._writer.store.clock.now()
        return self._message

    def _built(self, counts: Counts, overview: queries.Overview, problems: Problems) -> pb.QueueStats:
        stats = mapping.stats(self._pipeline, counts, self._writer.store.clock.now())
        stats.intake_problem, stats.publishing_problem = problems.intake, problems.publishing
        stats.question.CopyFrom(self.question)
        stats.annotators.extend(self._annotators.values())
        stats.waiting_review, stats.paused = overview.review, overview.paused
        stats.overdue, stats.first_due_us = overview.overdue, overview.first_due
        if overview.segments.keys() - {""}:
            for segment, waiting in overview.segments.items():
                stats.segments.add(segment=segment, waiting=waiting)
        return stats

    async def _counted_overview(self) -> queries.Overview:
        """What waits, by whom it is for: counted now and then, whoever asks; as it was while it can't be read."""
        begun = self._loop.time()
        if begun >= self._overview_at:
            self._overview_at = math.inf  # of all who ask meanwhile one counts
            try:
                self._overview = await self._reader.ask(queries.overview, self._writer.store.clock.wall())
            except RefusedError as error:
                log.info("what waits is not counted: %s", error)
            finally:
                ended = self._loop.time()
                self._overview_at = ended + max(_OVERVIEW_SECONDS, _OVERVIEW_SHARE * (ended - begun))
        return self._overview

    def _changed(self, events: list[CaseEvent], _counts: Counts) -> None:
        """Called by the writer's thread."""
        if not self._stopping:
            self._loop.call_soon_threadsafe(self._happened, events)

    def _happened(self, events: list[CaseEvent]) -> None:
        for event in events:
            if event.kind in {"leased", "answered", "skipped", "voted"} and event.annotator != CONSENSUS:
                self._count(event)
        for watcher in self._watchers:
            watcher.take(events)

    def _count(self, event: CaseEvent) -> None:
        row = self._annotators.get(event.annotator)
        if row is None:
            if len(self._annotators) >= MAX_ANNOTATORS:
                del self._annotators[next(iter(self._annotators))]
            row = self._annotators[event.annotator] = pb.AnnotatorStats(annotator=event.annotator)
        self._answers_counted += 1
        row.last_seen_us = event.at
        if event.kind == "answered" or (event.kind == "voted" and event.label is not None):
            row.answered += 1
        elif event.kind in {"skipped", "voted"}:
            row.skipped += 1
