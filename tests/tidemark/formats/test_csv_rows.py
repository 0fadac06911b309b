from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemark.errors import ConfigError
from tidemark.formats.declared import Declared, Kind
from tidemark.formats.reading import open_rows
from tidemark.formats.rows import Row, Standpoint

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", '"', '""', ",", "\n", "\r\n", "007", "nan", " 1", "a;=1+1", "true", "é\u200d"]
)


def read(folder: Path, content: bytes | str, kinds: dict[str, Kind], since: Standpoint | None = None) -> list[Row]:
    path = folder / "f.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(open_rows(path, Declared(kinds.get)).rows(since or Standpoint()))


def values(rows: list[Row]) -> list[dict[str, object]]:
    return [json.loads(row.value) for row in rows]


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(texts, texts), max_size=6), quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
def test_every_text_that_pythons_csv_writes_is_read_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], quoting: int
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, quoting=quoting)  # type: ignore[arg-type]  # one of the two
    writer.writerow(["a", "b"])
    writer.writerows(rows)
    found = values(read(tmp_path_factory.mktemp("csv"), out.getvalue(), {"a": "string", "b": "string"}))
    expected: list[dict[str, str | None]] = [{"a": a, "b": b} for a, b in rows]
    if quoting == csv.QUOTE_MINIMAL:  # which writes an empty text as what is missing
        expected = [{name: text or None for name, text in row.items()} for row in expected]
    assert found == expected


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(texts, texts), max_size=8), data=st.data())
def test_a_reading_goes_on_at_any_row(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], data: st.DataObject
) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    folder = tmp_path_factory.mktemp("csv")
    whole = read(folder, out.getvalue(), {"a": "string"})
    if whole:
        i = data.draw(st.integers(0, len(whole) - 1))
        since = Standpoint(whole[i].end, whole[i].number)
        assert read(folder, out.getvalue(), {"a": "string"}, since) == whole[i + 1 :]


@pytest.mark.parametrize(
    ("kind", "cell", "expected"),
    [
        ("string", "00123", "00123"),
        ("string", "", None),
        ("string", '""', ""),
        ("string", "NaN", "NaN"),
        ("int", "007", "7"),
        ("int", "+7", "7"),
        ("int", "9007199254740993", "9007199254740993"),
        ("int", "1.5", "1.5"),
        ("int", "1,5", None),
        ("int", "seven", '"seven"'),
        ("int", "١٢", '"١٢"'),
        ("int", "true", '"true"'),
        ("float", "12.50", "12.50"),
        ("float", "-.5", "-0.5"),
        ("float", "5.", "5"),
        ("float", "-0", "-0"),
        ("float", "1e-3", "1e-3"),
        ("float", "NaN", None),
        ("float", "inf", '"inf"'),
        ("float", "1_000", '"1_000"'),
        ("float", " 1", '" 1"'),
        ("float", ".", '"."'),
        ("float", "e5", '"e5"'),
        ("bool", "True", "true"),
        ("bool", "1", '"1"'),
        ("bool", '""', None),
    ],
)
def test_a_cell_is_exactly_a_value_of_its_columns_type_or_stays_the_text_it_is(
    tmp_path: Path, kind: Kind, cell: str, expected: str | None
) -> None:
    (row,) = read(tmp_path, f"x,y\n{cell},\n", {"x": kind})
    if "," in cell:
        assert json.loads(row.value) == "f.csv, row 1: it has 3 cells, and the header names 2: 1,5,"
        return
    raw = row.value.decode().removeprefix('{"x":').removesuffix("}")
    wanted = expected if kind != "string" or expected is None else json.dumps(expected)
    assert raw == ("null" if wanted is None else wanted)


def test_a_column_that_nobody_declared_is_not_read(tmp_path: Path) -> None:
    assert values(read(tmp_path, "a,a,b\n1,2,3\n", {"b": "string"})) == [{"b": "3"}]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty; its first line must name the columns"),
        ("id,x\n1,2\n".encode("utf-16"), "is UTF-16; write it as UTF-8"),
        (b'"id,x\n1,2\n', "the first line, which names the columns, can't be read"),
        (b"x,x\n1,2\n", "the header names the column 'x' twice; rename one"),
        (b"id;x\n1;2\n", "has no column 'x', which it requires; its cells are parted by semicolons"),
        (b"id\tx\n1\t2\n", "its cells are parted by tabs"),
        (b"id,X\n1,2\n", "did you mean 'X'"),
        (b"\xff\xfex", "UTF-16"),
        (b"x\xff\n", "it is not UTF-8"),
    ],
)
def test_a_header_that_makes_no_sense_is_told(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        open_rows(path, Declared({"x": "string"}.get, ("x",)))  # type: ignore[arg-type]
    assert why in str(raised.value)


def test_a_byte_order_mark_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    rows = read(tmp_path, b"\xef\xbb\xbfx,y\r\n\r\n1,2\r\n\r\n", {"x": "string"})
    assert values(rows) == [{"x": "1"}]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"1", "it has 1 cells, and the header names 2"),
        (b'5" pipe,1"', "a quote stands where none may be"),
        (b'"a"b,1', "a quote stands where none may be"),
        (b"a\rb,1", "it has a carriage return within"),
        (b"\xff,1", "it is not UTF-8"),
    ],
)
def test_a_line_that_is_no_row_is_handed_on_with_its_reason_and_the_next_one_is_read(
    tmp_path: Path, line: bytes, why: str
) -> None:
    bad, good = read(tmp_path, b"x,y\n" + line + b"\n1,2\n", {"x": "string"})
    assert bad.problem is not None
    assert why in bad.problem
    said = json.loads(bad.value)
    assert said.startswith("f.csv, row 1: ")
    assert line.decode(errors="backslashreplace") in said
    assert json.loads(good.value) == {"x": "1"}
    assert good.number == 2


def test_a_quote_that_is_never_closed_does_not_fill_the_memory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the row at byte 4 goes on for over 16 MiB; is a quote not closed\?"):
        read(tmp_path, b'x,y\n"' + b"a,b\n" * (5 << 20), {"x": "string"})
    with pytest.raises(ConfigError, match="the line at byte 4 is longer than 16 MiB"):
        read(tmp_path, b"x,y\n" + b"a" * (17 << 20), {"x": "string"})
