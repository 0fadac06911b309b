"""Updates of a service desk's incidents: will this one miss its service level?

Truth is known with an incident's last update. Updates from then on are left out: there is nothing left to foretell.
So are `made_sla`, which tells the answer once the level is missed, and `resolved_*` and `closed_*`, which the file
fills in from the incident's end.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from tidemark.datasets.assembly import assemble
from tidemark.simulators import Simulation

COLUMNS: Final = (
    *("update_id", "time", "incident_id", "assignment_group", "incident_state", "contact_type", "category"),
    *("age_hours", "reassignment_count", "reopen_count", "sys_mod_count", "impact", "urgency", "priority"),
    *("knowledge", "priority_confirmed"),
)
_HOUR: Final = 3_600_000_000


def stream(updates: pl.LazyFrame) -> Simulation:
    """Stream of the updates, as they were made; the file has them by incident."""
    time = pl.col("sys_updated_at").dt.epoch("us")
    known_at = time.max().over("number")
    breached = pl.col("label_sla_breached") == 1
    frame = (
        updates.with_row_index("row")
        .with_columns(time.alias("time"), known_at.alias("known_at"))
        .filter(pl.col("time") < pl.col("known_at"))
        .sort("time", "row")
        .select(
            pl.concat_str("number", "row", separator="#").alias("update_id"),
            "time",
            pl.col("number").alias("incident_id"),
            pl.col("assignment_group").fill_null("nobody"),
            "incident_state",
            "contact_type",
            "category",
            ((pl.col("time") - pl.col("opened_at").dt.epoch("us")) / _HOUR).alias("age_hours"),
            *(pl.col(name).cast(pl.Float64) for name in ("reassignment_count", "reopen_count", "sys_mod_count")),
            *(pl.col(name).str.extract(r"^(\d)").cast(pl.Float64) for name in ("impact", "urgency", "priority")),
            "knowledge",
            pl.col("u_priority_confirmation").alias("priority_confirmed"),
            pl.when(breached).then(pl.lit("breached")).otherwise(pl.lit("kept")).alias("label"),
            "known_at",
        )
    )
    return assemble(frame.collect(), "update_id", COLUMNS)
