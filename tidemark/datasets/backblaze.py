"""Backblaze's drives, a reading a drive and day: does it fail within a week?

`failure` is 1 on a drive's last day and so tells the answer: it is left out. Truth is known when the drive fails, and
for one that goes on when the week is over, six days after the reading.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from tidemark.datasets.assembly import assemble
from tidemark.simulators import Simulation
from tidemark.simulators.simulation import DAY

SMART: Final = (1, 5, 9, 194, 197)
"""The attributes that were recorded in 2013."""

COLUMNS: Final = (
    *("reading_id", "time", "serial_number", "drive_model", "capacity_tb"),
    *(f"smart_{number}" for number in SMART),
)


def stream(readings: pl.LazyFrame) -> Simulation:
    """Stream of the readings, by day."""
    time = pl.col("date").cast(pl.Datetime("us")).dt.epoch("us")
    fails = pl.col("label_fails_within_7d") == 1
    failed_at = time.filter(pl.col("failure") == 1).max().over("serial_number")
    # A capacity of -1 or of more than any drive had stands for one that was not read.
    capacity = pl.col("capacity_bytes")
    frame = (
        readings.with_columns(
            time.alias("time"),
            pl.when(fails)
            .then(pl.min_horizontal(failed_at, time + 6 * DAY))
            .otherwise(time + 6 * DAY)
            .alias("known_at"),
        )
        .sort("date", "serial_number")
        .select(
            pl.concat_str("serial_number", pl.col("date").cast(pl.String), separator="@").alias("reading_id"),
            "time",
            "serial_number",
            pl.col("model").alias("drive_model"),
            pl.when(capacity.is_between(0, 10**14)).then(capacity / 1e12).alias("capacity_tb"),
            *(pl.col(f"smart_{number}_raw").cast(pl.Float64).alias(f"smart_{number}") for number in SMART),
            pl.when(fails).then(pl.lit("fails")).otherwise(pl.lit("works")).alias("label"),
            "known_at",
        )
    )
    return assemble(frame.collect(), "reading_id", COLUMNS)
