"""What a window state is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from kernels.numerics._checks import integer, number

Aggregate = Literal[
    "count",
    "sum",
    "mean",
    "var",
    "std",
    "min",
    "max",
    "last",
    "first",
    "since_last",
    "distinct",
    "quantile",
    "decayed_sum",
    "decayed_mean",
    "approx_distinct",
    "approx_quantile",
]

MEANINGS: Final[dict[Aggregate, str]] = {
    "count": "Number of rows, 0 where there are none. Takes no column.",
    "sum": "Sum of the values.",
    "mean": "Arithmetic mean of the values.",
    "var": "Variance of a sample (divisor n - 1). Missing with fewer than two values.",
    "std": "Standard deviation of a sample (divisor n - 1). Missing with fewer than two values.",
    "min": "Smallest value.",
    "max": "Largest value.",
    "last": "Value of the latest row, by position in the log.",
    "first": "Value of the earliest row, by position in the log.",
    "since_last": "Seconds since the latest earlier event time in the window. Takes no column.",
    "distinct": "Exact number of different values. Memory grows with the rows in the window.",
    "quantile": "Exact quantile at `probability`, interpolated (type 7). Memory grows with the rows in the window.",
    "decayed_sum": "Sum of the values, each weighed by 2 ** (-age / `half_life`).",
    "decayed_mean": "Mean of the values, each weighed by 2 ** (-age / `half_life`).",
    "approx_distinct": "Number of different values by HyperLogLog, with the standard error `error`. Bounded memory.",
    "approx_quantile": "Quantile at `probability` by DDSketch, off by at most `error` of its value. Bounded memory.",
}
"""What each aggregate gives, for people: the reference is made from it."""

TIME_LIMIT: Final = 2**61
"""Event times lie within plus and minus this many µs of the epoch, 73,000 years."""

SIZE_LIMIT: Final = 2**59
AGGREGATES: Final[tuple[Aggregate, ...]] = get_args(Aggregate)
NEEDS_NO_COLUMN: Final = frozenset({"count", "since_last"})
DISTINCT_ERROR: Final = 0.023
"""Of approx_distinct where none is asked for."""
QUANTILE_ERROR: Final = 0.01
"""Of approx_quantile where none is asked for."""
PANES: Final = 24
"""Panes in the window of an approx_quantile."""
ERRORS: Final = {"approx_distinct": (0.0021, 0.26), "approx_quantile": (0.001, 0.25)}
"""Least and largest error that may be asked for."""


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """One aggregate of one column over one window.

    aggregate: what is computed. ``var`` and ``std`` are of a sample (divisor n - 1). ``first`` and ``last`` go by log
    position. ``since_last`` is seconds since the latest earlier event time in the window. ``distinct`` is exact.
    ``quantile`` interpolates (type 7), with ``parameter`` its probability, 0 to 1, as of
    ``approx_quantile``. ``decayed_sum`` and
    ``decayed_mean`` weigh by ``2 ** (-age / half-life)``, with ``parameter`` the half-life, µs, above 0.
    column: index into the columns of ``values``; -1 for ``count`` and ``since_last``, which use none.
    size: length of the window, µs, above 0.  include_current: whether the row itself is part of its window.
    error: of ``approx_distinct`` the standard error, 0.0021 to 0.26, 0 for 0.023; of ``approx_quantile`` how far off a
    quantile may be in relation to the true one, 0.001 to 0.25, 0 for 0.01.

    ``approx_distinct`` and ``approx_quantile`` keep sketches in place of rows, so that what a key takes is bounded,
    however many rows its windows have. To both, the window of a row at time ``t`` has no upper end: of the earlier
    rows of the key (and the row itself, with ``include_current``) those at or after its beginning count, though they
    may be newer than ``t``. In rows that come in order this makes no difference. A row that lies before its own
    window's beginning sees an empty one.

    ``approx_distinct``: the window begins where that of ``distinct`` does. HyperLogLog over XXH64 of the eight bytes
    of a value, its estimate rounded to a whole number: few values are counted exactly, but for rare collisions.
    Sliding as in Chabchoub and Hébrail 2010, ICDMW. 0.023 takes 2,048 registers, and some 11,000 rows of 16 bytes
    after a million different values.

    ``approx_quantile``: a window begins at the first multiple of a pane, a 24th of the size, whole µs, after
    ``max(t, W - lateness) - size``: it is up to a pane short. The value of rank ``floor(p * (n - 1))`` by DDSketch
    (Masson, Rim and Lee 2019, VLDB 12:12); magnitudes below 1e-6 count as 0, those above 1e12 as about 1e12. Kept is,
    of each pane, a count for each bucket that is not empty, 16 bytes: at 0.01 there are 116 from 1 to 10.

    Cost for each row: windows of up to 1,024 rows are read whole, ~1 ns a row and column. Longer ones cost ~1 µs, and
    1/50 of their rows; but distinct, quantile and decayed aggregates read the whole window always.
    """

    aggregate: Aggregate
    column: int
    size: int
    include_current: bool = False
    parameter: float = 0.0
    error: float = 0.0


def checked_specs(specs: Sequence[WindowSpec], n_columns: int) -> tuple[WindowSpec, ...]:
    """The specs, each of which fits; raises ValueError."""
    if not specs:
        raise ValueError("specs: expected at least one WindowSpec, got none")
    for i, spec in enumerate(specs):
        if spec.aggregate not in AGGREGATES:
            raise ValueError(f"specs[{i}].aggregate: {spec.aggregate!r} is none of {', '.join(AGGREGATES)}")
        low = -1 if spec.aggregate in NEEDS_NO_COLUMN else 0
        integer(f"specs[{i}].column", spec.column, low, n_columns - 1)
        integer(f"specs[{i}].size", spec.size, 1, SIZE_LIMIT)
        if spec.aggregate in {"quantile", "approx_quantile"}:
            number(f"specs[{i}].parameter", spec.parameter, 0.0, 1.0)
        elif spec.aggregate.startswith("decayed"):
            number(f"specs[{i}].parameter", spec.parameter, 1.0, float(SIZE_LIMIT))
        elif spec.parameter != 0.0:
            raise ValueError(f"specs[{i}].parameter: {spec.aggregate} takes none, got {spec.parameter!r}")
        if spec.error != 0.0:
            if spec.aggregate not in ERRORS:
                raise ValueError(f"specs[{i}].error: {spec.aggregate} is exact, got {spec.error!r}")
            number(f"specs[{i}].error", spec.error, *ERRORS[spec.aggregate])
    return tuple(specs)
