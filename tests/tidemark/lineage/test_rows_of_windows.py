"""The rows that are listed of a window are those that its value is of, late ones and cut windows included."""

from __future__ import annotations

import math

import numpy as np
import pytest
from streaming import shop

from kernels.windows.specs import WindowSpec
from kernels.windows.state import WindowState
from tidemark.lineage.derivation import _Seen
from tidemark.pipeline.model import Window

SECOND = 1_000_000
CUTS = [{"size": "40s"}, {"size": "40s", "rows": 1}, {"size": "40s", "rows": 3}, {"size": "40s", "gap": "5s"}]
TIMED = ["count", "rate", "since_first", "since_last"]


def given(aggregate: str, times: list[int], values: list[float], event: int) -> float:
    """An aggregate of the rows that are listed."""
    if aggregate == "count":
        return float(len(times))
    if aggregate == "sum":
        return math.fsum(value for value in values if not math.isnan(value))
    if not times:
        return math.nan
    if aggregate == "rate":
        return len(times) * SECOND / (event - min(times)) if event > min(times) else math.nan
    return (event - (min(times) if aggregate == "since_first" else max(times))) / SECOND


@pytest.mark.parametrize("include_current", [False, True])
@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("aggregate", [*TIMED, "sum"])
def test_the_rows_listed_of_a_window_give_its_value(
    aggregate: str, cut: dict[str, object], include_current: bool
) -> None:
    column = "price" if aggregate == "sum" else None
    window = Window.model_validate(
        {"name": "w", "key": "who", "aggregate": aggregate, "column": column, "include_current": include_current} | cut
    )
    pipeline = shop()
    pipeline = pipeline.model_copy(update={"time": pipeline.time.model_copy(update={"lateness": 10 * SECOND})})
    spec = WindowSpec(
        aggregate, -1 if column is None else 0, window.size, include_current, rows=window.rows or 0, gap=window.gap or 0
    )
    rng = np.random.default_rng(5)
    steps, late = rng.integers(0, 6, 120), rng.choice([0, 0, 3, 12, 30, 70], 120)
    times = (np.cumsum(steps) - late) * SECOND
    values = np.where(rng.random(120) < 0.3, math.nan, rng.integers(1, 9, 120)).reshape(-1, 1)
    state = WindowState([spec], 1, pipeline.time.lateness)
    for n in range(1, len(times) + 1):
        before = int(times[: n - 1].max()) if n > 1 else -(2**63)
        value = state.update(np.zeros(1, np.uint64), times[n - 1 : n], values[n - 1 : n])[0, 0]
        seen = _Seen([str(i) for i in range(n)], "k", times[:n], values[:n], ["price"], before)
        part = seen.part(window, float(value), pipeline)
        if part.count == len(part.rows):  # of longer ones only the newest are listed
            listed = [math.nan if row.value is None else float(row.value) for row in part.rows]
            recomputed = given(aggregate, [row.time for row in part.rows], listed, int(times[n - 1]))
            assert recomputed == pytest.approx(value, rel=1e-12, nan_ok=True), f"row {n}"
