"""Windows that are read whole, once more in plain Python: last rows, sessions, slope, z-score, rates.

Each is computed from the pairs of one event and the rows of its key, by its definition in
`docs/contributing/internals.md`, with sums that round once.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from tidemark.pipeline.model import Window

_WHOLE: Final = ("slope", "zscore", "since_first", "rate")
_OF_ROWS: Final = ("count", "since_last", "since_first", "rate")


@dataclass(frozen=True, slots=True)
class _Row:
    time: int
    position: int
    value: float | None


def is_whole(window: Window) -> bool:
    """Whether a window is computed here."""
    counts_values = window.aggregate in _OF_ROWS and window.column is not None
    return window.rows is not None or window.gap is not None or window.aggregate in _WHOLE or counts_values


def read_whole(window: Window) -> pl.Expr:
    """Aggregate over the pairs of one event."""
    value = pl.lit(None, pl.Float64) if window.column is None else pl.col(f"value {window.column}")
    pairs = pl.struct("their time", "their position", "time", "position", "latest", value.alias("value")).implode()
    return pairs.map_elements(lambda series: _of_event(window, series), return_dtype=pl.Float64)


def _of_event(window: Window, pairs: pl.Series) -> float | None:
    listed = pairs.to_list()
    t, position, latest = (listed[0][name] for name in ("time", "position", "latest"))
    rows = sorted(
        (_Row(each["their time"], each["their position"], each["value"]) for each in listed),
        key=lambda row: (row.time, row.position),
    )
    own = next((row for row in rows if row.position == position), _Row(t, position, None))  # too late to be a pair
    inside = [row for row in rows if latest - window.size < row.time <= t]
    if window.gap is not None:
        inside = _session(inside, t, window.gap)
    earlier = [row for row in inside if row is not own]
    taken = inside if window.include_current else earlier
    if window.rows is not None:
        kept = _last(taken, window.rows, window)
        if t < latest:
            others = [row for row in rows if row is not own and row.time <= latest]
            kept = [row for row in kept if row is own or row in _last(others, window.rows, window)]
        taken, earlier = kept, [row for row in kept if row is not own]
    if window.column is not None:
        taken, earlier = ([row for row in each if row.value is not None] for each in (taken, earlier))
    if window.aggregate in _OF_ROWS:
        return _of_rows(window.aggregate, t, earlier, taken)
    return _of_values(window, t, own, taken)


def _session(rows: Sequence[_Row], t: int, gap: int) -> list[_Row]:
    found: list[_Row] = []
    for row in reversed(rows):
        if (found[-1].time if found else t) - row.time > gap:
            break
        found.append(row)
    return found[::-1]


def _last(rows: Sequence[_Row], n: int, window: Window) -> list[_Row]:
    return [row for row in rows if window.column is None or row.value is not None][-n:]


def _of_rows(aggregate: str, t: int, earlier: Sequence[_Row], taken: Sequence[_Row]) -> float | None:
    if aggregate == "count":
        return float(len(taken))
    if not earlier:
        return None
    since = (t - earlier[0].time) / 1e6
    if aggregate == "rate":
        return len(earlier) / since if since else None
    return since if aggregate == "since_first" else (t - earlier[-1].time) / 1e6


def _of_values(window: Window, t: int, own: _Row, rows: Sequence[_Row]) -> float | None:
    values = [row.value for row in rows if row.value is not None]
    name = window.aggregate
    if not values:
        return 0.0 if name in {"sum", "distinct", "decayed_sum"} else None
    by_log = sorted(rows, key=lambda row: row.position)
    if name in {"var", "std", "slope", "zscore"}:
        return _of_spread(name, own, rows, values)
    weights = [2.0 ** ((row.time - t) / (window.half_life or 1)) for row in rows]
    decayed = math.fsum(weight * value for weight, value in zip(weights, values, strict=True))
    functions: dict[str, Callable[[], float | None]] = {
        "sum": lambda: math.fsum(values),
        "mean": lambda: statistics.fmean(values),
        "min": lambda: min(values),
        "max": lambda: max(values),
        "first": lambda: by_log[0].value,
        "last": lambda: by_log[-1].value,
        "distinct": lambda: float(len(set(values))),
        "quantile": lambda: float(np.quantile(values, window.probability or 0.0)),
        "decayed_sum": lambda: decayed,
        "decayed_mean": lambda: decayed / math.fsum(weights),
    }
    return functions[name]()


def _of_spread(name: str, own: _Row, rows: Sequence[_Row], values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    mean = statistics.fmean(values)
    distances = [value - mean for value in values]
    if name == "slope":
        return _slope([(row.time - own.time) / 1e6 for row in rows], distances)
    variance = math.fsum(distance**2 for distance in distances) / (len(values) - 1)
    if name == "var":
        return variance
    if name == "std":
        return math.sqrt(variance)
    if own.value is None or len(set(values)) == 1:
        return None
    return (own.value - mean) / math.sqrt(variance)


def _slope(seconds: Sequence[float], distances: Sequence[float]) -> float | None:
    if len(set(seconds)) == 1:
        return None
    middle = statistics.fmean(seconds)
    products = math.fsum((x - middle) * y for x, y in zip(seconds, distances, strict=True))
    return products / math.fsum((x - middle) ** 2 for x in seconds)
