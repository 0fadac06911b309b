"""Features of a history, by the engine that computes them on the stream."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.errors import ConfigError
from tidemark.features.admission import Admission
from tidemark.features.raw_records import Records, values_of
from tidemark.features.rows import Cleaner, DerivedFeatures, RowFeatures, surviving
from tidemark.features.windows import NO_WATERMARK, KeyWindows, key_hashes
from tidemark.formats.column_rules import ColumnRules
from tidemark.pipeline import Pipeline
from tidemark.pipeline.expressions import TYPES, columns_schema
from tidemark.pipeline.sql.values import EXACT, TIMESTAMP
from tidemark.runtime.broker_time import wall_clock
from tidemark.runtime.suggestions import did_you_mean
from tidemark.times.time_formats import LATEST, time_reader

TOPIC: Final = "_topic"
"""Column of a history that tells the raw topic of each row."""


def backfill(pipeline: Pipeline, history: pl.DataFrame) -> pl.DataFrame:
    """Features of each row of a history as the stream would have computed them, its rows coming in time order.

    Rows of equal time come in the order of the history. Windows over the first key are kept for each raw topic by
    itself, as in the stream; so where there are several, a column `_topic` must tell which one a row is of.

    Args:
        pipeline: its columns are read exactly as the stream reads them; a history may have others.
        history: the time as in the stream, or as a Polars datetime or date.

    Returns:
        For each row in the order of `history`: `_time` (event time, µs), then a float64 column for each of
        `Pipeline.feature_names`, NaN where missing.

    Raises:
        ConfigError: a column is absent, or holds what its type can't; the message names the column and the row.

    """
    frame, times = _typed(pipeline, history)
    order = np.argsort(times, kind="stable")
    frame, times = frame[order], times[order]
    topics = _topics(pipeline, history)[order]
    cleaner = Cleaner(pipeline)
    cleaned = _whole(surviving(cleaner, frame), order)
    _check_limits(Admission(pipeline, cleaner.schema), cleaned, order)
    features = _whole(surviving(RowFeatures(pipeline, cleaner.schema), cleaned), order)
    for key in pipeline.keys:
        windows = KeyWindows(pipeline, key)
        if not windows.names:
            continue
        keys = cleaned[key].cast(pl.String)
        if keys.null_count():
            row = int(order[int(keys.is_null().arg_max() or 0)])
            raise ConfigError(f"history: column '{key}', row {row}: is null, and it is a key; remove such rows")
        separate = key == pipeline.keys[0] and not pipeline.repartitions
        own = topics if separate else np.zeros(len(order), np.int64)
        added = _windows(windows, own, key_hashes(keys), times, windows.values(features, cleaned))
        features = features.hstack(pl.DataFrame(added, schema=windows.names))
    derived = DerivedFeatures(pipeline)
    computed = [name for name in pipeline.feature_names if name not in derived.names]
    whole = derived(features.select(computed)).select(pl.Series("_time", times), *pipeline.feature_names)
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return whole[back]


def _windows(
    windows: KeyWindows,
    topics: NDArray[np.int64],
    keys: NDArray[np.uint64],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(n, windows) of rows in time order, each topic's by themselves."""
    computed = np.empty((len(times), len(windows.names)))
    for topic in np.unique(topics).tolist():
        of_topic = topics == topic
        state = windows.state(NO_WATERMARK)
        if state is not None:
            computed[of_topic] = state.update(keys[of_topic], times[of_topic], values[of_topic])
    return computed


def _topics(pipeline: Pipeline, history: pl.DataFrame) -> NDArray[np.int64]:
    """Number of each row's raw topic."""
    raw = pipeline.raw_topics
    first = pipeline.keys[0]
    if TOPIC not in history.columns:
        if len(raw) > 1 and pipeline.needs_record_keys and not pipeline.repartitions:
            raise ConfigError(
                f"history: {pipeline.name} has {len(raw)} raw topics, and keeps its windows over '{first}' for each by "
                f"itself; tell the topic of each row in a column '{TOPIC}', or of all by --topic"
            )
        return np.zeros(len(history), np.int64)
    column = history[TOPIC].cast(pl.String)
    unknown = column.filter(~column.is_in(raw) | column.is_null())
    if len(unknown):
        raise ConfigError(
            f"history: column '{TOPIC}' holds {unknown[0]!r}, which is no raw topic of {pipeline.name}; "
            f"{did_you_mean(str(unknown[0]), raw)}"
        )
    return column.replace_strict(raw, list(range(len(raw))), return_dtype=pl.Int64).to_numpy()


def _check_limits(admission: Admission, cleaned: pl.DataFrame, order: NDArray[np.int64]) -> None:
    """Raises ConfigError if a row is larger than the stream takes it."""
    for row, reason in admission.too_large(cleaned).items():
        raise ConfigError(f"history: row {order[row]}: {reason}")


def _whole(result: tuple[pl.DataFrame, dict[int, str]], order: NDArray[np.int64]) -> pl.DataFrame:
    frame, reasons = result
    if reasons:
        row, reason = next(iter(reasons.items()))
        raise ConfigError(f"history: row {order[row]}: {reason} ({len(reasons)} rows in all); mend or remove them")
    return frame


def _typed(pipeline: Pipeline, history: pl.DataFrame) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """The declared columns with their types, missing values as null; and the event times, µs."""
    history = _as_named(pipeline, history)
    frame = _as_declared(pipeline, history)
    if frame is None:
        decoded = Records(pipeline).decode(values_of(history, pipeline))
        if decoded.bad:
            first = decoded.bad[0]
            raise ConfigError(
                f"history: row {first.row}: {first.reason} ({len(decoded.bad)} rows in all); mend or remove them"
            )
        frame = decoded.frame
    return frame, frame[pipeline.time.column].to_physical().to_numpy()


def _as_named(pipeline: Pipeline, history: pl.DataFrame) -> pl.DataFrame:
    """A history whose columns have the names that the pipeline gives them."""
    renamed: dict[str, str] = {}
    for name, column in pipeline.columns.items():
        others = [other for other in column.names or () if other in history.columns]
        if len(others) > (name not in history.columns):
            raise ConfigError(f"history: column '{name}' is there twice, once as '{others[-1]}'; remove one")
        renamed |= dict.fromkeys(others, name)
    return history.rename(renamed) if renamed else history


def _as_declared(pipeline: Pipeline, history: pl.DataFrame) -> pl.DataFrame | None:
    """The declared columns of a history that has their very types and nothing that the stream would refuse.

    None of any other, which goes through the decoder of the stream: for its conversions, or for its reason.
    """
    columns: dict[str, pl.Series] = {}
    latest = min(wall_clock() + pipeline.time.max_ahead, LATEST)
    for name, dtype in columns_schema(pipeline).items():
        declared = pipeline.columns[name]
        if name not in history.columns:
            if declared.required and declared.default is None:
                return None
            columns[name] = pl.Series(name, [None] * len(history), dtype=dtype)
            continue
        column = _as_type(history[name], dtype, pipeline)
        if column.dtype != dtype:
            return None
        if dtype == pl.Float64:
            column = column.fill_nan(None)
            if column.is_infinite().any():
                return None
        if declared.required and declared.default is None and column.null_count():
            return None
        if dtype == TIMESTAMP and not column.to_physical().is_between(0, latest).all():
            return None
        columns[name] = column
    ruled = ColumnRules(pipeline)(pl.DataFrame(columns))
    lacks_key = any(ruled.frame[key].null_count() for key in pipeline.keys)
    return None if lacks_key or ruled.refused else ruled.frame


def _as_type(column: pl.Series, dtype: pl.DataType, pipeline: Pipeline) -> pl.Series:
    """A column as its declared type where the decoder would read it so; else as it is."""
    if dtype == pl.Float64 and column.dtype.is_integer():
        whole = column.cast(pl.Int64, strict=False)
        fits = whole.null_count() == column.null_count() and whole.is_between(-EXACT, EXACT).all()
        return column.cast(dtype) if fits else column
    time = pipeline.time
    if column.name != time.column or column.dtype != TYPES[pipeline.columns[column.name].type]:
        return column
    if column.null_count() or (column.dtype == pl.Float64 and column.is_nan().any()):
        return column
    times = time_reader(time.format, time.patterns)(column.to_list())
    return pl.Series(column.name, times).cast(dtype)
