"""Plain records are read together, and mean what they mean to the parser, and to the standard library."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import NoReturn

import numpy as np
import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tidemark.formats.json_columns import Field, PlainColumns
from tidemark.formats.json_records import MAX_VALUE, JsonReader
from tidemark.records.record_formats import Told
from tidemark.runtime.processor import Batch, Partition

COLUMNS = [
    Told("id", "string", required=True, names=("id",)),
    Told("kind", "string", required=False, names=("kind", "sort")),
    Told("place", "int", required=True, names=("place",)),
    Told("amount", "float", required=True, names=("amount",)),
    Told("rate", "float", required=False, names=("rate",)),
    Told("late", "bool", required=False, names=("late",)),
    Told("größe", "int", required=False, names=("größe",)),
]
READER = JsonReader(COLUMNS)
PLAIN = b'{"id": "P1", "kind":"a", "place": 3 ,"amount":2.5,"rate":-1e-3,"late":true,"other":[]}'.replace(
    b"[]", b"null"
)
BESIDE = [PLAIN] * 1_100
Row = tuple[object, ...] | str


def rows_of(values: Sequence[bytes | None]) -> list[Row]:
    """What each record says, or why it is bad."""
    n = len(values)
    read = READER.read(
        Batch(
            Partition("t", 0, "00000000"),
            np.arange(n),
            np.zeros(n, np.int64),
            [None] * n,
            list(values),
            [None] * n,
        )
    )
    told: list[Row] = ["never told"] * n
    columns = [own.to_list() if isinstance(own, pl.Series) else list(own) for own in read.columns.values()]
    for place, (row, content) in enumerate(zip(read.rows.tolist(), zip(*columns, strict=True), strict=True)):
        told[row] = read.doubtful.get(place, content)
    for row, reason in read.bad.items():
        told[row] = reason
    return told


def same(one: Row, other: Row) -> bool:
    """Whether two rows are the same to the last bit and to the type."""
    return repr(one) == repr(other)


NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.integers(-(10**6), 10**6).map(str),
    st.floats(allow_nan=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str),
    st.tuples(st.integers(0, 10**18), st.integers(-30, 30)).map(lambda of: f"{of[0]}e{of[1]}"),
    st.tuples(st.integers(0, 10**9), st.text("0123456789", min_size=1, max_size=22)).map(lambda of: f"{of[0]}.{of[1]}"),
    st.sampled_from(["-0", "-0.0", "0", "0.0", "00", "01", "1.", ".5", "+1", "1e", "1E+2", "1e-22", "1e23", "1e999"]),
    st.sampled_from(["9007199254740992", "9007199254740993", "-9007199254740993", "9007199254740992.5", "NaN", "-"]),
    st.sampled_from(
        ["1e99999999999999999999", "0e99999999999999999999", "-1E-99999999999999999999", "1.0", "7e0", "70e-1"]
    ),
    st.sampled_from(["99999999999999999", "100000000000000000", "9223372036854775807", "9223372036854775808", "1e22"]),
)
TEXTS = st.one_of(
    st.text(max_size=12).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.text(max_size=12).map(json.dumps),
    st.sampled_from(['"a', '"a\nb"', '"a\x7fb"', '"\\u00e9"', '"\\', '"', "'a'"]),
)
VALUES = st.one_of(
    NUMBERS,
    TEXTS,
    st.sampled_from(["null", "true", "false", "nul", "trueish", "[]", "[1, {}]", '{"id": 2}', ""]),
)
NAMES = st.sampled_from(
    ["id", "kind", "sort", "place", "amount", "rate", "late", "größe", "other", "i", "idx", "pl\\u0061ce"]
)
SPACE = st.sampled_from(["", "", "", " ", "\n\t", "\r "])


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """Objects near those that are wanted, and what is left of them after a change of a byte."""
    fields = {"id": '"P"', "place": "3", "amount": "1.5"} if draw(st.booleans()) else {}
    pairs = [*fields.items(), *draw(st.lists(st.tuples(NAMES, VALUES), max_size=4))]
    inside = ",".join(f'{draw(SPACE)}"{name}"{draw(SPACE)}:{draw(SPACE)}{value}{draw(SPACE)}' for name, value in pairs)
    record = f"{draw(SPACE)}{{{inside}{draw(SPACE)}}}{draw(SPACE)}".encode(errors="replace")
    if draw(st.booleans()):
        return record
    at = draw(st.integers(0, len(record)))
    return record[:at] + draw(st.binary(max_size=2)) + record[at + draw(st.integers(0, 2)) :]


@settings(max_examples=300, deadline=None)
@given(st.lists(records(), min_size=1, max_size=12))
@example([b'{"id": "\xc3", "place": 1, "amount": 2}', '{"id": "ä", "place": 1, "amount": 2, "größe": 1}'.encode()])
@example([b'{"id": "a", "place": 1, "amount": 2, "other": "\xff"}', b'{"\xff": 1, "id": "a", "place": 1, "amount": 2}'])
@example([b'{"id": "a", "id": "b", "place": 1, "amount": 2}', b'{"id":"a","place":1,"amount":0.1}trailing', b"{}", b""])
def test_a_record_among_many_plain_ones_says_what_it_says_alone(values: list[bytes]) -> None:
    together = rows_of([*values, *BESIDE])
    for value, row in zip([*values, PLAIN], together, strict=False):
        (alone,) = rows_of([value])
        assert same(row, alone), (value, row, alone)


def test_plain_records_are_read_by_the_pass_and_not_by_the_parser() -> None:
    fields = [Field("id", "string", strict=True), Field("amount", "float", strict=False)]
    reader = PlainColumns(fields, MAX_VALUE)
    columns, read = reader.read([b'{"id": "a", "amount": 0.1}', b'{"amount":null,"id":"\xc3\xa9"}', b'{"id": "\\n"}'])
    assert read.tolist() == [True, True, False]
    assert columns["id"].to_list()[:2] == ["a", "é"]
    assert columns["amount"].to_list()[:2] == [0.1, None]


def test_a_record_beyond_the_largest_size_is_bad_among_many() -> None:
    large = json.dumps({"id": "x" * MAX_VALUE, "place": 1, "amount": 1}).encode()
    told = rows_of([large, None, *BESIDE])
    assert "over the limit" in str(told[0])
    assert "tombstone" in str(told[1])
    assert told[2] == ("P1", "a", 3, 2.5, -0.001, True, None)
    assert "over the limit" in str(rows_of([large, *BESIDE])[0])


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def _refused(text: str) -> NoReturn:
    raise ValueError(text)


def _pairs_of(record: bytes) -> list[tuple[str, object]] | None:
    """Names and values of an object; None where the record is none."""
    text = record.decode(errors="surrogateescape")  # bytes that are no UTF-8 are bad where somebody wants them
    try:
        found = json.loads(
            text, object_pairs_hook=list, parse_int=_Number, parse_float=_Number, parse_constant=_refused
        )
    except ValueError:
        return None
    return found if text.strip(" \t\r\n").startswith("{") else None


def _read(value: object, kind: str) -> object:
    """The value as one of its column's kind. Raises ValueError where it is none."""
    if kind == "string" and isinstance(value, str) and not isinstance(value, _Number):
        value.encode()  # half of a pair of surrogates is no text
        return value
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "float" and isinstance(value, _Number) and math.isfinite(float(value)):
        return float(value) if set(value) & set(".eE") else float(int(value))  # `-0` is a whole number
    if kind == "int" and isinstance(value, _Number):
        try:
            number = Decimal(value)
        except InvalidOperation as error:
            raise ValueError(value) from error
        if number.adjusted() < 19 and number == number.to_integral_value() and -(2**63) <= number < 2**63:
            return int(number)
    raise ValueError(value)


def _meant(record: bytes) -> tuple[object, ...] | None:
    """What a record says of each column; None where it is bad."""
    pairs = _pairs_of(record)
    if pairs is None:
        return None
    content = []
    for column in COLUMNS:
        own = [(name, value) for name, value in pairs if name in column.names]
        told = [value for _, value in own if value is not None]
        if len({name for name, _ in own}) < len(own) or len(told) > 1 or (column.required and not told):
            return None
        try:
            content.append(_read(told[0], column.kind) if told else None)
        except ValueError:
            return None
    return tuple(content)


def _is_utf8(record: bytes) -> bool:
    try:
        record.decode()
    except UnicodeDecodeError:
        return False
    return True


@settings(max_examples=150, deadline=None)
@given(st.lists(records(), min_size=1, max_size=30))
@example([b'{"id": "P", "place": 1e99999999999999999999, "amount": 1}', b'{"id": "P", "place": 7e0, "amount": 1}'])
@example([b'{"id": "P", "place": 1, "amount": -0}', b'{"id": "P", "place": -0, "amount": 1e-400}'])
@example([b'{"id": "\\ud800", "place": 1, "amount": 1}', b'\xef\xbb\xbf{"id": "P", "place": 1, "amount": 1}'])
def test_a_record_among_many_says_what_the_standard_library_reads_in_it(values: list[bytes]) -> None:
    for value, row in zip(values, rows_of([*values, *BESIDE]), strict=False):
        meant = _meant(value)
        if isinstance(row, str):
            assert meant is None or not _is_utf8(value), (value, row, meant)
        else:
            assert meant is not None, (value, row)
            assert same(row, meant), (value, row, meant)
