"""How often the monitor flow measures, and how much it holds."""

from __future__ import annotations

from dataclasses import dataclass

from tidemark.monitoring.retention import WINDOW


@dataclass(frozen=True, slots=True)
class Options:
    """How often to measure, and how much to hold.

    every: seconds between measurements.  labels: new labels that bring the next one forward, `soonest` seconds after
    the last.  window: event time (µs) over which matured predictions are measured from outcomes.  most_events,
    most_outcomes, most_labels, most_waiting: bounds on what is held (80, 60, 600 and about 500 bytes each).
    threshold: probability of the positive class from which an event counts as flagged.
    silence: seconds without a row after which a partition has none to come, and holds nobody back.
    """

    every: float = 10.0
    labels: int = 50
    soonest: float = 1.0
    window: int = WINDOW
    most_events: int = 2_000_000
    most_outcomes: int = 2_000_000
    most_labels: int = 50_000
    most_waiting: int = 100_000
    threshold: float = 0.5
    silence: float = 30.0
