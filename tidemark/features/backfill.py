"""Features of a history, by the engine that computes them on the stream."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from tidemark.errors import ConfigError
from tidemark.features.rows import Cleaner, DerivedFeatures, RowFeatures, surviving
from tidemark.features.windows import NO_WATERMARK, KeyWindows, key_hashes
from tidemark.iso_time import UNREADABLE, iso_times
from tidemark.pipeline import Pipeline
from tidemark.pipeline.expressions import TIMESTAMP, columns_schema, did_you_mean

_UNITS: Final = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}


def backfill(pipeline: Pipeline, history: pl.DataFrame) -> pl.DataFrame:
    """Features of each row of a history as the stream would have computed them, its rows coming in time order.

    history: the pipeline's columns, and any others; the time as in the stream, or as a Polars datetime or date.
    Returns, for each row in the order of `history`: `_time` (event time, µs), then a float64 column for each of
    `Pipeline.feature_names`, NaN where missing.

    Raises:
        ConfigError: a column is absent, or holds what its type can't; the message names the column and the row.

    """
    frame, times = _typed(pipeline, history)
    order = np.argsort(times, kind="stable")
    frame, times = frame[order], times[order]
    cleaner = Cleaner(pipeline)
    cleaned = _whole(surviving(cleaner, frame), order)
    features = _whole(surviving(RowFeatures(pipeline, cleaner.schema), cleaned), order)
    for key in pipeline.keys:
        windows = KeyWindows(pipeline, key)
        state = windows.state(NO_WATERMARK)
        if state is not None:
            keys = cleaned[key].cast(pl.String)
            if keys.null_count():
                row = int(order[int(keys.is_null().arg_max() or 0)])
                raise ConfigError(f"history: column '{key}', row {row}: is null, and it is a key; remove such rows")
            added = state.update(key_hashes(keys), times, windows.values(features, cleaned))
            features = features.hstack(pl.DataFrame(added, schema=windows.names))
    derived = DerivedFeatures(pipeline)
    computed = [name for name in pipeline.feature_names if name not in derived.names]
    whole = derived(features.select(computed)).select(pl.Series("_time", times), *pipeline.feature_names)
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return whole[back]


def _whole(
    result: tuple[pl.DataFrame, dict[int, str]], order: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> pl.DataFrame:
    frame, reasons = result
    if reasons:
        row, reason = next(iter(reasons.items()))
        raise ConfigError(f"history: row {order[row]}: {reason} ({len(reasons)} rows in all); mend or remove them")
    return frame


def _typed(
    pipeline: Pipeline, history: pl.DataFrame
) -> tuple[pl.DataFrame, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """The declared columns with their types, missing values as null; and the event times, µs."""
    columns = {}
    for name, dtype in columns_schema(pipeline).items():
        if name not in history.columns:
            if pipeline.columns[name].required:
                raise ConfigError(f"history: there is no column '{name}'; {did_you_mean(name, history.columns)}")
            columns[name] = pl.Series(name, [None] * len(history), dtype=dtype)
            continue
        column = history[name]
        if name == pipeline.time.column:
            columns[name] = _timestamps(pipeline, column)
            continue
        try:
            typed = column.cast(dtype)
        except PolarsError as error:
            raise ConfigError(f"history: column '{name}' is {column.dtype}, expected {dtype}: {error}") from error
        missing = pipeline.columns[name].missing
        columns[name] = typed.set(typed.is_in(pl.Series(missing, dtype=dtype)), None) if missing else typed
    frame = pl.DataFrame(columns)
    return frame, frame[pipeline.time.column].to_physical().to_numpy()


def _timestamps(pipeline: Pipeline, column: pl.Series) -> pl.Series:
    name = pipeline.time.column
    if column.null_count():
        raise ConfigError(f"history: column '{name}' has {column.null_count()} nulls; remove these rows")
    if column.dtype.is_temporal():
        return column.cast(pl.Datetime("us", "UTC" if getattr(column.dtype, "time_zone", None) else None)).cast(
            TIMESTAMP
        )
    if pipeline.time.format == "iso8601":
        times = iso_times(column.cast(pl.String).to_list())
        if bool((times == UNREADABLE).any()):
            row = int(np.argmax(times == UNREADABLE))
            raise ConfigError(f"history: column '{name}', row {row}: {column[row]!r} is no ISO 8601 time")
        return pl.Series(name, times).cast(TIMESTAMP)
    return (column * _UNITS[pipeline.time.format]).round().cast(pl.Int64).cast(TIMESTAMP)
