"""Patients on wards, measured every hour; some get worse.

A patient's severity drifts; heart rate, breathing, oxygen, pressure and temperature follow it, each with a level of
the patient's own and with gaps in what was measured. The question asked of a measurement: does this patient
deteriorate within twelve hours?
"""

from __future__ import annotations

import numpy as np
import polars as pl

from tidemark.simulators.simulation import DAY, START, Simulation, iso_time

HORIZON = DAY // 2
_HOUR = DAY // 24
_STAY_HOURS = 72
_ONSET_HOURS = 18


def simulate(seed: int, events: int) -> Simulation:
    """`events` hourly measurements; two to four in a hundred precede a deterioration by less than twelve hours."""
    rng = np.random.default_rng([seed, 0x48454C54])
    stays = -(-events // 60) + 1
    length = rng.integers(48, _STAY_HOURS + 1, stays)
    stay = np.repeat(np.arange(stays), length)
    hour = np.concatenate([np.arange(n) for n in length])
    admitted = np.sort(rng.uniform(0, stays / 8.0, stays))  # about eight admissions an hour
    ward = rng.integers(0, max(stays // 60, 4), stays)
    age = np.clip(rng.normal(66, 15, stays), 18, 98).round()
    worsens = rng.random(stays) < 0.15 + 0.002 * (age - 60)
    onset = np.where(worsens, rng.integers(20, _STAY_HOURS, stays), 10 * _STAY_HOURS)
    to_onset = onset[stay] - hour
    severity = np.clip(1 - to_onset / _ONSET_HOURS, 0, 1.3) * (to_onset > -6)
    scare = (rng.random(len(stay)) < 0.03) * rng.uniform(0.3, 0.9, len(stay))
    shown = severity + scare
    level = rng.normal(0, 1, (5, stays))

    def measured(mean: float, slope: float, own: float, noise: float, which: int, missing: float) -> np.ndarray:
        value = mean + own * level[which][stay] + slope * shown + rng.normal(0, noise, len(stay))
        return np.where(rng.random(len(stay)) < missing, np.nan, np.round(value, 1))

    frame = (
        pl.DataFrame(
            {
                "time": START + ((admitted[stay] + hour + rng.uniform(0, 0.3, len(stay))) * _HOUR).astype(np.int64),
                "stay": stay,
                "ward": ward[stay],
                "age": age[stay],
                "heart_rate": measured(82, 24, 9, 6, 0, 0.03),
                "respiration": measured(17, 7, 2, 2, 1, 0.05),
                "oxygen": np.minimum(measured(96.5, -5, 1, 1.2, 2, 0.05), 100),
                "pressure": measured(122, -24, 12, 8, 3, 0.1),
                "temperature": measured(36.9, 0.9, 0.3, 0.3, 4, 0.3),
                "worsens": (to_onset > 0) & (to_onset <= HORIZON // _HOUR),
            }
        )
        .sort("time", maintain_order=True)
        .head(events)
        .with_row_index("number")
    )
    rows = frame.select(
        pl.format("V{}-{}", pl.lit(seed), pl.col("number").cast(pl.String).str.zfill(9)).alias("measurement_id"),
        iso_time(),
        pl.format("S{}", pl.col("stay").cast(pl.String).str.zfill(6)).alias("stay_id"),
        pl.format("W{}", pl.col("ward").cast(pl.String).str.zfill(3)).alias("ward_id"),
        "age",
        *(pl.col(name).fill_nan(None) for name in ("heart_rate", "respiration", "oxygen", "pressure", "temperature")),
    )
    truth = frame.select(
        rows["measurement_id"].alias("business_id"),
        pl.when("worsens").then(pl.lit("worsens")).otherwise(pl.lit("stable")).alias("label"),
        pl.col("time"),
        (pl.col("time") + HORIZON).alias("known_at"),
    )
    return Simulation(events=rows, truth=truth)
