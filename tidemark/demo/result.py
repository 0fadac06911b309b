"""What a demo run found, as numbers."""

from __future__ import annotations

from typing import Any

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


class Asked(msgspec.Struct, frozen=True):
    """A case that was asked. time: event time, µs.  said: the model's probability of the positive class, if any.

    context: what the annotator saw.  answer: theirs.  truth: the simulator's.
    """

    reason: str
    time: int
    context: dict[str, Any]
    said: float | None
    answer: str
    truth: str


class ReasonCount(msgspec.Struct, frozen=True):
    """How many cases were asked for a reason, and how many of their answers were the positive class."""

    reason: str
    asked: int
    positives: int


class FeatureWeight(msgspec.Struct, frozen=True):
    """What a feature decides: its share of all that moved the scores of later events, 0 to 1."""

    name: str
    share: float


class Reliability(msgspec.Struct, frozen=True):
    """Of later events with a like probability: what the model said in the mean, what was so, and their share of all."""

    predicted: float
    observed: float
    share: float


class Measured(msgspec.Struct, frozen=True):
    """The headline as the loop measured it, without the truth, beside the truth. n: answers that it rests on."""

    model: str
    value: float
    low: float
    high: float
    n: int
    truth: float


class DemoResult(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run. seconds: from the first event to the last label; rate: events a second over that time.

    draws: the random arm, several times.  asked: examples.  reasons: all of them.  weights: of the last model, the
    largest first.  reliability: of the last model.
    """

    seed: int
    title: str
    seconds: float
    rate: float
    base_rate: float
    holdout: int
    positive: str = ""
    active: list[ModelPoint]
    draws: list[list[ModelPoint]]
    latency: Latency
    accounting: Accounting
    asked: list[Asked] = []
    reasons: list[ReasonCount] = []
    weights: list[FeatureWeight] = []
    reliability: list[Reliability] = []
    measured: list[Measured] = []

    @property
    def random(self) -> list[ModelPoint]:
        """The first draw of the random arm."""
        return self.draws[0] if self.draws else []

    @property
    def labels_to_match(self) -> int | None:
        """Labels after which the active arm has reached the first random draw's final average precision; None: never.

        It says little by itself: the random arm too may have been there long before its end (`tidemark.demo.curves`).
        """
        if not self.random:
            return None
        goal = self.random[-1].average_precision
        return next((point.labels for point in self.active if point.average_precision >= goal), None)

    @property
    def ratio(self) -> float | None:
        """`labels_to_match` over the labels that the random arm spent."""
        reached = self.labels_to_match
        return None if reached is None else reached / self.random[-1].labels
