"""What the data sets share: from a frame with times and answers to a stream and its truth."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tidemark.simulators import Simulation
from tidemark.simulators.simulation import iso_time


def assemble(frame: pl.DataFrame, business_id: str, columns: Sequence[str]) -> Simulation:
    """Stream of a frame in time order.

    frame: `columns`, of which `time` is in µs since 1970; `label` (text); `known_at` (µs).
    columns: of the events, all others are left out.
    """
    truth = frame.select(
        pl.col(business_id).alias("business_id"),
        "label",
        pl.col("time").cast(pl.Int64),
        pl.col("known_at").cast(pl.Int64),
    )
    return Simulation(frame.select(columns).with_columns(iso_time()), truth)
