"""The select flow: proposals to candidates under a hard budget. `python -m bytewax.run dataflows.select:flow`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

import dataflows.operators as tm
from dataflows.alarms import AlarmFollower
from dataflows.engine.config import EngineConfig, commit_interval, gap_accepted
from dataflows.engine.environment import connected, of_environment
from dataflows.engine.flow import over_kafka
from dataflows.engine.lost_offsets import check_offsets
from dataflows.engine.shutdown import Stop
from dataflows.engine.source import Running, Sessions
from dataflows.engine.work import Done, Work
from tidemark.errors import RecordError
from tidemark.kafka.reading import each_record
from tidemark.pipeline import Pipeline
from tidemark.records import Candidate, decode
from tidemark.runtime.settings import Settings
from tidemark.selection.asked import remembered
from tidemark.selection.state import SelectState
from tidemark.selection.steps import (
    BudgetMetricsStep,
    CandidatesStep,
    ChooseStep,
    CloseTilesStep,
    DecodeProposalsStep,
)

_MARKERS: Final = 1_000
"""Offsets that hold no record, beyond one for each candidate: a commit ends with one."""


def build(
    source: Source[Work],
    sink: Sink[Done],
    pipeline: Pipeline,
    read_asked: Callable[[], Iterable[Candidate]] = tuple,
    alarmed: Callable[[], int | None] = lambda: None,
) -> Dataflow:
    """The flow between a source and a sink.

    Args:
        source: of its rounds.
        sink: of what it did.
        pipeline: whose cases are chosen.
        read_asked: the newest candidates, where selection goes by them.
        alarmed: time of the newest alarm of drift that is followed.

    Returns:
        The flow.

    """
    flow = Dataflow("select")
    read = tm.input("read", flow, source)
    proposals = tm.by_topic("proposals", read, [pipeline.topics.proposals])
    decoded = tm.step_with_errors("decode_proposals", proposals, make=partial(DecodeProposalsStep, pipeline))
    tiles = tm.step_with_errors("close_tiles", decoded.oks, make=partial(CloseTilesStep, pipeline))
    choices = tm.step("choose", tiles.oks, partial(ChooseStep, pipeline, read_asked=read_asked, alarmed=alarmed))
    candidates = tm.step("candidates", choices, partial(CandidatesStep, pipeline))
    budget = tm.step("budget_metrics", choices, partial(BudgetMetricsStep, pipeline))
    letters = tm.dead_letters("dead_letters", decoded.errs, tiles.errs, topic=pipeline.topics.deadletter)
    tm.commit("commit", sink, letters, candidates, budget, state=partial(SelectState, pipeline))
    return flow


def over(pipeline: Pipeline, settings: Settings, stop: Stop) -> tuple[Dataflow, Sessions]:
    """The flow over the pipeline's proposals; one member of its group is active, others stand by."""
    alarms = AlarmFollower(pipeline, settings)
    return over_kafka(
        lambda source, sink: build(source, sink, pipeline, lambda: asked(pipeline, settings), alarms.at),
        lambda: prepared(pipeline, settings, alarms),
        stop,
    )


def asked(pipeline: Pipeline, settings: Settings) -> Iterator[Candidate]:
    """The newest committed candidates, oldest first.

    Args:
        pipeline: whose they are.
        settings: that name the Kafka.

    Yields:
        As many as selection goes by, or more; what is no candidate of ours is passed over.

    Raises:
        BrokerError: Kafka does not answer.

    """
    last = 2 * remembered(pipeline.selection) + _MARKERS
    for message in each_record(connected(settings), pipeline.topics.candidates, settled=True, last=last):
        try:
            yield decode(Candidate, message.value())
        except RecordError:
            continue


def prepared(pipeline: Pipeline, settings: Settings, alarms: AlarmFollower) -> Running:
    """The ledger's past is looked at before the group is joined, and alarms are followed from then on.

    Raises:
        TidemarkError: offsets are gone and what was asked is there.

    """
    settings = connected(settings)
    check_offsets(pipeline, settings, "select")
    config = EngineConfig(
        group=f"{pipeline.name}.select",
        settings=settings,
        fixed_partitions={pipeline.topics.proposals: 1},
        commit_interval=commit_interval(),
        accept_gap=gap_accepted(),
        deadletter=pipeline.topics.deadletter,
    )
    alarms.newest()
    return Running(config, close=alarms.close)


def flow() -> Dataflow:
    """The flow of `TIDEMARK_PIPELINE`."""
    return of_environment(over)
