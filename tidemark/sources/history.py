"""A history with labels, from a file, as a frame of the pipeline's columns: what the stream would have read."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from tidemark.errors import ConfigError
from tidemark.features.backfill import TOPIC
from tidemark.features.duplicates import without_duplicates
from tidemark.features.raw_records import NO_TIMESTAMP, Records
from tidemark.formats.declared import Declared
from tidemark.formats.labels import class_column
from tidemark.formats.nested_names import raw_of
from tidemark.formats.reading import Row, Standpoint, open_rows
from tidemark.formats.repeated import Repeated
from tidemark.pipeline import Pipeline
from tidemark.runtime.json_names import parted
from tidemark.runtime.suggestions import did_you_mean
from tidemark.sources.thinning import Thinning

_PORTION: Final = 20_000
_ALL: Final = 2**62
_ROW: Final = "_row"
"""Number of a row in its file, while rows are read."""
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read_history(
    pipeline: Pipeline,
    path: Path,
    *,
    topic: str | None = None,
    timestamp: int = NO_TIMESTAMP,
    thinning: Thinning | None = None,
) -> pl.DataFrame:
    """The columns of a pipeline, `label.column`, and `_topic` where it is known, of a file's rows in their order.

    Args:
        pipeline: whose records these are.
        path: a `.parquet`, `.csv`, `.ndjson` or `.jsonl` file.
        topic: raw topic that all rows are of; by default a column `_topic` tells it, if there is one.
        timestamp: the present, in milliseconds; event times that the stream would refuse as too far ahead are refused.
        thinning: bounds how many rows are kept; by default all are.

    Returns:
        The rows.

    Raises:
        ConfigError: the file can't be read, or holds a row that the stream would refuse; names row, column and value.

    """
    if topic is not None and topic not in pipeline.raw_topics:
        raise ConfigError(f"'{topic}' is no raw topic of {pipeline.name}; {did_you_mean(topic, pipeline.raw_topics)}")
    declared = _declared(pipeline)
    rows = open_rows(path, declared).rows(Standpoint())
    records = Records(pipeline)
    aside = _Aside(path, pipeline.label.column)
    kept = Thinning(pipeline.keys[0], pipeline.time.column, _ALL) if thinning is None else thinning
    while portion := list(islice(rows, _PORTION)):
        decoded = _decoded(path, portion, records, timestamp)
        kept.add(decoded.with_columns(pl.int_range(kept.read, kept.read + len(decoded)).alias(_ROW)))
        aside.add(portion)
    if not kept.read:
        raise ConfigError(f"{path} has no rows")
    frame = kept.frame()
    found = aside.columns(frame[_ROW])
    frame = frame.drop(_ROW)
    if topic is not None:
        found = [column for column in found if column.name != TOPIC]
        found.append(pl.repeat(topic, len(frame), dtype=pl.String, eager=True).alias(TOPIC))
    whole = frame.hstack([column for column in found if column.name not in frame.columns])
    return whole if pipeline.deduplicate is None else _first(pipeline, whole)


def _first(pipeline: Pipeline, history: pl.DataFrame) -> pl.DataFrame:
    """The rows of a history that the stream would not drop as duplicates.

    The stream looks for them in each raw topic by itself, or in the rows of all as they meet by their first key.
    """
    times = history[pipeline.time.column].to_physical().to_numpy()
    told = TOPIC in history.columns and not pipeline.repartitions
    topics = history[TOPIC] if told else pl.repeat("", len(history), eager=True)
    keep = np.ones(len(history), np.bool_)
    for topic in topics.unique().to_list():
        own = topics.eq_missing(topic).to_numpy()
        keep[own] = without_duplicates(pipeline, history.filter(pl.Series(own)), times[own])
    return history.filter(pl.Series(keep))


def _declared(pipeline: Pipeline) -> Declared:
    own = Declared.of(pipeline, pipeline.label.column)
    return replace(own, kind_of=lambda name: "string" if name == TOPIC else own.kind_of(name))


def _decoded(path: Path, rows: list[Row], records: Records, timestamp: int) -> pl.DataFrame:
    for row in rows:
        if row.problem is not None:
            raise ConfigError(f"{path}, row {row.number}: {row.problem}; mend or remove it")
    decoded = records.decode([row.value for row in rows], timestamp)
    if decoded.bad:
        bad = decoded.bad[0]
        more = f" ({len(decoded.bad):,} of rows {rows[0].number:,} to {rows[-1].number:,})" if decoded.bad[1:] else ""
        raise ConfigError(f"{path}, row {rows[bad.row].number}: {bad.reason}{more}; mend or remove it")
    return decoded.frame


class _Aside:
    """What a history holds beside the columns of the stream: its labels, and which topic a row is of."""

    def __init__(self, path: Path, label: str | None) -> None:
        self._path = path
        self._label = label
        names = {"topic": TOPIC} | ({} if label is None else {"label": label})
        struct = msgspec.defstruct("Aside", [(field, Any, msgspec.UNSET) for field in names], rename=names)
        self._decode = msgspec.json.Decoder(struct).decode
        self._values: dict[str, list[object]] = {field: [] for field in names}
        self._texts: dict[str, str] = {}
        self._names = names
        self._repeated = Repeated(tuple(names.values()))

    def add(self, rows: list[Row]) -> None:
        """The next rows.

        Raises:
            ConfigError: one gives a label or a topic twice.

        """
        twice = self._repeated.first([row.value for row in rows])
        if twice is not None:
            at, name = twice
            raise ConfigError(f"{self._path}, row {rows[at].number}: {name}: given more than once; mend or remove it")
        for row in rows:
            aside = self._decode(row.value)
            for field, values in self._values.items():
                value = getattr(aside, field)
                if value is msgspec.UNSET and parted(self._names[field]) is not None:
                    value = self._within(row.value, self._names[field])
                values.append(self._texts.setdefault(value, value) if type(value) is str else value)

    @staticmethod
    def _within(value: bytes, name: str) -> object:
        """What an object within a row tells under a dotted name."""
        raw = raw_of(_fields(value), name)
        return msgspec.UNSET if raw is None else msgspec.json.decode(raw)

    def columns(self, rows: pl.Series) -> list[pl.Series]:
        """A column for each that at least one row has, of the rows of these numbers."""
        return [
            class_column(
                self._path, self._names[field], [None if value is msgspec.UNSET else value for value in values]
            )[rows]
            for field, values in self._values.items()
            if any(value is not msgspec.UNSET for value in values)
        ]
