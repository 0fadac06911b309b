"""The monitor flow: how good the predictions are, from labels and from outcomes, to `P.metrics`.

State is what lies in Kafka: predictions whose truth may still come or has come lately, outcomes of that time, and the
latest labels. Each partition's committed metadata says from where to read them again, and up to which event time
outcomes without a prediction have been given up, so that none is given up twice. The join needs all partitions in one
process: the flow has one active member. Partitions are read at different paces, after an outage above all: outcomes
are given up, and events are forgotten, by the event time that all of them have reached. A record moves that time no
further than `time.skew` beyond when it came.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np

from tidemark.errors import RecordError, TopicError
from tidemark.monitoring import decoding, figures
from tidemark.monitoring.delays import Delays, Newest
from tidemark.monitoring.joined import NEVER, Joined
from tidemark.monitoring.labels import LabelBook
from tidemark.monitoring.outcomes import OutcomeReader
from tidemark.monitoring.retention import WINDOW
from tidemark.pipeline.model import Pipeline
from tidemark.records import NO_MODEL, Label, Metric, decode, encode
from tidemark.records.dead_letter import dead_letter
from tidemark.records.metric_kind import MetricKind
from tidemark.runtime.broker_time import broker_times, moved_to, wall_clock
from tidemark.runtime.processor import Batch, Output, Partition

METRICS: Final = (
    MetricKind("prediction_rate", "events a second", "monitor", "stream", "Predictions since the last report."),
    MetricKind("prediction_delay_p50", "s", "monitor", "stream", "Median time from append to prediction."),
    MetricKind("prediction_delay_p99", "s", "monitor", "stream", "99 % of the last predictions came within this time."),
)

_STEP: Final = "monitor"
_PREFIX: Final = "monitor1:"


@dataclass(frozen=True, slots=True)
class Options:
    """How often to measure, and how much to hold.

    every: seconds between measurements.  labels: new labels that bring the next one forward, `soonest` seconds after
    the last.  window: event time (µs) over which matured predictions are measured from outcomes.  most_events,
    most_outcomes, most_labels, most_waiting: bounds on what is held (80, 50, 600 and about 500 bytes each).
    threshold: probability of the positive class from which an event counts as flagged.
    silence: seconds without a row after which a partition has none to come, and holds nobody back.
    """

    every: float = 10.0
    labels: int = 50
    soonest: float = 1.0
    window: int = WINDOW
    most_events: int = 2_000_000
    most_outcomes: int = 2_000_000
    most_labels: int = 50_000
    most_waiting: int = 100_000
    threshold: float = 0.5
    silence: float = 30.0


class _Mark(msgspec.Struct, frozen=True):
    """Metadata of a partition.

    rewind: offset to read again from; None if nothing before the committed offset is needed.  last: offset of the last
    row processed.  clock: latest event time.  given_up: outcomes without a prediction that wait until this time have
    been given up, where their offset is at most `decided`.  reached: latest event time of this partition.
    """

    rewind: int | None
    last: int
    clock: int
    given_up: int
    decided: int
    reached: int = NEVER


@dataclass(slots=True)
class _Place:
    """A partition that is open.

    replay_until: offset of the last row that was processed before.  reached: latest event time.  moved: whether rows
    have come since the last tick; silent_since: when they did (wall seconds).  silent: for so long that none are
    waited for.
    """

    last: int = -1
    decided: int = -1
    replay_until: int = -1
    reached: int = NEVER
    moved: bool = True
    silent_since: float = 0.0
    silent: bool = False

    @property
    def replaying(self) -> bool:
        return self.last < self.replay_until

    def moves(self, reached: int | None) -> None:
        """Rows have come, the latest of this event time."""
        self.moved, self.silent = True, False
        self.reached = max(self.reached, NEVER if reached is None else reached)

    def listen(self, now: float, silence: float) -> None:
        """Time passes; seconds."""
        if self.moved:
            self.moved, self.silent_since = False, now
        self.silent = now - self.silent_since >= silence


@dataclass(slots=True)
class _Interval:
    """What has come since the last measurement."""

    predicted: int = 0
    labels: int = 0
    newest: Newest = field(default_factory=Newest)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An outcome whose event has not been predicted yet: its record, and until when (event time, µs) it waits."""

    until: int
    record: Batch


class MonitorProcessor:
    """Measures a pipeline (a `tidemark.runtime.processor.Processor`)."""

    def __init__(
        self,
        pipeline: Pipeline,
        options: Options | None = None,
        wall: Callable[[], int] = wall_clock,
        delays: Delays | None = None,
    ) -> None:
        """`wall`: this machine's clock, µs: Kafka's timestamps are believed up to it.  delays: None: not measured."""
        self._delays = delays
        self._pipeline = pipeline
        self._spec = pipeline.label
        self._wall = wall
        self._skew = pipeline.time.most_skew
        self._outcomes = OutcomeReader(pipeline, wall)
        self._options = options or Options()
        self._topics = pipeline.topics
        self._keep = self._spec.delay + self._spec.grace + self._options.window
        self._most = self._options.most_events, self._options.most_outcomes
        self._positive = self._spec.classes.index(self._spec.positive)
        self._places: dict[Partition, _Place] = {}
        self._last: float | None = None
        self._model = NO_MODEL
        self._reset()

    def _reset(self) -> None:
        self._clock = self._given_up = self._forgotten = NEVER
        self._joined = Joined(len(self._spec.classes), self._spec.delay + self._spec.grace)
        self._models = decoding.Models()
        self._book = self._new_book()
        self._waiting: dict[tuple[int, int], _Waiting] = {}
        self._due: list[tuple[int, int, int]] = []
        self._latest: int | None = None
        self._changed = False
        self._interval = _Interval()

    @property
    def topics(self) -> Sequence[str]:
        """`P.predictions`, `P.labels`, `P.outcomes`."""
        return [self._topics.predictions, self._topics.labels, self._topics.outcomes]

    def open(self, partition: Partition, metadata: str) -> int | None:
        """Take up a partition; where to read again from.

        Raises:
            TopicError: the committed metadata is another program's.

        """
        place = self._places[partition] = _Place()
        if not metadata:
            return None
        try:
            mark = msgspec.json.decode(metadata.removeprefix(_PREFIX), type=_Mark)
        except msgspec.DecodeError as error:
            raise TopicError(
                f"the state committed for the monitor flow at {partition.topic!r} partition {partition.index}, "
                f"{metadata[:40]!r}, is not one it wrote; delete the offsets of its consumer group to begin anew"
            ) from error
        possible = self._wall() + self._skew  # an earlier version let impossible times through
        place.decided, place.reached = mark.decided, min(mark.reached, possible)
        if mark.rewind is not None:
            place.replay_until = mark.last
        else:
            place.last = mark.last
        self._clock = max(self._clock, min(mark.clock, possible))
        self._given_up = max(self._given_up, min(mark.given_up, possible))
        return mark.rewind

    def close(self, partition: Partition) -> None:
        """Drop what came from a partition."""
        del self._places[partition]
        if not self._places:
            self._reset()
        elif partition.topic == self._topics.predictions:
            self._joined.drop(self._joined.predictions, partition.index)
        elif partition.topic == self._topics.outcomes:
            self._joined.drop(self._joined.outcomes, partition.index)
            self._waiting = {place: one for place, one in self._waiting.items() if place[0] != partition.index}
        else:
            self._book = self._new_book()

    def process(self, batch: Batch) -> list[Output]:
        """Take in predictions, labels or outcomes; dead letters of what can't be used."""
        take = {
            self._topics.predictions: self._take_predictions,
            self._topics.outcomes: self._take_outcomes,
            self._topics.labels: self._take_labels,
        }[batch.partition.topic]
        place = self._places[batch.partition]
        outputs = take(batch)
        place.last = int(batch.offsets[-1])
        place.moves(self._latest)
        self._forget()
        self._changed = True
        return [] if batch.replay else outputs + self._give_up()

    def metadata(self, partition: Partition) -> str:
        """Where to rewind to, and the clock."""
        if partition.topic == self._topics.predictions:
            rewind = self._joined.predictions.rewind(partition.index)
        elif partition.topic == self._topics.outcomes:
            rewind = self._joined.outcomes.rewind(partition.index)
        else:
            rewind = self._book.rewind()
        place = self._places[partition]
        mark = _Mark(rewind, place.last, self._clock, self._given_up, place.decided, place.reached)
        return _PREFIX + msgspec.json.encode(mark).decode("ascii")

    def tick(self, now: float) -> list[Output]:
        """Measure when it is time. `now`: seconds since 1970. The engine calls this when nothing is left to replay."""
        for place in self._places.values():
            place.replay_until = -1
            place.listen(now, self._options.silence)
        self._forget()
        return self._give_up() + self._measure(now)

    def event_time(self, batch: Batch) -> int | None:  # noqa: ARG002 - of the batch last processed
        """Latest event time of predictions, latest `known_at` of outcomes: these two belong in one alignment group.

        Labels are not aligned: people's clocks are no event time.
        """
        return self._latest

    def _measure(self, now: float) -> list[Output]:
        if self._last is None:
            self._last = now
        passed = now - self._last
        early = self._interval.labels >= self._options.labels and passed >= self._options.soonest
        if passed < self._options.every and not early:
            return []
        at = int(now * 1e6)
        metrics = list(self._stream(passed, at))
        if self._changed:
            metrics += self._quality(at)
        self._last, self._changed, self._interval = now, False, _Interval()
        return [
            Output(topic=self._topics.metrics, value=encode(metric), key=metric.name.encode()) for metric in metrics
        ]

    def _take_predictions(self, batch: Batch) -> list[Output]:
        came = broker_times(batch.timestamps, self._wall())
        latest = came + 2 * self._pipeline.time.max_ahead + self._skew  # once more for the clocks of two machines
        rows, at, bad = decoding.predictions(batch, self._spec, self._models, latest)
        outputs = self._refused(batch, bad)
        self._latest = int(moved_to(rows["time"], came[at], self._skew).max()) if rows.shape[0] else None
        for place in self._joined.add_predictions(rows, batch.partition.index, int(batch.offsets[0])):
            self._waiting.pop(place, None)
        if not batch.replay and rows.shape[0]:
            self._interval.predicted += rows.shape[0]
            self._interval.newest.take(batch, at)
            self._model = self._models.names[int(rows["model"][-1])]
        if self._latest is not None:
            self._clock = max(self._clock, self._latest)
        return outputs

    def _take_outcomes(self, batch: Batch) -> list[Output]:
        rows, at, bad = self._outcomes.read(batch)
        came = broker_times(batch.timestamps[at], self._wall())
        self._latest = int(moved_to(rows["known_at"], came, self._skew).max()) if rows.shape[0] else None
        matched = self._joined.add_outcomes(rows, batch.partition.index, int(batch.offsets[0]))
        decided = self._places[batch.partition].decided
        for row in np.flatnonzero(~matched).tolist():
            offset, until = int(rows["offset"][row]), int(rows["known_at"][row]) + self._spec.grace
            if offset <= decided and until <= self._given_up:
                continue
            self._waiting[batch.partition.index, offset] = _Waiting(until, _one(batch, int(at[row])))
            heapq.heappush(self._due, (until, batch.partition.index, offset))
        return self._refused(batch, bad)

    def _take_labels(self, batch: Batch) -> list[Output]:
        outputs = []
        self._latest = None
        for row in range(len(batch)):
            try:
                self._book.add(decode(Label, batch.values[row]), int(batch.offsets[row]))
            except RecordError as error:
                outputs.append(dead_letter(self._topics.deadletter, batch, row, error.step, error.reason))
            else:
                self._interval.labels += not batch.replay
        return outputs

    def _reached(self, *topics: str) -> int:
        """Event time that each partition of the topics has reached; `NEVER` while there is one without rows.

        One that is silent holds nobody back.
        """
        awaited = [
            place.reached for partition, place in self._places.items() if partition.topic in topics and not place.silent
        ]
        return min([self._clock, *awaited])

    def _forget(self) -> None:
        """Let go of what is too old, now and then: what is measured and met does not depend on it."""
        reached = self._reached(self._topics.predictions, self._topics.outcomes)
        if reached - self._forgotten < self._keep // 64 and self._joined.within(*self._most):
            return
        self._forgotten = max(self._forgotten, reached)
        self._joined.forget(max(reached - self._keep, NEVER), *self._most)

    def _give_up(self) -> list[Output]:
        """Dead letters of outcomes that have waited their time, or for which there is no room.

        Not while a partition is read again, nor before all have been read that far: the prediction may be in one.
        """
        if any(place.replaying for place in self._places.values()):
            return []
        reached = self._reached(self._topics.predictions)
        self._given_up = max(self._given_up, reached)
        outputs = []
        while self._due and (self._due[0][0] <= self._given_up or len(self._waiting) > self._options.most_waiting):
            until, partition, offset = heapq.heappop(self._due)
            waiting = self._waiting.pop((partition, offset), None)
            if waiting is None:
                continue
            self._given_up = max(self._given_up, until)
            reason = (
                "no prediction of the event it names lies within label.delay + label.grace before its known_at"
                if until <= reached
                else f"more than {self._options.most_waiting} outcomes wait for the prediction of their event"
            )
            outputs.append(dead_letter(self._topics.deadletter, waiting.record, 0, _STEP, reason))
        for place in self._places.values():
            place.decided = place.last
        return outputs

    def _refused(self, batch: Batch, bad: decoding.Bad) -> list[Output]:
        return [dead_letter(self._topics.deadletter, batch, row, error.step, error.reason) for row, error in bad]

    def _quality(self, at: int) -> Iterator[Metric]:
        yield from self._book.metrics(at)
        rows = self._joined.predictions.rows
        matured_until = self._clock - self._spec.delay - self._spec.grace
        matured = rows[(rows["time"] <= matured_until) & (rows["time"] >= self._clock - self._keep)]
        yield from figures.from_outcomes(
            matured, self._models.names, positive=self._positive, at=at, threshold=self._options.threshold
        )

    def _stream(self, passed: float, at: int) -> Iterator[Metric]:
        """Rate, and how long after the event's record its prediction was written (s)."""
        if passed > 0:
            yield self._stream_metric("prediction_rate", self._interval.predicted / passed, at)
        for name, seconds, n in self._interval.newest.took(self._delays):
            yield self._stream_metric(name, seconds, at, n)

    def _stream_metric(self, name: str, value: float, at: int, n: int | None = None) -> Metric:
        n = self._interval.predicted if n is None else n
        return Metric(name=name, value=value, low=None, high=None, n=n, at=at, model=self._model, source="stream")

    def _new_book(self) -> LabelBook:
        return LabelBook(self._spec, most=self._options.most_labels, threshold=self._options.threshold)


def _one(batch: Batch, row: int) -> Batch:
    """A row as a batch of its own, to hold no more than it."""
    return Batch(
        partition=batch.partition,
        offsets=batch.offsets[row : row + 1].copy(),
        timestamps=batch.timestamps[row : row + 1].copy(),
        keys=[batch.keys[row]],
        values=[batch.values[row]],
        headers=[batch.headers[row] if batch.headers else None],
    )
