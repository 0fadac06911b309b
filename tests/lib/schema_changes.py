"""Changes of a schema while records come, in Avro and Protobuf, and a pipeline that says what they mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from google.protobuf import timestamp_pb2
from models import pipeline_text
from schemas import Field, Registry, avro_record, avro_schema, proto_file, proto_record

from tidemark.pipeline import Pipeline, parse

TIME: Final = "2025-01-01T00:00:01Z"
US: Final = 1_735_689_601_000_000
MORE: Final = """
kind = { type = "string", required = false }
n = { type = "int", required = false }
city = { type = "string", required = false, names = ["place.city"] }
"""
COLUMNS: Final = {
    'a = { type = "float" }': 'a = { type = "float", names = ["amount"] }',
    'b = { type = "float" }': 'b = { type = "float", default = 7.5 }',
    'c = { type = "float" }': 'c = { type = "float", required = false }',
}
BASE: Final = {"key": "k", "time": TIME, "a": 1.5, "b": -0.25, "c": 3.0, "kind": "x", "n": 4}
READ: Final = {"a": 1.5, "b": -0.25, "c": 3.0, "kind": "x", "n": 4, "city": None}


@dataclass(frozen=True)
class Change:
    """A new schema, a record of it, and the columns that differ, or what a dead letter says."""

    schema: Any
    record: dict[str, Any]
    read: dict[str, Any] | str


def without(*names: str) -> dict[str, Any]:
    """BASE without some names."""
    return {name: value for name, value in BASE.items() if name not in names}


AVRO_TYPES: Final[dict[str, Any]] = {
    "key": "string", "time": "string", "a": "double", "b": "double", "c": "double", "kind": "string", "n": "int",
}  # fmt: skip


def avro(record: dict[str, Any], read: dict[str, Any] | str, **types: Any) -> Change:  # noqa: ANN401 types of Avro
    """AVRO_TYPES with others; None takes one out."""
    fields = {name: kind for name, kind in (AVRO_TYPES | types).items() if kind is not None}
    return Change(avro_schema(*fields.items()), record, read)


def nullable(kind: Any) -> list[Any]:  # noqa: ANN401 a type of Avro
    """A union with null."""
    return ["null", kind]


PLACE: Final = avro_schema(("city", "string"), name="Place")
KINDS: Final = {"type": "enum", "name": "Kind", "symbols": ["x", "y"]}
MILLIS: Final = {"type": "long", "logicalType": "timestamp-millis"}
DECIMAL: Final = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
AVRO: Final[dict[str, Change]] = {
    "as it was": avro(BASE, {}),
    "a field that nobody reads is added": avro(BASE | {"more": "m"}, {}, more="string"),
    "a nested field is added": avro(BASE | {"place": {"city": "Ulm"}}, {"city": "Ulm"}, place=PLACE),
    "an optional field is removed": avro(without("kind"), {"kind": None}, kind=None),
    "a field with a default is removed": avro(without("b"), {"b": 7.5}, b=None),
    "a required field is removed": avro(without("a"), "a: is missing", a=None),
    "a field is renamed to a declared name": avro(without("a") | {"amount": 2.5}, {"a": 2.5}, a=None, amount="double"),
    "a field is renamed to another name": avro(without("a") | {"sum": 2.5}, "a: is missing", a=None, sum="double"),
    "both names are told": avro(BASE | {"amount": 2.5}, "a: is given twice, once as 'amount'", amount="double"),
    "int is widened to long": avro(BASE | {"n": 2**40}, {"n": 2**40}, n="long"),
    "int is widened to double": avro(BASE | {"n": 5.0}, {"n": 5}, n="double"),
    "int is widened to double and is no whole number": avro(
        BASE | {"n": 5.5}, "n: expected a whole number within 64 bits, got 5.5", n="double"
    ),
    "double is narrowed to float": avro(BASE, {}, c="float"),
    "double becomes long": avro(BASE | {"c": 3}, {}, c="long"),
    "double becomes a long that no float is": avro(BASE | {"c": 2**53 + 1}, "c: 9007199254740993 is", c="long"),
    "double becomes a decimal": avro(BASE | {"c": Decimal("3.00")}, {}, c=DECIMAL),
    "double becomes text": avro(BASE | {"c": "3"}, "c: expected a number within 64 bits, got '3'", c="string"),
    "a union with null, told": avro(BASE, {}, c=nullable("double")),
    "a union with null, not told": avro(BASE | {"c": None}, {"c": None}, c=nullable("double")),
    "a required field may be null, and is": avro(BASE | {"a": None}, "a: is missing", a=nullable("double")),
    "null where there is a default": avro(BASE | {"b": None}, {"b": 7.5}, b=nullable("double")),
    "a union of two types": avro(BASE | {"n": 6}, {"n": 6}, n=["null", "string", "long"]),
    "a union of two types, the other": avro(
        BASE | {"n": "6"}, "n: expected a whole number within 64 bits, got '6'", n=["null", "string", "long"]
    ),
    "text becomes an enum": avro(BASE, {}, kind=KINDS),
    "text becomes bytes": avro(BASE | {"kind": b"x"}, "kind: expected text, got b'x'", kind="bytes"),
    "fields are in another order": Change(avro_schema(*reversed(AVRO_TYPES.items())), BASE, {}),
    "a time becomes a logical type": avro(BASE | {"time": US // 1_000}, {}, time=MILLIS),
    "a list is added": avro(BASE | {"list": [1, 2]}, {}, list={"type": "array", "items": "int"}),
    "a field becomes a list": avro(
        BASE | {"c": [3.0]}, "c: expected a number within 64 bits, got a list", c={"type": "array", "items": "double"}
    ),
}

PROTO_FIELDS: Final[dict[str, tuple[int, Any]]] = {
    "key": (1, Field.TYPE_STRING), "time": (2, Field.TYPE_STRING), "a": (3, Field.TYPE_DOUBLE),
    "b": (4, Field.TYPE_DOUBLE), "c": (5, Field.TYPE_DOUBLE), "kind": (6, Field.TYPE_STRING),
    "n": (7, Field.TYPE_INT32),
}  # fmt: skip
OPTIONAL: Final = ("a", "b", "c", "kind", "n")


def proto(
    record: dict[str, Any],
    read: dict[str, Any] | str,
    optional: tuple[str, ...] = OPTIONAL,
    imports: tuple[str, ...] = (),
    **fields: tuple[int, Any] | None,
) -> Change:
    """PROTO_FIELDS with others; None takes one out."""
    kept = {name: field for name, field in (PROTO_FIELDS | fields).items() if field is not None}
    file = proto_file(
        *((name, number, kind) for name, (number, kind) in kept.items()),
        optional=[name for name in optional if name in kept],
        imports=imports,
    )
    return Change(file, record, read)


def with_place(change: Change) -> Change:
    """With a message for a place."""
    place = change.schema.message_type.add(name="Place")
    place.field.add(name="city", number=1, type=Field.TYPE_STRING, label=Field.LABEL_OPTIONAL)
    return change


def with_kinds(change: Change) -> Change:
    """With an enum for kinds."""
    kinds = change.schema.enum_type.add(name="Kind")
    for number, name in enumerate(("none", "x", "y")):
        kinds.value.add(name=name, number=number)
    field = next(each for each in change.schema.message_type[0].field if each.name == "kind")
    field.type, field.type_name = Field.TYPE_ENUM, ".plant.Kind"
    return change


def repeated(change: Change, name: str) -> Change:
    """With a field that is a list."""
    field = next(each for each in change.schema.message_type[0].field if each.name == name)
    field.label = Field.LABEL_REPEATED
    return change


STAMP: Final = "google/protobuf/timestamp.proto"
PROTOBUF: Final[dict[str, Change]] = {
    "as it was": proto(BASE, {}),
    "a field that nobody reads is added": proto(BASE | {"more": "m"}, {}, more=(20, Field.TYPE_STRING)),
    "a nested field is added": with_place(
        proto(BASE | {"place": {"city": "Ulm"}}, {"city": "Ulm"}, place=(21, "plant.Place"))
    ),
    "an optional field is removed": proto(without("kind"), {"kind": None}, kind=None),
    "a field with a default is removed": proto(without("b"), {"b": 7.5}, b=None),
    "a required field is removed": proto(without("a"), "a: is missing", a=None),
    "a field is renamed to a declared name": proto(
        without("a") | {"amount": 2.5}, {"a": 2.5}, (*OPTIONAL, "amount"), a=None, amount=(3, Field.TYPE_DOUBLE)
    ),
    "a field is renamed to another name": proto(
        without("a") | {"sum": 2.5}, "a: is missing", a=None, sum=(3, Field.TYPE_DOUBLE)
    ),
    "both names are told": proto(
        BASE | {"amount": 2.5}, "a: is given twice, once as 'amount'", amount=(22, Field.TYPE_DOUBLE)
    ),
    "int32 is widened to int64": proto(BASE | {"n": 2**40}, {"n": 2**40}, n=(7, Field.TYPE_INT64)),
    "int32 becomes double": proto(BASE | {"n": 5.0}, {"n": 5}, n=(23, Field.TYPE_DOUBLE)),
    "int32 becomes a double that is no whole number": proto(
        BASE | {"n": 5.5}, "n: expected a whole number within 64 bits, got 5.5", n=(23, Field.TYPE_DOUBLE)
    ),
    "int32 becomes a number of 64 bits without a sign": proto(
        BASE | {"n": 2**64 - 1}, "n: expected a whole number within 64 bits, got 184", n=(7, Field.TYPE_UINT64)
    ),
    "double is narrowed to float": proto(BASE, {}, c=(24, Field.TYPE_FLOAT)),
    "double becomes int64": proto(BASE | {"c": 3}, {}, c=(25, Field.TYPE_INT64)),
    "double becomes an int64 that float64 does not hold": proto(
        BASE | {"c": 2**53 + 1}, "c: 9007199254740993 is beyond 2^53", c=(25, Field.TYPE_INT64)
    ),
    "double becomes text": proto(
        BASE | {"c": "3"}, "c: expected a number within 64 bits, got '3'", c=(26, Field.TYPE_STRING)
    ),
    "a field that may be absent is": proto(without("c"), {"c": None}),
    "a required field may be absent, and is": proto(without("a"), "a: is missing"),
    "absent where there is a default": proto(without("b"), {"b": 7.5}),
    "a field has no presence any more": proto(without("n"), {"n": 0}, ("a", "b", "c", "kind")),
    "text becomes an enum": with_kinds(proto(BASE, {})),
    "text becomes bytes": proto(BASE | {"kind": b"x"}, "kind: expected text, got b'x'", kind=(6, Field.TYPE_BYTES)),
    "a time becomes a Timestamp": proto(
        BASE | {"time": {"seconds": US // 10**6}}, {}, imports=(STAMP,), time=(27, "google.protobuf.Timestamp")
    ),
    "a list is added": repeated(proto(BASE | {"list": [1, 2]}, {}, list=(28, Field.TYPE_INT32)), "list"),
    "a field becomes a list": repeated(
        proto(
            BASE | {"c": [3.0]}, "c: expected a number within 64 bits, got a list", ("a",), c=(29, Field.TYPE_DOUBLE)
        ),
        "c",
    ),
}


def pipeline_of(folder: Path, kind: str, address: str, name: str = "p") -> Pipeline:
    """A pipeline that says what the changes mean, of records whose schemas are in a registry."""
    settings = f'topic = "{name}.raw"\nformat = "{kind}"\nregistry = "{address}"'
    text = pipeline_text(name).replace(f'topic = "{name}.raw"', settings)
    for plain, evolved in COLUMNS.items():
        text = text.replace(plain, evolved)
    return parse(text.replace("[label]", f"{MORE}\n[label]"), str(folder / "p.toml"))


def encoded_avro(registry: Registry, number: int, change: Change) -> bytes:
    """The record of a change, whose schema is registered."""
    registry.add_avro(number, change.schema)
    return avro_record(change.schema, change.record, number)


def encoded_proto(registry: Registry, number: int, change: Change) -> bytes:
    """The record of a change, whose schema is registered."""
    registry.add_proto(number, change.schema)
    return proto_record(change.schema, change.record, number, [timestamp_pb2.DESCRIPTOR.serialized_pb])


Encode = Callable[[Registry, int, Change], bytes]
KINDS_OF_CHANGES: Final[dict[str, tuple[dict[str, Change], Encode]]] = {
    "avro": (AVRO, encoded_avro),
    "protobuf": (PROTOBUF, encoded_proto),
}
