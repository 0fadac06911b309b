"""Transactions of the Fraud Detection Handbook. Truth is known a week later; the scenario of a fraud is left out."""

from __future__ import annotations

from typing import Final

import polars as pl

from tidemark.datasets.assembly import assemble
from tidemark.simulators import Simulation
from tidemark.simulators.simulation import DAY

COLUMNS: Final = ("transaction_id", "time", "customer_id", "terminal_id", "amount")


def stream(transactions: pl.LazyFrame) -> Simulation:
    """Stream of the transactions, as they were made."""
    time = pl.col("TX_DATETIME").dt.epoch("us")
    frame = transactions.sort("TX_DATETIME", "TRANSACTION_ID").select(
        pl.col("TRANSACTION_ID").cast(pl.String).alias("transaction_id"),
        time.alias("time"),
        pl.col("CUSTOMER_ID").cast(pl.String).alias("customer_id"),
        pl.col("TERMINAL_ID").cast(pl.String).alias("terminal_id"),
        pl.col("TX_AMOUNT").alias("amount"),
        pl.when(pl.col("TX_FRAUD") == 1).then(pl.lit("fraud")).otherwise(pl.lit("legitimate")).alias("label"),
        (time + 7 * DAY).alias("known_at"),
    )
    return assemble(frame.collect(), "transaction_id", COLUMNS)
