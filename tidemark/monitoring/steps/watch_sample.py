"""Events of the background sample to alarms: what comes, or what the model says of it, has changed."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Final

import numpy as np

from kernels import hash64
from tidemark.drift import saved
from tidemark.drift.calendar import watched
from tidemark.drift.detector import Change, Detector
from tidemark.errors import RecordError
from tidemark.monitoring.alarms import Alarms, Announce
from tidemark.monitoring.change_metrics import change_metric, level_metric
from tidemark.monitoring.checkpoint import Mark
from tidemark.monitoring.options import Options
from tidemark.monitoring.read_back import ReadBack
from tidemark.pipeline.definitions import feature_ids
from tidemark.pipeline.model import Pipeline
from tidemark.records import NO_MODEL, Metric, encode
from tidemark.records.background import Sampled, sampled
from tidemark.records.metric_kind import MetricKind
from tidemark.runtime.by_topic import Received
from tidemark.runtime.processor import Batch, Output
from tidemark.runtime.steps import Outcome, Refused, RoundContext

_log = logging.getLogger(__name__)
METRICS: Final = (
    MetricKind("sample_events", "events", "monitor", "stream", "Events of the background sample that were read."),
    MetricKind(
        "inputs_drift",
        "alarms",
        "monitor",
        "stream",
        "Evidence that the features have changed, in relation to what raises an alarm. The detail names the features "
        "that have most of it.",
    ),
    MetricKind(
        "predictions_drift", "alarms", "monitor", "stream", "The same of the probabilities of the model in force."
    ),
    MetricKind(
        "inputs_changed",
        "events",
        "monitor",
        "stream",
        "An alarm: after how many events of the sample. The detail names what moved, and how.",
    ),
    MetricKind("predictions_changed", "events", "monitor", "stream", "The same of the model's probabilities."),
)
_MOST_FEATURES: Final = 200
_MOST_CLASSES: Final = 10
_TWO: Final = 2
_SAVE_EVERY: Final = 512
_LONGEST_FILL: Final = 30 * 86_400_000_000
"""Windows that are longer fill so slowly that nobody would hear of a change for too long."""
_INPUTS, _PREDICTIONS = 0.5, 0.15
"""Shares of the false alarms that the pipeline allows."""


def fill_time(pipeline: Pipeline) -> int:
    """How long windows fill after the start of a stream, µs."""
    return min(max((window.size for window in pipeline.windows), default=0), _LONGEST_FILL)


class WatchSampleStep:
    """Watches the sample for change.

    What it keeps is saved in the sample's own topic from time to time, and read from there when the topic is taken up.

    read_back: what the topic holds: the newest of what was saved, whatever compaction has removed.
    announce: makes the record of an alarm that is followed; None where nobody follows.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        options: Options,
        read_back: Callable[[], ReadBack] = ReadBack,
        announce: Announce | None = None,
    ) -> None:
        self._read_back = read_back
        self._alarms = Alarms(pipeline, announce)
        self._every = options.every
        self._topics, self._size = pipeline.topics, pipeline.sample.size
        ids = feature_ids(pipeline)
        self._names = watched(pipeline)[:_MOST_FEATURES]
        self._ids = [ids[name] for name in self._names]
        self._fill = fill_time(pipeline)
        alarms, season = pipeline.drift.alarms_per_year, pipeline.drift.season
        self._looks = alarms > 0
        classes = pipeline.label.classes
        every = [classes.index(pipeline.label.positive)] if len(classes) == _TWO else range(len(classes))
        self._shown = list(every)[:_MOST_CLASSES]
        self._inputs = Detector(self._names, alarms=(alarms or 1.0) * _INPUTS, season=season)
        self._predictions = Detector(
            [f"probability of {classes[at]}" for at in self._shown],
            alarms=(alarms or 1.0) * _PREDICTIONS,
            season=season,
        )
        self._model = NO_MODEL
        self._rewind: int | None = None
        self._through = -1
        self._first: int | None = None
        self._unsaved = 0
        self._places: set[int] = set()
        self._told: float | None = None

    def open(self, mark: Mark | None) -> int | None:
        """Take up the topic, with what was watched before.

        Args:
            mark: what was committed; None where nothing was read before.

        Returns:
            The offset to read again from; None where nothing was read before.

        """
        self.close()
        if mark is None:
            return None
        self._rewind = mark.rewind
        found = self._read_back()
        self._places = set(found.places)
        if (kept := found.newest(mark.last)) is not None:
            self._restore(kept)
        elif mark.rewind is not None and mark.saved:
            _log.warning(
                "%s holds nothing of what the watch for drift had saved in it: it begins anew, and says nothing of a "
                "change before a season has passed",
                self._topics.sample,
            )
        return self._rewind

    def _restore(self, kept: saved.Saved) -> None:
        """Go on from what was saved."""
        if kept.columns != self._ids:
            _log.info("the watch for drift begins anew: the pipeline file's features are others now")
            return
        try:
            self._inputs.restore(kept.inputs)
            self._predictions.restore(kept.predictions)
        except ValueError as error:
            self._inputs.reset()
            self._predictions.reset()
            _log.warning("the watch for drift begins anew: what it had saved is of other columns: %s", error)
            return
        self._model, self._through, self._first = kept.model, kept.through, kept.first
        self._rewind, self._saved = kept.through + 1, True

    def close(self) -> None:
        """Forget all."""
        self._inputs.reset()
        self._predictions.reset()
        self._model = NO_MODEL
        self._rewind = self._told = self._first = None
        self._through = -1
        self._unsaved = 0
        self._places = set()
        self._saved = False

    def rewind(self) -> int | None:
        """Offset to read again from."""
        return self._rewind

    @property
    def saved(self) -> bool:
        """Whether the topic holds something of what was watched."""
        return self._saved

    def process(self, received: Received, context: RoundContext) -> Outcome[list[Output]]:
        """Alarms and what is to be kept, and records that are no events; at a tick how things are."""
        outputs: list[Output] = []
        refused: list[Refused] = []
        if context.tick is not None:
            return Outcome(self._tell(context.tick))
        for batch in received.batches:
            for row in range(len(batch)):
                try:
                    outputs += self._record(batch, row)
                except RecordError as error:
                    refused.append(Refused(batch, row, error.step, error.reason))
        if context.replay:
            return Outcome([], refused)
        if self._unsaved >= _SAVE_EVERY:
            outputs += self._save()
        return Outcome(outputs, refused)

    def _record(self, batch: Batch, row: int) -> list[Output]:
        offset, value = int(batch.offsets[row]), batch.values[row]
        if self._rewind is None:
            self._rewind = offset
        if batch.keys[row] == saved.KEY:
            saved.unpack(value)  # ours, or a stranger's
            return []
        headers = batch.headers[row] if batch.headers else None
        event = sampled(batch.keys[row], value, headers, self._ids, self._size)
        if event is None or not self._looks or offset <= self._through:
            return []
        return self._take(offset, event, int(batch.timestamps[row]) * 1_000)

    def _take(self, offset: int, event: Sampled, at: int) -> list[Output]:
        self._through = offset
        self._unsaved += 1
        self._places.add(event.place)
        if self._first is None:
            self._first = event.time
        if event.time < self._first + self._fill:
            return []  # windows are filling: what they hold grows, and nothing has changed
        toss = hash64(event.event_id.encode())
        values = np.array(event.values, np.float64)
        values = np.where(np.isfinite(values), values, math.nan)
        changes = []
        if self._names and (change := self._inputs.take(values, event.time, toss)):
            changes.append(change_metric("inputs_changed", change, at))
        if change := self._of_model(event, toss):
            changes.append(change_metric("predictions_changed", change, at, model=event.model))
        return [output for metric in changes for output in self._alarms.records(metric)]

    def _of_model(self, event: Sampled, toss: int) -> Change | None:
        """Of predictions by the model in force: another model's may differ, and an older one's are late."""
        if event.probabilities is None or event.model < self._model or max(self._shown) >= len(event.probabilities):
            return None
        if event.model != self._model:
            self._model = event.model
            self._predictions.reset()
        return self._predictions.take(np.array([event.probabilities[at] for at in self._shown]), event.time, toss)

    def _save(self) -> list[Output]:
        self._unsaved = 0
        kept = saved.Saved(
            through=self._through,
            first=self._first or 0,
            columns=self._ids,
            model=self._model,
            inputs=self._inputs.state(),
            predictions=self._predictions.state(),
        )
        value = saved.pack(kept)
        if value is None:
            return []
        self._rewind, self._saved = self._through + 1, True  # committed together with the record
        return [Output(self._topics.sample, value, saved.KEY, 0)]

    def _tell(self, now: float) -> list[Output]:
        """How things are, now and then."""
        if self._told is None:
            self._told = now
        if self._through < 0 or now - self._told < self._every:
            return []
        self._told = now
        at = int(now * 1e6)
        metrics = [
            Metric(
                name="sample_events",
                value=float(len(self._places)),
                low=None,
                high=None,
                n=len(self._places),
                at=at,
                model="",
                source="stream",
                detail={"size": self._size},
            )
        ]
        if self._looks:
            metrics += [
                level_metric("inputs_drift", self._inputs, at),
                level_metric("predictions_drift", self._predictions, at, model=self._model),
            ]
        return [self._output(metric) for metric in metrics]

    def _output(self, metric: Metric) -> Output:
        return Output(self._topics.metrics, encode(metric), metric.name.encode())
