"""What a window state is asked for.

Whoever only reads a pipeline file needs these names and no numpy, which is imported where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
    "slope",
    "zscore",
    "since_first",
    "rate",
]

Compute: TypeAlias = "Callable[[NDArray[np.float64], NDArray[np.float64]], float]"
"""Values of a window that are not missing, by time and then by log, and their ages in s, to a number."""


@dataclass(frozen=True, slots=True)
class AggregateKind:
    """What an aggregate needs and gives.

    Attributes:
        meaning: what it gives, for people.
        takes: what its column holds: `numbers`, `anything` (texts are told apart by their hashes), or `optional` where
            it needs no column, and of one of any type only which rows have a value.
        parameter: what it must be given: `probability`, `half_life`, or nothing.
        error: least, usual and largest error that may be asked for; None: it is exact.
        empty: value of an empty window.
        compute: computes it where no kernel does.

    """

    meaning: str
    takes: Literal["numbers", "anything", "optional"] = "numbers"
    parameter: Literal["", "probability", "half_life"] = ""
    error: tuple[float, float, float] | None = None
    empty: float = math.nan
    compute: Compute | None = None


DISTINCT_ERROR: Final = 0.023
QUANTILE_ERROR: Final = 0.01
"""Of approx_distinct and approx_quantile where none is asked for."""
KINDS: Final[dict[Aggregate, AggregateKind]] = {
    "count": AggregateKind(
        "Number of rows, 0 where there are none; with a column, of those that have its value.",
        takes="optional",
        empty=0.0,
    ),
    "sum": AggregateKind("Sum of the values.", empty=0.0),
    "mean": AggregateKind("Arithmetic mean of the values."),
    "var": AggregateKind("Variance of a sample (divisor n - 1). Missing with fewer than two values."),
    "std": AggregateKind("Standard deviation of a sample (divisor n - 1). Missing with fewer than two values."),
    "min": AggregateKind("Smallest value."),
    "max": AggregateKind("Largest value."),
    "last": AggregateKind("Value of the latest row, by position in the log."),
    "first": AggregateKind("Value of the earliest row, by position in the log."),
    "since_last": AggregateKind(
        "Seconds since the latest earlier row in the window; with a column, since the latest that has its value.",
        takes="optional",
    ),
    "distinct": AggregateKind(
        "Exact number of different values. Memory grows with the rows in the window.", takes="anything", empty=0.0
    ),
    "quantile": AggregateKind(
        "Exact quantile at `probability`, interpolated (type 7). Memory grows with the rows in the window.",
        parameter="probability",
    ),
    "decayed_sum": AggregateKind(
        "Sum of the values, each weighed by 2 ** (-age / `half_life`).", parameter="half_life", empty=0.0
    ),
    "decayed_mean": AggregateKind(
        "Mean of the values, each weighed by 2 ** (-age / `half_life`).", parameter="half_life"
    ),
    "approx_distinct": AggregateKind(
        "Number of different values by HyperLogLog, with the standard error `error`. Bounded memory.",
        takes="anything",
        error=(0.0021, DISTINCT_ERROR, 0.26),
        empty=0.0,
    ),
    "approx_quantile": AggregateKind(
        "Quantile at `probability` by DDSketch, off by at most `error` of its value. Bounded memory.",
        parameter="probability",
        error=(0.001, QUANTILE_ERROR, 0.25),
    ),
    "slope": AggregateKind(
        "Trend: slope of the least-squares line of the values over event time, per second. Missing with fewer than two "
        "values, or where all have one time."
    ),
    "zscore": AggregateKind(
        "Distance of the row's own value from the mean of the values, in their standard deviations (of a sample). "
        "Missing with fewer than two values, or where all are alike."
    ),
    "since_first": AggregateKind(
        "Seconds since the earliest earlier row in the window; with a column, since the earliest that has its value.",
        takes="optional",
    ),
    "rate": AggregateKind(
        "Earlier rows a second since the earliest in the window: their number by the seconds since. Missing where no "
        "time has passed. With a column, of rows that have its value.",
        takes="optional",
    ),
}
"""Every aggregate that a kernel computes. Checks, definitions and the reference are made from it."""

TIME_LIMIT: Final = 2**61
"""Event times lie within plus and minus this many µs of the epoch, 73,000 years."""

SIZE_LIMIT: Final = 2**59
ROWS_LIMIT: Final = 100_000
"""Rows that a window may be cut to: each row reads them all."""
WHOLE: Final = frozenset({"slope", "zscore", "since_first", "rate"})
"""Aggregates that are computed from whole windows alone."""
AGGREGATES: Final[tuple[Aggregate, ...]] = get_args(Aggregate)
NEEDS_NO_COLUMN: Final = frozenset(name for name, kind in KINDS.items() if kind.takes == "optional")
PANES: Final = 24
"""Panes in the window of an approx_quantile."""


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """One aggregate of one column over one window.

    aggregate: what is computed. ``var`` and ``std`` are of a sample (divisor n - 1). ``first`` and ``last`` go by log
    position. ``since_last`` is seconds since the latest earlier event time in the window. ``distinct`` is exact.
    ``quantile`` interpolates (type 7), with ``parameter`` its probability, 0 to 1, as of
    ``approx_quantile``. ``decayed_sum`` and
    ``decayed_mean`` weigh by ``2 ** (-age / half-life)``, with ``parameter`` the half-life, µs, above 0.
    column: index into the columns of ``values``; -1 for none, where ``count``, ``since_last``, ``since_first`` and
    ``rate`` are of all rows and not of those that have a value.
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

    rows: of those rows the newest so many by event time (equal times in log order) and no others; 0 for all. A row that
    lacks the column's value is none of them. Where a row comes later than the lateness, its newest rows are sought
    among those that are newer than ``W - lateness`` and the newest ``rows`` of the others, and of each key no more is
    kept.
    gap: of those rows the session that the row continues: from the row back, as long as no two rows of the key, next to
    each other in event time, lie more than ``gap`` µs apart. 0 for all rows. No sketch has ``rows`` or ``gap``.
    function: computes an aggregate that no kernel knows, of whatever name.

    ``slope`` and ``zscore`` take two passes over distances from a value of the window, scaled by a power of two. So
    neither large nor small values overflow or vanish on the way, and a result beyond float64 is NaN. ``zscore`` is of
    the row's own value, whether the window includes it or not. ``since_first`` and ``rate`` are of earlier rows.

    Cost for each row: windows of up to 1,024 rows are read whole, ~1 ns a row and column. Longer ones cost ~1 µs, and
    1/50 of their rows; but distinct, quantile, decayed aggregates, slope, zscore, and windows with ``rows`` or ``gap``
    read the whole window always.
    """

    aggregate: str
    column: int
    size: int
    include_current: bool = False
    parameter: float = 0.0
    error: float = 0.0
    function: Compute | None = None
    rows: int = 0
    gap: int = 0

    @property
    def whole(self) -> bool:
        """Whether each row reads the window whole, of rows that are kept apart."""
        counts_values = self.aggregate in NEEDS_NO_COLUMN and self.column >= 0
        return bool(self.rows or self.gap) or self.aggregate in WHOLE or counts_values


def _check_cut(name: str, spec: WindowSpec, kind: AggregateKind) -> None:
    from kernels.numerics._checks import integer  # noqa: PLC0415 - as at the top

    integer(f"{name}.rows", spec.rows, 0, ROWS_LIMIT)
    integer(f"{name}.gap", spec.gap, 0, SIZE_LIMIT)
    if spec.rows and spec.gap:
        raise ValueError(f"{name}: it has both rows and gap; give one")
    if (spec.rows or spec.gap) and kind.error is not None:
        raise ValueError(f"{name}: {spec.aggregate} keeps no rows, so it takes neither rows nor gap")


def checked_specs(specs: Sequence[WindowSpec], n_columns: int) -> tuple[WindowSpec, ...]:
    """The specs, each of which fits; raises ValueError."""
    from kernels.numerics._checks import integer, number  # noqa: PLC0415 - as at the top

    if not specs:
        raise ValueError("specs: expected at least one WindowSpec, got none")
    for i, spec in enumerate(specs):
        kind = KINDS.get(spec.aggregate)  # type: ignore[call-overload]  # any text may have been given
        if spec.function is not None:
            kind = AggregateKind("", compute=spec.function)
        elif kind is None:
            raise ValueError(f"specs[{i}].aggregate: {spec.aggregate!r} is none of {', '.join(AGGREGATES)}")
        integer(f"specs[{i}].column", spec.column, -1 if kind.takes == "optional" else 0, n_columns - 1)
        integer(f"specs[{i}].size", spec.size, 1, SIZE_LIMIT)
        if kind.parameter == "probability":
            number(f"specs[{i}].parameter", spec.parameter, 0.0, 1.0)
        elif kind.parameter == "half_life":
            number(f"specs[{i}].parameter", spec.parameter, 1.0, float(SIZE_LIMIT))
        elif spec.parameter != 0.0:
            raise ValueError(f"specs[{i}].parameter: {spec.aggregate} takes none, got {spec.parameter!r}")
        if spec.error != 0.0:
            if kind.error is None:
                raise ValueError(f"specs[{i}].error: {spec.aggregate} is exact, got {spec.error!r}")
            number(f"specs[{i}].error", spec.error, kind.error[0], kind.error[2])
        _check_cut(f"specs[{i}]", spec, kind)
    return tuple(specs)
