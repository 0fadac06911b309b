"""The retrain flow: labels to models. `python -m bytewax.run dataflows.retrain:flow`."""

from __future__ import annotations

from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

import dataflows.engine.flow
from dataflows.engine.config import EngineConfig, gap_accepted
from dataflows.engine.environment import connected, pipeline_and_settings
from dataflows.engine.shutdown import Stop
from dataflows.engine.source import Running, Sessions
from dataflows.engine.task import Done, Work
from tidemark.kafka import ensure_topics, wait_settled
from tidemark.pipeline import Pipeline
from tidemark.registry.codec import Registry
from tidemark.registry.reading import read_registry
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.signature import signing_key
from tidemark.runtime.settings import Settings
from tidemark.training.processor import RetrainProcessor
from tidemark.training.recomputing import Recomputer

_LONGEST_TRAINING = 1_800.0
"""Seconds after which the group takes a member that trains for one that hangs."""


def build(source: Source[Work], sink: Sink[Done]) -> Dataflow:
    """The flow between a source and a sink."""
    return dataflows.engine.flow.build("retrain", source, sink)


def over(pipeline: Pipeline, settings: Settings, stop: Stop) -> tuple[Dataflow, Sessions]:
    """The flow over the pipeline's labels; one member of its group is active, others stand by."""
    return dataflows.engine.flow.over_kafka("retrain", lambda: prepared(pipeline, settings), stop)


def prepared(pipeline: Pipeline, settings: Settings) -> Running:
    """What a pipeline of an earlier version lacks is made before the group is joined."""
    settings = connected(settings)
    secret = signing_key()
    sandbox = Sandbox()

    def registry() -> Registry:
        return read_registry(settings, pipeline.topics.models, secret=secret)

    def settle() -> None:
        # What the flow's earlier process published with its last commit, which may have been answered just now.
        wait_settled(settings, pipeline.topics.models)

    specs = pipeline.topics.specs(
        raw=[], hops=[], partitions=pipeline.partitions, retention_ms=pipeline.retention.events // 1_000
    )  # a pipeline that was set up by an earlier version lacks this topic
    ensure_topics(settings, [spec for spec in specs if spec.name == pipeline.topics.label_features])
    recomputer = Recomputer(pipeline, settings)
    config = EngineConfig(
        group=f"{pipeline.name}.retrain",
        settings=settings,
        commit_interval=0.0,  # training takes longer than an open transaction may
        batch_rows=max(pipeline.training.every, 1),  # a model is published before the next is trained
        max_poll_interval=_LONGEST_TRAINING,
        fixed_partitions={pipeline.topics.labels: 1},
        accept_gap=gap_accepted(),
        deadletter=pipeline.topics.deadletter,
        must_fit=True,  # a model in parts, or a manifest, is not replaced by a dead letter
    )
    return Running(
        config,
        lambda: RetrainProcessor(
            pipeline, read_registry=registry, sandbox=sandbox, recomputing=recomputer, secret=secret, settle=settle
        ),
        close=sandbox.close,
    )


def flow() -> Dataflow:
    """The flow of `TIDEMARK_PIPELINE`."""
    return over(*pipeline_and_settings(), Stop().on_signals())[0]
