"""Hops that were written under another pipeline file: what still means the same is taken over, the rest is missing.

A hop carries the ids of its features' and columns' definitions in a header. One of an earlier version has none: its
names are believed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import polars as pl

from tidemark.pipeline import Pipeline
from tidemark.pipeline.definitions import column_ids, feature_ids
from tidemark.pipeline.expressions import Schema
from tidemark.runtime.processor import Headers

_HEADER: Final = "definitions"
_FEATURE: Final = "f_"
_decode: Final = msgspec.json.Decoder(dict[str, str]).decode


class Fitting:
    """Fits the rows of hops to a pipeline.

    header: to be sent with each hop.
    """

    def __init__(self, pipeline: Pipeline, cleaned: Schema, carried: Sequence[str], features: Sequence[str]) -> None:
        columns, known = column_ids(pipeline), feature_ids(pipeline)
        self._types = {name: cleaned[name] for name in carried}
        self._ids = {name: columns[name] for name in carried} | {_FEATURE + name: known[name] for name in features}
        self.header = (_HEADER, msgspec.json.encode(self._ids))

    def fit(self, rows: pl.DataFrame, headers: Headers | None) -> pl.DataFrame:
        """The rows with the pipeline's columns and features; null or NaN where a hop has another or none."""
        told = next((content for name, content in headers or [] if name == _HEADER), None)
        if told == self.header[1]:
            return rows
        ids = _told(told)
        if ids is None:
            ids = {name: self._ids.get(name, "") for name in rows.columns}
        own = [rows[name] for name in rows.columns if name.startswith("_")]
        return pl.DataFrame([*own, *(self._column(name, rows, ids) for name in self._ids)])

    def lacks(self, headers: Headers | None) -> frozenset[str]:
        """Columns and features (as `f_NAME`) that a hop does not surely carry by the pipeline's definitions."""
        told = next((content for name, content in headers or [] if name == _HEADER), None)
        if told == self.header[1]:
            return frozenset()
        known = set((_told(told) or {}).items())
        features = {identity for name, identity in known if name.startswith(_FEATURE)}
        return frozenset(
            name
            for name, identity in self._ids.items()
            if (name, identity) not in known and not (name not in self._types and identity in features)
        )

    def _column(self, name: str, rows: pl.DataFrame, ids: Mapping[str, str]) -> pl.Series:
        dtype = self._types.get(name, pl.Float64())
        source = name if ids.get(name) == self._ids[name] else None
        if source is None and name not in self._types:  # a feature may have been renamed
            source = next(
                (other for other, known in ids.items() if known == self._ids[name] and other[:2] == "f_"), None
            )
        if source is not None and rows.schema.get(source) == dtype:
            return rows[source].alias(name)
        missing = None if name in self._types else float("nan")
        return pl.Series(name, [missing], dtype=dtype).new_from_index(0, len(rows))


def _told(header: bytes | None) -> Mapping[str, str] | None:
    """Ids that a header tells; None where it does not."""
    if header is None:
        return None
    try:
        return _decode(header)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
