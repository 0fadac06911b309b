"""Anybody's rows become records as they are, or are refused by line."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.errors import ConfigError
from tidemark.sources.lines import records_of

_VALUES = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=8)


@given(rows=st.lists(st.dictionaries(st.text(max_size=4), _VALUES, max_size=3), max_size=6))
def test_every_row_is_a_record_of_its_own_bytes_keyed_by_its_column(
    rows: list[dict[str, object]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.ndjson"
    rows = [row | {"k": row.get("k")} for row in rows]
    lines = [json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n\n")

    records = list(records_of(path, "k"))

    assert [record.value.decode() for record in records] == lines
    keys = [value if isinstance(value, str) or value is None else json.dumps(value) for value in map(_key, rows)]
    assert [None if record.key is None else record.key.decode() for record in records] == keys


def _key(row: dict[str, object]) -> object:
    return row["k"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_gives_a_record_a_row_and_nulls_give_no_key(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    frame = pl.DataFrame({"amount": [1.5, 2.0], "customer": ["x", None]})
    frame.write_csv(path) if suffix == "csv" else frame.write_parquet(path)

    records = list(records_of(path, "customer"))

    assert [json.loads(record.value) for record in records] == frame.to_dicts()
    assert [record.key for record in records] == [b"x", None]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["00123", "7"], ['"00123"', '"7"']),
        (["+4930", "7"], ['"+4930"', '"7"']),
        (["-07", "7"], ['"-07"', '"7"']),
        (["1", "2", "x151"], ['"1"', '"2"', '"x151"']),
        (["0", "-0.5", "", "NaN"], ["0", "-0.5", "null", "null"]),
        (["12.50", "9007199254740993"], ["12.50", "9007199254740993"]),
        (["true", "false"], ["true", "false"]),
        (["true", "1"], ['"true"', '"1"']),
    ],
)
def test_a_csv_s_cells_lose_nothing_of_what_is_written(tmp_path: Path, cells: list[str], values: list[str]) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["a,b", *(f"{cell},x" for cell in cells)]))

    records = [record.value.decode() for record in records_of(path, None)]

    assert records == [f'{{"a":{value},"b":"x"}}' for value in values]


@pytest.mark.parametrize(
    ("name", "content", "key", "told"),
    [
        ("rows.ndjson", b'{"a": 1}\n[2]\n', None, r"rows.ndjson:2: is no JSON object .*one object a line"),
        ("rows.ndjson", b'{"a": 1}\n{"a"', None, r"rows.ndjson:2: is no JSON object"),
        ("rows.ndjson", b'{"a": "\xff"}', None, r"rows.ndjson:1: is no JSON object"),
        ("rows.ndjson", b"[" * 100_000, None, r"rows.ndjson:1: is no JSON object"),
        (
            "rows.ndjson",
            b'{"amount": 1}',
            "amout",
            r"rows.ndjson:1: there is no column 'amout'; did you mean 'amount'\?",
        ),
        ("rows.ndjson", b'{"a": [1]}', "a", r"column 'a' is no text or number"),
        ("rows.ndjson", b'{"a": "' + b"x" * 1_000_000 + b'"}', None, r"1,000,00\d bytes are too many"),
        ("rows.csv", b"a;b\n1;2\n", None, r"rows.csv: its cells are parted by semicolons; say --separator"),
        ("rows.csv", b"a\tb\n1\t2\n", None, r"rows.csv: its cells are parted by tabs"),
        ("rows.tsv", b"a,b\n1,2\n", None, r"rows.tsv: its cells are parted by commas"),
        ("rows.csv", b"a,b,a\n1,2,3\n", None, r"rows.csv: the header names the column 'a' twice; rename one"),
        ("rows.csv", b"a,,c\n1,2,3\n", None, r"rows.csv: the header has no name for column 2; name it"),
        ("rows.csv", b"a,b\n1,2\n3\n", None, r"rows.csv, row 2: it has 1 cells, and the header names 2"),
        ("rows.csv", b"a,b\n1,2,3\n", None, r"rows.csv, row 1: it has 3 cells, and the header names 2"),
        ("rows.csv", "a,b\n1,2\n".encode("utf-16"), None, r"rows.csv is UTF-16; write it as UTF-8"),
        ("rows.csv", "a,ort\n1,Köln\n".encode("latin-1"), None, r"rows.csv, row 1: it is not UTF-8"),
        ("rows.csv", b"", None, r"rows.csv is empty; its first line must name the columns"),
        ("rows.ndjson", '{"a": 1}'.encode("utf-16-le"), None, r"rows.ndjson is UTF-16"),
        ("rows.ndjson", b"\x1f\x8b\x08\x00", None, r"rows.ndjson is compressed \(gzip\); unpack it"),
        ("rows.parquet", b"not one", None, r"rows.parquet: is no parquet file"),
        ("rows.xlsx", b"", None, r"rows.xlsx: is no .csv, .json"),
    ],
)
def test_what_is_no_row_is_refused_by_its_line(
    tmp_path: Path, name: str, content: bytes, key: str | None, told: str
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ConfigError, match=told):
        list(records_of(tmp_path / name, key))


@pytest.mark.parametrize(
    ("name", "content", "separator"),
    [
        ("rows.csv", '\ufeffk;"a b";c\r\nx;"1;5";\r\n', ";"),
        ("rows.tsv", 'k\ta b\tc\nx\t"1;5"\t\n\n', None),
        ("rows.CSV", "k|a b|c\nx|1;5|", "|"),
    ],
)
def test_cells_may_be_parted_by_something_else_than_commas(
    tmp_path: Path, name: str, content: str, separator: str | None
) -> None:
    (tmp_path / name).write_bytes(content.encode())
    (record,) = records_of(tmp_path / name, "k", separator)
    assert (record.key, json.loads(record.value)) == (b"x", {"k": "x", "a b": "1;5", "c": None})


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["3,71", "-0,5", ""], [3.71, -0.5, None]),
        (["3,71", "4"], [3.71, 4]),
        (["1.234,5", "2"], ["1.234,5", "2"]),
        (["3,71", "broken, twice"], ["3,71", "broken, twice"]),
        (["00,5", "7"], ["00,5", "7"]),
    ],
)
def test_a_comma_may_stand_before_the_fraction(tmp_path: Path, cells: list[str], values: list[object]) -> None:
    (tmp_path / "rows.csv").write_text("\n".join(["k;x", *(f"a;{cell}" for cell in cells)]))
    records = records_of(tmp_path / "rows.csv", "k", ";", decimal=",")
    assert [json.loads(record.value)["x"] for record in records] == values
    plain = [json.loads(record.value)["x"] for record in records_of(tmp_path / "rows.csv", "k", ";")]
    assert plain == [cell or None for cell in cells]


def test_a_key_may_be_a_field_of_an_object_within_the_row(tmp_path: Path) -> None:
    told = [{"user": {"id": "x"}}, {"user": {"id": 7}}, {"user": {"id": None}}, {"user": 3}, {"user.id": "y"}]
    rows = [json.dumps(each) for each in told]
    (tmp_path / "rows.ndjson").write_text("\n".join(rows))
    records = list(records_of(tmp_path / "rows.ndjson", "user.id"))
    assert [record.key for record in records] == [b"x", b"7", None, None, b"y"]
    with pytest.raises(ConfigError, match=r"rows.ndjson:1: there is no column 'usr.id'; did you mean 'user'\?"):
        list(records_of(tmp_path / "rows.ndjson", "usr.id"))


def test_a_byte_order_mark_before_lines_of_json_is_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "rows.ndjson").write_bytes('\ufeff{"k": "x"}\n'.encode())
    (record,) = records_of(tmp_path / "rows.ndjson", "k")
    assert (record.key, record.value) == (b"x", b'{"k": "x"}')


def test_a_misspelt_file_is_told_what_was_meant(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").touch()

    with pytest.raises(ConfigError, match=r"there is no such file; did you mean 'rows.csv'\?"):
        list(records_of(tmp_path / "row.csv", None))


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pl.Series([1.0, float("inf")]), "column 'x' is infinite in row 2, which JSON does not have"),
        (pl.Series([b"\xff", None]), "column 'x' holds bytes, which JSON does not have"),
        (pl.Series([{"a": b"\xff"}, None]), "column 'x' holds bytes, which JSON does not have"),
    ],
)
def test_what_json_does_not_have_is_refused_by_its_column(tmp_path: Path, column: pl.Series, reason: str) -> None:
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"k": ["a", "b"], "x": column}).write_parquet(path)
    with pytest.raises(ConfigError, match=reason):
        list(records_of(path, "k"))


def test_columns_that_would_be_numbers_with_the_other_decimal_are_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("amount;code;name;empty\n12,5;0,1;a,b;\n7;x;1,5;\n;2,0;1,5;\n")
    told: list[str] = []
    assert [json.loads(each.value)["amount"] for each in records_of(path, None, ";", doubt=told.append)] == [
        "12,5",
        "7",
        None,
    ]
    assert told == ["amount"]
    told.clear()
    amounts = [json.loads(each.value)["amount"] for each in records_of(path, None, ";", decimal=",", doubt=told.append)]
    assert (amounts, told) == ([12.5, 7, None], [])
