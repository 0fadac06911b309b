"""The monitor flow's steps in one piece: how good the predictions are, from labels and from outcomes, to `P.metrics`.

`dataflows.monitor` draws the same steps as a dataflow; `tests/dataflows/operators` holds that both give the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tidemark.monitoring.alarms import Announce
from tidemark.monitoring.delays import Delays
from tidemark.monitoring.options import Options
from tidemark.monitoring.parity import Checking
from tidemark.monitoring.read_back import ReadBack
from tidemark.monitoring.state import MonitorState
from tidemark.monitoring.steps import (
    CheckParityStep,
    DecodeOutcomesStep,
    DecodePredictionsStep,
    JoinOutcomesStep,
    KeepLabelsStep,
    LabelOutcomesStep,
    MeasureStep,
    WatchLabelsStep,
    WatchSampleStep,
)
from tidemark.pipeline.model import Pipeline
from tidemark.records.dead_letters import dead_letters
from tidemark.runtime.broker_time import wall_clock
from tidemark.runtime.by_topic import ByTopicStep
from tidemark.runtime.processor import Batch, Output
from tidemark.runtime.steps import RoundContext


class MonitorProcessor(MonitorState):
    """Measures a pipeline (a `tidemark.runtime.processor.Processor`)."""

    def __init__(
        self,
        pipeline: Pipeline,
        options: Options | None = None,
        wall: Callable[[], int] = wall_clock,
        delays: Delays | None = None,
        read_sample: Callable[[], ReadBack] = ReadBack,
        announce: Announce | None = None,
        checking: Callable[[], Checking] | None = None,
    ) -> None:
        """Begin with nothing.

        Args:
            pipeline: that is measured.
            options: how often, and how much is held.
            wall: this machine's clock, µs: Kafka's timestamps are believed up to it.
            delays: asks how long predictions took; None: not measured.
            read_sample: what the sample's topic holds.
            announce: makes the record of an alarm that is followed; None where nobody follows.
            checking: begins to check parity; None: it is not checked.

        """
        options, topics = options or Options(), pipeline.topics
        self._predictions, self._kept, self._outcomes, self._sampled = (
            ByTopicStep([topic]) for topic in (topics.predictions, topics.labels, topics.outcomes, topics.sample)
        )
        self._decode_outcomes = DecodeOutcomesStep(pipeline, wall)
        self._label_outcomes = LabelOutcomesStep(pipeline)
        super().__init__(
            pipeline,
            {
                "predictions": self._predictions,
                "labels": self._kept,
                "outcomes": self._outcomes,
                "sample": self._sampled,
                "decode_predictions": DecodePredictionsStep(pipeline, wall),
                "keep_labels": KeepLabelsStep(pipeline, options),
                "join_outcomes": JoinOutcomesStep(pipeline, options, wall),
                "measure": MeasureStep(pipeline, options, delays),
                "watch_sample": WatchSampleStep(pipeline, options, read_sample, announce),
                "check_parity": CheckParityStep(pipeline, checking),
                "watch_labels": WatchLabelsStep(pipeline, options, announce),
            },
        )

    def process(self, batch: Batch) -> list[Output]:
        """Take in predictions, labels or outcomes; dead letters of what can't be used."""
        return self._round([batch], RoundContext(0, [batch.partition], batch.replay))

    def tick(self, now: float) -> list[Output]:
        """Measure when it is time. `now`: seconds since 1970. The engine calls this when nothing is left to replay."""
        return self._round([], RoundContext(0, tick=now))

    def _round(self, batches: Sequence[Batch], context: RoundContext) -> list[Output]:
        predictions = self.decode.process(self._predictions.process(batches, context), context)
        outcomes = self._decode_outcomes.process(self._outcomes.process(batches, context), context)
        answered = self._kept.process(batches, context)
        labels = self.labels.process(answered, context)
        joined = self.join.process((batches, predictions.oks, outcomes.oks), context)
        labeled = self._label_outcomes.process(joined.oks, context)
        metrics = self.measure.process((predictions.oks, labels.oks, joined.oks), context)
        sampled = self._sampled.process(batches, context)
        watched, parity = self.watch.process(sampled, context), self.parity.process(sampled, context)
        judged = self.answers.process(answered, context)
        if context.replay:
            return []
        refused = [*predictions.errs, *outcomes.errs, *labels.errs, *joined.errs, *watched.errs]
        letters = dead_letters(self._topics.deadletter, batches, refused)
        return [*letters, *labeled, *metrics, *watched.oks, *parity, *judged]
