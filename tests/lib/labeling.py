"""Candidates, a pipeline and clocks for tests of the labeling service."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from labeling_grpc.commands.labeling import Arrival, Source
from tidemark.pipeline import Pipeline, parse
from tidemark.records import Candidate, Reason, encode

CLASSES = ("genuine", "fraud")

PIPELINE = """
name = "NAME"
partitions = 1
keys = ["customer"]
[[raw]]
topic = "NAME.raw"
[time]
column = "time"
[columns]
time = { type = "string" }
customer = { type = "string" }
amount = { type = "float" }
[[features]]
name = "amount"
[label]
classes = ["genuine", "fraud"]
positive = "fraud"
delay = "7d"
question = "Is this payment fraud?"
[selection]
tile = "1h"
budget = 10
explore = 2
"""


def pipeline(name: str) -> Pipeline:
    return parse(PIPELINE.replace("NAME", name), "test.toml")


@dataclass
class MovedClock:
    """Time that a test moves. µs."""

    time: int = 1_000_000
    skew: int = 0

    def now(self) -> int:
        return self.time

    def wall(self) -> int:
        return self.time + self.skew


def candidate(
    number: int,
    *,
    explore: bool = False,
    priority: float = 0.5,
    expires_at: int | None = None,
    time: int | None = None,
    topic: str = "pay",
    reason: Reason = "uncertain",
    **over: Any,  # noqa: ANN401 - any field
) -> Candidate:
    values: dict[str, Any] = {
        "event_id": f"{topic}-0-{number}-0a1b2c3d",
        "business_id": f"T{number}",
        "key": f"C{number % 7}",
        "time": 1_000 + number if time is None else time,
        "tile": 3,
        "tile_count": 100,
        "reason": "explore" if explore else reason,
        "priority": priority,
        "inclusion_probability": 0.25 if explore else None,
        "policy": "margin-1",
        "features": {"amount": float(number), "count_1d": None},
        "context": {"channel": "online", "terminal": number, "night": True, "note": None, "ratio": 0.5},
        "probabilities": [0.4, 0.6],
        "uncertainty": 0.8,
        "model": "m1",
        "expires_at": expires_at,
    }
    return Candidate(**values | over)


def arrivals(candidates: list[Candidate], offset: int = 0) -> tuple[Arrival, ...]:
    return tuple(Arrival(offset + i, c, encode(c)) for i, c in enumerate(candidates))


def place_of_exploration(event_id: str) -> int:
    """Place of an exploration case among those that wait, as the documentation has it: by a hash of its event id."""
    return int(blake2b(event_id.encode(), digest_size=8, person=b"explore.order").hexdigest(), 16)


SOURCE = Source("pay.candidates", 0, "00c0ffee")
