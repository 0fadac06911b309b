"""The retrain flow: labels to models. `python -m bytewax.run dataflows.retrain:flow`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

import dataflows.operators as tm
from dataflows.alarms import AlarmFollower
from dataflows.engine.added_topics import ensure_added
from dataflows.engine.config import EngineConfig, gap_accepted
from dataflows.engine.environment import connected, of_environment
from dataflows.engine.flow import over_kafka
from dataflows.engine.lost_offsets import check_offsets
from dataflows.engine.shutdown import Stop
from dataflows.engine.source import Running, Sessions
from dataflows.engine.work import Done, Work
from tidemark.kafka import wait_settled
from tidemark.pipeline import Pipeline
from tidemark.registry.codec import Registry
from tidemark.registry.reading import read_registry
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.signature import signing_key
from tidemark.runtime.settings import Settings
from tidemark.training.recomputing import Recomputer
from tidemark.training.state import RetrainState
from tidemark.training.steps import CheckLabelsStep, LearnStep
from tidemark.training.unlabeled import unlabeled

_LONGEST_TRAINING = 1_800.0
"""Seconds after which the group takes a member that trains for one that hangs."""


def build(source: Source[Work], sink: Sink[Done], pipeline: Pipeline, learn: Callable[[], LearnStep]) -> Dataflow:
    """The flow between a source and a sink. learn: makes the step that trains, when the flow runs."""
    flow = Dataflow("retrain")
    read = tm.input("read", flow, source)
    labels = tm.by_topic("labels", read, [pipeline.topics.labels])
    checked = tm.step_with_errors("check_labels", labels, make=partial(CheckLabelsStep, pipeline))
    learnt = tm.step("learn", checked.oks, learn)
    letters = tm.dead_letters("dead_letters", checked.errs, topic=pipeline.topics.deadletter)
    tm.commit("commit", sink, letters, learnt, state=RetrainState)
    return flow


def over(pipeline: Pipeline, settings: Settings, stop: Stop) -> tuple[Dataflow, Sessions]:
    """The flow over the pipeline's labels; one member of its group is active, others stand by."""
    trainers = Trainers(pipeline, settings)
    return over_kafka(lambda source, sink: build(source, sink, pipeline, trainers.learn), trainers.prepared, stop)


class Trainers:
    """What the trainers of one process share once the flow runs."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        self._pipeline, self._settings = pipeline, settings
        self._secret: bytes | None = None
        self._sandbox: Sandbox | None = None
        self._alarms = AlarmFollower(pipeline, settings)

    def prepared(self) -> Running:
        """What a pipeline of an earlier version lacks is made before the group is joined.

        Raises:
            TopicError: offsets are gone and models that were trained are there.

        """
        pipeline = self._pipeline
        settings = self._settings = connected(self._settings)
        check_offsets(pipeline, settings, "retrain")
        self._secret = signing_key()
        sandbox = self._sandbox = Sandbox()
        ensure_added(pipeline, settings, pipeline.topics.label_features)
        if pipeline.scales:
            ensure_added(pipeline, settings, pipeline.topics.sample)
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
        self._alarms.newest()

        def close() -> None:
            sandbox.close()
            self._alarms.close()

        return Running(config, close=close)

    def learn(self) -> LearnStep:
        """The step that trains, of one worker."""
        pipeline, settings = self._pipeline, self._settings
        return LearnStep(
            pipeline,
            read_registry=self._registry,
            sandbox=self._sandbox,
            recomputing=Recomputer(pipeline, settings),
            secret=self._secret,
            settle=self._settle,
            alarmed=self._alarms.newest,
            unlabeled=lambda: unlabeled(settings, pipeline),
        )

    def _registry(self) -> Registry:
        return read_registry(self._settings, self._pipeline.topics.models, secret=self._secret)

    def _settle(self) -> None:
        # What the flow's earlier process published with its last commit, which may have been answered just now.
        wait_settled(self._settings, self._pipeline.topics.models)


def flow() -> Dataflow:
    """The flow of `TIDEMARK_PIPELINE`."""
    return of_environment(over)
