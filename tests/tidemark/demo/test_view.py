from __future__ import annotations

from pathlib import Path

from rich.console import Console

from tidemark.demo.run import Progress
from tidemark.demo.view import View
from tidemark.observe.snapshot import Snapshot
from tidemark.pipeline import load
from tidemark.records import Metric

FRAUD = Path(__file__).parents[3] / "pipelines" / "fraud.toml"


def test_the_labels_spent_are_what_selection_counts_not_where_a_topic_ends() -> None:
    pipeline = load(FRAUD)
    spent = Metric(
        name="budget_spent",
        value=8.0,
        low=None,
        high=None,
        n=820,
        at=0,
        model="none",
        source="budget",
        detail={"spent_in_all": 1456},
    )
    snapshot = Snapshot(
        at=0.0, ends={pipeline.topics.labels: 1541}, rates={}, flows=[], champion=None, metrics={spent.name: spent}
    )
    console = Console(width=100)
    with console.capture() as capture:
        console.print(View(pipeline).render(Progress("streaming", snapshot=snapshot)))
    shown = capture.get()
    assert "1,456" in shown
    assert "1,541" not in shown
