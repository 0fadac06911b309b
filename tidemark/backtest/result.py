"""What a simulation found, as numbers: what the terminal, the report and `--json` show."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from tidemark.runtime.figures import figure


class ArmCurve(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline that was played.

    name: `as it is`, `random`, or what was changed.  settings: what it changes, by table and key.  seeds: whole plays.
    labels: known when the exam began, on average.  grid, mean, low, high: quality after so many labels, on average,
    and the band of 95 % in which a run of one's own on a later period is to be expected.  area: mean quality over all
    labels.  gain, gain_low: the area less that of the pipeline as it is, and its lower bound; None where unknown.
    as_good_from: labels after which it is as good as random is with all; None: never.
    """

    name: str
    settings: dict[str, dict[str, Any]]
    seeds: int
    labels: float
    grid: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]
    area: float
    gain: float | None
    gain_low: float | None
    as_good_from: int | None


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    """A whole simulation.

    source: name of the history.  metric: what quality is.  constant: quality of a model that says the same of all.
    spread, unit: where labels are numbers, the standard deviation of the exam's, and what they are numbers of.
    events, labels, positives, unlabeled: of the history; positives of the class `positive`, "" where there is none.
    played: events that were streamed.  exam: labels that models were examined on.  budget: labels to spend.
    arms: the pipeline as it is first.  chosen: name of the arm whose settings are advised.  stop: labels from which on
    more stop paying in it, None if they pay to the end.  toml: the settings to paste.  notes: what was cut, left out,
    or can't be told.  seconds: of processor time.
    """

    source: str
    title: str
    metric: str
    positive: str
    constant: float
    spread: float | None = None
    unit: str = ""
    events: int
    labels: int
    positives: int
    unlabeled: int
    played: int
    exam: int
    budget: int
    arms: list[ArmCurve]
    chosen: str
    stop: int | None
    toml: str
    notes: list[str]
    seconds: float

    @property
    def own(self) -> ArmCurve:
        """The pipeline as it is."""
        return self.arms[0]

    @property
    def least(self) -> float:
        """The least quality that is drawn: 0; of R², which may be below it, what it falls to, and -1 at least."""
        if self.spread is None:
            return 0.0
        return max(-1.0, min(0.0, *(min(*arm.mean, arm.low[-1]) for arm in self.arms)))

    def told(self, value: float) -> str:
        """A quality for people; of numbers also how far off a model of this R² is."""
        return f"{value:.3f}{self.off(value)}"

    def off(self, value: float) -> str:
        """Where labels are numbers, how far off a model of an R² is, in brackets; "" where they are classes."""
        if self.spread is None:
            return ""
        rmse = figure(self.spread * math.sqrt(max(0.0, 1 - value)))
        return f" (RMSE {rmse}{f' {self.unit}' if self.unit else ''})"

    def arm(self, name: str) -> ArmCurve:
        """The arm of a name."""
        return next(arm for arm in self.arms if arm.name == name)
