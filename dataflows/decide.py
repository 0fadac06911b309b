"""The decide flow: predictions to decisions. `python -m bytewax.run dataflows.decide:flow`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

import dataflows.operators as tm
from dataflows.engine.added_topics import ensure_added
from dataflows.engine.config import EngineConfig, commit_interval, gap_accepted
from dataflows.engine.environment import connected, of_environment
from dataflows.engine.flow import over_kafka
from dataflows.engine.lost_offsets import check_offsets
from dataflows.engine.shutdown import Stop
from dataflows.engine.source import Running, Sessions
from dataflows.engine.work import Done, Work
from tidemark.deciding.state import DecideState
from tidemark.deciding.step import DecideStep
from tidemark.errors import ConfigError, RecordError
from tidemark.flows import FLOWS
from tidemark.kafka.reading import each_record
from tidemark.pipeline import Pipeline
from tidemark.records import Decision, decode
from tidemark.runtime.settings import Settings

_LONGEST: Final = 600.0
"""Seconds that reading back may take."""


def build(
    source: Source[Work],
    sink: Sink[Done],
    pipeline: Pipeline,
    read_back: Callable[[], Iterable[Decision]] = tuple,
) -> Dataflow:
    """The flow between a source and a sink.

    Args:
        source: of its rounds.
        sink: of what it did.
        pipeline: whose rules decide.
        read_back: the decisions that are committed, oldest first.

    Returns:
        The flow.

    """
    flow = Dataflow("decide")
    read = tm.input("read", flow, source)
    told = tm.by_topic("told", read, FLOWS.get("decide").reads(pipeline))
    decided = tm.step_with_errors("decide", told, make=partial(DecideStep, pipeline, read_back))
    letters = tm.dead_letters("dead_letters", decided.errs, topic=pipeline.topics.deadletter)
    tm.commit("commit", sink, letters, decided.oks, state=partial(DecideState, pipeline))
    return flow


def over(pipeline: Pipeline, settings: Settings, stop: Stop) -> tuple[Dataflow, Sessions]:
    """The flow over the pipeline's predictions; one member of its group is active, for a day's budget is one."""
    return over_kafka(
        lambda source, sink: build(source, sink, pipeline, lambda: known(pipeline, settings)),
        lambda: prepared(pipeline, settings),
        stop,
    )


def known(pipeline: Pipeline, settings: Settings) -> Iterator[Decision]:
    """The committed decisions, oldest first.

    Args:
        pipeline: whose they are.
        settings: that name the Kafka.

    Yields:
        As many as Kafka still has; what is no decision of ours is passed over.

    Raises:
        BrokerError: Kafka does not answer.

    """
    for message in each_record(connected(settings), pipeline.topics.decisions, timeout=_LONGEST, settled=True):
        try:
            yield decode(Decision, message.value())
        except RecordError:
            continue


def prepared(pipeline: Pipeline, settings: Settings) -> Running:
    """What was decided is looked at before the group is joined.

    Raises:
        TopicError: offsets are gone and what was decided is there.
        ConfigError: the pipeline has no rules.

    """
    settings = connected(settings)
    if not pipeline.decisions:
        raise ConfigError(f"pipeline '{pipeline.name}' has no [[decisions]]; declare one (docs/how-to/decisions.md)")
    ensure_added(pipeline, settings, pipeline.topics.decisions)
    check_offsets(pipeline, settings, "decide")
    config = EngineConfig(
        group=f"{pipeline.name}.decide",
        settings=settings,
        commit_interval=commit_interval(),
        fixed_partitions={pipeline.topics.metrics: 1},
        elect_by=pipeline.topics.metrics,
        accept_gap=gap_accepted(),
        deadletter=pipeline.topics.deadletter,
    )
    return Running(config)


def flow() -> Dataflow:
    """The flow of `TIDEMARK_PIPELINE`."""
    return of_environment(over)
