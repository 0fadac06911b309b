"""Rules of columns: what each makes of a value, in the stream as in a history, and what is counted of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import pipeline_text, small_pipeline
from running import Constant, Even
from schemas import NOW_MS, batch_of

from dataflows.engine.warmup import rehearse
from tidemark.errors import ConfigError
from tidemark.features.backfill import backfill
from tidemark.formats.decoder import Decoder
from tidemark.observe.observer import cleaning_problems
from tidemark.pipeline import Pipeline, load, parse
from tidemark.pipeline.definitions import feature_ids
from tidemark.pipeline.schema import schema_hash
from tidemark.pipeline.units import UNITS, conversion
from tidemark.records import Metric, decode
from tidemark.stream import StreamProcessor

TIME: Final = "2025-01-01T00:00:01Z"
COLUMNS: Final = {
    "a": 'type = "float", convert = "degF to degC", range = [-40, 60]',
    "b": 'type = "float", required = false, missing = [-1], range = [0, 10], outside = "clip", default = 5',
    "c": 'type = "float", range = [0, 1], outside = "dead_letter"',
}
RULED: Final = (
    'kind = { type = "string", required = false, vocabulary = ["x", "y"], other = "rest" }\n'
    'n = { type = "int", required = false, range = [1, 3] }'
)


def ruled(columns: dict[str, str] | None = None, more: str = RULED) -> Pipeline:
    text = pipeline_text("p")
    for name, rules in (COLUMNS if columns is None else columns).items():
        text = text.replace(f'{name} = {{ type = "float" }}', f"{name} = {{ {rules} }}")
    return parse(text.replace("[label]", f"{more}\n[label]"), "p.toml")


def as_told(row: dict[str, Any]) -> dict[str, Any] | None:
    """What the rules make of a row, written down by hand; None: a dead letter."""
    celsius = (row["a"] - 32) * 5 / 9
    b = 5.0 if row.get("b") is None else row["b"]
    if not 0 <= row["c"] <= 1:
        return None
    kind = row.get("kind")
    n = row.get("n")
    return {
        "a": celsius if -40 <= celsius <= 60 else None,
        "b": None if b == -1 else min(max(b, 0.0), 10.0),
        "c": row["c"],
        "kind": kind if kind in ("x", "y", None) else "rest",
        "n": n if n in (1, 2, 3) else None,
    }


ROWS: Final = st.fixed_dictionaries(
    {
        "key": st.just("k"),
        "time": st.just(TIME),
        "a": st.integers(-500, 500),
        "c": st.sampled_from([-0.5, 0, 0.5, 1, 2]),
    },
    optional={
        "b": st.sampled_from([None, -1, -2, 0, 3, 11]),
        "kind": st.sampled_from([None, "x", "y", "z", ""]),
        "n": st.sampled_from([None, 0, 1, 3, 4]),
    },
)


@given(st.lists(ROWS, min_size=1, max_size=8))
def test_a_row_by_its_rules_is_what_they_say_in_the_stream_and_in_a_history(rows: list[dict[str, Any]]) -> None:
    pipeline = ruled()
    decoded = Decoder(pipeline).decode(batch_of([json.dumps(row).encode() for row in rows]))
    expected = [told for row in rows if (told := as_told(row)) is not None]
    for own, wanted in zip(decoded.frame.to_dicts(), expected, strict=True):
        assert {name: own[name] for name in wanted} == pytest.approx(wanted)
    assert [each.row for each in decoded.bad] == [i for i, row in enumerate(rows) if as_told(row) is None]
    good = [row for row in rows if as_told(row) is not None]
    if not good:
        return
    names = ["key", "time", "a", "b", "c", "kind", "n"]
    kinds = {"a": pl.Float64, "b": pl.Float64, "c": pl.Float64, "kind": pl.String, "n": pl.Int64}
    history = pl.DataFrame({name: [row.get(name) for row in good] for name in names}, schema_overrides=kinds)
    features = backfill(pipeline, history).select("a", "b", "c").to_numpy()
    by_hand = [[np.nan if told[name] is None else told[name] for name in "abc"] for told in expected]
    np.testing.assert_allclose(features, by_hand)


def test_what_rules_change_is_counted_by_column_and_rule() -> None:
    row = {"key": "k", "time": TIME, "a": 50, "c": 0.5}
    rows = [row | {"a": 500}, row | {"b": -1}, row | {"b": 11}, row | {"kind": "z"}, row | {"n": 0}, row | {"c": 7}]
    decoded = Decoder(ruled()).decode(batch_of([json.dumps(each).encode() for each in rows]))
    assert decoded.changed == {
        ("a", "convert"): 6, ("a", "range"): 1, ("b", "default"): 4, ("b", "missing"): 1, ("b", "range"): 1,
        ("c", "range"): 1, ("kind", "vocabulary"): 1, ("n", "range"): 1,
    }  # fmt: skip
    assert [each.reason for each in decoded.bad] == ["c: 7.0 is outside of its range from 0 to 1"]


def test_the_stream_tells_in_a_metric_what_rules_changed_and_status_says_so() -> None:
    pipeline = ruled()
    processor = StreamProcessor(pipeline, Constant(Even(2)), clock=lambda: NOW_MS * 1_000)
    partition = batch_of([]).partition
    processor.open(partition, "")
    processor.tick(1_000.0)
    row = {"key": "k", "time": TIME, "a": 500, "b": 1, "c": 0.5}
    processor.process(batch_of([json.dumps(row).encode()] * 4))
    told = [output for output in processor.tick(1_020.0) if output.key == b"cleaned_share"]
    metric = decode(Metric, told[0].value)
    assert (metric.value, metric.n, metric.detail) == (2.0, 4, {"a.convert": 4, "a.range": 4})
    assert cleaning_problems({"cleaned_share": metric}, 1_021.0) == [
        "rules changed many values of the last 4 rows: a.range 100.0%"
    ]
    assert cleaning_problems({"cleaned_share": metric}, 10**6) == []
    assert not [output for output in processor.tick(1_040.0) if output.key == b"cleaned_share"]


def test_what_is_made_up_to_warm_a_flow_passes_the_rules() -> None:
    pipeline = ruled()
    given_ = rehearse(StreamProcessor(pipeline, Constant(Even(2))), pipeline)
    assert given_["p.deadletter"] == 0
    assert given_["p.predictions"] > 100


@pytest.mark.parametrize(
    ("text", "given_value", "wanted"),
    [
        ("degF to degC", 212.0, 100.0), ("degC to K", -273.15, 0.0), ("K to degF", 0.0, -459.67),
        ("km/h to m/s", 36.0, 10.0), ("psi to bar", 100.0, 6.8947572932), ("mi to km", 1.0, 1.609344),
        ("% to 1", 50.0, 0.5), ("GiB to MB", 1.0, 1073.741824), ("kWh to MJ", 1.0, 3.6), ("rpm to Hz", 60.0, 1.0),
    ],
)  # fmt: skip
def test_a_conversion_is_what_tables_say(text: str, given_value: float, wanted: float) -> None:
    assert converted(text, given_value) == pytest.approx(wanted, abs=1e-9)


def converted(text: str, value: float) -> float:
    by = conversion(text)
    return (value * by.factor + by.summand) / by.divisor


@pytest.mark.parametrize(
    ("text", "given_value", "wanted"),
    [
        ("degF to degC", 140, 60.0), ("degF to degC", -40, -40.0), ("% to 1", 57, 0.57), ("% to 1", 7, 0.07),
        ("mm to m", 1_001, 1.001), ("g to kg", 4_100, 4.1), ("in to cm", 3, 7.62), ("km/h to m/s", 18, 5.0),
        ("min to s", 0.1, 6.0), ("degC to K", 0.85, 274.0),
    ],
)  # fmt: skip
def test_a_conversion_gives_the_very_number_that_is_meant(text: str, given_value: float, wanted: float) -> None:
    """A range that ends at 60 must hold 140 degF."""
    assert converted(text, given_value) == wanted


@given(st.sampled_from(sorted(UNITS)), st.sampled_from(sorted(UNITS)), st.integers(-1_000, 1_000))
def test_whole_numbers_are_converted_as_exactly_as_a_float_can_tell(first: str, second: str, value: int) -> None:
    if UNITS[first].quantity != UNITS[second].quantity:
        return
    given_, wanted = UNITS[first], UNITS[second]
    exact = (given_.scale * value + given_.offset - wanted.offset) / wanted.scale
    by = conversion(f"{first} to {second}")
    if by.divisor > 1 and max(abs(value * by.factor), abs(by.summand)) < 2**52:
        assert converted(f"{first} to {second}", value) == float(exact)
    assert converted(f"{first} to {second}", value) == pytest.approx(float(exact), rel=1e-12, abs=1e-9)


@given(st.sampled_from(sorted(UNITS)), st.sampled_from(sorted(UNITS)), st.floats(-1e6, 1e6))
def test_a_conversion_there_and_back_changes_nothing(first: str, second: str, value: float) -> None:
    if UNITS[first].quantity != UNITS[second].quantity:
        with pytest.raises(ValueError, match="write units of one quantity"):
            conversion(f"{first} to {second}")
        return
    there = converted(f"{first} to {second}", value)
    assert converted(f"{second} to {first}", there) == pytest.approx(value, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(
    ("columns", "more", "says"),
    [
        ({"a": 'type = "float", convert = "degF"'}, "", "columns.a.convert: 'degF' names no units; write as"),
        ({"a": 'type = "float", convert = "degF to m"'}, "", "degF is a temperature and m a length"),
        ({"a": 'type = "float", convert = "deg F to degC"'}, "", "'deg F' is no unit; did you mean"),
        ({"a": 'type = "float", range = [2, 1]'}, "", "columns.a.range: [2, 1] holds no number"),
        ({"a": 'type = "float", outside = "clip"'}, "", "columns.a.outside: says nothing without 'range'"),
        ({"a": 'type = "float", vocabulary = ["x"]'}, "", "'a' is a float, and this is of a string; remove it"),
        ({}, 'k = { type = "string", range = [1, 2] }', "'k' is a string, and this is of a float or int"),
        ({}, 'k = { type = "int", range = [0.5, 2] }', "columns.k.range: [0.5, 2] of an int must be whole numbers"),
        ({}, 'k = { type = "int", convert = "m to km" }', "'k' is a int, and this is of a float; remove it"),
        ({}, 'k = { type = "string", vocabulary = ["x", "x"] }', "columns.k.vocabulary: names a text twice"),
    ],
)
def test_a_rule_that_can_not_be_is_told_at_its_key(columns: dict[str, str], more: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        ruled(columns, more)
    assert says in str(refused.value)


def test_the_time_column_has_no_rules() -> None:
    text = pipeline_text("p").replace('time = { type = "string" }', 'time = { type = "string", vocabulary = ["x"] }')
    with pytest.raises(ConfigError, match=r"columns.time.vocabulary: the time column can't have rules"):
        parse(text, "p.toml")


def test_rules_decide_a_features_definition_and_no_rules_change_nothing() -> None:
    plain, own = small_pipeline(), ruled({"a": COLUMNS["a"]}, "")
    assert schema_hash(plain) != schema_hash(own)
    assert feature_ids(plain)["a"] != feature_ids(own)["a"]
    assert feature_ids(plain)["b"] == feature_ids(own)["b"]
    other_name = ruled({"a": 'type = "float", names = ["amount"]'}, "")
    assert schema_hash(plain) == schema_hash(other_name)
    assert feature_ids(plain) == feature_ids(other_name)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("customer", "602b0323b13c2b82"),
        ("fraud", "963348337178cd18"),
        ("healthcare", "c5df89e221d6e79f"),
        ("maintenance", "d9e8a3e0d4954291"),
    ],
)
def test_what_a_column_may_say_leaves_the_hashes_of_shipped_pipelines_as_they_were(name: str, known: str) -> None:
    assert schema_hash(load(Path(__file__).parents[3] / "pipelines" / f"{name}.toml")) == known
