from __future__ import annotations

import math
from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streaming import START, MemoryEngine, load_rows, purchases, shop

from benchmarks.support.offline_features import offline
from tidemark.errors import ConfigError
from tidemark.features.backfill import backfill
from tidemark.pipeline import Pipeline

ONE_PARTITION = {"partitions": 1}


def history(rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(
        rows,
        schema={
            "id": pl.String,
            "at": pl.Int64,
            "who": pl.String,
            "place": pl.Int64,
            "amount": pl.Float64,
            "kind": pl.String,
        },
    )


def in_order(seed: int, n: int) -> list[dict[str, object]]:
    return purchases(seed, n, disorder=0)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_history_gives_the_features_of_the_stream(seed: int) -> None:
    pipeline = shop(keys=2, features_topic=True).model_copy(update=ONE_PARTITION)
    rows = in_order(seed, 120)
    engine = MemoryEngine(pipeline)
    load_rows(engine, rows)
    engine.drain(lambda: 9)
    streamed = pl.concat(pl.read_ipc_stream(o.value or b"") for _, o in engine.of_topic(pipeline.topics.features))
    features = backfill(pipeline, history(rows))
    assert features["_time"].to_list() == [row["at"] for row in rows]
    by_id = streamed.sort(pl.col("business_id").str.slice(1).cast(pl.Int64))
    np.testing.assert_array_equal(
        features.select(pipeline.feature_names).to_numpy(), by_id.select(pipeline.feature_names).to_numpy()
    )


def test_different_texts_are_counted_exactly_and_few_by_a_sketch_too() -> None:
    rows = [row | {"id": ["é", "P1", "", "P2", "P11"][i % 5]} for i, row in enumerate(in_order(5, 80))]
    found = backfill(shop(keys=2), history(rows)).select("place_ids", "who_ids").to_numpy()
    assert found.max() > 3, "no window has many texts"
    for i, row in enumerate(rows):
        for j, (key, size, last) in enumerate((("place", 21, i), ("who", 45, i - 1))):
            inside = [r for r in rows[: last + 1] if r[key] == row[key] and r["at"] > row["at"] - size * 1_000_000]  # type: ignore[operator]
            assert found[i, j] == len({r["id"] for r in inside})


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_rows_of_a_history_may_stand_in_any_order(seed: int) -> None:
    pipeline, rows = shop(keys=2), in_order(seed, 60)
    times = [START + 1_000_000 * i for i in range(60)]
    whole = history([row | {"at": time} for row, time in zip(rows, times, strict=True)])
    order = np.random.default_rng(seed).permutation(60)
    shuffled = backfill(pipeline, whole[order])
    assert shuffled.equals(backfill(pipeline, whole)[order], null_equal=True)


def test_times_may_be_datetimes_dates_or_as_in_the_stream() -> None:
    pipeline = shop(keys=1)
    rows = history(in_order(4, 5)).with_columns(at=pl.lit(START) + pl.int_range(pl.len()) * 86_400_000_000)
    expected = backfill(pipeline, rows)
    stamps = pl.from_epoch("at", time_unit="us")
    for other in (
        stamps,
        stamps.dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo"),
        stamps.dt.cast_time_unit("ms"),
    ):
        assert backfill(pipeline, rows.with_columns(at=other)).equals(expected)
    assert (
        backfill(pipeline, rows.with_columns(at=stamps.cast(pl.Date)))["_time"].to_list() == expected["_time"].to_list()
    )


def iso(pipeline: Pipeline) -> Pipeline:
    columns = pipeline.columns | {"at": pipeline.columns["at"].model_copy(update={"type": "string"})}
    time = pipeline.time.model_copy(update={"format": "iso8601"})
    return pipeline.model_copy(update={"columns": columns, "time": time})


def test_iso_times_of_a_history_are_read() -> None:
    rows = history(in_order(4, 3)).with_columns(
        at=pl.Series(["2025-01-01T00:00:00Z", "2025-01-01", "2025-01-02 01:00"])
    )
    times = backfill(iso(shop(keys=1)), rows)["_time"].to_list()
    assert times == [START, START, START + 25 * 3_600_000_000]


def of_records(rows: pl.DataFrame) -> pl.DataFrame:
    """The same history with a column of a type that is not the declared one: it is read record by record."""
    return rows.with_columns(pl.col("kind").cast(pl.Categorical))


MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2025, 1, 1))  # noqa: DTZ001 - written with any offset, or none
TIMES = st.one_of(
    st.tuples(MOMENTS, st.sampled_from(["", "Z", "z", "+02:00", "-0930", "+14"])).map(
        lambda t: f"{t[0].isoformat()}{t[1]}"
    ),
    MOMENTS.map(lambda t: t.isoformat(" ").replace(".", ",")),
    MOMENTS.map(lambda t: t.date().isoformat()),
    MOMENTS.map(lambda t: t.strftime("%G-W%V-%u")),
    MOMENTS.map(lambda t: t.strftime("%d.%m.%Y %H:%M")),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(TIMES, min_size=1, max_size=9))
def test_times_of_a_history_are_those_of_its_records_however_they_are_written(texts: list[str]) -> None:
    pipeline = iso(shop(keys=1))
    time = pipeline.time.model_copy(update={"patterns": ["%d.%m.%Y %H:%M"]})
    pipeline = pipeline.model_copy(update={"time": time})
    rows = history(in_order(4, len(texts))).with_columns(at=pl.Series(texts))
    assert backfill(pipeline, rows).equals(backfill(pipeline, of_records(rows)))


@pytest.mark.parametrize("amounts", [[3, None, 2**53], [0, 2**60], [7, -(2**53) - 1]])
def test_whole_numbers_of_a_float_column_are_taken_or_refused_as_in_records(amounts: list[int | None]) -> None:
    def read(rows: pl.DataFrame) -> object:
        try:
            return backfill(shop(keys=1), rows).to_dicts()
        except ConfigError as error:
            return str(error)

    rows = history(in_order(4, len(amounts))).with_columns(amount=pl.Series(amounts))
    assert str(read(rows)) == str(read(of_records(rows)))


@pytest.mark.parametrize("kind", [pl.Float64, pl.String, pl.Int64])
def test_a_history_of_a_time_that_the_stream_would_refuse_is_refused(kind: type[pl.DataType]) -> None:
    form, declared = {pl.Float64: ("epoch_s", "float"), pl.Int64: ("epoch_s", "int"), pl.String: ("iso8601", "string")}[
        kind
    ]
    pipeline = shop(keys=1)
    columns = pipeline.columns | {"at": pipeline.columns["at"].model_copy(update={"type": declared})}
    pipeline = pipeline.model_copy(
        update={"columns": columns, "time": pipeline.time.model_copy(update={"format": form})}
    )
    for wrong, why in ((float("nan"), "expected a number"), (4e9, "at most 400d"), (-1.0, "before 1970")):
        if math.isnan(wrong) and kind != pl.Float64:
            continue
        value = pl.Series([0.0, wrong])
        told = (
            value
            if kind == pl.Float64
            else pl.from_epoch(value, "s").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
            if kind == pl.String
            else value.cast(kind)
        )
        with pytest.raises(ConfigError, match=f"row 1: at: .*{why}"):
            backfill(pipeline, history(in_order(4, 2)).with_columns(at=told))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop("who"), "there is no column 'who'; "),
        (lambda f: f.with_columns(place=pl.lit("x")), "column 'place' holds String, and it is declared as int"),
        (lambda f: f.with_columns(who=pl.lit(None, pl.String)), "row 0: who: expected text, got null"),
        (
            lambda f: f.with_columns(at=pl.lit(None, pl.Int64)),
            "row 0: at: expected a whole number within 64 bits, got null (4 ",
        ),
    ],
)
def test_what_is_wrong_with_a_history_is_named(change: object, message: str) -> None:
    assert callable(change)
    with pytest.raises(ConfigError) as raised:
        backfill(shop(keys=1), change(history(in_order(1, 4))))
    assert message in str(raised.value)


def test_an_unreadable_time_and_a_failing_expression_are_named_with_their_row() -> None:
    rows = history(in_order(4, 2)).with_columns(at=pl.Series(["2025-01-01", "soon"]))
    with pytest.raises(ConfigError, match="row 1: at: \"soon\" is no time of format 'iso8601'"):
        backfill(iso(shop(keys=1)), rows)
    pipeline = shop(keys=1)
    strict = [pipeline.features[0].model_copy(update={"name": "number", "sql": "CAST(kind AS INT)"})]
    rows = history(
        [
            row | {"kind": kind, "at": START - i}
            for i, (row, kind) in enumerate(zip(in_order(1, 2), ["1", "x"], strict=True))
        ]
    )
    with pytest.raises(ConfigError, match=r"row 1: .*\(1 rows in all\)"):
        backfill(pipeline.model_copy(update={"features": strict, "windows": [], "derived": []}), rows)


def test_optional_columns_may_be_absent_and_missing_values_are_null() -> None:
    rows = history(in_order(1, 3)).with_columns(amount=pl.Series([5.0, -1.0, 7.0])).drop("kind")
    features = backfill(shop(keys=1), rows)
    assert features["amount"].fill_nan(None).to_list() == [5.0, None, 7.0]
    assert features["kind"].is_nan().all()


def test_what_a_derived_feature_cannot_compute_is_missing_for_that_row_alone() -> None:
    pipeline = shop(keys=1)
    derived = [
        pipeline.derived[0].model_copy(update={"name": "whole", "sql": "CAST(amount * 1000000000 AS INT)"}),
        pipeline.derived[0].model_copy(update={"name": "inverse", "sql": "1 / (amount - 5)"}),
        pipeline.derived[0].model_copy(update={"name": "again", "sql": "whole + 1"}),
    ]
    rows = history(in_order(1, 4)).with_columns(amount=pl.Series([1.0, 5.0, 3.0, 4.0]))
    features = backfill(pipeline.model_copy(update={"derived": derived}), rows)
    assert features["whole"].fill_nan(None).to_list() == [1e9, None, None, None]
    assert features["again"].fill_nan(None).to_list() == [1e9 + 1, None, None, None]
    assert features["inverse"].fill_nan(None).to_list() == [-0.25, None, -0.5, -1.0]


def test_an_empty_history_has_the_columns() -> None:
    pipeline = shop(keys=2)
    assert backfill(pipeline, history([])).columns == ["_time", *pipeline.feature_names]


def test_the_history_of_the_datetime_type_is_not_shifted() -> None:
    rows = history(in_order(1, 1)).with_columns(at=pl.lit(datetime(2025, 1, 1)))  # noqa: DTZ001 - UTC by definition
    assert backfill(shop(keys=1), rows)["_time"].to_list() == [START]


def test_the_offline_computation_refuses_an_order_that_lacks_events() -> None:
    pipeline = shop(keys=2)
    engine = MemoryEngine(pipeline)
    load_rows(engine, purchases(1, 20))
    engine.drain()
    hops = engine.hop_records()
    assert len(offline(pipeline, engine.raw_records(), hops)) == 20
    with pytest.raises(ValueError, match="in the recorded order, of which"):
        offline(pipeline, engine.raw_records(), {"place": hops["place"][1:]})
