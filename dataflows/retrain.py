"""The retrain flow: labels to models. `python -m bytewax.run dataflows.retrain:flow`."""

from __future__ import annotations

import logging
from typing import cast

from bytewax.dataflow import Dataflow

from dataflows.config import EngineConfig, gap_accepted
from dataflows.environment import pipeline_and_settings
from dataflows.flow import over_kafka
from dataflows.source import Sessions
from dataflows.stop import Stop
from tidemark.errors import ModelError
from tidemark.kafka import read_all
from tidemark.pipeline import Pipeline
from tidemark.registry.codec import Registry
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.signature import signing_key
from tidemark.settings import Settings
from tidemark.training.processor import RetrainProcessor

_log = logging.getLogger(__name__)


def over(pipeline: Pipeline, settings: Settings, stop: Stop) -> tuple[Dataflow, Sessions]:
    """The flow over the pipeline's labels; one member of its group is active, others stand by."""
    secret = signing_key()

    def read_registry() -> Registry:
        registry = Registry(secret)
        for message in read_all(settings, pipeline.topics.models):
            headers = cast("list[tuple[str, bytes | None]] | None", message.headers())
            try:
                registry.feed(message.key(), message.value(), headers)
            except ModelError as error:
                _log.warning("left out a record of %s: %s", pipeline.topics.models, error)
        return registry

    config = EngineConfig(
        group=f"{pipeline.name}.retrain",
        settings=settings,
        commit_interval=0.0,  # training takes longer than an open transaction may
        batch_rows=max(pipeline.training.every, 1),  # a model is published before the next is trained
        fixed_partitions={pipeline.topics.labels: 1},
        accept_gap=gap_accepted(),
        deadletter=pipeline.topics.deadletter,
    )
    return over_kafka(
        "retrain",
        config,
        lambda: RetrainProcessor(pipeline, read_registry=read_registry, sandbox=Sandbox(), secret=secret),
        stop,
    )


def flow() -> Dataflow:
    """The flow of `TIDEMARK_PIPELINE`."""
    return over(*pipeline_and_settings(), Stop().on_signals())[0]
