"""Machines that wear out.

Each machine's wear grows by its own, slowly changing rate; vibration and temperature follow the wear noisily, and
the load more. At a threshold of its own it fails, is mended, and begins anew. The question asked of a reading: does
this machine fail within the next two days? Its truth also tells how many hours are left, of ten days at most.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from tidemark.simulators.simulation import DAY, START, Simulation, iso_time

HORIZON = 2 * DAY
MOST_LEFT = 240.0
"""Hours that a machine is told to have left, at most: nothing of a failure further ahead can be seen."""
_HOUR = DAY // 24
_INTERVAL = _HOUR
_MACHINES_PER_LINE = 8


def simulate(seed: int, events: int) -> Simulation:
    """`events` hourly readings; six to nine in a hundred precede a failure by less than two days."""
    rng = np.random.default_rng([seed, 0x4D41494E])
    machines = max(events // 600, 10)
    steps = -(-events // machines)
    rate = rng.gamma(6.0, 1 / 6.0 / 700, machines)
    threshold = rng.normal(1.0, 0.06, machines)
    wear = rng.uniform(0, 0.9, machines)
    level = rng.normal(0, 1, machines)
    load = rng.uniform(0.3, 0.9, (steps, machines))
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("wear", "failed")}
    for step in range(steps):
        wear = wear + rate * rng.gamma(2.0, 0.5, machines) * (0.5 + load[step])
        failed = wear > threshold
        columns["wear"].append(np.minimum(wear / threshold, 1.0))
        columns["failed"].append(failed)
        wear = np.where(failed, rng.uniform(0, 0.1, machines), wear)
        rate = np.where(failed, rng.gamma(6.0, 1 / 6.0 / 700, machines), rate)
    state, failed = np.array(columns["wear"]), np.array(columns["failed"])
    late = np.clip((state - 0.75) / 0.25, 0, 1) ** 2
    shape = (steps, machines)
    vibration = 1.2 + 0.25 * level + 0.8 * load + 2.2 * late + rng.gamma(1.5, 0.25, shape)
    temperature = 45 + 2 * level + 22 * load + 9 * late + rng.normal(0, 2.5, shape)
    pressure = 6.0 - 0.9 * late + rng.normal(0, 0.25, shape)
    hours_to_failure = _until_next(failed)
    offset = rng.integers(0, _INTERVAL, machines)
    time = START + np.arange(steps)[:, None] * _INTERVAL + offset[None, :]
    machine = np.broadcast_to(np.arange(machines), shape)
    frame = (
        pl.DataFrame(
            {
                "time": time.ravel(),
                "machine": machine.ravel(),
                "load": np.round(load, 3).ravel(),
                "vibration": np.round(vibration, 3).ravel(),
                "temperature": np.round(temperature, 2).ravel(),
                "pressure": np.where(rng.random(shape) < 0.01, np.nan, np.round(pressure, 3)).ravel(),
                "hours_left": np.minimum(hours_to_failure * (_INTERVAL / _HOUR), MOST_LEFT).ravel(),
                "fails": (hours_to_failure * _INTERVAL <= HORIZON).ravel(),
            }
        )
        .sort("time", maintain_order=True)
        .head(events)
        .with_row_index("number")
    )
    rows = frame.select(
        pl.format("R{}-{}", pl.lit(seed), pl.col("number").cast(pl.String).str.zfill(9)).alias("reading_id"),
        iso_time(),
        pl.format("P{}", pl.col("machine").cast(pl.String).str.zfill(4)).alias("machine_id"),
        pl.format("L{}", (pl.col("machine") // _MACHINES_PER_LINE).cast(pl.String).str.zfill(3)).alias("line_id"),
        "load",
        "vibration",
        "temperature",
        pl.col("pressure").fill_nan(None),
    )
    truth = frame.select(
        rows["reading_id"].alias("business_id"),
        pl.when("fails").then(pl.lit("fails")).otherwise(pl.lit("runs")).alias("label"),
        pl.col("time"),
        (pl.col("time") + HORIZON).alias("known_at"),
        pl.col("hours_left"),
    )
    return Simulation(events=rows, truth=truth)


def _until_next(failed: np.ndarray) -> np.ndarray:
    """(steps, machines) steps until the next failure at or after each step; a large number where there is none."""
    steps, machines = failed.shape
    wait = np.full(machines, np.iinfo(np.int32).max, dtype=np.int64)
    result = np.empty((steps, machines), dtype=np.int64)
    for step in range(steps - 1, -1, -1):
        wait = np.where(failed[step], 0, wait + 1)
        result[step] = wait
    return result
