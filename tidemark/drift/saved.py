"""What the watch over the sample keeps, as a record of the sample's topic: it is read back after a crash."""

from __future__ import annotations

import zlib
from typing import Annotated, Final

import msgspec

from tidemark.drift.detector import State
from tidemark.errors import RecordError

KEY: Final = b"drift"
"""Of the record. Events have numbers."""
_LARGEST: Final = 900_000
_UNPACKED: Final = 64_000_000
_STEP: Final = "drift"


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """Both watches after the record at an offset.

    through: that offset.  first: event time of the first event, µs.  columns: that the inputs' watch has.
    model: whose predictions are watched.
    """

    through: Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
    first: Annotated[int, msgspec.Meta(gt=-(2**62), lt=2**62)]
    columns: list[str]
    model: Annotated[str, msgspec.Meta(max_length=100)]
    inputs: State
    predictions: State


_decode: Final = msgspec.msgpack.Decoder(Saved).decode


def pack(saved: Saved) -> bytes | None:
    """Value of a record; None where it would be too large for one."""
    value = zlib.compress(msgspec.msgpack.encode(saved), 6)
    return value if len(value) <= _LARGEST else None


def unpack(value: bytes | None) -> Saved:
    """What `pack` gave.

    Raises:
        RecordError: the value is none of ours.

    """
    reader = zlib.decompressobj()
    try:
        unpacked = reader.decompress(value or b"", _UNPACKED)
    except zlib.error as error:
        raise RecordError(_STEP, f"what was watched so far can't be unpacked: {error}") from error
    if not reader.eof:
        raise RecordError(_STEP, "what was watched so far is cut off, or larger than any of ours")
    try:
        return _decode(unpacked)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RecordError(_STEP, f"what was watched so far can't be read: {error}") from error
