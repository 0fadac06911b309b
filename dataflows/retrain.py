"""The retrain flow: labels to models. `python -m bytewax.run dataflows.retrain:flow`."""

from __future__ import annotations

from collections.abc import Callable

from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

import dataflows.operators as tm
from dataflows.engine.config import EngineConfig, gap_accepted
from dataflows.engine.environment import connected, pipeline_and_settings
from dataflows.engine.flow import over_kafka
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


def build(source: Source[Work], sink: Sink[Done], trainer: Callable[[], RetrainProcessor]) -> Dataflow:
    """The flow between a source and a sink. trainer: made when the flow runs."""
    flow = Dataflow("retrain")
    read = tm.input("read", flow, source)
    tm.commit("commit", sink, tm.processor("train", read, trainer))
    return flow


def over(pipeline: Pipeline, settings: Settings, stop: Stop) -> tuple[Dataflow, Sessions]:
    """The flow over the pipeline's labels; one member of its group is active, others stand by."""
    training = Training(pipeline, settings)
    return over_kafka(lambda source, sink: build(source, sink, training.processor), training.prepared, stop)


class Training:
    """What the trainers of one process share once the flow runs."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        self._pipeline, self._settings = pipeline, settings
        self._secret: bytes | None = None
        self._sandbox: Sandbox | None = None

    def prepared(self) -> Running:
        """What a pipeline of an earlier version lacks is made before the group is joined."""
        pipeline = self._pipeline
        settings = self._settings = connected(self._settings)
        self._secret = signing_key()
        sandbox = self._sandbox = Sandbox()
        specs = pipeline.topics.specs(
            raw=[], hops=[], partitions=pipeline.partitions, retention_ms=pipeline.retention.events // 1_000
        )  # a pipeline that was set up by an earlier version lacks this topic
        ensure_topics(settings, [spec for spec in specs if spec.name == pipeline.topics.label_features])
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
        return Running(config, close=sandbox.close)

    def processor(self) -> RetrainProcessor:
        """The trainer of one worker."""
        pipeline, settings = self._pipeline, self._settings
        return RetrainProcessor(
            pipeline,
            read_registry=self._registry,
            sandbox=self._sandbox,
            recomputing=Recomputer(pipeline, settings),
            secret=self._secret,
            settle=self._settle,
        )

    def _registry(self) -> Registry:
        return read_registry(self._settings, self._pipeline.topics.models, secret=self._secret)

    def _settle(self) -> None:
        # What the flow's earlier process published with its last commit, which may have been answered just now.
        wait_settled(self._settings, self._pipeline.topics.models)


def flow() -> Dataflow:
    """The flow of `TIDEMARK_PIPELINE`."""
    return over(*pipeline_and_settings(), Stop().on_signals())[0]
