"""Alarms in sentences for people."""

from __future__ import annotations

import pytest

from tidemark.observe.changes import change_notes
from tidemark.records import Metric

NOW = 1_700_000_000.0


def alarm(name: str, ago: float, **detail: str) -> Metric:
    at = int((NOW - ago) * 1e6)
    return Metric(
        name=name, value=400.0, low=None, high=None, n=400, at=at, model="", source="stream", detail=dict(detail)
    )


def notes(*alarms: Metric) -> list[str]:
    return list(change_notes({each.name: each for each in alarms}, NOW, "shop.toml"))


def test_a_change_is_told_with_what_moved_and_what_to_do() -> None:
    (note,) = notes(alarm("inputs_changed", 7_200, moved_1="amount", how_1="higher", moved_2="kind", how_2="new"))
    assert note.startswith("the inputs have changed 2 h ago: amount (higher), kind (new); look whether a source is")


def test_harm_names_the_command_that_takes_an_earlier_model() -> None:
    (note,) = notes(alarm("quality_fell", 60))
    assert "`tidemark models rollback shop.toml`" in note


def test_alarms_older_than_a_week_are_not_told() -> None:
    assert notes(alarm("inputs_changed", 8 * 86_400)) == []


@pytest.mark.parametrize("ago", [-1e9, -100.0])
def test_an_alarm_of_a_time_to_come_is_not_told(ago: float) -> None:
    assert notes(alarm("labels_changed", ago)) == []


def test_a_strangers_long_names_are_cut() -> None:
    (note,) = notes(alarm("inputs_changed", 60, moved_1="x" * 9_000, how_1="y" * 9_000))
    assert len(note) < 400
