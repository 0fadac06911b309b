"""From which probability on a rule alerts, and from which on it asks a person instead."""

from __future__ import annotations

from dataclasses import dataclass

from tidemark.pipeline.model import Costs, DecisionRule


@dataclass(frozen=True, slots=True)
class Bounds:
    """The parts into which a rule cuts what it goes by: probabilities, or how far numbers go its way.

    alert: from this on it alerts; None where it is not known yet.  abstain: from this on, and below `alert`, it leaves
    the decision to a person; None where it never does.
    """

    alert: float | None
    abstain: float | None = None

    @property
    def lowest(self) -> float | None:
        """From where on anything is decided.

        That of `alert` may be the lower one: one that is followed changes with each model.
        """
        return min((bound for bound in (self.alert, self.abstain) if bound is not None), default=None)


def bounds_of(rule: DecisionRule) -> Bounds:
    """The bounds that a rule declares.

    Args:
        rule: of the pipeline file.

    Returns:
        Its bounds, of probabilities; without `alert` where it follows `[alerts]`.

    """
    if rule.costs is not None:
        return cheapest(rule.costs)
    return Bounds(None if rule.threshold == "recall" else rule.threshold, rule.abstain_from)


def cheapest(costs: Costs) -> Bounds:
    """The bounds by which the expected cost of an event is least.

    An alert costs `false_alarm` with the probability that the event is of another class, silence costs `missed` with
    the probability that it is of the class, and a review costs what it costs. The least of the three is taken (Chow
    1970, "On optimum recognition error and reject tradeoff"; without reviews Elkan 2001, "The foundations of
    cost-sensitive learning").

    Args:
        costs: in one unit.

    Returns:
        The bounds; without `abstain` where a review never costs least.

    """
    alert = 1 / (1 + costs.missed / costs.false_alarm)  # a sum of large costs would be infinite
    if costs.review is None:
        return Bounds(alert)
    silent_to, alert_from = costs.review / costs.missed, 1 - costs.review / costs.false_alarm
    return Bounds(alert_from, silent_to) if silent_to < alert_from else Bounds(alert)
