"""What a demo run found, as numbers."""

from __future__ import annotations

import msgspec


class ModelPoint(msgspec.Struct, frozen=True):
    """Quality of one model on the later period that no label came from.

    labels: spent when it was trained.  positives: of these labels.  average_precision: on the simulator's truth.
    """

    version: str
    labels: int
    positives: int
    average_precision: float


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds from an event's arrival in Kafka to its prediction's, while streaming as fast as it goes."""

    p50: float
    p95: float
    p99: float


class Accounting(msgspec.Struct, frozen=True):
    """Where every event, candidate and label went. `lost` and `doubled` ought to be nothing."""

    events: int
    predicted: int
    dead_letters: int
    doubled: int
    candidates: int
    labels: int
    answered: int
    labels_doubled: int
    budget: int

    @property
    def lost(self) -> int:
        """Events neither predicted nor in the dead-letter topic."""
        return self.events - self.predicted - self.dead_letters


class DemoResult(msgspec.Struct, frozen=True):
    """A whole run. seconds: from the first event to the last label; rate: events a second over that time."""

    seed: int
    title: str
    seconds: float
    rate: float
    base_rate: float
    holdout: int
    active: list[ModelPoint]
    random: list[ModelPoint]
    latency: Latency
    accounting: Accounting

    @property
    def labels_to_match(self) -> int | None:
        """Labels after which the active arm has reached the random arm's final average precision; None: never."""
        if not self.random:
            return None
        goal = self.random[-1].average_precision
        return next((point.labels for point in self.active if point.average_precision >= goal), None)

    @property
    def ratio(self) -> float | None:
        """`labels_to_match` over the labels that the random arm spent."""
        reached = self.labels_to_match
        return None if reached is None else reached / self.random[-1].labels
