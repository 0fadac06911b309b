"""The monitor flow: predictions, labels and outcomes to metrics. `python -m bytewax.run dataflows.monitor:flow`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

import dataflows.operators as tm
from dataflows.alarms import announcing
from dataflows.engine.added_topics import ensure_added
from dataflows.engine.config import EngineConfig, commit_interval, gap_accepted
from dataflows.engine.environment import connected, of_environment
from dataflows.engine.flow import over_kafka
from dataflows.engine.lost_offsets import check_offsets
from dataflows.engine.shutdown import Stop
from dataflows.engine.source import Running, Sessions
from dataflows.engine.work import Done, Work
from tidemark.errors import BrokerError, TopicError
from tidemark.monitoring import Options
from tidemark.monitoring.delays import Delays
from tidemark.monitoring.parity import Checking
from tidemark.monitoring.read_back import ReadBack, read_sample
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
from tidemark.observe.sampling import latency_since
from tidemark.pipeline import Pipeline
from tidemark.runtime.settings import Settings


def build(
    source: Source[Work],
    sink: Sink[Done],
    pipeline: Pipeline,
    delays: Delays | None = None,
    read_back: Callable[[], ReadBack] = ReadBack,
    checking: Callable[[], Checking] | None = None,
) -> Dataflow:
    """The flow between a source and a sink.

    Args:
        source: of its rounds.
        sink: of what it did.
        pipeline: that is measured.
        delays: asks how long predictions took.
        read_back: what the sample's topic holds.
        checking: begins to check parity; None: it is not checked.

    Returns:
        The flow.

    """
    options, topics = Options(), pipeline.topics
    flow = Dataflow("monitor")
    read = tm.input("read", flow, source)
    predicted = tm.by_topic("predictions", read, [topics.predictions])
    predictions = tm.step_with_errors("decode_predictions", predicted, make=partial(DecodePredictionsStep, pipeline))
    answered = tm.by_topic("labels", read, [topics.labels])
    labels = tm.step_with_errors("keep_labels", answered, make=partial(KeepLabelsStep, pipeline, options))
    told = tm.by_topic("outcomes", read, [topics.outcomes])
    outcomes = tm.step_with_errors("decode_outcomes", told, make=partial(DecodeOutcomesStep, pipeline))
    join = partial(JoinOutcomesStep, pipeline, options)
    joined = tm.step_with_errors("join_outcomes", read, predictions.oks, outcomes.oks, make=join)
    labeled = tm.step("label_outcomes", joined.oks, partial(LabelOutcomesStep, pipeline))
    held = tm.together("held", predictions.oks, labels.oks, joined.oks)
    metrics = tm.step("measure", held, partial(MeasureStep, pipeline, options, delays))
    announce = announcing(pipeline)
    watch = partial(WatchSampleStep, pipeline, options, read_back, announce)
    sampled = tm.by_topic("sample", read, [topics.sample])
    watched = tm.step_with_errors("watch_sample", sampled, make=watch)
    parity = tm.step("check_parity", sampled, partial(CheckParityStep, pipeline, checking))
    judged = tm.step("watch_labels", answered, partial(WatchLabelsStep, pipeline, options, announce))
    errs = predictions.errs, labels.errs, outcomes.errs, joined.errs, watched.errs
    letters = tm.dead_letters("dead_letters", *errs, topic=topics.deadletter)
    figures = metrics, watched.oks, parity, judged
    tm.commit("commit", sink, letters, labeled, *figures, state=partial(MonitorState, pipeline))
    return flow


def delays_of(pipeline: Pipeline, settings: Settings) -> Delays:
    """Asks Kafka how long predictions took; where it does not answer, it is asked again at the next measurement."""

    def delays(written: Mapping[str, int]) -> tuple[float, float, int] | None:
        try:
            found = latency_since(connected(settings), pipeline.raw_topics, written)
        except (BrokerError, TopicError):
            return None
        return None if found is None else (found.p50, found.p99, found.n)

    return delays


def over(pipeline: Pipeline, settings: Settings, stop: Stop) -> tuple[Dataflow, Sessions]:
    """The flow over what is known of the pipeline's predictions; one process joins all partitions, others stand by."""
    delays = delays_of(pipeline, settings)

    def held() -> ReadBack:
        return read_sample(connected(settings), pipeline.topics.sample, pipeline.sample.size)

    def checking() -> Checking:
        from tidemark.parity.checker import Checker, ParityCheck  # noqa: PLC0415 - once there is an event to check

        return Checker(lambda: ParityCheck(pipeline, connected(settings)))

    return over_kafka(
        lambda source, sink: build(source, sink, pipeline, delays, held, checking),
        lambda: prepared(pipeline, settings),
        stop,
    )


def prepared(pipeline: Pipeline, settings: Settings) -> Running:
    """What was measured is looked at before the group is joined.

    Raises:
        TopicError: offsets are gone and what was measured is there.

    """
    settings = connected(settings)
    ensure_added(pipeline, settings, pipeline.topics.sample)
    check_offsets(pipeline, settings, "monitor")
    config = EngineConfig(
        group=f"{pipeline.name}.monitor",
        settings=settings,
        commit_interval=commit_interval(0.5),  # nobody waits for a metric
        align=pipeline.label.grace,  # or a backlog's events are forgotten before their outcomes are read
        align_groups={pipeline.topics.predictions: "events", pipeline.topics.outcomes: "events"},
        fixed_partitions={pipeline.topics.labels: 1, pipeline.topics.sample: 1},
        elect_by=pipeline.topics.labels,  # an outcome may be of a prediction in any partition
        accept_gap=gap_accepted(),
        deadletter=pipeline.topics.deadletter,
    )
    return Running(config)


def flow() -> Dataflow:
    """The flow of `TIDEMARK_PIPELINE`."""
    return of_environment(over)
