"""The select flow: proposals to candidates under a hard budget. `python -m bytewax.run dataflows.select:flow`."""

from __future__ import annotations

from bytewax.dataflow import Dataflow

from dataflows.config import EngineConfig, gap_accepted
from dataflows.environment import pipeline_and_settings
from dataflows.flow import over_kafka
from dataflows.source import Sessions
from dataflows.stop import Stop
from tidemark.pipeline import Pipeline
from tidemark.selection import SelectProcessor
from tidemark.selection.policy import warm
from tidemark.settings import Settings


def over(pipeline: Pipeline, settings: Settings, stop: Stop) -> tuple[Dataflow, Sessions]:
    """The flow over the pipeline's proposals; one member of its group is active, others stand by."""
    warm()
    config = EngineConfig(
        group=f"{pipeline.name}.select",
        settings=settings,
        fixed_partitions={pipeline.topics.proposals: 1},
        accept_gap=gap_accepted(),
        deadletter=pipeline.topics.deadletter,
    )
    return over_kafka("select", config, lambda: SelectProcessor(pipeline), stop)


def flow() -> Dataflow:
    """The flow of `TIDEMARK_PIPELINE`."""
    return over(*pipeline_and_settings(), Stop().on_signals())[0]
