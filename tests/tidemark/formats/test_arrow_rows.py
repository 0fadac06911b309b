"""Streams of many rows: each row exactly as it is told, a broken stream refused whole, every length bounded."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest
from arrow_bodies import BrokenBatch, Compression, broken_batches, stream
from broken_corpus import ROW, pipeline_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tidemark.errors import ConfigError
from tidemark.formats.arrow_rows import ArrowRows, NoRowsError
from tidemark.formats.declared import Declared, Kind
from tidemark.formats.reading import open_rows
from tidemark.formats.rows import Standpoint

READER = ArrowRows(Declared({"s": "string", "i": "int", "f": "float", "b": "bool", "place.city": "string"}.get))  # type: ignore[arg-type]  # kinds


def rows(value: bytes, reader: ArrowRows = READER) -> list[bytes]:
    return [row for piece in reader.read(value) for row in piece]


def one_by_one(frame: pl.DataFrame, declared: Declared) -> list[bytes]:
    """The same rows, each value by itself."""
    return ArrowRows(declared)._one_by_one(frame)


NUMBERS = st.floats() | st.sampled_from([0.1, -0.0, 5e-324, 1.7976931348623157e308, 2.0**53, math.inf, math.nan])
ANY_ROW = st.fixed_dictionaries(
    {
        "s": st.none() | st.text(max_size=8),
        "i": st.none() | st.integers(-(2**63), 2**63 - 1),
        "f": st.none() | NUMBERS,
        "b": st.none() | st.booleans(),
    }
)
SCHEMA = {"s": pl.String(), "i": pl.Int64(), "f": pl.Float64(), "b": pl.Boolean()}


@given(st.lists(ANY_ROW, max_size=6), st.sampled_from(["uncompressed", "lz4", "zstd"]))
def test_rows_are_told_exactly_and_as_one_by_one(found: list[dict[str, Any]], compression: Compression) -> None:
    frame = pl.DataFrame(found, SCHEMA)
    told = [json.loads(row) for row in rows(stream(frame, compression))]
    assert told == [json.loads(row) for row in one_by_one(frame, READER._declared)]
    for row, wanted in zip(told, found, strict=True):
        assert row["s"] == wanted["s"]
        assert row["i"] == wanted["i"]
        assert row["b"] is wanted["b"]
        number = wanted["f"]
        if number is None or math.isnan(number):
            assert row["f"] is None
        elif math.isinf(number):
            assert row["f"] == repr(number), "no number, so that the stream refuses this row alone"
        else:
            assert math.copysign(1, row["f"]) == math.copysign(1, number)
            assert row["f"] == number


@pytest.mark.parametrize(
    ("kind", "column", "expected"),
    [
        ("string", pl.Series(["a", None, 'q"\n'], dtype=pl.Categorical), ["a", None, 'q"\n']),
        ("string", pl.Series(["p", "q"], dtype=pl.Enum(["q", "p"])), ["p", "q"]),
        ("string", pl.Series([7, None]), ["7", None]),
        ("int", pl.Series([2**64 - 1], dtype=pl.UInt64), [2**64 - 1]),
        ("int", pl.Series([1.0, 1.5, None]), [1, 1.5, None]),
        ("int", pl.Series([Decimal(2**70)], dtype=pl.Decimal(38, 0)), [2**70]),
        ("int", pl.Series([1, -1], dtype=pl.Int8), [1, -1]),
        ("float", pl.Series([0.1, None], dtype=pl.Float32), [0.10000000149011612, None]),
        ("float", pl.Series([Decimal("12.50")]), [12.5]),
        ("float", pl.Series([2**53 + 1]), [2**53 + 1]),
        ("bool", pl.Series([True, None]), [True, None]),
        ("float", pl.Series([None, None]), [None, None]),
    ],
)
def test_what_a_column_holds_is_read_exactly(kind: Kind, column: pl.Series, expected: list[object]) -> None:
    reader = ArrowRows(Declared({"x": kind}.get))
    found = rows(stream(pl.DataFrame({"x": column, "other": ["y"] * len(column)})), reader)
    assert [json.loads(row) for row in found] == [{"x": value} for value in expected]


def test_event_times_are_told_as_the_stream_reads_them() -> None:
    frame = pl.DataFrame({"at": [datetime(2025, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC), None]})
    for form, kind, told in (
        ("iso8601", "string", '"2025-01-02T03:04:05.600000Z"'),
        ("epoch_ms", "int", "1735787045600"),
    ):
        reader = ArrowRows(Declared({"at": kind}.get, (), ("at", form)))  # type: ignore[arg-type]  # a kind
        assert rows(stream(frame), reader) == [f'{{"at":{told}}}'.encode(), b'{"at":null}']


STAMPS = st.integers(-(2**63) + 1, 2**63 - 1) | st.integers(-(10**14), 10**14) | st.sampled_from([2**62, -1, 0])
PER_SECOND = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


@given(
    st.lists(STAMPS | st.none(), min_size=1, max_size=6),
    st.sampled_from(["ms", "us", "ns"]),
    st.sampled_from([None, "UTC", "Europe/Berlin"]),
)
@example([2**63 - 1, 0], "us", None)
@example([10**18], "ms", "UTC")
def test_times_of_any_number_are_told_as_they_are_or_refuse_their_own_row(
    stamps: list[int | None], unit: Literal["ms", "us", "ns"], zone: str | None
) -> None:
    column = pl.Series(stamps, dtype=pl.Int64).cast(pl.Datetime(unit, zone))
    reader = ArrowRows(Declared({"x": "string", "at": "int"}.get, (), ("at", "epoch_us")))  # type: ignore[arg-type]  # kinds
    found = [json.loads(row) for row in rows(stream(pl.DataFrame({"x": column, "at": column})), reader)]
    for stamp, row in zip(stamps, found, strict=True):
        if stamp is None:
            assert row == {"x": None, "at": None}
            continue
        micros, nanos = stamp * 1_000_000 // PER_SECOND[unit], stamp * 1_000_000_000 // PER_SECOND[unit]
        assert row["at"] == micros
        try:
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
        except OverflowError:
            assert row["x"] == stamp, "no text, so that the stream refuses this row alone"
            continue
        told, _, fraction = row["x"].removesuffix("Z").partition(".")
        assert row["x"].endswith("Z") is (zone is not None)
        assert told == moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
        assert int(fraction.ljust(9, "0")) == nanos % 10**9


@pytest.mark.parametrize("days", [2**31 - 1, -(2**31), 2_932_896, 2_932_897])
def test_a_day_that_no_calendar_has_refuses_its_own_row(days: int) -> None:
    column = pl.Series([days, 0], dtype=pl.Int32).cast(pl.Date)
    reader = ArrowRows(Declared({"x": "string", "at": "int"}.get, (), ("at", "epoch_us")))  # type: ignore[arg-type]  # kinds
    found, whole = (json.loads(row) for row in rows(stream(pl.DataFrame({"x": column, "at": column})), reader))
    assert whole == {"x": "1970-01-01", "at": 0}
    assert found == {"x": "9999-12-31" if days == 2_932_896 else days, "at": days * 86_400_000_000}


def test_fields_of_structs_are_named_with_a_dot() -> None:
    frame = pl.DataFrame({"s": ["a", "b"], "place": [{"city": "Ulm", "more": {"x": 1}}, None]})
    assert rows(stream(frame)) == [b'{"s":"a","place.city":"Ulm"}', b'{"s":"b","place.city":null}']


def test_a_text_that_a_dictionary_has_once_may_be_in_many_rows_but_not_in_any_number() -> None:
    def of(times: int) -> bytes:
        text = pl.Series(["x" * 100_000], dtype=pl.Categorical)
        return stream(pl.DataFrame({"s": text[[0] * times]}))

    assert len(rows(of(500))) == 500
    with pytest.raises(NoRowsError, match="has rows of 70,000,000 bytes altogether"):
        rows(of(700))


def test_a_stream_has_as_many_rows_as_it_may_and_no_more() -> None:
    assert len(rows(stream(pl.DataFrame({"b": [True] * 100_000})))) == 100_000
    with pytest.raises(NoRowsError, match="more than 100,000 rows"):
        rows(stream(pl.DataFrame({"b": [True] * 100_001})))


def test_an_empty_batch_has_no_rows() -> None:
    assert rows(stream(pl.DataFrame(schema=SCHEMA))) == []


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> ArrowRows:
    return ArrowRows(Declared.of(pipeline_of("json", tmp_path_factory.mktemp("p"))))


def test_the_corpus_has_dozens_of_broken_streams() -> None:
    assert len({each.name for each in broken_batches()}) == len(broken_batches()) > 50


@pytest.mark.parametrize("broken", broken_batches(), ids=lambda each: each.name)
def test_a_broken_stream_is_refused_whole_with_its_reason(broken: BrokenBatch, reader: ArrowRows) -> None:
    with pytest.raises(NoRowsError) as refused:
        reader.read(broken.bytes())
    assert str(refused.value) == broken.reason


GOOD = pl.DataFrame([{**ROW, "key": f"k{i % 3}", "a": i + 0.5} for i in range(40)]).with_columns(
    pl.col("key").cast(pl.Categorical)
)
STREAMS = [stream(GOOD), stream(GOOD, "zstd"), stream(GOOD, "lz4"), stream(GOOD.cast({"key": pl.String}))]
CHANGE = st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=8), st.sampled_from(["over", "in", "cut"]))


@given(st.sampled_from(STREAMS), st.lists(CHANGE, min_size=1, max_size=4))
@settings(max_examples=300)
def test_whatever_becomes_of_a_streams_bytes_it_is_rows_or_refused_with_a_reason(
    reader: ArrowRows, value: bytes, changes: list[tuple[int, bytes, str]]
) -> None:
    for place, content, kind in changes:
        at = place % (len(value) + 1)
        rest = {"over": value[at + len(content) :], "in": value[at:], "cut": b""}[kind]
        value = value[:at] + (b"" if kind == "cut" else content) + rest
    reason, found = "", list[bytes]()
    try:
        found = rows(value, reader)
    except NoRowsError as refused:
        reason = str(refused)
    assert reason.startswith(("is no Arrow", "has ", "can't be read", "names ")) or reason == ""
    assert all(isinstance(json.loads(row), dict) for row in found)


def test_an_arrow_file_is_read_like_parquet(tmp_path: Path) -> None:
    path = tmp_path / "f.feather"
    frame = pl.DataFrame({"s": ["a", None] * 3_000, "i": range(6_000), "other": [b"\xff"] * 6_000})
    declared = Declared({"s": "string", "i": "int"}.get, ("i",))  # type: ignore[arg-type]  # kinds
    frame.with_columns(pl.col("s").cast(pl.Categorical)).write_ipc(path, compression="zstd")
    found = list(open_rows(path, declared).rows(Standpoint(4_000, 4_000)))
    assert [row.number for row in found] == list(range(4_001, 6_001))
    assert found[1].value == b'{"s":null,"i":4001}'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (stream(GOOD), "it is an Arrow stream; write it as an Arrow file"),
        (b"ARROW1\0\0", "it is no Arrow file, or it was not written to its end"),
        (b"ARROW1" + b"\0" * 40 + b"\xff\xff\xff\x7fARROW1", "its footer says that it has 2,147,483,647 bytes"),
        (b"ARROW1" + b"\0" * 40 + b"\x20\0\0\0ARROW1", "can't be read"),
        (b"PAR1" * 20, "it is no Arrow file"),
    ],
)
def test_a_broken_arrow_file_is_told_by_name(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "f.arrow"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        open_rows(path, READER._declared)
    assert "f.arrow" in str(refused.value)
    assert reason in str(refused.value)
