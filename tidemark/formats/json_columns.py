"""Plain JSON records to columns by one pass (`tidemark.formats.json_fields`), where that gives what a parser gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.formats.json_fields import Wanted, scan_json
from tidemark.formats.places import BOOL, FLOAT, TEXT, WHOLE, Places
from tidemark.formats.scanned import decoded, joined

_KINDS: Final = {"string": TEXT, "int": WHOLE, "float": FLOAT, "bool": BOOL}


@dataclass(frozen=True, slots=True)
class Field:
    """A value of a record. kind: of the column.  strict: whether a record must have it, and not as null."""

    name: str
    kind: str
    strict: bool


class PlainColumns:
    """Reads the columns of plain records. most: bytes of a record; a longer one is none."""

    def __init__(self, fields: Sequence[Field], most: int) -> None:
        names = [field.name.encode() for field in fields]
        self._fields, self._most = fields, most
        self._wanted = Wanted(
            np.frombuffer(b"".join(names), np.uint8),
            np.cumsum([len(name) for name in names], dtype=np.int64),
            np.array([_KINDS[field.kind] for field in fields], np.int64),
            np.array([field.strict for field in fields], np.bool_),
        )

    def read(self, values: Sequence[bytes]) -> tuple[dict[str, pl.Series], NDArray[np.bool_]]:
        """Values of each field, null where absent; and (n,) whether each record is plain. Of others the values are any.

        Raises:
            TypeError: a value is None.

        """
        data, ends = joined(values)
        shape = len(self._fields) + 1, len(values)
        whole, numbers, lengths = places = Places(np.zeros(shape, np.int64), np.zeros(shape), np.empty(shape, np.int64))
        read = np.zeros(len(values), np.bool_)
        scan_json(data, ends, self._most, self._wanted, places, read)
        if not read.all():
            whole[:, ~read], numbers[:, ~read], lengths[:, ~read] = 0, 0.0, -1
        texts = self._texts(values, whole, lengths)
        columns = {}
        for i, field in enumerate(self._fields):
            there = lengths[i] >= 0
            if field.kind == "string":
                own = texts[field.name]
                if own.null_count():
                    read &= ~there | own.is_not_null().to_numpy()  # else it is no UTF-8
            elif field.kind == "float":
                own = pl.Series(numbers[i])
            elif field.kind == "bool":
                own = pl.Series(whole[i]) != 0
            else:
                own = pl.Series(whole[i])
            columns[field.name] = own if there.all() else own.set(pl.Series(~there), None)
        return columns, read

    def _texts(
        self, values: Sequence[bytes], whole: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> dict[str, pl.Series]:
        """Texts of the fields that are some, cut from all records at once; null where they are no UTF-8."""
        own = [i for i, field in enumerate(self._fields) if field.kind == "string"]
        begins = [pl.Series(f"b{i}", whole[i]) for i in own]
        sizes = [pl.Series(f"l{i}", np.maximum(lengths[i], 0)) for i in own]
        cut = pl.DataFrame([pl.Series("record", values, dtype=pl.Binary), *begins, *sizes]).select(
            pl.col("record").bin.slice(pl.col(f"b{i}"), pl.col(f"l{i}")).alias(str(i)) for i in own
        )
        return {self._fields[i].name: decoded(cut[str(i)]) for i in own}
