"""The pictures of `select`, `monitor` and `retrain`, and the same steps in one piece, commit the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flow_logs
import pytest
from committing import Commit, Row, commits
from flow_rounds import FlowProcessor
from models import registry_of

import dataflows.monitor
import dataflows.retrain
import dataflows.select
from tidemark.monitoring import MonitorProcessor
from tidemark.pipeline import Pipeline
from tidemark.registry.codec import Registry
from tidemark.registry.sandbox import Sandbox
from tidemark.runtime.processor import Output, Partition
from tidemark.selection import SelectProcessor
from tidemark.training import RetrainProcessor
from tidemark.training.steps import LearnStep

Logs = dict[Partition, list[Row]]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as shared:
        yield shared


def _topics(done: Sequence[Commit]) -> set[str]:
    return {topic.partition(".")[2] for each in done for topic in each.outputs}


@pytest.mark.parametrize(
    ("made", "flow", "whole", "written"),
    [
        (flow_logs.proposals, dataflows.select.build, SelectProcessor, {"candidates", "metrics", "deadletter"}),
        (flow_logs.measured, dataflows.monitor.build, MonitorProcessor, {"metrics", "deadletter"}),
    ],
    ids=["select", "monitor"],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_flow_commits_what_its_steps_in_one_piece_commit(
    seed: int,
    made: Callable[[int], tuple[Pipeline, Logs]],
    flow: Callable[..., Any],
    whole: Callable[[Pipeline], Any],
    written: set[str],
) -> None:
    pipeline, logs = made(seed)
    drawn = commits(lambda _: FlowProcessor(lambda source, sink: flow(source, sink, pipeline)), logs, seed)
    assert drawn == commits(lambda _: whole(pipeline), logs, seed)
    assert _topics(drawn) == written


def test_the_retrain_flow_commits_what_its_steps_in_one_piece_commit(sandbox: Sandbox) -> None:
    pipeline, logs = flow_logs.labels(1)

    def registry(produced: Sequence[Output]) -> Registry:
        return registry_of(output for output in produced if output.topic == pipeline.topics.models)

    def drawn(produced: Sequence[Output]) -> FlowProcessor:
        def learn() -> LearnStep:
            return LearnStep(pipeline, read_registry=lambda: registry(produced), sandbox=sandbox)

        return FlowProcessor(lambda source, sink: dataflows.retrain.build(source, sink, pipeline, learn))

    def whole(produced: Sequence[Output]) -> RetrainProcessor:
        return RetrainProcessor(pipeline, read_registry=lambda: registry(produced), sandbox=sandbox)

    done = commits(drawn, logs, 1)
    assert done == commits(whole, logs, 1)
    assert _topics(done) == {"models", "metrics", "deadletter"}
