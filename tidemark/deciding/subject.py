"""What a rule goes by: the probability of a class, or a number that is foretold."""

from __future__ import annotations

import math
from typing import Any, Final, Literal, Protocol

from tidemark.deciding.rule import Bounds, bounds_of
from tidemark.monitoring.decoding import of_these_classes
from tidemark.pipeline.model import DecisionRule, LabelSpec
from tidemark.records import Decision, Prediction
from tidemark.runtime.figures import figure, probability

_FINEST: Final = 2.0**40
"""So many times as large as the least part is all that lies beyond a rule's bound."""


class Subject(Protocol):
    """What a rule goes by, as a *strength*: the larger it is, the more there is to tell."""

    @property
    def bounds(self) -> Bounds:
        """The rule's bounds, of strengths; without `alert` where it follows `[alerts]`."""
        ...

    def strength(self, one: Prediction) -> float | None:
        """Strength of a prediction; None where no model of this label has predicted."""
        ...

    def recorded(self, decision: Decision) -> float | None:
        """Strength of an event that was decided; None where the record is not of this label."""
        ...

    def share(self, strength: float) -> float:
        """Where a strength lies between the least that matters and the greatest that there can be, 0 to 1.

        It rises with the strength, not evenly.
        """
        ...

    def told(self, one: Prediction, bound: float) -> dict[str, Any]:
        """What a decision tells of it: fields of `Decision`. bound: strength that was compared with."""
        ...

    def shown(self, bound: float) -> str:
        """From where on a rule decides, for people. bound: of strengths."""
        ...

    def is_of(self, truth: float | None) -> bool:
        """Whether an event is what the rule looks for. truth: its class or number, as outcomes tell it."""
        ...


class ClassSubject:
    """The probability of a class."""

    def __init__(self, rule: DecisionRule, label: LabelSpec) -> None:
        self._classes, self._name = len(label.classes), rule.of or label.positive
        self._number = label.classes.index(self._name)
        self.bounds = bounds_of(rule)

    def strength(self, one: Prediction) -> float | None:
        """As `Subject.strength`: the probability."""
        probabilities = of_these_classes(one.probabilities, self._classes)
        return None if probabilities is None else probabilities[self._number]

    def recorded(self, decision: Decision) -> float | None:
        """As `Subject.recorded`."""
        told = decision.probability
        return told if told is not None and 0 <= told <= 1 else None

    def share(self, strength: float) -> float:
        """As `Subject.share`: itself."""
        return strength

    def told(self, one: Prediction, bound: float) -> dict[str, Any]:
        """As `Subject.told`."""
        return {"of": self._name, "probability": self.strength(one), "threshold": bound}

    def shown(self, bound: float) -> str:
        """As `Subject.shown`."""
        return probability(bound)

    def is_of(self, truth: float | None) -> bool:
        """As `Subject.is_of`: of the class."""
        return truth == self._number


class NumberSubject:
    """One of the three numbers of a prediction: the strength is the number, or where small ones are told its negative.

    Strengths are compared as numbers are: to turn a sign rounds nothing.
    """

    def __init__(self, rule: DecisionRule, label: LabelSpec) -> None:
        self._by: Literal["value", "low", "high"] = rule.by or "value"
        self._unit = "" if label.unit is None else f" {label.unit}"
        self._sign = 1.0 if rule.at_most is None else -1.0
        edge = rule.at_least if rule.at_most is None else rule.at_most
        alert = None if edge is None else self._sign * edge
        self._edge = math.inf if alert is None else alert
        self._room = max(self._sign * float(label.min or 0), self._sign * float(label.max or 0)) - self._edge
        self.bounds = Bounds(alert, None if rule.abstain_from is None else self._sign * rule.abstain_from)

    def strength(self, one: Prediction) -> float | None:
        """As `Subject.strength`."""
        number = getattr(one, self._by)
        return None if number is None else self._sign * number

    def recorded(self, decision: Decision) -> float | None:
        """As `Subject.recorded`."""
        number = getattr(decision, self._by) if decision.by == self._by else None
        return self._sign * number if number is not None and math.isfinite(number) else None

    def share(self, strength: float) -> float:
        """As `Subject.share`: of what lies beyond the rule's bound, and finer the nearer to it.

        The greatest number that there can be may be a million times those that come: in even parts all were one.
        """
        beyond = min(max((strength - self._edge) / self._room, 0.0), 1.0) if self._room > 0 else 0.0
        return (beyond + math.log1p(beyond * _FINEST) / math.log1p(_FINEST)) / 2

    def told(self, one: Prediction, bound: float) -> dict[str, Any]:
        """As `Subject.told`."""
        numbers = {"value": one.value, "low": one.low, "high": one.high}
        return {"of": None, "probability": None, "threshold": self._sign * bound, "by": self._by, **numbers}

    def shown(self, bound: float) -> str:
        """As `Subject.shown`."""
        return f"{self._by} {'≥' if self._sign > 0 else '≤'} {figure(self._sign * bound, 15)}{self._unit}"

    def is_of(self, truth: float | None) -> bool:
        """As `Subject.is_of`: the true number would be an alert."""
        return truth is not None and self._sign * truth >= self._edge


def subject_of(rule: DecisionRule, label: LabelSpec) -> Subject:
    """What a rule goes by.

    Args:
        rule: of the pipeline file, which was checked.
        label: that predictions are of.

    Returns:
        It.

    """
    return NumberSubject(rule, label) if label.is_number else ClassSubject(rule, label)
