from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from tidemark.errors import ConfigError
from tidemark.formats.declared import Declared, Kind
from tidemark.formats.reading import open_rows
from tidemark.formats.rows import Standpoint

MANY = 20_000_000


def declared(kind: Kind, time_format: str | None = None) -> Declared:
    return Declared({"x": kind}.get, ("x",), None if time_format is None else ("x", time_format))


def raw(folder: Path, column: pl.Series, wanted: Declared) -> list[str]:
    path = folder / "f.parquet"
    pl.DataFrame({"x": column, "blob": [b"\xff"] * len(column)}).write_parquet(path)
    lines = [row.value.decode() for row in open_rows(path, wanted).rows(Standpoint())]
    return [line.removeprefix('{"x":').removesuffix("}") for line in lines]


READ: list[tuple[Kind, pl.Series, list[str]]] = [
    ("string", pl.Series(["a", None, ""]), ['"a"', "null", '""']),
    ("string", pl.Series(["a"], dtype=pl.Categorical), ['"a"']),
    ("string", pl.Series(["a"], dtype=pl.Enum(["a"])), ['"a"']),
    ("string", pl.Series([7, None]), ['"7"', "null"]),
    ("string", pl.Series([2**64 - 1], dtype=pl.UInt64), ['"18446744073709551615"']),
    ("string", pl.Series([Decimal("12.50")]), ['"12.50"']),
    ("string", pl.Series([date(2025, 1, 2)]), ['"2025-01-02"']),
    ("string", pl.Series([time(1, 2, 3)]), ['"01:02:03"']),
    ("int", pl.Series([1, None], dtype=pl.UInt8), ["1", "null"]),
    ("int", pl.Series([2**63 - 1]), ["9223372036854775807"]),
    ("int", pl.Series([2**64 - 1], dtype=pl.UInt64), ["18446744073709551615"]),
    ("int", pl.Series([1.0, float("nan"), None, 1.5]), ["1", "null", "null", "1.5"]),
    ("int", pl.Series([2.0**53, float("inf")]), ['"9007199254740992.0"', '"inf"']),
    ("int", pl.Series([Decimal("12.00"), Decimal("12.50"), Decimal(2**70)]), ["12", "12.50", str(2**70)]),
    ("float", pl.Series([Decimal("12.50"), None]), ["12.50", "null"]),
    ("float", pl.Series([0.1], dtype=pl.Float32), ["0.10000000149011612"]),
    ("float", pl.Series([float("nan"), float("-inf")]), ["null", '"-inf"']),
    ("float", pl.Series([2**53 + 1]), ["9007199254740993"]),
    ("bool", pl.Series([True, None, False]), ["true", "null", "false"]),
    ("int", pl.Series([None, None]), ["null", "null"]),
    ("class", pl.Series([1.0, None]), ["1", "null"]),
    ("class", pl.Series([True]), ["true"]),
    ("numbers", pl.Series([{"a": 1, "b": 0.5}, None]), ['{"a":1,"b":0.5}', "null"]),
]


@pytest.mark.parametrize(
    ("kind", "column", "expected"), READ, ids=lambda value: str(getattr(value, "dtype", value))[:30]
)
def test_what_a_column_holds_is_read_exactly(
    tmp_path: Path, kind: Kind, column: pl.Series, expected: list[str]
) -> None:
    assert raw(tmp_path, column, declared(kind)) == expected


TIMES: list[tuple[str, pl.Series, str]] = [
    ("iso8601", pl.Series([datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)]), '"2025-01-02T03:04:05Z"'),
    ("iso8601", pl.Series([datetime(2025, 1, 2, 3, 4, 5, 6)]), '"2025-01-02T03:04:05.000006Z"'),  # noqa: DTZ001
    (
        "iso8601",
        pl.Series([datetime(2025, 1, 2)]).dt.replace_time_zone("Asia/Tokyo"),  # noqa: DTZ001
        '"2025-01-01T15:00:00Z"',
    ),
    ("iso8601", pl.Series([date(2025, 1, 2)]), '"2025-01-02T00:00:00Z"'),
    ("iso8601", pl.Series([1_735_787_045_000_000_999]).cast(pl.Datetime("ns")), '"2025-01-02T03:04:05Z"'),
    ("iso8601", pl.Series([2**62]).cast(pl.Datetime("ms")), '"'),
    ("epoch_ms", pl.Series([1_735_787_045_000]).cast(pl.Datetime("ms")), "1735787045000"),
    ("epoch_ms", pl.Series([1_735_787_045_000_001]).cast(pl.Datetime("us")), "1735787045000.001"),
    ("epoch_s", pl.Series([-1]).cast(pl.Datetime("us")), "-0.000001"),
    ("epoch_us", pl.Series([date(1970, 1, 2)]), "86400000000"),
]


@pytest.mark.parametrize(("written", "column", "expected"), TIMES)
def test_an_event_time_is_written_as_the_stream_reads_it(
    tmp_path: Path, written: str, column: pl.Series, expected: str
) -> None:
    (found,) = raw(tmp_path, column, declared("string" if written == "iso8601" else "int", written))
    assert found.startswith(expected)


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        ("string", pl.Series([b"\xff"])),
        ("string", pl.Series([0.5])),
        ("string", pl.Series([True])),
        ("string", pl.Series([timedelta(1)])),
        ("int", pl.Series(["7"])),
        ("int", pl.Series([True])),
        ("int", pl.Series([date(2025, 1, 2)])),
        ("float", pl.Series([[1.0]])),
        ("float", pl.Series([{"a": 1}])),
        ("bool", pl.Series([1])),
        ("float", pl.Series([[1.0, 2.0]], dtype=pl.Array(pl.Float64, 2))),
        ("numbers", pl.Series([{"a": "text"}])),
    ],
    ids=lambda value: str(getattr(value, "dtype", value))[:30],
)
def test_a_column_that_can_not_be_what_it_is_declared_is_refused_by_name(
    tmp_path: Path, kind: Kind, column: pl.Series
) -> None:
    path = tmp_path / "f.parquet"
    pl.DataFrame({"x": column}).write_parquet(path)
    with pytest.raises(ConfigError, match=rf"f.parquet can't be read: column 'x' holds .*declared as {kind}"):
        open_rows(path, declared(kind))


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_fields_of_structs_are_columns_by_their_dotted_names_as_those_of_json_are(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"f.{ending}"
    frame = pl.DataFrame(
        {
            "user": [{"id": 7, "geo": {"lat": 0.5}}, {"id": None, "geo": None}, None],
            "a.b": [1, 2, 3],
            "a": [{"b": 9}] * 3,
        }
    )
    frame.write_parquet(path) if ending == "parquet" else frame.write_ipc(path)
    kinds: dict[str, Kind] = {"user.id": "string", "user.geo.lat": "float", "a.b": "int"}
    rows = open_rows(path, Declared(kinds.get, ("user.id",), owner="p")).rows(Standpoint())
    assert [json.loads(row.value) for row in rows] == [
        {"user.id": "7", "user.geo.lat": 0.5, "a.b": 1},
        {"user.id": None, "user.geo.lat": None, "a.b": 2},
        {"user.id": None, "user.geo.lat": None, "a.b": 3},
    ]
    with pytest.raises(ConfigError, match=r"did you mean 'user.geo.lat'"):
        open_rows(path, Declared({"user.geo.lot": "float"}.get, ("user.geo.lot",), owner="p"))  # type: ignore[arg-type]


def test_a_reading_goes_on_at_any_row(tmp_path: Path) -> None:
    path = tmp_path / "f[1]*.parquet"
    pl.DataFrame({"x": range(5_000)}).write_parquet(path, row_group_size=700)
    rows = list(open_rows(path, declared("int")).rows(Standpoint(4_321, 4_321)))
    assert [(row.number, json.loads(row.value)["x"]) for row in rows] == [(i + 1, i) for i in range(4_321, 5_000)]


def test_a_damaged_file_is_an_error_and_never_a_panic_or_the_end_of_the_process(tmp_path: Path) -> None:
    whole = tmp_path / "whole.parquet"
    pl.DataFrame({"x": [f"t{i % 50}" for i in range(3_000)]}).write_parquet(whole)
    content = whole.read_bytes()
    rng = random.Random(7)
    for i in range(12):
        damaged = bytearray(content)
        for _ in range(1 + i):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path = tmp_path / f"damaged{i}.parquet"
        path.write_bytes(damaged)
        try:
            list(open_rows(path, declared("string")).rows(Standpoint()))
        except ConfigError as error:
            assert str(path) in str(error)  # noqa: PT017 - a file may be read in spite of its damage
    for cut in (0, 3, 11, 200, len(content) - 1):
        path = tmp_path / "cut.parquet"
        path.write_bytes(content[:cut])
        with pytest.raises(ConfigError, match="it is no Parquet file, or it was not written to its end"):
            open_rows(path, declared("string"))


def test_a_small_file_of_many_rows_is_refused_before_it_is_read_or_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pl.select(x=pl.repeat(7, MANY)).write_parquet(path)
    assert path.stat().st_size < 200_000
    with pytest.raises(ConfigError, match="holds 20,000,000 rows; at most 1,000 are taken of a file"):
        open_rows(path, declared("int"), most_rows=1_000)
    assert next(iter(open_rows(path, declared("int")).rows(Standpoint()))).value == b'{"x":7}'
    shared = tmp_path / "shared.parquet"
    pl.DataFrame({"x": ["x" * 20_000_000] * 3}).write_parquet(shared)
    assert shared.stat().st_size < 200_000
    with pytest.raises(ConfigError, match=r"shared.parquet (row 1 has 20,000,00\d bytes|can't be read)"):
        open_rows(shared, declared("string"))
