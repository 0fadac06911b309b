"""The Avro schema of a record that Tidemark writes, derived from its class."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import inspect

from tidemark.records import Candidate, Prediction, Record

Schema = dict[str, Any]
KINDS: Final[dict[str, type[Record]]] = {"predictions": Prediction, "candidates": Candidate}
"""What outputs write, by its name in the pipeline file."""
_MOMENTS: Final = frozenset({"time", "expires_at"})
"""Fields that are µs since 1970."""


def schema_of(kind: type[Record]) -> Schema:
    """The schema: the same fields under the same names as in JSON.

    Args:
        kind: of record.

    Returns:
        As JSON says it.

    Raises:
        TypeError: a field has a type that has no place here.

    """
    found = inspect.type_info(kind)
    assert isinstance(found, inspect.StructType)  # noqa: S101 records are structs
    fields = [_field(each) for each in found.fields]
    doc = (kind.__doc__ or "").partition("\n\n")[0]
    return {"type": "record", "name": kind.__name__, "namespace": "tidemark", "doc": doc, "fields": fields}


def _field(field: inspect.Field) -> Schema:
    written = _type(field.type)
    if field.name in _MOMENTS:
        moment: Schema = {"type": "long", "logicalType": "timestamp-micros"}
        written = ["null", moment] if isinstance(written, list) else moment
    told: Schema = {"name": field.name, "type": written}
    if isinstance(written, list):
        told["default"] = None
    elif field.default is not msgspec.NODEFAULT:
        told["default"] = field.default
    return told


def _type(given: inspect.Type) -> Any:  # noqa: ANN401, PLR0911 - a schema is a name, a list or an object
    match given:
        case inspect.StrType() | inspect.LiteralType():
            return "string"
        case inspect.IntType():
            return "long"
        case inspect.FloatType():
            return "double"
        case inspect.BoolType():
            return "boolean"
        case inspect.NoneType():
            return "null"
        case inspect.ListType(item_type=item):
            return {"type": "array", "items": _type(item)}
        case inspect.DictType(value_type=value):
            return {"type": "map", "values": _type(value)}
        case inspect.UnionType(types=types):
            return sorted((_type(each) for each in types), key=lambda each: each != "null")
    raise TypeError(f"{given!r} has no place in a schema")
