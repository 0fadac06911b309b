"""What follows from an alarm, in a sentence."""

from __future__ import annotations

from benchmarks.labels.proposal_streams import pipeline
from tidemark.observe.reactions import reaction_notes
from tidemark.pipeline.model import Drift, Pipeline
from tidemark.records import Metric

NOW = 1_700_000_000.0
DAY = 86_400.0


def reacting() -> Pipeline:
    plain = pipeline(budget=8, explore=1)
    return plain.model_copy(update={"drift": Drift.model_validate({"reaction": {"budget": 2.0}})})


def metric(name: str, ago: float, **detail: float | str) -> Metric:
    at = int((NOW - ago) * 1e6)
    return Metric(name=name, value=4.0, low=None, high=None, n=4, at=at, model="", source="stream", detail=dict(detail))


def notes(*metrics: Metric) -> list[str]:
    return list(reaction_notes({each.name: each for each in metrics}, NOW, reacting()))


def spent(ago: float, until: float) -> Metric:
    return metric(
        "budget_spent", ago, follows_until=int((NOW + until) * 1e6), extra=34, most_extra=500, budget=16, alarm=1
    )


def test_while_an_alarm_is_followed_it_is_said_what_is_asked_and_for_how_long() -> None:
    (note,) = notes(spent(60, 3 * DAY), metric("quality_fell", DAY))
    assert note.startswith("the change is followed for 3 days more: up to 16 cases a tile instead of 8, 34 of at most")
    assert "500 extra cases asked; a model was trained at once" in note


def test_before_the_next_tile_it_is_said_that_a_reaction_begins() -> None:
    (note,) = notes(metric("quality_fell", 60), metric("budget_spent", 600))
    assert "from the next tile on" in note


def test_nothing_is_said_once_it_is_over_or_where_the_alarm_is_not_followed() -> None:
    assert notes(spent(60, -1), metric("quality_fell", 8 * DAY)) == []
    assert notes(metric("inputs_changed", 60), metric("budget_spent", 600)) == []
    alarms = {"quality_fell": metric("quality_fell", 60)}
    assert list(reaction_notes(alarms, NOW, pipeline(budget=8, explore=1))) == []


def test_a_strangers_figures_are_not_believed() -> None:
    junk = metric("budget_spent", 60, follows_until="soon", extra=-1.5, budget=1e300)
    assert notes(junk) == []
    huge = metric("budget_spent", 60, follows_until=2**80, extra=2**80, most_extra="x", budget=2**80)
    assert notes(huge) == []
