"""The windows of the fraud pipeline as whoever has only Polars would write them: the peer of S7.

Two ways were tried, `rolling(..., group_by=...)` and `rolling_*_by(...).over(...)`; the second is the faster one.
"""

from __future__ import annotations

import polars as pl

_TIME = pl.col("time")
_AMOUNT = pl.col("amount")
_ONE = pl.col("one")
_WEEK_US = 7 * 86_400_000_000


def features(events: pl.DataFrame) -> pl.DataFrame:
    """Windows over the customer and the terminal, of the events before each.

    Args:
        events: as the simulator gives them.

    Returns:
        A column for each window, in the order of the events.

    """
    frame = events.with_row_index("row").with_columns(
        _TIME.str.to_datetime(time_unit="us", time_zone="UTC"), one=pl.lit(1.0)
    )
    customer = [
        _count("1h").alias("customer_count_1h"),
        _count("1d").alias("customer_count_1d"),
        _AMOUNT.rolling_mean_by("time", "1d", closed="none").alias("customer_mean_1d"),
        _AMOUNT.rolling_mean_by("time", "7d", closed="none").alias("customer_mean_7d"),
        _AMOUNT.rolling_std_by("time", "7d", closed="none").alias("customer_std_7d"),
        _AMOUNT.rolling_max_by("time", "7d", closed="none").alias("customer_max_7d"),
        _since_last().alias("customer_since_last"),
    ]
    terminal = [
        _count("1h").alias("terminal_count_1h"),
        _count("1d").alias("terminal_count_1d"),
        _AMOUNT.rolling_mean_by("time", "1d", closed="none").alias("terminal_mean_1d"),
        _count("7d").alias("terminal_count_7d"),
        _AMOUNT.rolling_mean_by("time", "7d", closed="none").alias("terminal_mean_7d"),
        _since_last().alias("terminal_since_last"),
    ]
    windows = [each.over("customer_id") for each in customer] + [each.over("terminal_id") for each in terminal]
    names = [each.meta.output_name() for each in windows]
    found = frame.lazy().sort("time", maintain_order=True).with_columns(windows).sort("row").select(names)
    return found.collect().with_columns(pl.all().cast(pl.Float64).fill_null(float("nan")))


def _count(size: str) -> pl.Expr:
    return _ONE.rolling_sum_by("time", size, closed="none").fill_null(0.0)


def _since_last() -> pl.Expr:
    passed = _TIME.diff().dt.total_microseconds()
    return pl.when(passed < _WEEK_US).then(passed / 1e6)
