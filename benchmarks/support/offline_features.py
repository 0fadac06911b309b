"""Features once more, computed offline in plain Polars and Python: what the stream's are checked against.

Shares nothing with the engine but the pipeline file, the hash of a text and what a sketch makes of a window's values:
SQL is computed row by row in Python (`benchmarks.support.offline_sql`).
Every pair of an event and an earlier row of its key is formed and filtered by the definition in
`docs/contributing/internals.md`, so it is slow (pairs grow with the square of a key's rows) and simple.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

import kernels
from benchmarks.support import offline_sql
from benchmarks.support.offline_cuts import is_whole, read_whole
from kernels.windows.sketches import precision_for
from kernels.windows.specs import DISTINCT_ERROR, PANES, QUANTILE_ERROR
from tidemark.features.windows import as_numbers
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import Window
from tidemark.records.event_id import event_id
from tidemark.runtime.processor import Headers, Partition
from tidemark.stream.hops import decode_hop

_PAIRS: Final = 3_000_000
_EMPTY_IS_ZERO: Final = ("count", "sum", "distinct", "decayed_sum", "approx_distinct")
_TYPES: Final = {"string": pl.String, "int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean}


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A good raw record, as Kafka has it."""

    partition: Partition
    offset: int
    value: bytes


@dataclass(frozen=True, slots=True)
class HopRecord:
    """A record of a hop topic, as Kafka has it."""

    partition: int
    offset: int
    value: bytes
    headers: Headers


def offline(
    pipeline: Pipeline, records: Iterable[RawRecord], hops: Mapping[str, Iterable[HopRecord]] | None = None
) -> pl.DataFrame:
    """Features of every event, recomputed from the raw records and the order that the hop topics recorded.

    records: the good raw records, in any order.  hops: for each of `Pipeline.hops`, the records of its topic.
    Returns `event_id`, `time` (µs), `late`, and a float64 column for each of `Pipeline.feature_names`, null where
    missing, sorted by event id.
    """
    events = _row_features(pipeline, _events(pipeline, records))
    frame = events.select("event_id", "time", *(f.name for f in pipeline.features)).with_columns(
        late=pl.lit(value=False)
    )
    for key in pipeline.keys:
        order = _hop_order((hops or {})[key]) if key in pipeline.hops else _raw_order(events)
        placed = order.join(events, on="event_id", how="inner", validate="1:1")
        if len(placed) != len(events):
            raise ValueError(f"{key}: {len(order)} rows in the recorded order, of which {len(placed)} are raw events")
        windows = [window for window in pipeline.windows if window.key == key]
        if windows:
            found = _windows(pipeline, _watermarks(placed, pipeline.time.lateness), windows)
            frame = frame.join(found, on="event_id", how="left", validate="1:1")
            frame = frame.with_columns(late=pl.col("late") | pl.col("late_here")).drop("late_here")
    for derived in pipeline.derived:
        if derived.sql is None:
            raise ValueError(f"{derived.name}: the offline computation knows SQL only")
        frame = frame.with_columns(_number(_derived(derived.sql, frame)).alias(derived.name))
    return frame.select("event_id", "time", "late", *pipeline.feature_names).sort("event_id")


def _events(pipeline: Pipeline, records: Iterable[RawRecord]) -> pl.DataFrame:
    """A row for each record: its identity, event time and declared columns."""
    rows = []
    for record in records:
        fields = json.loads(record.value)
        p = record.partition
        position = {"_topic": p.topic, "_partition": p.index, "_position": record.offset}
        identity = {"event_id": event_id(p.topic, p.index, record.offset, p.incarnation)}
        rows.append(identity | position | {f"raw {name}": fields.get(name) for name in pipeline.columns})
    schema = {
        "event_id": pl.String,
        "_topic": pl.String,
        "_partition": pl.Int64,
        "_position": pl.Int64,
        **{f"raw {name}": _TYPES[column.type] for name, column in pipeline.columns.items()},
    }
    frame = pl.DataFrame(rows, schema=schema)
    return frame.with_columns(_time(pipeline).alias("time"))


def _time(pipeline: Pipeline) -> pl.Expr:
    """Event time, µs."""
    column = pl.col(f"raw {pipeline.time.column}")
    if pipeline.time.format == "iso8601":
        return column.map_elements(_iso, return_dtype=pl.Int64)
    unit = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}[pipeline.time.format]
    return (column * unit).round().cast(pl.Int64)


def _iso(text: str) -> int:
    time = datetime.fromisoformat(text)
    return (time.replace(tzinfo=time.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _row_features(pipeline: Pipeline, events: pl.DataFrame) -> pl.DataFrame:
    """The cleaned columns (prefix `raw `) and the features of the row, on one frame with the events' identity."""
    columns = events.select(
        pl.col("time").cast(pl.Datetime("us")).alias(name)
        if name == pipeline.time.column
        else pl.col(f"raw {name}")
        .replace_strict(column.missing, None, default=pl.col(f"raw {name}"), return_dtype=_TYPES[column.type])
        .alias(name)
        if column.missing
        else pl.col(f"raw {name}").alias(name)
        for name, column in pipeline.columns.items()
    )
    for sql in pipeline.clean:
        compute, name = offline_sql.parse(sql)
        if name is None:
            raise ValueError(f"{sql!r}: the offline computation needs a name behind AS")
        columns = columns.with_columns(_computed(compute, columns).alias(name))
    features = []
    for feature in pipeline.features:
        if feature.function is not None:
            raise ValueError(f"{feature.name}: the offline computation knows SQL only")
        value = columns[feature.name] if feature.sql is None else _computed(offline_sql.parse(feature.sql)[0], columns)
        if feature.categories is not None:
            codes = {name: float(code) for code, name in enumerate(feature.categories)}
            value = value.replace_strict(codes, default=None, return_dtype=pl.Float64)
        features.append(pl.select(_number(pl.lit(value)).alias(feature.name)).to_series())
    named = pl.DataFrame(features).hstack(columns.rename(lambda name: f"raw {name}"))
    return events.select("event_id", "_topic", "_partition", "_position", "time").hstack(named)


def _computed(compute: offline_sql.Node, columns: pl.DataFrame) -> pl.Series:
    """What an expression gives for each row, null where it has no right value."""
    values = []
    for row in columns.iter_rows(named=True):
        try:
            values.append(compute(row))
        except offline_sql.Refused:
            values.append(None)
    if not values or any(isinstance(value, float) for value in values):
        return pl.Series([None if value is None else float(value) for value in values], dtype=pl.Float64)
    return pl.Series(values)


def _derived(sql: str, frame: pl.DataFrame) -> pl.Expr:
    return pl.lit(_computed(offline_sql.parse(sql)[0], frame))


def _number(value: pl.Expr) -> pl.Expr:
    """float64, null where missing or infinite."""
    number = value.cast(pl.Float64)
    return pl.when(number.is_finite()).then(number)


def _raw_order(events: pl.DataFrame) -> pl.DataFrame:
    """`event_id`, and the log in which and the position at which it was recorded."""
    log = pl.format("{}-{}", "_topic", "_partition").alias("log")
    return events.sort("_topic", "_partition", "_position").select("event_id", log).with_row_index("position")


def _hop_order(records: Iterable[HopRecord]) -> pl.DataFrame:
    logs, ids = [], []
    for record in sorted(records, key=lambda r: (r.partition, r.offset)):
        hop = decode_hop(record.value, record.headers)
        for origin, offset in zip(hop.rows["_origin"].to_list(), hop.rows["_offset"].to_list(), strict=True):
            source = hop.origins[origin]
            ids.append(event_id(source.topic, source.index, offset, source.incarnation))
            logs.append(str(record.partition))
    return pl.DataFrame(
        {"event_id": ids, "log": logs}, schema={"event_id": pl.String, "log": pl.String}
    ).with_row_index("position")


def _watermarks(placed: pl.DataFrame, lateness: int) -> pl.DataFrame:
    """The highest event time of the log before each row (null for its first), and whether the row is late."""
    before = pl.col("time").shift(1).cum_max().over("log", order_by="position")
    return placed.with_columns(watermark=before).with_columns(
        late_here=(pl.col("time") < pl.col("watermark") - lateness).fill_null(value=False)
    )


def _windows(pipeline: Pipeline, placed: pl.DataFrame, windows: list[Window]) -> pl.DataFrame:
    """`event_id`, `late_here`, and a column for each window."""
    own = {feature.name for feature in pipeline.features}
    key = windows[0].key
    values = {w.column: w.column if w.column in own else f"raw {w.column}" for w in windows if w.column is not None}
    rows = placed.select(
        "event_id",
        "log",
        "late_here",
        "position",
        "time",
        pl.col(f"raw {key}").cast(pl.String).alias("key"),
        pl.max_horizontal("time", pl.col("watermark") - pipeline.time.lateness).alias("latest"),
        *(_number(pl.col(source).map_batches(as_numbers)).alias(f"value {name}") for name, source in values.items()),
    )
    parts = [_aggregate(part, windows) for part in _portions(rows)]
    return pl.concat(parts) if parts else pl.DataFrame(schema={"event_id": pl.String, "late_here": pl.Boolean})


def _portions(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Whole keys at a time, about as many as give `_PAIRS` pairs."""
    keys = rows.group_by("log", "key").agg(pairs=pl.len().cast(pl.Int64) ** 2).sort("log", "key")
    keys = keys.with_columns(portion=pl.col("pairs").cum_sum() // _PAIRS).drop("pairs")
    yield from rows.join(keys, on=["log", "key"]).partition_by("portion", include_key=False)


def _aggregate(rows: pl.DataFrame, windows: list[Window]) -> pl.DataFrame:
    earlier = rows.select(
        "log",
        "key",
        pl.col("position").alias("their position"),
        pl.col("time").alias("their time"),
        pl.col("^value .*$"),
    )
    longest = max(window.size for window in windows)
    pairs = (
        rows.drop("^value .*$")
        .join(earlier, on=["log", "key"])
        .filter((pl.col("their position") <= pl.col("position")) & (pl.col("their time") > pl.col("latest") - longest))
        .sort("position", "their position")
    )
    found = pairs.group_by("event_id", maintain_order=True).agg(
        (read_whole(window) if is_whole(window) else _window(window)).alias(window.name) for window in windows
    )
    empty = {w.name: 0.0 if w.aggregate in _EMPTY_IS_ZERO else None for w in windows}
    whole = rows.select("event_id", "late_here").join(found, on="event_id", how="left", maintain_order="left")
    return whole.with_columns(
        pl.col(name) if value is None else pl.col(name).fill_null(value) for name, value in empty.items()
    )


def _window(window: Window) -> pl.Expr:
    """Aggregate over the pairs of one event."""
    inside = _inside(window)
    if not window.include_current or window.aggregate == "since_last":
        inside &= pl.col("their position") < pl.col("position")
    if window.aggregate == "count":
        return inside.sum().cast(pl.Float64)
    if window.aggregate == "since_last":
        return (pl.col("time").first() - pl.col("their time").filter(inside).max()).cast(pl.Float64) * 1e-6
    present = inside & pl.col(f"value {window.column}").is_not_null()
    values = pl.col(f"value {window.column}").filter(present)
    aggregates = {
        "sum": values.sum(),
        "mean": values.mean(),
        "var": values.var(),
        "std": values.std(),
        "min": values.min(),
        "max": values.max(),
        "first": values.first(),
        "last": values.last(),
        "distinct": values.n_unique().cast(pl.Float64),
    }
    if window.aggregate in aggregates:
        return aggregates[window.aggregate]
    if window.half_life is not None:
        age = (pl.col("time") - pl.col("their time")).filter(present)
        weights = pl.lit(2.0).pow(-age / window.half_life)
        total = (weights * values).sum()
        return total if window.aggregate == "decayed_sum" else total / weights.sum()
    if window.aggregate == "quantile":
        return values.quantile(window.probability or 0.0, "linear")
    sketch = _distinct if window.aggregate == "approx_distinct" else _quantile
    return values.implode().map_elements(lambda series: sketch(window, series), return_dtype=pl.Float64)


def _inside(window: Window) -> pl.Expr:
    """Which rows lie in the window of an event. That of a sketch has no upper end."""
    if not window.aggregate.startswith("approx"):
        return (pl.col("their time") > pl.col("latest") - window.size) & (pl.col("their time") <= pl.col("time"))
    beginning = pl.col("latest") - window.size + 1
    if window.aggregate == "approx_quantile":
        pane = max(1, window.size // PANES)
        beginning = (beginning + pane - 1).floordiv(pane) * pane
    return (pl.col("their time") >= beginning) & (pl.col("time") >= beginning)


def _distinct(window: Window, values: pl.Series) -> float:
    registers = kernels.distinct_sketch(1, precision_for(window.error or DISTINCT_ERROR))
    hashes = kernels.hash_int64((values.to_numpy() + 0.0).view(np.int64))
    kernels.add_distinct(registers, np.zeros(len(values), np.int64), hashes)
    return float(np.rint(kernels.distinct_estimate(registers)[0]))


def _quantile(window: Window, values: pl.Series) -> float | None:
    layout = kernels.quantile_layout(window.error or QUANTILE_ERROR)
    counts = kernels.quantile_sketch(1, layout)
    kernels.add_quantiles(counts, np.zeros(len(values), np.int64), values.to_numpy(), layout)
    estimate = float(kernels.quantile_estimate(counts, np.array([window.probability]), layout)[0, 0])
    return None if np.isnan(estimate) else estimate
