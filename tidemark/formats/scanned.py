"""Columns that a pass over records found, and those of the records that it could not read, together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.exceptions import PolarsError

from tidemark.formats.schema_records import merged
from tidemark.records.record_formats import Columns


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a pass puts the values of a field.

    name: of the column.  kind: `text`, `float`, `whole`, `bool` or `names`.  names: what the whole numbers are called,
    of `names`.  absent: what stands where there is none; None: null.
    """

    name: str
    kind: str
    names: tuple[str, ...] = ()
    absent: object = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a pass found: as the passes have it (`tidemark.formats.avro_scan`)."""

    whole: NDArray[np.int64]
    numbers: NDArray[np.float64]
    lengths: NDArray[np.int64]
    read: NDArray[np.bool_]

    @classmethod
    def nothing(cls, slots: int, count: int, *, absent: bool) -> Found:
        """Room for the values of so many records. absent: whether values are so until they are found."""
        lengths = np.full((slots, count), -1 if absent else 0, np.int64)
        return cls(np.zeros((slots, count), np.int64), np.zeros((slots, count)), lengths, np.zeros(count, np.bool_))


def joined(values: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Records one after the other, and where each ends."""
    ends = np.cumsum(np.fromiter(map(len, values), np.int64, len(values)))
    return np.frombuffer(b"".join(values), np.uint8), ends


def columns_of(
    values: Sequence[bytes],
    slots: Sequence[Slot],
    found: Found,
    one_by_one: Callable[[Sequence[bytes]], Columns],
) -> Columns:
    """The columns of records.

    Args:
        values: the records.
        slots: of the pass.
        found: by the pass.
        one_by_one: reads those that the pass could not.

    """
    read = found.read
    columns: dict[str, pl.Series] = {}
    texts = pl.Series("texts", values, dtype=pl.Binary) if any(slot.kind == "text" for slot in slots) else None
    for i, slot in enumerate(slots):
        there = found.lengths[i] >= 0
        column = _column(slot, found, i, texts, there)
        if slot.kind == "text":
            read &= ~there | column.is_not_null().to_numpy()  # else it is no UTF-8
        if slot.absent is not None and not there.all():
            column = column.fill_null(pl.lit(slot.absent, dtype=column.dtype))
        columns[slot.name] = column
    if read.all():
        return Columns(columns)
    good, rest = np.flatnonzero(read).tolist(), np.flatnonzero(~read).tolist()
    others = one_by_one([values[i] for i in rest])
    whole = Columns({name: column.gather(good).to_list() for name, column in columns.items()})
    return _typed(merged(len(values), [(good, whole), (rest, others)], {}), columns)


def _typed(both: Columns, columns: Mapping[str, pl.Series]) -> Columns:
    """Lists as they are: their values may be of any type where records were read one by one."""
    return Columns({name: both.values[name] for name in columns if name in both.values}, both.bad)


def _column(slot: Slot, found: Found, i: int, texts: pl.Series | None, there: NDArray[np.bool_]) -> pl.Series:
    if slot.kind == "text":
        lengths = pl.Series("length", np.maximum(found.lengths[i], 0))
        frame = pl.DataFrame([texts, pl.Series("begin", found.whole[i]), lengths])
        own = decoded(frame.select(pl.col("texts").bin.slice(pl.col("begin"), pl.col("length"))).to_series())
    elif slot.kind == "float":
        own = pl.Series(found.numbers[i])
    elif slot.kind == "bool":
        own = pl.Series(found.whole[i]) != 0
    elif slot.kind == "names":
        own = pl.Series(slot.names, dtype=pl.String).gather(found.whole[i])
    else:
        own = pl.Series(found.whole[i])
    return own if there.all() else own.set(pl.Series(~there), None)


def decoded(texts: pl.Series) -> pl.Series:
    """Texts of UTF-8, null where one is not."""
    try:
        return texts.cast(pl.String)
    except PolarsError:
        return pl.Series([_text(value) for value in texts.to_list()], dtype=pl.String)


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
