"""Fields of objects within a JSON record are columns by their dotted names, as strictly as the record's own."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.features.raw_records import Records
from tidemark.formats.json_records import JsonReader, ReadRows
from tidemark.pipeline import Pipeline, parse
from tidemark.records.record_formats import Told
from tidemark.runtime.processor import Batch, Partition

_COLUMNS = (
    Told("id", "int", required=True, names=("id",)),
    Told("user.name", "string", required=False, names=("user.name",)),
    Told("user.geo.lat", "float", required=False, names=("user.geo.lat",)),
    Told("ok", "bool", required=False, names=("ok", "meta.ok")),
)
_VALUES = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3) | st.floats(allow_nan=False, width=32)


def read(values: list[bytes], columns: tuple[Told, ...] = _COLUMNS) -> ReadRows:
    n = len(values)
    batch = Batch(Partition("t", 0, ""), np.arange(n), np.zeros(n, np.int64), [None] * n, [*values], [None] * n)
    return JsonReader(columns).read(batch)


def flat(record: dict[str, Any]) -> dict[str, Any]:
    """The same record as a sender would write it that knows no nesting."""
    found: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            found |= {f"{name}.{inner}": own for inner, own in flat(value).items()}
        else:
            found[name] = value
    return found


_RECORDS = st.fixed_dictionaries(
    {"id": st.integers(-5, 5)},
    optional={
        "user": st.none()
        | st.fixed_dictionaries(
            {}, optional={"name": _VALUES, "geo": st.none() | st.fixed_dictionaries({}, optional={"lat": _VALUES})}
        ),
        "meta": st.fixed_dictionaries({}, optional={"ok": st.booleans() | st.none(), "else": _VALUES}),
    },
)


@given(st.lists(_RECORDS, min_size=1, max_size=12))
def test_a_nested_record_says_what_the_flat_one_says(records: list[dict[str, Any]]) -> None:
    nested, plain = (read([json.dumps(each).encode() for each in form]) for form in (records, [*map(flat, records)]))
    assert nested.rows.tolist() == plain.rows.tolist()
    assert nested.bad.keys() == plain.bad.keys()
    assert {name: list(values) for name, values in nested.columns.items()} == {
        name: list(values) for name, values in plain.columns.items()
    }


@given(st.lists(_RECORDS, min_size=2, max_size=8))
def test_what_a_nested_record_says_does_not_depend_on_those_beside_it(records: list[dict[str, Any]]) -> None:
    values = [json.dumps(each).encode() for each in records]
    together, alone = read(values), [read([value]) for value in values]
    assert together.rows.tolist() == [i for i, each in enumerate(alone) if len(each.rows)]
    assert together.bad == {i: each.bad[0] for i, each in enumerate(alone) if each.bad}
    for name, own in together.columns.items():
        assert list(own) == [value for each in alone for value in each.columns[name]]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b'{"id": 1, "user": {"name": 5}}', "user.name: expected text, got 5"),
        (b'{"id": 1, "user": {"name": "a", "name": "b"}}', "user.name: given more than once"),
        (b'{"id": 1, "user": {"name": "a"}, "user": {}}', "user: given more than once"),
        (b'{"id": 1, "user": {"name": "a"}, "user.name": "b"}', "user.name: is given twice"),
        (b'{"id": 1, "user": {"geo": {"lat": 1}, "geo": {"lat": 2}}}', "user.geo: given more than once"),
        (b'{"id": 1, "user": {"geo": {"lat": "north"}}}', "user.geo.lat: expected a number"),
        (b'{"id": 1, "user": "ada"}', "user: expected an object with 'name', got \"ada\""),
        (b'{"id": 1, "user": ["ada"]}', "user: expected an object"),
        (b'{"id": 1, "user": {"name": "a", "geo": 7}}', "user.geo: expected an object with 'lat', got 7"),
        (b'{"id": 1, "user": {"name": "a"}', "malformed JSON"),
        (b'{"id": 1, "user": ' + b'{"a":' * 70 + b"1" + b"}" * 70 + b"}", "nested deeper than 64 levels"),
    ],
)
def test_what_is_wrong_within_is_told_by_its_dotted_name_and_harms_no_neighbour(value: bytes, reason: str) -> None:
    good = b'{"id": 2, "user": {"name": "z", "geo": {"lat": 7}}}'
    found = read([good, value, good])
    assert found.rows.tolist() == [0, 2]
    assert found.bad[1].startswith(reason)
    assert list(found.columns["user.name"]) == ["z", "z"]
    assert list(found.columns["user.geo.lat"]) == [7.0, 7.0]


def test_a_field_that_is_no_object_is_passed_over_where_the_record_tells_the_column_by_its_dotted_name() -> None:
    found = read([b'{"id": 1, "user": 5, "user.name": "a"}'])
    assert (list(found.columns["user.name"]), found.bad) == (["a"], {})


def test_a_whole_number_within_that_float64_does_not_hold_is_refused() -> None:
    found = read([b'{"id": 1, "user": {"geo": {"lat": 9007199254740993}}}', b'{"id": 1, "user": {"geo": {"lat": 2}}}'])
    assert found.rounded is not None
    numbers = {"user.geo.lat": np.array([np.nan if x is None else x for x in found.columns["user.geo.lat"]])}
    assert "beyond 2^53" in found.rounded(numbers)[0]
    assert list(found.rounded(numbers)) == [0]


def test_a_field_that_is_a_column_itself_has_no_fields_and_a_name_with_a_dot_may_be_the_record_s_own() -> None:
    columns = (Told("a", "string", required=True, names=("a",)), Told("a.b", "int", required=True, names=("a.b",)))
    found = read([b'{"a": "x", "a.b": 3}', b'{"a": {"b": 3}}'], columns)
    assert found.rows.tolist() == [0]
    assert found.bad[1].startswith("a: expected text")


def _pipeline() -> Pipeline:
    return parse(
        """
        name = "clicks"
        partitions = 2
        keys = ["user.id"]

        [[raw]]
        topic = "clicks.raw"

        [time]
        column = "meta.at"
        format = "epoch_ms"
        lateness = "1m"

        [columns]
        "user.id" = { type = "int" }
        "meta.at" = { type = "int" }
        spent = { type = "float", names = ["cart.total"] }

        [[features]]
        name = "spent"

        [label]
        classes = ["no", "yes"]
        positive = "yes"
        delay = "1d"
        question = "Fraud?"
        context = ["user.id", "spent"]

        [selection]
        tile = "1h"
        budget = 4
        explore = 1
        """,
        "clicks.toml",
    )


def test_key_time_and_columns_may_all_be_nested() -> None:
    value = b'{"user": {"id": 7.0}, "meta": {"at": 1735689600000}, "cart": {"total": 12.5, "items": [1]}}'
    records = Records(_pipeline())
    (record,) = records.records([value])
    assert (record.key, record.value) == (b"7", value)
    decoded = records.decode([value, b'{"user": {}, "meta": {"at": 1735689600000}, "cart": {"total": 1}}'])
    assert decoded.frame.drop("meta.at").to_dicts() == [{"user.id": 7, "spent": 12.5}]
    assert decoded.times.tolist() == [1_735_689_600_000_000]
    assert [bad.reason for bad in decoded.bad] == ["user.id: is missing"]
