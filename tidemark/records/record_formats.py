"""Formats of raw records, which `[[raw]] format` names.

There are two kinds. A `ColumnFormat` reads many records at once into the columns that are declared. A `Format` turns
one record into the JSON object that says the same, and back, which is less to write and slower. A format of another
package is an entry point of the group `tidemark.formats` that names either, or `module:attribute` in the pipeline file.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from tidemark.errors import ConfigError
from tidemark.runtime.plugins import Plugins
from tidemark.runtime.processor import Batch

if TYPE_CHECKING:
    import polars as pl

GROUP: Final = "tidemark.formats"
"""Group of the entry points of other packages' formats."""
_SHOWN: Final = 200


@runtime_checkable
class Format(Protocol):
    """How a record says what it says. What it makes of a record depends on that record alone."""

    def to_json(self, value: bytes) -> bytes:
        """The record as one JSON object, UTF-8.

        Args:
            value: of a record.

        Returns:
            Its JSON.

        Raises:
            ValueError: it is no such record; the reason goes to the dead letters with it.

        """
        ...

    def from_json(self, value: bytes) -> bytes:
        """A JSON object as a record: what `ingest` and the simulators send.

        Args:
            value: a JSON object, UTF-8.

        Returns:
            The record's value.

        Raises:
            ValueError: a record can't say this. It is sent as it is, and becomes a dead letter.

        """
        ...


class Json:
    """JSON as it is."""

    def to_json(self, value: bytes) -> bytes:
        """The value itself."""
        return value

    def from_json(self, value: bytes) -> bytes:
        """The value itself."""
        return value


@dataclass(frozen=True, slots=True)
class Told:
    """A column that is declared, and how records tell it.

    Attributes:
        name: of the column.
        kind: `string`, `int`, `float` or `bool`.
        required: whether a record without it is bad.
        names: under which records may tell it, its own first.

    """

    name: str
    kind: str
    required: bool
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecordSchema:
    """What a reader of records is told.

    Attributes:
        columns: that are wanted; a reader need not look at anything else.
        time: the column of the event time, and how `[time] format` has it.
        settings: keys of `[[raw]]` that the format takes, as far as they are set.
        folder: from which the settings name files.

    """

    columns: Sequence[Told]
    time: tuple[str, str]
    settings: Mapping[str, object] = field(default_factory=dict)
    folder: Path = field(default_factory=Path)


@dataclass(slots=True)
class Columns:
    """What n records say.

    Attributes:
        values: n values for each name under which a column is told, None where a record does not tell it. They are as
            the records have them: whoever asked sees to their types. A `polars.Series` of the column's own type is
            taken as it is.
        bad: why records could not be read, by their number. Their values count for nothing.

    """

    values: Mapping[str, Sequence[object] | pl.Series]
    bad: dict[int, str] = field(default_factory=dict)


class ColumnReader(Protocol):
    """Reads the records of one pipeline. What it makes of a record depends on that record alone."""

    def read(self, batch: Batch, rows: Sequence[int]) -> Columns:
        """The columns of records.

        Args:
            batch: of records as they came.
            rows: those of them that are to be read: none of them is empty, or larger than a record may be.

        Returns:
            Their columns, and those of them that could not be read.

        """
        ...

    def write(self, value: bytes) -> bytes:
        """A JSON object as a record: what `ingest` and the simulators send.

        Args:
            value: a JSON object, UTF-8.

        Returns:
            The record's value.

        Raises:
            ValueError: a record can't say this. It is sent as it is, and becomes a dead letter.

        """
        ...


@dataclass(frozen=True, slots=True)
class ColumnFormat:
    """A format whose records are read into columns, many at once.

    Attributes:
        reader: `module:function` (or the function) that makes a `ColumnReader` for a `RecordSchema`. It is imported
            when the first reader is made. It raises ConfigError where a setting is wrong.
        settings: keys of `[[raw]]` that it takes.
        needs: sets of these keys of which exactly one key must be set.

    """

    reader: str | Callable[[RecordSchema], ColumnReader]
    settings: tuple[str, ...] = ()
    needs: tuple[tuple[str, ...], ...] = ()

    def open(self, schema: RecordSchema) -> ColumnReader:
        """A reader of records.

        Args:
            schema: what is read of them.

        Raises:
            ConfigError: a setting is wrong, or a package that the format needs is not installed.

        """
        try:
            make = pkgutil.resolve_name(self.reader) if isinstance(self.reader, str) else self.reader
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"the format of the raw topics needs the package {error.name}, which is not installed; install "
                "'tidemark[formats]'"
            ) from error
        reader: ColumnReader = make(schema)
        return reader


def _accept(_: str, found: object) -> Format | ColumnFormat:
    if isinstance(found, type):
        raise ValueError(f"it is the class {found.__name__}; name an instance of it")  # noqa: TRY004 a setting
    if isinstance(found, ColumnFormat):
        return found
    if not isinstance(found, Format):
        raise ValueError(f"it is a {type(found).__name__} without to_json and from_json")  # noqa: TRY004 a setting
    return found


_SCHEMA: Final = ("schema_file", "registry")
COLUMN_FORMATS: Final[dict[str, Format | ColumnFormat]] = {
    "avro": ColumnFormat("tidemark.formats.avro_records:reader", _SCHEMA, (_SCHEMA,)),
    "csv": ColumnFormat("tidemark.formats.csv_records:reader", ("header", "separator"), (("header",),)),
    "cloudevents": ColumnFormat("tidemark.formats.cloud_events:reader"),
    "protobuf": ColumnFormat("tidemark.formats.protobuf_records:reader", (*_SCHEMA, "message"), (_SCHEMA,)),
}
FORMATS: Final = Plugins[Format | ColumnFormat]("record format", GROUP, {"json": Json()} | COLUMN_FORMATS, _accept)
"""Every format of records by its name."""


def as_json(form: Format, batch: Batch) -> tuple[Batch, dict[int, str]]:
    """A batch with its values as JSON.

    Args:
        form: of the records.
        batch: of records as they came.

    Returns:
        The batch, None in place of a value that is no such record; and why, by row.

    """
    values: list[bytes | None] = []
    refused: dict[int, str] = {}
    convert: Callable[[bytes], object] = form.to_json
    for row, value in enumerate(batch.values):
        told: object = None
        if value:
            try:
                told = convert(value)
            except Exception as error:  # noqa: BLE001 a stranger's function may raise anything
                refused[row] = reason_of(error)
            else:
                if not isinstance(told, bytes):
                    refused[row] = f"its format gave {type(told).__name__} where the bytes of a JSON object are wanted"
        values.append(told if isinstance(told, bytes) else value if not value else None)
    return replace(batch, values=values), refused


def as_record(write: Callable[[bytes], object], value: bytes) -> bytes:
    """A JSON object as a record, or as it is where no record can say it.

    Args:
        write: `from_json` of a format, or `write` of a reader.
        value: a JSON object.

    Returns:
        The record's value.

    """
    try:
        told: object = write(value)
    except Exception:  # noqa: BLE001 a stranger's function may raise anything; the record becomes a dead letter
        return value
    return told if isinstance(told, bytes) else value


def reason_of(error: Exception) -> str:
    """What a dead letter says of an error that a format raised."""
    text = (str(error).strip().splitlines() or ["no reason given"])[0][:_SHOWN]
    return text if isinstance(error, ValueError) else f"its format raised {type(error).__name__}: {text}"
