"""Doubtful labels go back to people, the most doubtful first, each once, so many a day."""

from __future__ import annotations

import msgspec
import numpy as np
from models import START, label_of, small_pipeline

from tidemark.cli.label_review import WHY, review_of
from tidemark.records import Label
from tidemark.registry.schema import ModelSchema

SCHEMA = ModelSchema.of(small_pipeline())
NOW = START * 1_000 + 200_000_000


def labels(n: int = 200, wrong: int = 12) -> list[tuple[int, Label]]:
    features = np.random.default_rng(4).normal(size=(n, 3))
    features[:, 0] += np.sign(features[:, 0])  # clear cases
    said = [("no", "yes")[int((row[0] > 0) != (place < wrong))] for place, row in enumerate(features)]
    return [(at, label_of(at, features[at].tolist(), said[at], annotator=f"ann{at % 2}")) for at in range(n)]


def back(label: Label, ago: int, why: str = WHY) -> Label:
    return msgspec.structs.replace(
        label, status="requeued", label=None, comment=why, answered_at=NOW - ago, annotator=""
    )


def test_wrong_labels_come_back_first_and_no_more_than_so_many() -> None:
    found = review_of(labels(), SCHEMA, 5, NOW)
    assert len(found.cases) == 5
    numbers = [int(case.event_id.split("-")[2]) for case in found.cases]
    assert sum(number < 12 for number in numbers) >= 4
    assert found.labels == 200
    assert 5 <= found.doubtful < 60
    assert "where the model says" in found.cases[0].words


def test_what_came_back_within_a_day_counts_and_nothing_comes_back_twice() -> None:
    given = labels()
    first = review_of(given, SCHEMA, 3, NOW).cases
    by_id = {label.event_id: label for _, label in given}
    again = [*given, *((1_000 + at, back(by_id[case.event_id], 3_600_000_000)) for at, case in enumerate(first))]
    assert review_of(again, SCHEMA, 3, NOW).cases == []
    more = review_of(again, SCHEMA, 5, NOW)
    assert (more.today, len(more.cases)) == (3, 2)
    later = review_of(again, SCHEMA, 3, NOW + 2 * 86_400_000_000)
    assert later.today == 0
    assert not {case.event_id for case in later.cases} & {case.event_id for case in first}


def test_cases_that_came_back_for_something_else_do_not_count() -> None:
    given = labels()
    other = [*given, (1_000, back(given[0][1], 60, why="the rule has changed"))]
    assert review_of(other, SCHEMA, 3, NOW).today == 0


def test_imported_labels_are_not_doubted() -> None:
    given = [(at, msgspec.structs.replace(label, reason="imported")) for at, label in labels()]
    assert review_of(given, SCHEMA, 5, NOW).cases == []


def test_a_few_labels_tell_nothing() -> None:
    assert review_of(labels(3, 0), SCHEMA, 5, NOW).cases == []
    assert review_of([], SCHEMA, 5, NOW).cases == []
