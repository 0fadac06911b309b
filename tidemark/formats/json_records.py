"""JSON records to columns: many at once, and one by one where one of them is bad."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Annotated, Any, Final, Protocol, TypeAlias

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.formats.exact_numbers import is_rounded, whole_number, with_whole_numbers
from tidemark.formats.foreign import foreign
from tidemark.formats.json_columns import Field, PlainColumns
from tidemark.formats.json_scan import DEEPEST, name_hashes, suspicious
from tidemark.formats.nested_names import nested, raw_of
from tidemark.formats.shown import short
from tidemark.pipeline.sql.values import EXACT
from tidemark.records.record_formats import Told
from tidemark.runtime.json_names import given_again, parted
from tidemark.runtime.processor import Batch

MAX_VALUE: Final = 1_048_576
"""Bytes of a value; Kafka's own default limit of a message."""
INT64: Final = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
TYPES: Final[dict[str, Any]] = {"string": str, "int": INT64, "float": float, "bool": bool}
"""Python's type of each type of column."""
WANTED: Final = {
    "string": "text",
    "int": "a whole number within 64 bits",
    "float": "a number within 64 bits",
    "bool": "true or false",
}
"""What a dead letter says of it."""
_NONE: Final = np.empty(0)
_NOTHING: Final = msgspec.Raw(b"null")
_FEW: Final = 1_024
"""Fewer records are parsed sooner than they are made columns."""
_FAILURES: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError)


Values: TypeAlias = Sequence[Any] | pl.Series
"""Values of a column."""


@dataclass(frozen=True, slots=True)
class ReadRows:
    """What was read of a batch.

    columns: (m) values of each column, of its type or None.  rows: (m,) int64, the row of the batch each is of, rising.
    bad: why the other rows could not be read, by their row in the batch.  doubtful: why some of the m are bad all the
    same, by their number among the m; other reasons to refuse them go before.  rounded: why some of the m are bad whose
    whole numbers their float columns don't hold, of (m,) numbers of each such column.
    """

    columns: Mapping[str, Values]
    rows: NDArray[np.int64]
    bad: dict[int, str] = field(default_factory=dict)
    doubtful: dict[int, str] = field(default_factory=dict)
    rounded: Callable[[Mapping[str, NDArray[np.float64]]], dict[int, str]] | None = None


class RowReader(Protocol):
    """Reads the records of a batch."""

    def read(self, batch: Batch) -> ReadRows:
        """The rows that can be read, and the others."""
        ...


def unreadable(value: bytes | None) -> str | None:
    """Why a value is a record of no format; None if it may be one."""
    if not value:
        return "empty value" if value is not None else "no value (a tombstone)"
    if len(value) > MAX_VALUE:
        return f"value of {len(value)} bytes, over the limit of {MAX_VALUE}: {short(value)}"
    return None


def chosen(column: Told, told: Sequence[Values]) -> tuple[Values, dict[int, str]]:
    """The values of a column that is told under several names, and why rows are bad that tell none, or two.

    Args:
        column: with its names.
        told: values under each of them.

    """
    values = list(told[0])
    reasons: dict[int, str] = {}
    for name, others in zip(column.names[1:], told[1:], strict=True):
        for i, value in enumerate(others):
            if value is None:
                continue
            if values[i] is not None:
                reasons[i] = f"{column.name}: is given twice, once as '{name}'"
            values[i] = value
    return values, reasons


def too_large(name: str, shown: str) -> str:
    """What is wrong with a whole number in a float column that does not hold it."""
    return (
        f"{name}: {shown} is beyond 2^53, and float64 does not hold it; declare the column an int or a string, or "
        "write it as a float"
    )


def _strict(column: Told) -> bool:
    """Whether a record must have the column under its one name."""
    return column.required and len(column.names) == 1 and parted(column.name) is None


class JsonReader:
    """Reads JSON objects."""

    def __init__(self, columns: Sequence[Told], *, examined: bool = True) -> None:
        """Prepare for columns.

        Args:
            columns: that are wanted.
            examined: whether what a parser lets through without a word (a name given twice, deep nesting) makes a
                record bad. Without it a record's columns are read a little faster, and believed less.

        """
        self._columns = columns
        self._examined = examined
        self._kinds = {name: each for each in columns for name in each.names}
        names = list(self._kinds)
        field_of = {name: f"field_{i}" for i, name in enumerate(names)}
        self._getters: dict[str, Callable[[Any], Any]] = {name: attrgetter(field_of[name]) for name in names}
        fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
        for each in sorted(columns, key=lambda column: not _strict(column)):
            kind = TYPES[each.kind]
            fields += [
                (field_of[name], kind) if _strict(each) else (field_of[name], kind | None, None) for name in each.names
            ]
        rename = {field: name for name, field in field_of.items()}
        within = nested(columns)
        self._within = {name: JsonReader(own, examined=examined) for name, own in within.items()}
        self._objects: dict[str, Callable[[Any], Any]] = {}
        for i, name in enumerate(within):
            fields.append((f"object_{i}", msgspec.Raw, _NOTHING))
            rename[f"object_{i}"] = name
            self._objects[name] = attrgetter(f"object_{i}")
        record = msgspec.defstruct("RawRecord", fields, rename=rename, gc=False)
        self._decode = msgspec.json.Decoder(record).decode
        self._decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        self._read_names = frozenset([*names, *within])
        self._hashes = name_hashes([*names, *within])
        told = [Field(name, each.kind, _strict(each)) for name, each in self._kinds.items()]
        self._plain = PlainColumns(told, MAX_VALUE) if examined and not within else None
        self._whole = [name for name, column in self._kinds.items() if column.kind == "int"]
        self._floats = [column for column in columns if column.kind == "float"]

    def read(self, batch: Batch) -> ReadRows:
        """The rows that can be read, and the others."""
        fields, rows, bad = self._fields(batch.values)
        columns: dict[str, Values] = {}
        doubtful: dict[int, str] = {}
        for column in self._columns:
            told = [fields[name] for name in column.names]
            values: Values = told[0]
            if len(told) > 1:
                values, reasons = chosen(column, told)
                doubtful |= reasons
            if column.required and not _strict(column):
                for i, value in enumerate(values):
                    if value is None:
                        doubtful.setdefault(i, f"{column.name}: is missing")
            columns[column.name] = values
        return ReadRows(columns, rows, bad, doubtful, partial(self._rounded, batch.values, rows))

    def _fields(self, values: Sequence[bytes | None]) -> tuple[Mapping[str, Values], NDArray[np.int64], dict[int, str]]:
        """Values by their names, of the rows whose columns are as declared; the rows; and why not the others.

        Most records are plain, and read together; the others are parsed. Both give the same of the same record.
        """
        if self._plain is None or len(values) < _FEW:
            return self._parsed(values)
        try:
            plain, read = self._plain.read(values)  # type: ignore[arg-type]
        except TypeError:  # a tombstone
            return self._parsed(values)
        rows, rest = np.flatnonzero(read), np.flatnonzero(~read)
        if not len(rest):
            return plain, rows, {}
        parsed, places, reasons = self._parsed([values[row] for row in rest.tolist()])
        bad = {int(rest[place]): reason for place, reason in reasons.items()}
        rows = np.concatenate([rows, rest[places]])
        order = np.argsort(rows)
        mask = pl.Series(read)
        return (
            {
                name: pl.concat([own.filter(mask), pl.Series(parsed[name], dtype=own.dtype)]).gather(order)
                for name, own in plain.items()
            },
            rows[order],
            bad,
        )

    def _parsed(self, values: Sequence[bytes | None]) -> tuple[Mapping[str, Values], NDArray[np.int64], dict[int, str]]:
        """As `_fields`, of records one by one."""
        records, rows, bad = self._records(values)
        fields = {name: list(map(getter, records)) for name, getter in self._getters.items()}
        wrong = self._add_nested(fields, records)
        if not wrong:
            return fields, rows, bad
        bad |= {int(rows[i]): reason for i, reason in wrong.items()}
        good = [i for i in range(len(records)) if i not in wrong]
        return {name: [own[i] for i in good] for name, own in fields.items()}, rows[good], bad

    def _add_nested(self, fields: dict[str, list[Any]], records: Sequence[Any]) -> dict[int, str]:
        """Put in what objects within the records tell; why some of the records are bad, by their number."""
        wrong: dict[int, str] = {}
        for outer, reader in self._within.items():
            raws = [bytes(raw) for raw in map(self._objects[outer], records)]
            found, rows, bad = reader._fields([raw if raw.startswith(b"{") else b"{}" for raw in raws])
            for i, reason in bad.items():
                wrong.setdefault(i, f"{outer}.{reason}")
            names = list(found)
            for i, raw in enumerate(raws):  # a record may tell the columns by their dotted names all the same
                if raw[:1] not in b"{n" and all(fields[f"{outer}.{inner}"][i] is None for inner in names):
                    wrong.setdefault(i, f"{outer}: expected an object with '{names[0]}', got {short(raw)}")
            places = rows.tolist()
            for inner, values in found.items():
                own = fields[f"{outer}.{inner}"]
                for i, value in zip(places, values, strict=True):
                    if value is None:
                        continue
                    if own[i] is not None:
                        wrong.setdefault(i, f"{outer}.{inner}: is given twice, once within '{outer}'")
                    own[i] = value
        return wrong

    def _records(self, values: Sequence[bytes | None]) -> tuple[list[Any], NDArray[np.int64], dict[int, str]]:
        """Decoded structs of the rows whose columns are as declared; the rows; and why not the others."""
        try:
            records = list(map(self._decode, values))  # type: ignore[arg-type]
            if not self._examined:
                return records, np.arange(len(values), dtype=np.int64), {}
            sizes = max(map(len, values), default=0)  # type: ignore[arg-type]
            if sizes <= MAX_VALUE and not suspicious(values, self._hashes).any():  # type: ignore[arg-type]
                return records, np.arange(len(values), dtype=np.int64), {}
        except _FAILURES:
            pass  # one or more are bad: examined one by one
        good, records, bad = [], [], {}
        for row, value in enumerate(values):
            found = self._examine(value)
            if isinstance(found, str):
                bad[row] = found
            else:
                good.append(row)
                records.append(found)
        return records, np.array(good, np.int64), bad

    def _examine(self, value: bytes | None) -> Any:  # noqa: ANN401 - a struct that is made at run time
        """The struct of a value; why it is bad, if it is. The same for a value wherever it stands."""
        reason = unreadable(value)
        if reason is not None or value is None:
            return reason
        doubtful = False
        if self._examined:
            other = foreign(value)
            if other is not None:
                return f"{other}: {short(value)}"
            doubtful = bool(suspicious([value], self._hashes)[0])
            if doubtful and _deeper_than(value, DEEPEST):
                return f"nested deeper than {DEEPEST} levels: {short(value)}"
        try:
            record = self._record(value)
        except _FAILURES as error:
            return self._explain(value, error) if self._examined else str(error)
        return (_repetition(value, self._read_names) if doubtful else None) or record

    def _record(self, value: bytes) -> Any:  # noqa: ANN401 - a struct that is made at run time
        """A record; `7.0` and `7e0` are the whole number 7."""
        try:
            return self._decode(value)
        except _FAILURES:
            written = self._written_whole(value)
            if written is None:
                raise
            return self._decode(written)

    def _written_whole(self, value: bytes | None) -> bytes | None:
        """A record with its whole numbers written as such; None where there is nothing to write so."""
        if not self._whole or value is None:
            return None
        try:
            return with_whole_numbers(self._decode_fields(value), self._whole)
        except _FAILURES:
            return None

    def _rounded(
        self, values: Sequence[bytes | None], rows: NDArray[np.int64], numbers: Mapping[str, NDArray[np.float64]]
    ) -> dict[int, str]:
        """Why rows are bad whose whole number is beyond what their float column holds."""
        reasons: dict[int, str] = {}
        for column in self._floats:
            own = numbers.get(column.name, _NONE)
            for i in np.flatnonzero(np.abs(own) >= EXACT).tolist():
                value = values[rows[i]] or b""
                try:
                    fields = self._decode_fields(value)
                    told = (raw_of(fields, name) for name in column.names)
                    raw = next(each for each in told if each is not None)
                except _FAILURES as error:  # a name that nobody reads is no UTF-8, which is only seen here
                    reasons.setdefault(i, f"{_syntax(error, value)}: {short(value)}")
                    continue
                if is_rounded(raw, float(own[i])):
                    reasons.setdefault(i, too_large(column.name, short(raw)))
        return reasons

    def _explain(self, value: bytes, error: Exception) -> str:
        """What is wrong with a value that was refused with an error."""
        try:
            fields = self._decode_fields(value)
        except msgspec.ValidationError as not_object:
            return f"{str(not_object).lower()}, at the top level: {short(value)}"
        except (msgspec.DecodeError, UnicodeDecodeError) as syntax:
            return f"{_syntax(syntax, value)}: {short(value)}"
        for name, column in self._kinds.items():
            raw = fields.get(name)
            if raw is None:
                if _strict(column):
                    return f"{name}: is missing"
                continue
            if column.kind == "int" and whole_number(bytes(raw)) is not None:
                continue
            kind = TYPES[column.kind]
            try:
                msgspec.json.decode(raw, type=kind if _strict(column) else kind | None)
            except (msgspec.DecodeError, UnicodeDecodeError):
                return f"{name}: expected {WANTED[column.kind]}, got {short(bytes(raw))}"
        return f"{error}: {short(value)}"


def _syntax(error: Exception, value: bytes) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if any(token in value for token in (b"NaN", b"Infinity", b"nan", b"inf")):
        return f"malformed JSON ({error}); JSON has no NaN and no Infinity, write null"
    return f"malformed JSON ({error})"


def _deeper_than(value: bytes, levels: int) -> bool:
    """Whether brackets outside of texts nest deeper."""
    depth = 0
    in_text = escaped = False
    for byte in value:
        if in_text:
            in_text = escaped or byte != ord('"')
            escaped = not escaped and byte == ord("\\")
        elif byte == ord('"'):
            in_text = True
        elif byte in b"{[":
            depth += 1
            if depth > levels:
                return True
        elif byte in b"}]":
            depth -= 1
    return False


def _repetition(value: bytes, names: AbstractSet[str]) -> str | None:
    """Why a value is bad whose outermost object gives one of the names more than once; None if it does not."""
    try:
        again = given_again(value, names)
    except json.JSONDecodeError as error:
        return f"malformed JSON ({error}): {short(value)}"
    return f"{again[0]}: given more than once: {short(value)}" if again else None
