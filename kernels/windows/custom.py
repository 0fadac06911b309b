"""Windows whose aggregate is a function of one's own: it is called with the values of each row's window.

The rows are kept, and windows cut, as those of the exact aggregates are. A call costs some 10 µs a row beside the
function's own work, where a kernel of ours takes less than one.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kernels.windows._aggregates import MICROSECONDS
from kernels.windows._exact import Exact
from kernels.windows._store import CHUNK, HEAD, NO_WATERMARK, TAIL, column_base, entry_of, first_after
from kernels.windows.specs import WindowSpec


class Custom(Exact):
    """Windows of functions, whose features are the columns of the result from ``first`` on."""

    def __init__(self, specs: Sequence[WindowSpec], lateness: int, first: int) -> None:
        super().__init__([replace(spec, aggregate="sum", function=None, rows=0, gap=0) for spec in specs], lateness)
        self._specs, self._lateness, self._first = specs, lateness, first
        self._sums = np.empty((1, len(specs)))

    def _run(
        self,
        begin: int,
        keys: NDArray[np.int64],
        times: NDArray[np.int64],
        bounded: NDArray[np.int64],
        values: NDArray[np.float64],
        out: NDArray[np.float64],
    ) -> int:
        for i in range(begin, keys.shape[0]):
            row, watermark = slice(i, i + 1), self.watermark
            if not super()._run(0, keys[row], times[row], bounded[row], values[row], self._sums):
                return i
            for m, spec in enumerate(self._specs):
                found, ages = self._window(spec, int(keys[i]), int(times[i]), watermark)
                out[i, self._first + m] = np.nan if spec.function is None else spec.function(found, ages)
        return len(keys)

    def _window(
        self, spec: WindowSpec, key: int, t: int, watermark: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Values of a row's window that are not missing, by time and then by log, and their ages, s."""
        seen = watermark != NO_WATERMARK
        if seen and t <= watermark - self.reach:
            return np.empty(0), np.empty(0)
        store, columns = self.store, self._plan.columns
        entry = entry_of(store.table, key)
        chunk, head, tail = (store.table[entry, field] for field in (CHUNK, HEAD, TAIL))
        latest = max(t, watermark - self._lateness) if seen else t
        at = first_after(store.times, head, tail, t) - 1
        start = first_after(store.times, head, at + 1, latest - spec.size)
        end = max(start, at + spec.include_current)
        base = column_base(chunk, int(np.searchsorted(columns, spec.column)), columns.shape[0])
        if spec.gap:
            apart = np.diff(store.times[start : at + 1]) > spec.gap
            start += int(apart.nonzero()[0].max(initial=-1)) + 1
        values = store.values[base + head : base + tail]
        newest = np.flatnonzero(~np.isnan(values[start - head : end - head])) + start
        if spec.rows:
            newest = newest[-spec.rows :]
            if latest > t:  # later than the lateness
                bound = first_after(store.times, head, tail, latest)
                others = np.flatnonzero(~np.isnan(values[: bound - head])) + head
                newest = newest[(newest == at) | (newest >= others[others != at][-spec.rows :].min(initial=tail))]
        ages: NDArray[np.float64] = (t - store.times[newest]).astype(np.float64) * MICROSECONDS
        return store.values[base + newest], ages
