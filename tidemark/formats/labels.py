"""A column of classes or numbers, as values were found in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import polars as pl

from tidemark.errors import ConfigError

_INT64: Final = 2**63
_LABELS: Final = {bool: pl.Boolean(), int: pl.Int64(), float: pl.Float64(), str: pl.String()}


def class_column(path: Path, name: str, found: Sequence[object]) -> pl.Series:
    """Texts, numbers or truth values as a column, for `tidemark.pipeline.classes` or `numbers` to read.

    Args:
        path: of the file, for errors.
        name: of the column.
        found: its values; None where there is none.

    Raises:
        ConfigError: they are not alike, or none of these.

    """
    values = list(found)
    first: dict[type, int] = {}
    for row, value in enumerate(values):
        if isinstance(value, float) and value.is_integer():
            value = values[row] = int(value)  # noqa: PLW2901 - 1.0 is the number 1, as a column with gaps has it
        if value is not None:
            first.setdefault(type(value), row)
    for kind, row in first.items():
        if kind not in _LABELS:
            raise ConfigError(f"{path}, row {row + 1}: {name}: expected a class, got {str(values[row])[:60]!r}")
    if first.keys() == {int, float}:
        return pl.Series(name, values, pl.Float64, strict=False)
    if len(first) > 1:
        (kind, row), (other, elsewhere) = list(first.items())[:2]
        raise ConfigError(
            f"{path}: column '{name}' holds a {kind.__name__} in row {row + 1} and a {other.__name__} in row "
            f"{elsewhere + 1}; write all alike"
        )
    kind = next(iter(first), str)
    if kind is int and any(isinstance(value, int) and abs(value) >= _INT64 for value in values):
        return pl.Series(name, [None if value is None else str(value) for value in values], pl.String)
    return pl.Series(name, values, _LABELS[kind])
