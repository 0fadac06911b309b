from __future__ import annotations

from pathlib import Path

import pytest
from streaming import shop

from tidemark.pipeline import Pipeline, load
from tidemark.processor import Batch, Output
from tidemark.stream import StreamProcessor, warm

PIPELINES = sorted((Path(__file__).parents[3] / "pipelines").glob("*.toml"))


@pytest.mark.parametrize(
    "pipeline", [shop(keys=1), shop(keys=2), *map(load, PIPELINES)], ids=lambda p: f"{p.name}-{len(p.keys)}"
)
def test_a_made_up_record_goes_through_every_stage(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    process = StreamProcessor.process
    topics: list[str] = []

    def observed(processor: StreamProcessor, batch: Batch) -> list[Output]:
        outputs = process(processor, batch)
        topics.extend(output.topic for output in outputs)
        return outputs

    monkeypatch.setattr(StreamProcessor, "process", observed)
    warm(pipeline)
    assert topics.count(pipeline.topics.predictions) == 2
    assert pipeline.topics.proposals in topics
    assert pipeline.topics.deadletter not in topics
    assert all(topics.count(hop) == 1 for hop in pipeline.hop_topics)
