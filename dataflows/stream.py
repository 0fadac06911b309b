"""The stream flow: raw records to predictions and proposals. `python -m bytewax.run dataflows.stream:flow`."""

from __future__ import annotations

import logging
from typing import Final

from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

import dataflows.engine.flow
from dataflows.engine.config import EngineConfig, commit_interval, gap_accepted
from dataflows.engine.environment import connected, pipeline_and_settings
from dataflows.engine.lost_offsets import check_stream
from dataflows.engine.shutdown import Stop
from dataflows.engine.source import Running, Sessions
from dataflows.engine.task import Done, Work
from dataflows.engine.warmup import rehearse
from tidemark.pipeline import Pipeline
from tidemark.registry.deployed import record_deployed
from tidemark.registry.follower import ModelWatcher
from tidemark.registry.signature import signing_key
from tidemark.runtime.settings import Settings
from tidemark.stream.processor import StreamProcessor

_log = logging.getLogger(__name__)
_ROUND_ROWS: Final = 8_000
"""Rows of all partitions together. A round costs some 9 ms however few rows it has, and 5 µs a row."""


def build(source: Source[Work], sink: Sink[Done]) -> Dataflow:
    """The flow between a source and a sink."""
    return dataflows.engine.flow.build("stream", source, sink)


def over(pipeline: Pipeline, settings: Settings, stop: Stop) -> tuple[Dataflow, Sessions]:
    """The flow over the pipeline's topics, which begins with `prepared` when it runs."""
    return dataflows.engine.flow.over_kafka("stream", lambda: prepared(pipeline, settings), stop)


def prepared(pipeline: Pipeline, settings: Settings) -> Running:
    """Kernels are warm and the champion is known before the group is joined.

    Raises:
        TidemarkError: the models topic can't be read, or offsets are gone and what was published is there.

    """
    settings = connected(settings)
    check_stream(pipeline, settings)
    secret = signing_key()
    watcher = ModelWatcher(settings, pipeline, secret=secret).start()
    try:
        watcher.wait_ready()
        record_deployed(settings, pipeline, secret=secret)
        _log.info("warming up: a first start compiles kernels, which takes up to a minute; later ones take seconds")
        rehearse(StreamProcessor(pipeline, watcher), pipeline)
        _log.info("warm; joining the group")
    except BaseException:
        watcher.close()
        raise
    config = EngineConfig(
        group=f"{pipeline.name}.stream",
        settings=settings,
        batch_rows=_ROUND_ROWS,
        buffer_rows=5 * _ROUND_ROWS,  # more than is read ahead, unless a partition waits for another for long
        align=max(pipeline.time.lateness // 2, 1),
        align_groups=dict.fromkeys(pipeline.raw_topics, "raw"),
        fixed_partitions=dict.fromkeys(pipeline.hop_topics, pipeline.partitions),
        commit_interval=commit_interval(),
        accept_gap=gap_accepted(),
        deadletter=pipeline.topics.deadletter,
    )
    return Running(config, lambda: StreamProcessor(pipeline, watcher), close=watcher.close)


def flow() -> Dataflow:
    """The flow of `TIDEMARK_PIPELINE`."""
    return over(*pipeline_and_settings(), Stop().on_signals())[0]
