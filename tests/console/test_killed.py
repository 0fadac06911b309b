"""People label in a browser while the service, the console and the network before it are killed (benchmark row W6)."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import Chromium
from models import label_of

from benchmarks.console.killed import mistakes, survived
from benchmarks.console.people import Deeds
from benchmarks.console.place import plan
from tidemark.records import Label
from tidemark.records.messages import LabelStatus
from tidemark.runtime.settings import Settings

MOMENTS = 6
SEED = 22


@pytest.mark.timeout(300)
def test_no_answer_is_lost_or_doubled_though_service_console_and_network_are_killed_under_people_who_label(
    kafka: Settings, unique: str, tmp_path: Path, browser: Chromium
) -> None:
    outcome = survived(browser, kafka, unique, tmp_path, plan(SEED, MOMENTS))
    assert outcome.wrong == []
    assert outcome.killed == {"service": 2, "console": 2, "network": 2}
    assert outcome.decisions >= MOMENTS * 5


def record(name: str, label: str | None, of: str = "", by: str = "ada", case: int = 1) -> Label:
    status: LabelStatus = "skipped" if label is None else "answered"
    return label_of(case, [0.0] * 3, label, status=status, annotator=by, annotation_id=name, supersedes=of or None)


FIRST = record("a", "fraud")
CORRECTED = record("b", "legitimate", of="a")


@pytest.mark.parametrize(
    ("decided", "records", "wrong"),
    [
        (["fraud"], [FIRST], 0),
        ([None], [record("a", None)], 0),
        (["fraud", "legitimate"], [FIRST, CORRECTED], 0),
        (["fraud", None, "legitimate"], [FIRST, CORRECTED], 0),
        (["fraud"], [], 1),
        (["fraud", "legitimate"], [FIRST], 1),
        (["legitimate"], [FIRST], 1),
        (["fraud"], [FIRST, record("b", "fraud", of="a")], 1),
        (["fraud", "legitimate"], [FIRST, record("b", "legitimate")], 1),
        (["fraud"], [FIRST, FIRST], 2),
        (["fraud"], [FIRST, record("b", "fraud", by="ben")], 2),
        (["fraud"], [FIRST, record("b", "fraud", case=2)], 1),
    ],
)
def test_each_answer_that_is_lost_doubled_or_changed_is_a_mistake(
    decided: list[str | None], records: list[Label], wrong: int
) -> None:
    told = mistakes([Deeds("ada", {"T1": decided})], {"T1": FIRST.event_id}, records)
    assert len(told) == wrong, told


def test_an_answer_that_the_page_says_was_not_taken_is_a_mistake() -> None:
    assert mistakes([Deeds("ada", refused=["T1: not taken."])], {}, []) == ["ada was told: T1: not taken."]
