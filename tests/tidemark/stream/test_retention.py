from pathlib import Path

import pytest

from tidemark.features.windows import KeyWindows
from tidemark.pipeline import load
from tidemark.stream.retention import OUTAGE, events_retention

PIPELINES = sorted((Path(__file__).parents[3] / "pipelines").rglob("*.toml"))


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_topics_that_we_make_outlive_what_a_restart_reads_again(path: Path) -> None:
    pipeline = load(path)
    kept = events_retention(pipeline)
    for key in pipeline.keys:
        assert kept >= KeyWindows(pipeline, key).reach + pipeline.time.max_ahead + OUTAGE
    assert kept >= pipeline.label.delay + pipeline.label.grace + OUTAGE
    assert kept >= pipeline.retention.events


def test_all_shipped_pipelines_are_looked_at() -> None:
    assert len(PIPELINES) == 8
