"""Formats of raw records: what turns a record's bytes into the JSON object that the decoder reads, and back.

`[[raw]] format` names one. A format of another package is an entry point of the group `tidemark.formats` that names its
`Format`, or `module:attribute` in the pipeline file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol, runtime_checkable

from tidemark.runtime.plugins import Plugins
from tidemark.runtime.processor import Batch

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


def _accept(_: str, found: object) -> Format:
    if isinstance(found, type):
        raise ValueError(f"it is the class {found.__name__}; name an instance of it")  # noqa: TRY004 a setting
    if not isinstance(found, Format):
        raise ValueError(f"it is a {type(found).__name__} without to_json and from_json")  # noqa: TRY004 a setting
    return found


FORMATS: Final = Plugins[Format]("record format", GROUP, {"json": Json()}, _accept)
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
                refused[row] = _reason(error)
            else:
                if not isinstance(told, bytes):
                    refused[row] = f"its format gave {type(told).__name__} where the bytes of a JSON object are wanted"
        values.append(told if isinstance(told, bytes) else value if not value else None)
    return replace(batch, values=values), refused


def as_record(form: Format, value: bytes) -> bytes:
    """A JSON object as a record, or as it is where no record can say it.

    Args:
        form: of the records.
        value: a JSON object.

    Returns:
        The record's value.

    """
    try:
        told: object = form.from_json(value)
    except Exception:  # noqa: BLE001 a stranger's function may raise anything; the record becomes a dead letter
        return value
    return told if isinstance(told, bytes) else value


def _reason(error: Exception) -> str:
    text = (str(error).strip().splitlines() or ["no reason given"])[0][:_SHOWN]
    return text if isinstance(error, ValueError) else f"its format raised {type(error).__name__}: {text}"
