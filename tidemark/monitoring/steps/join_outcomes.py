"""Predictions and the outcomes that tell their truth, joined across the partitions of both.

Partitions are read at different paces, after an outage above all: outcomes are given up, and events are forgotten, by
the event time that all of them have reached. A record moves that time no further than `time.skew` beyond when it came.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidemark.monitoring.checkpoint import Mark
from tidemark.monitoring.event_names import EventNames
from tidemark.monitoring.joined import NEVER, Joined, Met
from tidemark.monitoring.options import Options
from tidemark.monitoring.steps.decode import DecodedRows
from tidemark.pipeline.model import Pipeline
from tidemark.runtime.broker_time import wall_clock
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.steps import Outcome, Refused, RoundContext

STEP: Final = "monitor"
"""Step that the dead letters of outcomes without a prediction name."""


@dataclass(slots=True)
class _Progress:
    """How far an open partition is.

    replay_until: offset of the last row that was processed before.  told: that up to which outcomes that had met events
    are labels already.  reached: latest event time.  latest: that of the
    last batch.  moved: whether rows have come since the last tick; silent_since: when they did (wall seconds).
    silent: for so long that none are waited for.
    """

    last: int = -1
    decided: int = -1
    told: int = -1
    replay_until: int = -1
    reached: int = NEVER
    latest: int | None = None
    moved: bool = True
    silent_since: float = 0.0
    silent: bool = False

    @property
    def replaying(self) -> bool:
        return self.last < self.replay_until

    def moves(self, last: int, latest: int | None) -> None:
        """Rows have come, up to this offset; the latest of them of this event time."""
        self.last, self.latest = last, latest
        self.moved, self.silent = True, False
        self.reached = max(self.reached, NEVER if latest is None else latest)

    def listen(self, now: float, silence: float) -> None:
        """Time passes; seconds."""
        if self.moved:
            self.moved, self.silent_since = False, now
        self.silent = now - self.silent_since >= silence


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An outcome whose event has not been predicted yet: its record, and until when (event time, µs) it waits."""

    until: int
    record: Batch


class JoinOutcomesStep:
    """Joins outcomes to predictions.

    joined: what is held of both.  waiting: outcomes without a prediction, by partition and offset.
    names: what events are called, where outcomes are learnt from.
    """

    def __init__(self, pipeline: Pipeline, options: Options, wall: Callable[[], int] = wall_clock) -> None:
        self._spec, self._topics, self._options = pipeline.label, pipeline.topics, options
        self._wall, self._skew = wall, pipeline.time.most_skew
        self._patience = pipeline.label.delay + pipeline.label.grace
        self._raw_topics, self._learns = pipeline.raw_topics, pipeline.label.outcomes is not None
        self._keep = self._patience + options.window
        self._most = options.most_events, options.most_outcomes
        self._progress: dict[Partition, _Progress] = {}
        self._reset()

    def _reset(self) -> None:
        self._clock = self._given_up = self._forgotten = NEVER
        outcomes, classes = self._spec.outcomes, self._spec.classes
        shares = None if outcomes is None else [outcomes.share.get(name, 1.0) for name in classes] or [1.0]
        self.joined = Joined(len(classes), self._patience, shares)
        self.names = EventNames(self._raw_topics)
        self._met: list[Met] = []
        self.models: Sequence[str] = ()
        self.waiting: dict[tuple[int, int], _Waiting] = {}
        self._due: list[tuple[int, int, int]] = []

    def open(self, partition: Partition, mark: Mark | None) -> None:
        """Take up a partition."""
        progress = self._progress[partition] = _Progress()
        if mark is None:
            return
        possible = self._wall() + self._skew  # an earlier version let impossible times through
        progress.decided, progress.reached = mark.decided, min(mark.reached, possible)
        progress.told = mark.last if mark.told else -1
        if mark.rewind is not None:
            progress.replay_until = mark.last
        else:
            progress.last = mark.last
        self._clock = max(self._clock, min(mark.clock, possible))
        self._given_up = max(self._given_up, min(mark.given_up, possible))

    def close(self, partition: Partition) -> bool:
        """Drop what came from a partition; whether it was the last one, and nothing is held."""
        del self._progress[partition]
        if not self._progress:
            self._reset()
            return True
        if partition.topic == self._topics.predictions:
            self.joined.drop(self.joined.predictions, partition.index)
        elif partition.topic == self._topics.outcomes:
            self.joined.drop(self.joined.outcomes, partition.index)
            self.waiting = {place: one for place, one in self.waiting.items() if place[0] != partition.index}
        return False

    def rewind(self, partition: Partition) -> int | None:
        """Offset of the oldest record of a partition of predictions or outcomes that is held."""
        table = self.joined.predictions if partition.topic == self._topics.predictions else self.joined.outcomes
        return table.rewind(partition.index)

    def mark(self, partition: Partition, rewind: int | None) -> Mark:
        """What to commit of a partition."""
        progress = self._progress[partition]
        told = self._learns and not self._met
        return Mark(rewind, progress.last, self._clock, self._given_up, progress.decided, progress.reached, told=told)

    def latest(self, partition: Partition) -> int | None:
        """Latest event time of predictions, latest `known_at` of outcomes in a partition's last batch."""
        return self._progress[partition].latest

    @property
    def matured(self) -> NDArray[Any]:
        """Predictions whose truth has had its time to come."""
        rows: NDArray[Any] = self.joined.predictions.rows
        return rows[(rows["time"] <= self._clock - self._patience) & (rows["time"] >= self._clock - self._keep)]

    def process(
        self, payload: tuple[Sequence[Batch], list[DecodedRows], list[DecodedRows]], context: RoundContext
    ) -> Outcome[JoinOutcomesStep]:
        """Take in a round: all its batches, the predictions and the outcomes among them.

        Returns:
            This step, to be looked at before the next round; and outcomes that have waited their time.

        """
        batches, predictions, outcomes = payload
        if context.tick is not None:
            for progress in self._progress.values():
                progress.replay_until = -1
                progress.listen(context.tick, self._options.silence)
            self._forget()
            return Outcome(self, self._give_up())
        refused: list[Refused] = []
        predicted = {id(decoded.batch): decoded for decoded in predictions}
        told = {id(decoded.batch): decoded for decoded in outcomes}
        for batch in batches:
            latest = None
            if decoded := predicted.get(id(batch)):
                latest = self._take_predictions(decoded)
            elif decoded := told.get(id(batch)):
                latest = self._take_outcomes(decoded)
            self._progress[batch.partition].moves(int(batch.offsets[-1]), latest)
            self._forget()
            if not context.replay:
                refused += self._give_up()
        return Outcome(self, refused)

    def take_met(self) -> list[Met]:
        """What has met since this was asked last, where outcomes are learnt from; the caller tells of all."""
        met, self._met = self._met, []
        return met

    def _note_met(self) -> None:
        """Keep what has met and was not told before: not what an earlier process has joined and committed."""
        met, self.joined.met = self.joined.met, []
        told = {(partition.topic, partition.index): each.told for partition, each in self._progress.items()}
        predictions, outcomes = self._topics.predictions, self._topics.outcomes
        self._met += [
            each
            for each in met
            if each.prediction["offset"] > told[predictions, int(each.prediction["partition"])]
            or each.outcome["offset"] > told[outcomes, int(each.outcome["partition"])]
        ]

    def _take_predictions(self, decoded: DecodedRows) -> int | None:
        batch = decoded.batch
        self.models, self.names = decoded.models, decoded.names or self.names
        for place in self.joined.add_predictions(decoded.rows, batch.partition.index, int(batch.offsets[0])):
            self.waiting.pop(place, None)
        self._note_met()
        if decoded.latest is not None:
            self._clock = max(self._clock, decoded.latest)
        return decoded.latest

    def _take_outcomes(self, decoded: DecodedRows) -> int | None:
        batch, rows = decoded.batch, decoded.rows
        matched = self.joined.add_outcomes(rows, batch.partition.index, int(batch.offsets[0]))
        self._note_met()
        decided = self._progress[batch.partition].decided
        for row in np.flatnonzero(~matched).tolist():
            offset, until = int(rows["offset"][row]), int(rows["known_at"][row]) + self._spec.grace
            if offset <= decided and until <= self._given_up:
                continue
            self.waiting[batch.partition.index, offset] = _Waiting(until, _one(batch, int(decoded.at[row])))
            heapq.heappush(self._due, (until, batch.partition.index, offset))
        return decoded.latest

    def _reached(self, *topics: str) -> int:
        """Event time that each partition of the topics has reached; `NEVER` while there is one without rows.

        One that is silent holds nobody back.
        """
        awaited = [
            progress.reached
            for partition, progress in self._progress.items()
            if partition.topic in topics and not progress.silent
        ]
        return min([self._clock, *awaited])

    def _forget(self) -> None:
        """Let go of what is too old, now and then: what is measured and met does not depend on it."""
        reached = self._reached(self._topics.predictions, self._topics.outcomes)
        if reached - self._forgotten < self._keep // 64 and self.joined.within(*self._most):
            return
        self._forgotten = max(self._forgotten, reached)
        self.joined.forget(max(reached - self._keep, NEVER), *self._most)
        if self._learns and not self._met:  # what has met names its events by these numbers
            self.names.forget(self.joined.predictions.rows)

    def _give_up(self) -> list[Refused]:
        """Outcomes that have waited their time, or for which there is no room.

        Not while a partition is read again, nor before all have been read that far: the prediction may be in one.
        """
        if any(progress.replaying for progress in self._progress.values()):
            return []
        reached = self._reached(self._topics.predictions)
        self._given_up = max(self._given_up, reached)
        refused = []
        while self._due and (self._due[0][0] <= self._given_up or len(self.waiting) > self._options.most_waiting):
            until, partition, offset = heapq.heappop(self._due)
            waiting = self.waiting.pop((partition, offset), None)
            if waiting is None:
                continue
            self._given_up = max(self._given_up, until)
            reason = (
                "no prediction of the event it names lies within label.delay + label.grace before its known_at"
                if until <= reached
                else f"more than {self._options.most_waiting} outcomes wait for the prediction of their event"
            )
            refused.append(Refused(waiting.record, 0, STEP, reason))
        for progress in self._progress.values():
            progress.decided = progress.last
        return refused


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
