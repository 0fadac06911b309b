"""The passes over Avro and Protobuf give what the libraries of these formats give, of whatever bytes."""

from __future__ import annotations

import json
import math
import struct
from typing import Any, Final

import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given, settings
from hypothesis import strategies as st
from schemas import Field, avro_record, avro_schema, descriptor_set, proto_file, proto_record

from tidemark.formats.avro_records import AvroLayout
from tidemark.formats.protobuf_records import ProtobufLayout
from tidemark.formats.schema_registry import StoredSchema
from tidemark.formats.told_columns import typed
from tidemark.records.record_formats import Columns, Told

KIND: Final = {"type": "enum", "name": "Kind", "symbols": ["x", "y", "z"]}
FIXED: Final = {"type": "fixed", "name": "Four", "size": 4}
PLACE: Final = avro_schema(("city", "string"), ("height", "float"), name="Place")
AVRO: Final = avro_schema(
    ("skipped", "string"), ("s", "string"), ("i", "int"), ("skipped_long", ["null", "long"]), ("l", ["null", "long"]),
    ("f", "float"), ("d", ["double", "null"]), ("four", FIXED), ("b", "boolean"), ("e", ["null", KIND]),
    ("nothing", "null"), ("bytes", "bytes"), ("place", PLACE), ("o", ["null", "string"]),
)  # fmt: skip
TOLD: Final = [
    Told(name, kind, False, (name,))
    for name, kind in {
        "s": "string", "i": "int", "l": "int", "f": "float", "d": "float", "b": "bool", "e": "string", "o": "string",
        "place.city": "string", "place.height": "float", "nothing": "int",
    }.items()
]  # fmt: skip
TIME: Final = ("time", "iso8601")
TEXT: Final = st.text(max_size=6)
LONG: Final = st.integers(-(2**63), 2**63 - 1)
SINGLE: Final = st.floats(width=32, allow_nan=False)
DOUBLE: Final = st.floats(allow_nan=False)
ROW: Final = st.fixed_dictionaries(
    {
        "skipped": TEXT, "s": TEXT, "i": st.integers(-(2**31), 2**31 - 1), "skipped_long": st.none() | LONG,
        "l": st.none() | LONG, "f": SINGLE, "d": st.none() | DOUBLE, "four": st.binary(min_size=4, max_size=4),
        "b": st.booleans(), "e": st.none() | st.sampled_from("xyz"), "nothing": st.none(),
        "bytes": st.binary(max_size=4), "place": st.fixed_dictionaries({"city": TEXT, "height": SINGLE}),
        "o": st.none() | TEXT,
    }
)  # fmt: skip


def read(columns: Columns, count: int, told: list[Told]) -> tuple[list[dict[str, Any] | None], dict[int, str]]:
    """Rows of the columns' types, None where a record is bad; and why."""
    values, wrong = typed(told, columns.values, count)
    reasons = {**wrong, **columns.bad}
    lists = {name: list(own) for name, own in values.items()}
    rows = [None if i in reasons else {name: own[i] for name, own in lists.items()} for i in range(count)]
    return rows, reasons


def both_ways(layout: Any, records: list[bytes], told: list[Told]) -> list[dict[str, Any] | None]:  # noqa: ANN401
    """What the pass and the library give, which must be the same."""
    assert layout._pass is not None
    passed, reasons = read(layout.columns(records), len(records), told)
    alone, others = read(layout._one_by_one(records), len(records), told)
    for i, row in enumerate(passed):
        if row is not None and others.get(i, "").endswith("a text is not UTF-8"):
            continue  # a text that nobody reads, which the pass does not look at
        assert (row, reasons.get(i)) == (alone[i], others.get(i)), records[i]
    return passed


@pytest.fixture(scope="module")
def avro() -> AvroLayout:
    return AvroLayout(StoredSchema(json.dumps(AVRO).encode()), TOLD, TIME)


@settings(max_examples=40)
@given(rows=st.lists(ROW, min_size=1, max_size=6))
def test_the_pass_over_avro_reads_what_was_written(rows: list[dict[str, Any]], avro: AvroLayout) -> None:
    for own, row in zip(both_ways(avro, [avro_record(AVRO, row) for row in rows], TOLD), rows, strict=True):
        wanted = {name: row[name] for name in ("s", "i", "l", "d", "b", "e", "o")} | {"nothing": None}
        wanted |= {"f": row["f"], "place.city": row["place"]["city"], "place.height": row["place"]["height"]}
        if all(math.isfinite(value) for value in wanted.values() if isinstance(value, float)):
            assert own == wanted


@settings(max_examples=60)
@given(
    rows=st.lists(ROW, min_size=1, max_size=4),
    cuts=st.lists(st.tuples(st.integers(0, 80), st.binary(max_size=10), st.integers(0, 3)), max_size=4),
    junk=st.lists(st.binary(max_size=60), max_size=3),
)
def test_the_pass_over_avro_and_the_library_agree_on_whatever_comes(
    rows: list[dict[str, Any]], cuts: list[tuple[int, bytes, int]], junk: list[bytes], avro: AvroLayout
) -> None:
    records = [avro_record(AVRO, row) for row in rows]
    broken = [changed(records[i % len(records)], *cut) for i, cut in enumerate(cuts)]
    both_ways(avro, [*records, *broken, *junk, records[0]], TOLD)


def changed(record: bytes, at: int, content: bytes, how: int) -> bytes:
    at %= len(record) + 1
    return record[:at] + content + record[at + (0, len(content), len(record), 1)[how] :]


PROTO: Final = proto_file(
    ("s", 1, Field.TYPE_STRING), ("i", 2, Field.TYPE_INT32), ("l", 3, Field.TYPE_INT64), ("u", 4, Field.TYPE_UINT64),
    ("z", 5, Field.TYPE_SINT64), ("f", 6, Field.TYPE_FLOAT), ("d", 7, Field.TYPE_DOUBLE), ("b", 8, Field.TYPE_BOOL),
    ("x4", 9, Field.TYPE_SFIXED32), ("x8", 10, Field.TYPE_SFIXED64), ("o", 11, Field.TYPE_STRING),
    ("far", 20_000, Field.TYPE_INT32), optional=("o", "d", "l"),
)  # fmt: skip
PROTO_TOLD: Final = [
    Told(name, kind, False, (name,))
    for name, kind in {
        "s": "string", "i": "int", "l": "int", "u": "int", "z": "int", "f": "float", "d": "float", "b": "bool",
        "x4": "int", "x8": "int", "o": "string", "far": "int",
    }.items()
]  # fmt: skip
PROTO_ROW: Final = st.fixed_dictionaries(
    {
        "s": TEXT, "i": st.integers(-(2**31), 2**31 - 1), "u": st.integers(0, 2**64 - 1), "z": LONG, "f": SINGLE,
        "b": st.booleans(), "x4": st.integers(-(2**31), 2**31 - 1), "x8": LONG, "far": st.integers(-9, 9),
    },
    optional={"o": TEXT, "d": DOUBLE, "l": LONG},
)  # fmt: skip
PIECE: Final = st.one_of(
    st.binary(max_size=6),
    st.tuples(st.integers(1, 13), st.sampled_from([0, 1, 2, 5]), st.binary(max_size=9)).map(
        lambda piece: bytes([piece[0] << 3 | piece[1]]) + piece[2]
    ),
    st.tuples(st.sampled_from([1, 11, 12]), st.binary(max_size=5)).map(
        lambda piece: bytes([piece[0] << 3 | 2, len(piece[1])]) + piece[1]
    ),
    st.tuples(st.sampled_from([7, 10, 12]), DOUBLE).map(lambda p: bytes([p[0] << 3 | 1]) + struct.pack("<d", p[1])),
)


@pytest.fixture(scope="module")
def proto() -> ProtobufLayout:
    return ProtobufLayout(StoredSchema(descriptor_set(PROTO)), "plant.Reading", None, PROTO_TOLD, TIME)


@settings(max_examples=40)
@given(rows=st.lists(PROTO_ROW, min_size=1, max_size=6))
def test_the_pass_over_protobuf_reads_what_was_written(rows: list[dict[str, Any]], proto: ProtobufLayout) -> None:
    for own, row in zip(both_ways(proto, [proto_record(PROTO, row) for row in rows], PROTO_TOLD), rows, strict=True):
        if row["u"] < 2**63 and all(math.isfinite(value) for value in row.values() if isinstance(value, float)):
            assert own == {"o": None, "d": None, "l": None} | row


@settings(max_examples=60)
@given(rows=st.lists(PROTO_ROW, max_size=3), pieces=st.lists(st.lists(PIECE, max_size=5), min_size=1, max_size=5))
def test_the_pass_over_protobuf_and_the_library_agree_on_whatever_comes(
    rows: list[dict[str, Any]], pieces: list[list[bytes]], proto: ProtobufLayout
) -> None:
    records = [proto_record(PROTO, row) for row in rows]
    both_ways(proto, [*records, *(b"".join(parts) for parts in pieces), *records], PROTO_TOLD)


def test_a_field_that_takes_more_than_a_pass_is_read_by_the_library() -> None:
    lists = avro_schema(("s", "string"), ("list", {"type": "array", "items": "int"}))
    assert AvroLayout(StoredSchema(json.dumps(lists).encode()), TOLD, TIME)._pass is None
    union = avro_schema(("s", ["null", "string", "int"]))
    assert AvroLayout(StoredSchema(json.dumps(union).encode()), TOLD, TIME)._pass is None
    file = descriptor_pb2.FileDescriptorProto()
    file.CopyFrom(PROTO)
    file.message_type[0].field[0].label = Field.LABEL_REPEATED
    layout = ProtobufLayout(StoredSchema(descriptor_set(file)), "plant.Reading", None, PROTO_TOLD, TIME)
    assert layout._pass is None
