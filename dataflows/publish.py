"""The publish flow: predictions and candidates in other forms. `python -m bytewax.run dataflows.publish:flow`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

import dataflows.operators as tm
from dataflows.engine.config import EngineConfig, commit_interval, gap_accepted
from dataflows.engine.environment import connected, of_environment
from dataflows.engine.flow import over_kafka
from dataflows.engine.lost_offsets import check_offsets
from dataflows.engine.shutdown import Stop
from dataflows.engine.source import Running, Sessions
from dataflows.engine.work import Done, Work
from tidemark.errors import ConfigError
from tidemark.flows import FLOWS
from tidemark.pipeline import Pipeline
from tidemark.publishing.registering import registered
from tidemark.publishing.step import PublishStep
from tidemark.runtime.settings import Settings


def build(
    source: Source[Work], sink: Sink[Done], pipeline: Pipeline, numbers: Callable[[], Mapping[int, int]] = dict
) -> Dataflow:
    """The flow between a source and a sink.

    Args:
        source: of its rounds.
        sink: of what it did.
        pipeline: whose outputs are written.
        numbers: of the schemas in a registry, by output.

    Returns:
        The flow.

    """
    flow = Dataflow("publish")
    read = tm.input("read", flow, source)
    told = tm.by_topic("told", read, FLOWS.get("publish").reads(pipeline))
    written = tm.step_with_errors("write", told, make=partial(PublishStep, pipeline, numbers))
    letters = tm.dead_letters("dead_letters", written.errs, topic=pipeline.topics.deadletter)
    tm.commit("commit", sink, letters, written.oks)
    return flow


def over(pipeline: Pipeline, settings: Settings, stop: Stop) -> tuple[Dataflow, Sessions]:
    """The flow over what the pipeline tells; several processes share its partitions."""
    return over_kafka(
        lambda source, sink: build(source, sink, pipeline, lambda: registered(pipeline)),
        lambda: prepared(pipeline, settings),
        stop,
    )


def prepared(pipeline: Pipeline, settings: Settings) -> Running:
    """What was published is looked at before the group is joined.

    Raises:
        TopicError: offsets are gone and what was published is there.
        ConfigError: the pipeline has no outputs.

    """
    settings = connected(settings)
    if not pipeline.outputs:
        raise ConfigError(f"pipeline '{pipeline.name}' has no [[outputs]]; declare one (docs/how-to/outputs.md)")
    check_offsets(pipeline, settings, "publish")
    config = EngineConfig(
        group=f"{pipeline.name}.publish",
        settings=settings,
        commit_interval=commit_interval(),
        accept_gap=gap_accepted(),
        deadletter=pipeline.topics.deadletter,
    )
    return Running(config)


def flow() -> Dataflow:
    """The flow of `TIDEMARK_PIPELINE`."""
    return of_environment(over)
