"""With a real Label Studio, whose installation and start take minutes: `make test-label-studio`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from labeling import CLASSES, candidate

from benchmarks.labeling.label_studio import Connection, LabelStudio
from labeling_grpc.files.export import export
from tidemark.records import Label, LabelStatus

pytestmark = [pytest.mark.label_studio, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def studio() -> Iterator[Connection]:
    with LabelStudio(["ada"]) as running:
        yield running.owner


def label(number: int, status: LabelStatus, said: str | None, annotation_id: str, **more: Any) -> Label:  # noqa: ANN401
    asked = candidate(number)
    return Label(
        event_id=asked.event_id,
        business_id=asked.business_id,
        key=asked.key,
        time=asked.time,
        status=status,
        label=said,
        annotator="ada",
        known_at=2_000,
        answered_at=3_000,
        reason=asked.reason,
        inclusion_probability=None,
        tile=asked.tile,
        tile_count=asked.tile_count,
        policy=asked.policy,
        features={"amount": 12.5, "größe": None},
        probabilities=[0.4, 0.6],
        uncertainty=0.8,
        model="m1",
        annotation_id=annotation_id,
        **more,
    )


LABELS = [
    label(1, "answered", "fraud", "a1", confidence=0.75, comment='"sure", she said: =1+1 🦀'),
    label(2, "skipped", None, "a2", comment="no idea"),
    label(3, "answered", "fraud", "a3"),
    label(3, "answered", "genuine", "a4", supersedes="a3"),
    label(4, "expired", None, "a5"),
]


def chosen(annotation: dict[str, Any]) -> tuple[tuple[str, ...], bool, bool]:
    choices = [each for result in annotation["result"] for each in result["value"]["choices"]]
    return tuple(choices), annotation["was_cancelled"], annotation["ground_truth"]


def test_what_is_exported_is_there_after_label_studio_has_imported_it(studio: Connection, tmp_path: Path) -> None:
    export(LABELS, tmp_path / "labels.json")
    tasks = json.loads((tmp_path / "labels.json").read_text())
    project = studio.create_project(CLASSES, "event_id")
    assert studio.import_tasks(project, tasks) == 4
    there = studio.call("GET", f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=true")
    assert {task["data"]["event_id"]: task["data"] for task in there} == {
        task["data"]["event_id"]: task["data"] for task in tasks
    }
    assert {task["data"]["event_id"]: task["meta"] for task in there} == {
        task["data"]["event_id"]: task["meta"] for task in tasks
    }
    assert {task["data"]["event_id"]: sorted(map(chosen, task["annotations"])) for task in there} == {
        candidate(1).event_id: [(("fraud",), False, False)],
        candidate(2).event_id: [((), True, False)],
        candidate(3).event_id: [(("fraud",), False, False), (("genuine",), False, False)],
        candidate(4).event_id: [((), True, False)],
    }
    assert {result["from_name"] for task in there for each in task["annotations"] for result in each["result"]} == {
        "label"
    }
