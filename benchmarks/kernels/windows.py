"""`make bench-kernels`, rows K7 and K8: windows, sampling and selection, beside their peers.

K7: 1M rows of 10,000 keys, four window sizes of six aggregates each, the row itself included (which is what Polars'
`rolling` means), and the same answers from both. Bytewax's own windows have no feature of each event; it is given the
cheaper task of one tumbling window a size, and counted in rows. Then two million keys that come and go, in a process of
its own whose memory is measured; and one key with many rows, exact and by sketches.
K8: choosing from 1M scores, beside what one would write with numpy.
"""

from __future__ import annotations

import os

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import multiprocessing
import resource
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import bytewax.operators as op
import bytewax.operators.windowing as win
import numpy as np
import polars as pl
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, run_main
from numpy.typing import NDArray

from benchmarks.kernels import bounds
from benchmarks.kernels.bounds import bounded
from benchmarks.support.timing import median_seconds
from kernels import (
    WindowSpec,
    WindowState,
    bottom_k_sample,
    coin,
    exponential_bottom_k,
    hash_int64,
    priority_sample,
    top_k,
)
from kernels.windows.state import Aggregate

Row = dict[str, Any]

_SECOND: Final = 1_000_000
_SIZES: Final = tuple(hours * 3600 * _SECOND for hours in (1, 6, 24, 72))
_AGGREGATES: Final[tuple[Aggregate, ...]] = ("count", "sum", "mean", "std", "min", "max")
_SPAN: Final = 7 * 24 * 3600 * _SECOND
_KEYS: Final = 10_000
_BATCH: Final = 10_000
_CHOSEN: Final = 1_000
_DAY: Final = 24 * 3600 * _SECOND
_MANY_BATCH: Final = 100_000


class Events(NamedTuple):
    """One stream in time order; no two events have one time."""

    keys: NDArray[np.int64]
    times: NDArray[np.int64]
    values: NDArray[np.float64]


def rows(quick: bool) -> list[Row]:  # noqa: FBT001
    """Measure; `quick` takes a tenth of the rows, and says so."""
    return [*windows(quick=quick), *keys(quick=quick), *sketches(quick=quick), *selection(quick=quick)]


def _row(id_: str, value: float, unit: str, target: float | None, detail: dict[str, Any]) -> Row:
    reached = target is None or value >= target
    return {"id": id_, "value": round(value, 3), "unit": unit, "target": target, "reached": reached, "detail": detail}


def _events(n: int, n_keys: int) -> Events:
    rng = np.random.default_rng(7)
    times = np.sort(rng.choice(_SPAN, n, replace=False)) + 1_700_000_000 * _SECOND
    return Events(rng.integers(0, n_keys, n), times, rng.lognormal(3, 1, n))


def _ours(events: Events) -> Iterator[NDArray[np.float64]]:
    specs = [WindowSpec(a, -(a == "count"), size, include_current=True) for size in _SIZES for a in _AGGREGATES]
    state = WindowState(specs, 1, 0)
    keys, values = hash_int64(events.keys), events.values.reshape(-1, 1)
    for i in range(0, len(keys), _BATCH):
        yield state.update(keys[i : i + _BATCH], events.times[i : i + _BATCH], values[i : i + _BATCH])


def _polars(events: Events) -> list[pl.DataFrame]:
    frame = pl.DataFrame({"key": events.keys, "time": events.times, "x": events.values})
    x = pl.col("x")
    wanted = [
        f.alias(name)
        for f, name in zip((x.len(), x.sum(), x.mean(), x.std(), x.min(), x.max()), _AGGREGATES, strict=True)
    ]
    return [frame.rolling("time", period=f"{size}i", closed="right", group_by="key").agg(wanted) for size in _SIZES]


def _bytewax(events: Events) -> int:
    """Fold the six aggregates over tumbling windows of each size; returns the number of windows that came out."""
    start = datetime.fromtimestamp(int(events.times[0]) / 1e6, UTC)
    stamps = [datetime.fromtimestamp(t / 1e6, UTC) for t in events.times.tolist()]
    items = list(zip(map(str, events.keys.tolist()), zip(stamps, events.values.tolist(), strict=True), strict=True))

    def add(state: list[float], item: tuple[datetime, float]) -> list[float]:
        x = item[1]
        return [state[0] + 1, state[1] + x, state[2] + x * x, min(state[3], x), max(state[4], x)]

    def merge(a: list[float], b: list[float]) -> list[float]:
        return [a[0] + b[0], a[1] + b[1], a[2] + b[2], min(a[3], b[3]), max(a[4], b[4])]

    flow, out = Dataflow("windows"), list[Any]()
    stream = op.input("items", flow, TestingSource(items, batch_size=1_000))
    clock = win.EventClock[tuple[datetime, float]](lambda item: item[0], timedelta(0))
    for size in _SIZES:
        windower = win.TumblingWindower(timedelta(microseconds=size), start)
        empty = lambda: [0.0, 0.0, 0.0, float("inf"), float("-inf")]  # noqa: E731
        folded = win.fold_window(f"fold-{size}", stream, clock, windower, empty, add, merge)
        op.output(f"out-{size}", folded.down, TestingSink(out))
    run_main(flow)
    return len(out)


def windows(*, quick: bool) -> list[Row]:
    """K7."""
    n, repeats = (100_000, 1) if quick else (1_000_000, 7)
    n_keys = _KEYS * n // 1_000_000
    events = _events(n, n_keys)
    few = Events(events.keys[: n // 50], events.times[: n // 50], events.values[: n // 50])
    ours = np.concatenate(list(_ours(events)))
    theirs = [part.sort("time").select(_AGGREGATES).cast(pl.Float64).to_numpy() for part in _polars(events)]
    np.testing.assert_allclose(ours, np.concatenate(theirs, axis=1), rtol=1e-6, atol=1e-6)
    rate = n / median_seconds(lambda: deque(_ours(events), maxlen=0), repeats)
    polars_rate = n / median_seconds(lambda: _polars(events), repeats)
    bytewax_rate = len(few.keys) / median_seconds(lambda: _bytewax(few), 1 if quick else 3)
    chain = float(ours[:, (len(_SIZES) - 1) * 6].sum()) * bounds.addition()
    in_window = {f"{size // (3600 * _SECOND)}h": float(np.mean(ours[:, j * 6])) for j, size in enumerate(_SIZES)}
    detail = {
        "rows": n,
        "keys": n_keys,
        "sizes": len(_SIZES),
        "aggregates": len(_AGGREGATES),
        "mean_rows_in_window": in_window,
        "batch": _BATCH,
        "rows_per_second": round(rate),
        "quick": quick,
        **bounded("an addition a row of the longest window, one after the other", chain, n / rate),
    }
    return [
        _row(
            "K7.polars",
            rate / polars_rate,
            "times Polars rolling",
            5.0,
            {**detail, "polars_rows_per_second": round(polars_rate), "polars_threads": pl.thread_pool_size()},
        ),
        _row(
            "K7.bytewax",
            rate / bytewax_rate,
            "times Bytewax windows",
            50.0,
            {**detail, "bytewax_rows_per_second": round(bytewax_rate), "bytewax_rows": len(few.keys)},
        ),
        _row("K7.cost", 1e9 / rate, "ns/row", None, {**detail, "features": ours.shape[1]}),
    ]


def _come_and_go(slots: int, days: int) -> dict[str, float]:
    """Two rows for each of so many slots a day, over days; which key a slot is moves on by as many a day.

    Two sizes of five aggregates each. Run in a process of its own: its memory is what the state takes.
    """
    counted: tuple[Aggregate, ...] = ("count", "sum", "mean", "max", "since_last")
    specs = [
        WindowSpec(a, -1 if a in {"count", "since_last"} else 0, size) for size in (_DAY // 24, _DAY) for a in counted
    ]
    rng = np.random.default_rng(7)
    WindowState(specs, 1, 0).update(hash_int64(np.arange(1_000)), np.arange(1_000), np.ones((1_000, 1)))
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    state, rows = WindowState(specs, 1, 60 * _SECOND), 2 * slots
    seconds, held = [], []
    for begin in range(0, days * rows, _MANY_BATCH):
        at = np.arange(begin, begin + _MANY_BATCH)
        ids, values = at // 2 + rng.integers(0, slots, _MANY_BATCH), rng.lognormal(3, 1, (_MANY_BATCH, 1))
        hashes, times = hash_int64(ids), at * (_DAY // rows)
        start = time.process_time()
        state.update(hashes, times, values)
        seconds.append(time.process_time() - start)
        held.append(state.nbytes)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    alive = WindowState.from_bytes(state.to_bytes()).n_keys
    half = len(held) // 2
    return {
        "rows": float(len(held) * _MANY_BATCH),
        "keys_alive": float(alive),
        "keys_in_all": float(days * slots + slots),
        "ns_a_row": sum(seconds) / len(held) / _MANY_BATCH * 1e9,
        "bytes_a_key": max(held[half:]) / alive,
        "growth": max(held[half:]) / max(held[:half]),
        "held_bytes": float(max(held)),
        "peak_bytes": float(peak),
        "median_batch_ms": statistics.median(seconds) * 1e3,
        "worst_batch_ms": max(seconds) * 1e3,
    }


def keys(*, quick: bool) -> list[Row]:
    """K7.keys: bounded memory for keys that come and go."""
    slots, days = (175_000, 4) if quick else (1_750_000, 4)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        found = process.submit(_come_and_go, slots, days).result()
    growth, bytes_a_key = found.pop("growth"), found.pop("bytes_a_key")
    detail = {**{name: round(value, 1) for name, value in found.items()}, "batch": _MANY_BATCH, "quick": quick}
    return [
        _row("K7.keys", found["ns_a_row"], "ns/row", None, detail),
        _row("K7.keys.bytes", bytes_a_key, "bytes/key", None, detail),
        {**_row("K7.keys.growth", growth, "times the first half's memory", 1.1, detail), "reached": growth <= 1.1},
    ]


def sketches(*, quick: bool) -> list[Row]:
    """K7.sketch: one key with many rows in its window, none of its values twice."""
    n = 3_000 if quick else 20_000
    last = n // 10
    values, times = np.random.default_rng(7).lognormal(3, 1, (n, 1)), np.arange(n)
    found = []
    for exact, sketch in (("distinct", "approx_distinct"), ("quantile", "approx_quantile")):
        taken: dict[str, tuple[float, int]] = {}
        for aggregate in (exact, sketch):
            parameter = 0.5 if "quantile" in aggregate else 0.0
            state = WindowState([WindowSpec(aggregate, 0, n, parameter=parameter)], 1, 0)
            one = np.zeros(n, np.uint64)
            state.update(one[:-last], times[:-last], values[:-last])
            start = time.process_time()
            state.update(one[-last:], times[-last:], values[-last:])
            taken[aggregate] = (time.process_time() - start) / last * 1e9, len(state.to_bytes())
        detail = {
            "rows_in_window": n,
            "ns_a_row": round(taken[sketch][0]),
            "exact_ns_a_row": round(taken[exact][0]),
            "bytes": taken[sketch][1],
            "exact_bytes": taken[exact][1],
            "quick": quick,
        }
        found.append(_row(f"K7.{sketch}", taken[exact][0] / taken[sketch][0], f"times {exact}", None, detail))
    return found


def selection(*, quick: bool) -> list[Row]:
    """K8."""
    n, repeats = (100_000, 3) if quick else (1_000_000, 9)
    rng = np.random.default_rng(8)
    scores, weights, offsets = rng.random(n), rng.exponential(size=n), np.arange(n)
    coins = coin(1, 2, offsets, 3)
    k = min(_CHOSEN, n // 100)
    normalised = weights / weights.sum()

    def numpy_top() -> NDArray[np.int64]:
        chosen = np.argpartition(-scores, k - 1)[:k]
        return chosen[np.lexsort((coins[chosen], -scores[chosen]))]

    def numpy_bottom() -> NDArray[np.int64]:
        chosen = np.argpartition(coins, k)[: k + 1]
        return chosen[np.argsort(coins[chosen])]

    def numpy_priority() -> NDArray[np.float64]:
        priorities = weights / rng.random(n)
        chosen = np.argpartition(-priorities, k)[: k + 1]
        threshold = priorities[chosen].min()
        probabilities: NDArray[np.float64] = np.minimum(1.0, weights[chosen] / threshold)
        return probabilities

    np.testing.assert_array_equal(top_k(scores, coins, k).indices, numpy_top())
    np.testing.assert_array_equal(bottom_k_sample(coins, k).indices, numpy_bottom()[:k])
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "top": (lambda: top_k(scores, coins, k), numpy_top),
        "bottom": (lambda: bottom_k_sample(coins, k), numpy_bottom),
        "priority": (lambda: priority_sample(weights, coins, k), numpy_priority),
        "weighted": (
            lambda: exponential_bottom_k(weights, coins, k),
            lambda: rng.choice(n, k, replace=False, p=normalised, shuffle=False),
        ),
    }
    inputs: dict[str, list[NDArray[Any]]] = {
        "top": [scores],
        "bottom": [coins],
        "priority": [weights, coins],
        "weighted": [weights, coins],
    }
    found: list[Row] = []
    for name, (mine, peer) in pairs.items():
        seconds, peer_seconds = median_seconds(mine, repeats), median_seconds(peer, repeats)
        detail = {
            "rows": n,
            "k": k,
            "milliseconds": round(seconds * 1e3, 3),
            "numpy_milliseconds": round(peer_seconds * 1e3, 3),
            "quick": quick,
            **bounded("one read of the input", bounds.read(*inputs[name]), seconds),
        }
        found.append(_row(f"K8.{name}", peer_seconds / seconds, "times numpy", 3.0, detail))
    tossing = median_seconds(lambda: coin(1, 2, offsets, 3), repeats)
    limit = bounded("one read of the input", bounds.read(offsets), tossing)
    found.append(_row("K8.coin", tossing / n * 1e9, "ns/event", None, {"rows": n, "quick": quick, **limit}))
    return found
