"""A replay: events of a range computed and scored once more, written to a shadow topic, compared with what was told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidemark.errors import ModelError, TopicError
from tidemark.kafka import wait_settled
from tidemark.lineage.models import Models
from tidemark.parity.event_table import EventTable
from tidemark.parity.recomputed import Recomputation, full_from
from tidemark.parity.recorded import RecordedFeatures, RecordedPredictions
from tidemark.parity.report import ReplayReport, SpanPart
from tidemark.parity.scoring import Scoring
from tidemark.parity.shadow import Shadow
from tidemark.parity.spans import Offsets, spans_of
from tidemark.parity.tally import DIFFERS, INCOMPARABLE, SEEN, Tally
from tidemark.pipeline import Pipeline
from tidemark.records import NO_MODEL
from tidemark.registry.promotion import in_force, named
from tidemark.registry.reading import read_registry
from tidemark.registry.signature import signing_key
from tidemark.runtime.broker_time import wall_clock
from tidemark.runtime.processor import Batch
from tidemark.runtime.settings import Settings
from tidemark.stream.past import Past, Range
from tidemark.stream.stages import cleaned_schema, stages
from tidemark.times.places import Place

CHAMPION: Final = "champion"
"""In place of a model's version: the one in force."""
_UNDER_WAY: Final = 60_000_000
"""µs for which a record without a prediction may still be on its way."""
_PATIENCE: Final = 120.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to replay.

    begin, end: of the raw records.  name: of the replay; None: nothing is written.  model: version by which all events
    are scored, or `CHAMPION`; None: each by the one that its prediction names.  most: raw records at most.
    replace: an earlier replay of the name is deleted.
    """

    begin: Place
    end: Place
    name: str | None = None
    model: str | None = None
    most: int = 1_000_000
    replace: bool = False


class Replay:
    """Replays events of one pipeline, as its file is now.

    clock: this machine's, µs since 1970.  hook: called with a moment's name, for tests.

    Raises:
        BrokerError: Kafka does not answer.

    """

    def __init__(
        self,
        pipeline: Pipeline,
        settings: Settings,
        *,
        clock: Callable[[], int] = wall_clock,
        hook: Callable[[str], None] = lambda _moment: None,
    ) -> None:
        self._pipeline, self._settings = pipeline, settings
        self._clock, self._hook = clock, hook
        self._past = Past(pipeline, settings)
        self._stages = len(stages(pipeline, cleaned_schema(pipeline)))

    def run(self, wanted: Wanted) -> ReplayReport:
        """Replay.

        Args:
            wanted: what, and where to.

        Returns:
            What came of it.

        Raises:
            ConfigError: the range holds nothing, or too much; the name is none.
            ModelError: there is no such model, or it can't be used.
            TopicError: a topic is gone, or a replay of this name is there.
            BrokerError: Kafka can't be read or written.

        """
        shadow = None
        if wanted.name is not None:
            shadow = Shadow(self._pipeline, self._settings, wanted.name, hook=self._hook)
            shadow.check(replace=wanted.replace)
        only = self._version(wanted.model)
        spans, notes = spans_of(self._past, self._pipeline, wanted.begin, wanted.end, wanted.most)
        computed = Recomputation(self._pipeline, self._past, spans)
        computed.run()
        table = computed.table
        scoring = Scoring(table, Models(self._pipeline, self._settings), len(self._pipeline.label.classes))
        events = np.flatnonzero(table.passed >= self._stages)
        if only is not None:
            self._score_all(scoring, only, events)
        tally = Tally(table)
        unexpected = self._compare(table, scoring, tally, only, notes)
        self._score_others(scoring, events)
        if shadow is not None:
            shadow.write(table, scoring, events, replace=wanted.replace)
        return self._report(spans, table, scoring, tally, unexpected, shadow, [*notes, *computed.notes])

    def _version(self, model: str | None) -> str | None:
        """The version that a name stands for."""
        if model is None:
            return None
        registry = read_registry(self._settings, self._pipeline.topics.models, secret=signing_key(), settled=True)
        return in_force(registry).version if model == CHAMPION else named(registry, model).version

    def _score_all(self, scoring: Scoring, version: str, events: NDArray[np.int64]) -> None:
        model = scoring.named(version)
        if isinstance(model, str):
            raise ModelError(f"model {version} can't score these events: {model}")
        scoring.score(version, events)

    def _score_others(self, scoring: Scoring, events: NDArray[np.int64]) -> None:
        """Score events without a prediction by the champion, where there is one that can."""
        others = events[scoring.model[events] < 0]
        if not len(others):
            return
        try:
            version = self._version(CHAMPION) or NO_MODEL
        except (ModelError, TopicError):
            version = NO_MODEL
        scoring.score(version, others)

    def _compare(
        self, table: EventTable, scoring: Scoring, tally: Tally, only: str | None, notes: list[str]
    ) -> set[int]:
        """Compare with all that is recorded; the rows of predictions of what is no event."""
        came = table.came[table.there]
        since = max(int(came.min()) - self._pipeline.time.max_ahead, 0) // 1_000 if len(came) else 0
        features = RecordedFeatures(self._pipeline, table, tally, self._stages)
        for topic in features.topics:
            self._each(topic, since, features.take, notes if topic == self._pipeline.topics.sample else [])
        predictions = RecordedPredictions(self._pipeline, table, tally, scoring, self._stages, only)
        self._each(self._pipeline.topics.predictions, since, predictions.take, notes)
        predictions.finish(changed=bool(features.changed))
        return predictions.unexpected

    def _each(self, topic: str, since: int, take: Callable[[Batch], None], notes: list[str]) -> None:
        """Give the records of a topic from a Kafka timestamp (ms) on. notes: where it is said that there is none."""
        try:
            wait_settled(self._settings, topic)
            held, timed = self._past.held(topic), self._past.at_time(topic, since)
        except TopicError as error:
            notes.append(str(error))
            return
        for place, at in zip(held, timed, strict=True):
            span = Range(place.partition, place.end if at is None else at, place.end, truncated=False)
            for batch in self._past.read(span, timeout=_PATIENCE, renewed=True):
                take(batch)

    def _report(
        self,
        spans: Offsets,
        table: EventTable,
        scoring: Scoring,
        tally: Tally,
        unexpected: set[int],
        shadow: Shadow | None,
        notes: list[str],
    ) -> ReplayReport:
        events = np.flatnonzero(table.passed >= self._stages)
        state = tally.state[events]
        seen, differs = (state & SEEN) > 0, (state & DIFFERS) > 0
        open_ = ((state & INCOMPARABLE) > 0) & seen & ~differs
        missing = self._missing(table, events, seen)
        full, incomplete = full_from(table)
        models = np.unique(scoring.model[events], return_counts=True)
        return ReplayReport(
            pipeline=self._pipeline.name,
            topic=None if shadow is None else shadow.topic,
            spans=[SpanPart(place.topic, place.index, start, end) for place, (start, end) in spans.items()],
            events=len(events),
            refused=int((table.there & (table.passed < self._stages)).sum()),
            models={scoring.versions[at]: count for at, count in zip(*(each.tolist() for each in models), strict=True)},
            equal=int((seen & ~differs & ~open_).sum()),
            differing=int(differs.sum()),
            not_comparable=int(open_.sum()),
            missing=int(missing.sum()),
            not_held=int((~seen & ~missing & ~differs).sum()),
            unexpected=len(unexpected),
            compared=tally.compared,
            incomplete=incomplete,
            full_from=full,
            differences=tally.differences(),
            reasons=tally.reasons(),
            notes=notes,
        )

    def _missing(self, table: EventTable, events: NDArray[np.int64], seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(events,) whether there is no prediction, though earlier and later events of the partition have theirs."""
        missing = np.zeros(len(events), np.bool_)
        for place in range(len(table.partitions)):
            own = table.origin[events] == place
            predicted = np.flatnonzero(own & seen)
            if len(predicted):
                between = np.zeros(len(events), np.bool_)
                between[predicted[0] : predicted[-1]] = True
                missing |= own & between & ~seen
        return missing & (table.came[events] < self._clock() - _UNDER_WAY)
