"""Records that are a row of CSV each, as RFC 4180 has it, without a header: the pipeline file names the cells.

Rows without quotes are read at once by Polars, the others one by one. Both ways take the same cells for the same.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from io import BytesIO
from typing import Any, Final

import msgspec
import polars as pl
from polars.exceptions import PolarsError

from tidemark.errors import ConfigError
from tidemark.formats.cells import CASTS
from tidemark.formats.csv_rows import cells_of
from tidemark.formats.exact_numbers import whole_number
from tidemark.formats.schema_records import merged, values_of
from tidemark.pipeline.sql.values import EXACT
from tidemark.records.record_formats import Columns, RecordSchema, Told
from tidemark.runtime.processor import Batch

_UNUSUAL: Final = re.compile(rb'["\r\n\x00]')
_INT: Final = r"^-?[0-9]{1,18}$"
_FLOAT: Final = r"^-?[0-9]{1,15}(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?$"
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
        self._time = schema.time[0]

    def read(self, batch: Batch, rows: Sequence[int]) -> Columns:
        """The columns of records."""
        values = values_of(batch, rows)
        whole = self._together(values) if len(values) > _FEW and self._all_plain(values) else None
        if whole is not None:
            return whole
        values = [value.removesuffix(b"\n").removesuffix(b"\r") for value in values]
        plain = [i for i, value in enumerate(values) if self._is_plain(value)]
        together = self._together([values[i] for i in plain]) if len(plain) > _FEW else None
        if together is None:
            return self._one_by_one(values)
        if len(plain) == len(values) and not together.bad:
            return together
        taken = set(plain)
        rest = [i for i in range(len(values)) if i not in taken]
        others = self._one_by_one([values[i] for i in rest])
        listed = Columns({name: list(own) for name, own in together.values.items()}, together.bad)
        return merged(len(values), [(plain, listed), (rest, others)], {})

    def write(self, value: bytes) -> bytes:
        """The record of a JSON object."""
        record: Any = msgspec.json.decode(value)
        if not isinstance(record, dict):
            raise ValueError("is no JSON object")  # noqa: TRY004 the record's fault
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

    def _all_plain(self, values: Sequence[bytes]) -> bool:
        """Whether all rows are without quotes and of the right number of cells: looked at together."""
        data = b"".join(values)
        if _UNUSUAL.search(data) is not None or codecs.BOM_UTF8 in data:
            return False
        mark, apart = self._separator.encode(), len(self._names) - 1
        return data.count(mark) == apart * len(values) and {value.count(mark) for value in values} == {apart}

    def _is_plain(self, value: bytes) -> bool:
        return (
            _UNUSUAL.search(value) is None
            and value.count(self._separator.encode()) == len(self._names) - 1
            and not value.startswith(codecs.BOM_UTF8)
            and value != b""
        )

    def _together(self, values: Sequence[bytes]) -> Columns | None:
        """The columns of rows without quotes; None where one is no UTF-8."""
        try:
            frame = pl.read_csv(
                BytesIO(b"\n".join(values)),
                has_header=False,
                separator=self._separator,
                quote_char=None,
                columns=[i for i, _, _ in self._wanted] or [0],
                schema={f"cell_{i}": pl.String for i in range(len(self._names))},
            )
        except PolarsError:
            return None
        if len(frame) != len(values):
            return None
        found: dict[str, Sequence[object] | pl.Series] = {}
        bad: dict[int, str] = {}
        for i, name, column in self._wanted:
            found[name] = self._column(frame[f"cell_{i}"], column)
        return Columns(found, bad)

    def _column(self, cells: pl.Series, column: Told) -> Sequence[object] | pl.Series:
        """Cells as their column's type: at once where all are written in the plainest way."""
        if column.kind == "string":
            return cells
        if column.kind == "float" and bool(cells.str.contains(_FLOAT).all()):
            numbers = cells.cast(pl.Float64)
            most = numbers.abs().max()
            if most is None or float(str(most)) < EXACT:
                return numbers
        if column.kind == "int" and bool(cells.str.contains(_INT).all()):
            return cells.cast(pl.Int64)
        return [None if cell is None else _value(cell, column) for cell in cells.to_list()]

    def _one_by_one(self, values: Sequence[bytes]) -> Columns:
        bad: dict[int, str] = {}
        found: dict[str, list[object]] = {name: [None] * len(values) for _, name, _ in self._wanted}
        for i, value in enumerate(values):
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
