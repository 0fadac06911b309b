"""Records that are a row of CSV each, as RFC 4180 has it, without a header: the pipeline file names the cells.

Plain rows are read in one pass, the others one by one. Both ways take the same cells for the same.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from tidemark.errors import ConfigError
from tidemark.formats.cells import CASTS
from tidemark.formats.csv_fields import Cells, scan_csv
from tidemark.formats.csv_rows import cells_of
from tidemark.formats.exact_numbers import whole_number
from tidemark.formats.places import BOOL, FLOAT, TEXT, WHOLE, Places
from tidemark.formats.scanned import Found, Slot, columns_of, joined
from tidemark.formats.schema_records import values_of
from tidemark.records.record_formats import Columns, RecordSchema, Told
from tidemark.runtime.processor import Batch
from tidemark.runtime.safe_text import safe

_KINDS: Final = {"string": (TEXT, "text"), "int": (WHOLE, "whole"), "float": (FLOAT, "float"), "bool": (BOOL, "bool")}
"""What the pass has a column for, and the kind of its slot."""
_SHOWN: Final = 60
_FEW: Final = 8
"""Rows that are read one by one anyway: so many cost less so than together."""


def reader(schema: RecordSchema) -> CsvReader:
    """A reader of CSV records.

    Args:
        schema: what is read, and the settings.

    Raises:
        ConfigError: the names of the cells can't be right.

    """
    return CsvReader(schema)


class CsvReader:
    """Reads rows of cells that the pipeline file names."""

    def __init__(self, schema: RecordSchema) -> None:
        """Prepare for a pipeline.

        Args:
            schema: what is read, and the settings.

        Raises:
            ConfigError: a cell has the name of another.

        """
        header = schema.settings["header"]
        self._names: list[str] = [str(name) for name in header] if isinstance(header, list) else []
        self._separator = str(schema.settings.get("separator", ","))
        twice = [name for name in self._names if self._names.count(name) > 1]
        if twice:
            raise ConfigError(f"raw[0].header: '{twice[0]}' is named twice; each cell has a name of its own")
        told = {name: column for column in schema.columns for name in column.names}
        self._wanted = [(i, name, told[name]) for i, name in enumerate(self._names) if name in told]
        slot_of = {i: slot for slot, (i, _, _) in enumerate(self._wanted)}
        self._cells = Cells(
            np.uint8(ord(self._separator)),
            np.array([slot_of.get(i, -1) for i in range(len(self._names))], np.int64),
            np.array([_KINDS[column.kind][0] for _, _, column in self._wanted], np.int64),
        )
        self._slots = [Slot(name, _KINDS[column.kind][1]) for _, name, column in self._wanted]

    def read(self, batch: Batch, rows: Sequence[int]) -> Columns:
        """The columns of records."""
        values = values_of(batch, rows)
        if len(values) <= _FEW:
            return self._one_by_one(values)
        found = Found.nothing(len(self._slots), len(values), absent=False)
        scan_csv(*joined(values), self._cells, Places(found.whole, found.numbers, found.lengths), found.read)
        return columns_of(values, self._slots, found, self._one_by_one)

    def write(self, value: bytes) -> bytes:
        """The record of a JSON object."""
        record: Any = msgspec.json.decode(value)
        if not isinstance(record, dict):
            raise ValueError("is no JSON object")  # noqa: TRY004 the record's fault
        lost = next((name for name, own in record.items() if own is not None and name not in self._names), None)
        if lost is not None:
            raise ValueError(f"has the field {safe(lost)[:_SHOWN]!r}, for which `header` names no cell")
        return self._separator.join(self._cell(record.get(name)) for name in self._names).encode()

    def _cell(self, value: object) -> str:
        if value is None:
            return ""
        if isinstance(value, str):
            text = value
        elif isinstance(value, bool | int | float):
            text = msgspec.json.encode(value).decode()
        else:
            raise ValueError("has a list or an object, which no cell can hold")  # noqa: TRY004 the record's fault
        plain = text and not any(mark in text for mark in ('"', "\r", "\n", self._separator))
        return text if plain else '"' + text.replace('"', '""') + '"'

    def _one_by_one(self, values: Sequence[bytes]) -> Columns:
        bad: dict[int, str] = {}
        found: dict[str, list[object]] = {name: [None] * len(values) for _, name, _ in self._wanted}
        for i, each in enumerate(values):
            value = each.removesuffix(b"\n").removesuffix(b"\r")
            cells = cells_of(value, self._separator)
            if b"\0" in value:
                bad[i] = "is no row of CSV: it has a zero byte"
            elif b"\n" in value and b'"' not in value:
                bad[i] = "is no row of CSV: a newline stands in it without quotes; send each row in a record of its own"
            elif isinstance(cells, str):
                bad[i] = f"is no row of CSV: {cells}"
            elif value.startswith(codecs.BOM_UTF8):
                bad[i] = "begins with a byte order mark (BOM); write UTF-8 without one"
            elif len(cells) != len(self._names):
                bad[i] = f"has {len(cells)} cells, and the pipeline file names {len(self._names)} in `header`"
            else:
                for number, name, column in self._wanted:
                    cell = cells[number]
                    if cell is not None and (cell or column.kind == "string"):
                        found[name][i] = _value(cell, column)
        return Columns(found, bad)


def _value(cell: str, column: Told) -> object:
    """What a cell says; the text itself where it is not of its column's type."""
    cast = CASTS[column.kind](cell)  # type: ignore[index]  # of the same types
    if not isinstance(cast, msgspec.Raw):
        return cast
    whole = whole_number(bytes(cast)) if column.kind == "int" else None
    try:
        return msgspec.json.decode(bytes(cast)) if whole is None else whole
    except msgspec.DecodeError:
        return cell
