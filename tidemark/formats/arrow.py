"""Frames as Arrow IPC streams, the payload of hops, proposals and feature batches."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Final

import polars as pl
from polars.exceptions import PanicException, PolarsError

from tidemark.errors import RecordError
from tidemark.formats.arrow_bounds import check_stream

_OURS: Final = pl.CompatLevel.newest()
_PORTABLE: Final = pl.CompatLevel.oldest()
_VIEW_BYTES: Final = 16
_WIDE: Final = (pl.Int64, pl.UInt64, pl.Float64)


def to_ipc(frame: pl.DataFrame, *, portable: bool = False) -> bytes:
    """Arrow IPC stream of a frame, uncompressed: Kafka's producer compresses whole batches.

    portable: text as plain Arrow strings, which any Arrow library reads, at twice the time.
    """
    buffer = io.BytesIO()
    level = _PORTABLE if portable else _OURS
    frame.write_ipc_stream(buffer, compression="uncompressed", compat_level=level)
    return buffer.getvalue()


def least_bytes(types: Iterable[pl.DataType]) -> int:
    """Bytes that each row of a frame surely takes in what `to_ipc` gives (not `portable`): 8 a number, 16 a text."""
    return sum(8 if dtype in _WIDE else _VIEW_BYTES if dtype == pl.String else 0 for dtype in types)


def from_ipc(value: bytes | None, what: str) -> pl.DataFrame:
    """The frame in an Arrow IPC stream; `what` names the record in errors.

    Raises:
        RecordError: the value is empty or no Arrow IPC stream.

    """
    if not value:
        raise RecordError("decode", f"empty value where {what} was expected")
    try:
        check_stream(value)
        return pl.read_ipc_stream(io.BytesIO(value)).rechunk()
    except (PolarsError, PanicException, OSError, ValueError, TypeError) as error:
        raise RecordError("decode", f"not an Arrow IPC stream where {what} was expected: {str(error)[:500]}") from error
