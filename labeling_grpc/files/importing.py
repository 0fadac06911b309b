"""Labels from files, as people have them and as `labeling_grpc.files.export` writes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl

from labeling_grpc.client.admin_messages import Imported
from labeling_grpc.files.formulas import disarmed
from tidemark.errors import ConfigError
from tidemark.formats.declared import Declared, Kind
from tidemark.formats.labels import class_column
from tidemark.formats.reading import open_rows
from tidemark.formats.repeated import Repeated
from tidemark.formats.rows import Row, Standpoint
from tidemark.pipeline.classes import NO_CLASS, ClassReader
from tidemark.pipeline.model import LabelSpec
from tidemark.pipeline.numbers import NumberReader

MOST_ROWS: Final = 500_000
MOST_BYTES: Final = 256 << 20
"""Of a file's rows as JSON: labels are held in memory until they are sent."""
_NEEDED: Final = ("event_id", "label")
_KINDS: Final[dict[str, Kind]] = {
    "event_id": "string",
    "label": "class",
    "annotator": "string",
    "known_at": "int",
    "confidence": "float",
    "time": "int",
    "key": "string",
    "business_id": "string",
    "status": "string",
    "annotation_id": "string",
    "supersedes": "string",
    "features": "numbers",
}
_FEATURE: Final = "f_"
"""How the column of a feature begins where there is no column `features` with all of them."""
_TYPES: Final[dict[Kind, Any]] = {
    "string": str | None,
    "int": int | float | None,
    "float": float | None,
    "class": str | int | float | bool | None,
    "numbers": dict[str, float | None] | None,
}
_WANTED: Final[dict[Kind, str]] = {
    "string": "text",
    "int": "a whole number within 64 bits",
    "float": "a number",
    "class": "a class or a number",
    "numbers": "an object of names and numbers (or columns f_NAME)",
}
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read(path: Path, spec: LabelSpec | None = None) -> list[Imported]:
    """Labels of a file with the columns event_id and label, and where they are annotator, known_at, confidence.

    Events that the queue has no case of bring along time, and where they are key, business_id and features: columns
    `f_NAME`, or one `features`. Rows without a label, of another status than `answered`, and those that a later row
    supersedes are left out: what the queue exported can be read as it is. No other column is read.

    Args:
        path: of the file.
        spec: the pipeline's label, whose classes the column `label` may also give as numbers or truth values
            (`tidemark.pipeline.classes`), or which is a number. None: texts are left to the service to check.

    Raises:
        ConfigError: the file can't be read, is too large, or holds a value that is not of its column's type; names
            the row, the column and the value.

    """
    declared = Declared(_kind_of, _NEEDED, owner="an import", names=tuple(_KINDS))
    file = open_rows(path, declared, most_rows=MOST_ROWS, restore=disarmed)
    rows: list[dict[str, Any]] = []
    size = 0
    for row_read in file.rows(Standpoint()):
        size += len(row_read.value)
        if len(rows) >= MOST_ROWS or size > MOST_BYTES:
            raise ConfigError(f"{path} holds more than {MOST_ROWS:,} rows or {MOST_BYTES >> 20} MiB; split it")
        rows.append(_typed(path, row_read))
    for name in _NEEDED:
        if rows and not any(name in row for row in rows):
            raise ConfigError(f"{path}: no row has a field {name!r}; the first has {', '.join(rows[0]) or 'none'}")
    labels = _named(path, rows, spec)
    for row, label in zip(rows, labels, strict=True):
        row["label"] = label
    return [_imported(row) for row in _standing(rows)]


def _kind_of(name: str) -> Kind | None:
    return _KINDS.get(name, "float" if name.startswith(_FEATURE) else None)


def _typed(path: Path, row: Row) -> dict[str, Any]:
    """The columns of a row that are read, each of its type."""
    if row.problem is not None:
        raise ConfigError(f"{path}, row {row.number}: {row.problem}; mend or remove it")
    try:
        fields = _fields(row.value)
        twice = _given_again(row.value, filter(_kind_of, fields))
        features = fields.get("features")
        if twice is None and features is not None and bytes(features)[:1] == b"{":
            twice = _given_again(bytes(features), _fields(features))
    except _UNREADABLE as error:
        raise ConfigError(f"{path}, row {row.number} is no JSON object ({error}); mend or remove it") from error
    if twice is not None:
        raise ConfigError(f"{path}, row {row.number}: {twice}: given more than once; mend or remove it")
    return {name: _value(path, row, name, kind, raw) for name, raw in fields.items() if (kind := _kind_of(name))}


def _given_again(value: bytes, names: Iterable[str]) -> str | None:
    """The first of some names that an object gives more than once."""
    found = _finder(tuple(names)).first([value])
    return None if found is None else found[1]


@lru_cache(maxsize=64)
def _finder(names: tuple[str, ...]) -> Repeated:
    return Repeated(names)


def _value(path: Path, row: Row, name: str, kind: Kind, raw: msgspec.Raw) -> object:
    try:
        value: object = msgspec.json.decode(raw, type=_TYPES[kind])
    except _UNREADABLE:
        value = NotImplemented
    if kind == "int" and isinstance(value, int | float):
        whole = isinstance(value, int) or (value.is_integer() and abs(value) < 2**53)
        value = int(value) if whole and -(2**63) <= value < 2**63 else NotImplemented
    if value is NotImplemented:
        shown = bytes(raw)[:60].decode(errors="backslashreplace")
        raise ConfigError(f"{path}, row {row.number}: {name}: expected {_WANTED[kind]}, got {shown}")
    return value


def _named(path: Path, rows: list[dict[str, Any]], spec: LabelSpec | None) -> list[str | None]:
    """The labels as the pipeline names them. Texts that are no answers stay: the service refuses them one by one."""
    labels = class_column(path, "label", [row.get("label") for row in rows])
    if spec is not None:
        try:
            return _read(labels, spec)
        except ValueError as error:
            if labels.dtype != pl.String:
                raise ConfigError(f"{path}: {error}") from error
    return labels.cast(pl.String).to_list()


def _read(labels: pl.Series, spec: LabelSpec) -> list[str | None]:
    if spec.is_number:
        numbers = NumberReader(spec).column(labels)
        return [None if math.isnan(number) else repr(number) for number in numbers.tolist()]
    classes = ClassReader(spec.classes, spec.positive).column(labels)
    return [None if index == NO_CLASS else spec.classes[index] for index in classes.tolist()]


def _standing(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    superseded = {row["supersedes"] for row in rows if row.get("supersedes")}
    for row in rows:
        answered = row.get("status") in (None, "", "answered")
        if row.get("event_id") and row["label"] and answered and row.get("annotation_id") not in superseded:
            yield row


def _imported(row: dict[str, Any]) -> Imported:
    features = row.get("features")
    if features is None:
        features = {n.removeprefix(_FEATURE): value for n, value in row.items() if n.startswith(_FEATURE)}
    return Imported(
        event_id=row["event_id"],
        label=row["label"],
        annotator=row.get("annotator") or "",
        known_at=row.get("known_at"),
        confidence=row.get("confidence"),
        time=row.get("time"),
        key=row.get("key"),
        business_id=row.get("business_id"),
        features=features,
    )
