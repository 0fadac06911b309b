"""Stays in intensive care, their first 48 hours: will this patient die in hospital?

The data has no wall clock, so each stay is given a seeded, made-up beginning within the half year from 2025 on. All
that was measured in a minute is one event; what was written down at the beginning (age, gender, height, kind of unit)
is part of each. Truth counts as known after the 48 hours; the scores, the length of the stay and the survival in the
outcomes are left out, for they come from its end.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from tidemark.datasets.assembly import assemble
from tidemark.simulators import Simulation
from tidemark.simulators.simulation import DAY, START

_MEASURED: Final = {
    "weight": "Weight",
    "heart_rate": "HR",
    "respiration": "RespRate",
    "temperature": "Temp",
    "gcs": "GCS",
    "urine": "Urine",
    "systolic": "NISysABP",
    "mean_pressure": "NIMAP",
    "fio2": "FiO2",
    "ph": "pH",
    "pao2": "PaO2",
    "paco2": "PaCO2",
    "sodium": "Na",
    "potassium": "K",
    "glucose": "Glucose",
    "bun": "BUN",
    "creatinine": "Creatinine",
    "wbc": "WBC",
    "hematocrit": "HCT",
    "lactate": "Lactate",
    "platelets": "Platelets",
    "bicarbonate": "HCO3",
}
_ADMISSION: Final = {"age": "Age", "gender": "Gender", "height": "Height"}
COLUMNS: Final = (*("measurement_id", "time", "stay_id", "icu_type", "hours_in", *_ADMISSION, *_MEASURED),)
_SEED: Final = 2012
_SPREAD: Final = 180 * DAY
_MINUTE: Final = 60_000_000


def stream(measurements: pl.LazyFrame, outcomes: pl.LazyFrame) -> Simulation:
    """Stream of what was measured in each minute of each stay."""
    stays = outcomes.select("RecordID", "In-hospital_death").sort("RecordID").collect()
    begins = START + np.random.default_rng(_SEED).integers(0, _SPREAD // _MINUTE, len(stays)) * _MINUTE
    stays = stays.select(
        pl.col("RecordID").cast(pl.Int32), pl.Series("begin", begins), (pl.col("In-hospital_death") == 1).alias("dies")
    )

    def first(parameter: str) -> pl.Expr:
        return pl.col("Value").filter(pl.col("Parameter") == parameter).first()

    def last(parameter: str) -> pl.Expr:
        return pl.col("Value").filter(pl.col("Parameter") == parameter).last()

    admission = measurements.filter(pl.col("minutes") == 0).group_by("RecordID")
    known = admission.agg(
        first("ICUType").cast(pl.Int32).cast(pl.String).fill_null("unknown").alias("icu_type"),
        *(first(parameter).alias(name) for name, parameter in _ADMISSION.items()),
    )
    minutes = (
        measurements.filter(pl.col("Parameter").is_in(list(_MEASURED.values())))
        .group_by("RecordID", "minutes")
        .agg(*(last(parameter).alias(name) for name, parameter in _MEASURED.items()))
    )
    frame = (
        minutes.join(known, on="RecordID")
        .join(stays.lazy(), on="RecordID")
        .with_columns((pl.col("begin") + pl.col("minutes").cast(pl.Int64) * _MINUTE).alias("time"))
        .sort("time", "RecordID")
        .select(
            pl.concat_str("RecordID", "minutes", separator="+").alias("measurement_id"),
            "time",
            pl.col("RecordID").cast(pl.String).alias("stay_id"),
            "icu_type",
            (pl.col("minutes") / 60).alias("hours_in"),
            *_ADMISSION,
            *_MEASURED,
            pl.when("dies").then(pl.lit("dies")).otherwise(pl.lit("lives")).alias("label"),
            (pl.col("begin") + 2 * DAY).alias("known_at"),
        )
    )
    return assemble(frame.collect(), "measurement_id", COLUMNS)
