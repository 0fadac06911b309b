"""Rules played over predictions of the past: what they would have decided, and how much of it would have been right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np

from tidemark.deciding.active import ActiveRule, begun
from tidemark.deciding.book import Day
from tidemark.deciding.rule import Bounds
from tidemark.evaluation.measures import Measured, share_of
from tidemark.monitoring.decoding import hashes, said_problem
from tidemark.monitoring.joined import BY_BUSINESS, BY_EVENT
from tidemark.monitoring.outcomes import OutcomeReader
from tidemark.pipeline.model import DecisionRule, Pipeline
from tidemark.records import Prediction
from tidemark.runtime.processor import Batch

_TOGETHER: Final = 10_000
_QUARTER: Final = 900_000_000
"""µs of a quarter of an hour: no zone's day begins within one."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What a rule would have decided.

    bounds: in force.  begins: from where on it alerts, for people; "" where that is not known.  days: of event time on
    which a model predicted, by day.  right: share of alerts that outcomes say were right.  found: share of the events
    that the rule looks for, by outcomes, that were alerts.  reviewed: share of them that were left to a person.
    judged: alerts of which the outcome is known.  of_class: events, by outcomes, that the rule looks for.
    """

    rule: DecisionRule
    bounds: Bounds
    begins: str
    days: Mapping[str, Day]
    right: Measured
    found: Measured
    reviewed: Measured
    judged: int
    of_class: int

    @property
    def alerts_a_day(self) -> tuple[float, int]:
        """Median and most over the days."""
        counts = [day.alert for day in self.days.values()]
        return (float(median(counts)), max(counts)) if counts else (0.0, 0)


@dataclass(frozen=True, slots=True)
class _Case:
    """A prediction that a rule might decide on, or of which the truth is known. truth: None where it is not.

    event: 64-bit hash of the event's id.  strengths: of each rule.
    """

    event: int
    time: int
    key: str | None
    strengths: list[float]
    truth: float | None


class Trial:
    """Takes in outcomes first, then predictions, and plays the rules in the order of event times."""

    def __init__(self, pipeline: Pipeline, threshold: float | None = None) -> None:
        """Prepare.

        Args:
            pipeline: whose rules these are.
            threshold: that `[alerts]` knows to find enough; None where there is none.

        """
        self._pipeline, self._threshold = pipeline, threshold
        self._rules = self._begun()
        self._outcomes = OutcomeReader(pipeline)
        self._truth: dict[tuple[int, int], tuple[int, float]] = {}
        self._cases: list[_Case] = []
        self._waiting: list[Prediction] = []
        self._quarters: set[int] = set()
        self.events = 0
        self.scored = 0

    def add_outcomes(self, batch: Batch) -> None:
        """Take in truth; of an event the latest counts, and what is no outcome of ours is passed over."""
        rows, _, _ = self._outcomes.read(batch)
        truth = "number" if self._pipeline.label.is_number else "label"
        for by, name, told, known_at in rows[["by", "id", truth, "known_at"]].tolist():
            before = self._truth.get((by, name))
            if before is None or before[0] <= known_at:
                self._truth[by, name] = known_at, told

    def add(self, predictions: Iterable[Prediction]) -> None:
        """Take in predictions, in any order."""
        for one in predictions:
            self.events += 1
            self._waiting.append(one)
            if len(self._waiting) >= _TOGETHER:
                self._sift()

    def results(self) -> list[Tried]:
        """What each rule would have decided."""
        self._sift()
        # An event whose prediction was written twice is decided once.
        once = {case.event: case for case in reversed(self._cases)}
        self._cases = sorted(once.values(), key=lambda case: case.time)
        return [self._play(place, each) for place, each in enumerate(self._begun())]

    def _begun(self) -> list[ActiveRule]:
        rules = [begun(rule, self._pipeline.label) for rule in self._pipeline.decisions]
        for each in rules:
            each.follow(self._threshold)
        return rules

    def _sift(self) -> None:
        """Keep what matters: of a million predictions a few thousand."""
        waiting, self._waiting = self._waiting, []
        events = hashes([one.event_id for one in waiting]).tolist() if waiting else []
        names = hashes([one.business_id or "" for one in waiting]).tolist() if waiting else []
        for one, event, business in zip(waiting, events, names, strict=True):
            strengths = [each.subject.strength(one) for each in self._rules]
            known = [each for each in strengths if each is not None]
            if len(known) < len(strengths) or said_problem(one, self._pipeline.label) is not None:
                continue
            self.scored += 1
            self._quarters.add(one.time // _QUARTER)
            told = [self._truth.get((BY_EVENT, event))]
            if one.business_id is not None:
                told.append(self._truth.get((BY_BUSINESS, business)))
            truth = max((each for each in told if each is not None), default=(0, None))[1]
            if truth is not None or any(
                each.concerns(strength) for each, strength in zip(self._rules, known, strict=True)
            ):
                self._cases.append(_Case(event, one.time, one.key, known, truth))

    def _play(self, place: int, rule: ActiveRule) -> Tried:
        book = rule.book
        decided = [
            rule.decide(case.key, case.time, strength) if rule.concerns(strength) else None
            for case in self._cases
            for strength in [case.strengths[place]]
        ]
        for quarter in self._quarters:
            book.days.setdefault(book.day(quarter * _QUARTER), Day())
        alert = np.array([each == "alert" for each in decided], bool)
        abstain = np.array([each == "abstain" for each in decided], bool)
        judged = alert & np.array([case.truth is not None for case in self._cases], bool)
        of_class = np.array([rule.subject.is_of(case.truth) for case in self._cases], bool)
        return Tried(
            rule.rule,
            rule.bounds,
            "" if rule.bounds.alert is None else rule.subject.shown(rule.bounds.alert),
            dict(sorted(book.days.items())),
            _share(of_class[judged]),
            _share(alert[of_class]),
            _share(abstain[of_class]),
            int(judged.sum()),
            int(of_class.sum()),
        )


def _share(hits: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Measured:
    return share_of(hits, np.ones(len(hits)))
