"""Features of the event's time alone are not watched."""

from __future__ import annotations

from pathlib import Path

from tidemark.drift.calendar import watched
from tidemark.pipeline import load

FRAUD = Path(__file__).parents[3] / "pipelines" / "fraud.toml"


def test_hour_and_weekday_are_left_out_and_nothing_else() -> None:
    pipeline = load(FRAUD)
    assert set(pipeline.feature_names) - set(watched(pipeline)) == {"hour", "weekday", "night"}


def test_what_is_made_of_such_features_alone_is_left_out_too() -> None:
    pipeline = load(FRAUD)
    derived = pipeline.derived[0].model_copy(update={"name": "late", "sql": "hour > 20 OR 'amount' = 'x'"})
    mixed = derived.model_copy(update={"name": "late_and_large", "sql": 'hour > 20 AND "amount" > 9'})
    names = watched(pipeline.model_copy(update={"derived": [derived, mixed]}))
    assert "late" not in names
    assert "late_and_large" in names
