"""What every simulator returns, and the annotators who answer for it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

DAY = 86_400_000_000
"""Microseconds of a day."""
START = 1_735_689_600_000_000
"""2025-01-01T00:00:00Z in µs: where every simulated stream begins."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """A simulated stream and its truth.

    events: rows in time order, with the columns of the use case's pipeline file (times as ISO 8601 text).
    truth: `business_id` (str), `label` (str), `time` (event time, µs), `known_at`
    (µs), a row for each event in the same order.
    """

    events: pl.DataFrame
    truth: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Annotator:
    """Someone who answers, and errs.

    errors: chance of a wrong answer by the true class (people miss a fraud more often than they see one where none
    is); a class that is not named is always told right. Which answers are wrong depends on the annotator's name
    and the case alone, so that it is the same in every run.
    delay: time from the event to the answer, µs of event time.
    """

    name: str
    classes: Sequence[str]
    errors: Mapping[str, float]
    delay: int = 6 * 3_600_000_000

    def answer(self, business_id: str, truth: str) -> str:
        """What this annotator says of a case whose truth is known."""
        rate = self.errors.get(truth, 0.0)
        digest = hashlib.blake2b(f"{self.name}\0{business_id}".encode(), digest_size=8).digest()
        draw = int.from_bytes(digest, "big") / 2**64
        if draw >= rate:
            return truth
        others = [name for name in self.classes if name != truth]
        return others[int(draw / rate * len(others))]


def iso_time(time: str = "time") -> pl.Expr:
    """Column of µs since 1970 as ISO 8601 text in UTC."""
    return pl.from_epoch(pl.col(time), time_unit="us").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").alias(time)
