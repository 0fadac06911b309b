"""What the retrain flow tells of its models: what they learnt from, and how champion and challenger compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from tidemark.records import Metric
from tidemark.records.metric_kind import MetricKind
from tidemark.training.dataset import Dataset
from tidemark.training.gate import Verdict
from tidemark.training.trust import Trust, doubtful

Detail = Mapping[str, str | float | int | None]
METRICS: Final = (
    MetricKind(
        "quality",
        "0 to 1",
        "retrain",
        "labels",
        "How good the champion is, on randomly drawn labels it has not learnt from. The detail names the measure "
        "(accuracy, average_precision, macro_recall, or r_squared of a number), the base rate, and how many more "
        "answers are needed to tell.",
    ),
    MetricKind("training_labels", "labels", "retrain", "labels", "Labels that a new model learnt from, by class."),
    MetricKind(
        "gate_log_loss_difference",
        "nats",
        "retrain",
        "labels",
        "Champion against challenger, with interval and decision. Where `gates.metric` is log_loss.",
    ),
    MetricKind(
        "gate_average_precision_difference",
        "0 to 1",
        "retrain",
        "labels",
        "The same where `gates.metric` is average_precision.",
    ),
    MetricKind(
        "gate_rmse_difference",
        "the label's own",
        "retrain",
        "labels",
        "The same where the label is a number and `gates.metric` is rmse.",
    ),
    MetricKind(
        "gate_mae_difference",
        "the label's own",
        "retrain",
        "labels",
        "The same where the label is a number and `gates.metric` is mae.",
    ),
    MetricKind(
        "distrusted_sources",
        "sources",
        "retrain",
        "labels",
        "People and programs whose labels count less, for they are surely worse than the others'. The detail names "
        "each, with the share of its labels that are right, and what one counts.",
    ),
    MetricKind(
        "doubtful_labels",
        "labels",
        "retrain",
        "labels",
        "Labels worth a second look: a model that has not learnt from one is surer of another class. "
        "`tidemark queue review` puts them back.",
    ),
)
_SOURCES: Final = 10
_LONGEST: Final = 200
"""Letters of a source's name that are told."""


class Measured(Protocol):
    """A figure with its 95 % interval; None where nothing can be said."""

    @property
    def value(self) -> float | None:
        """The figure."""
        ...

    @property
    def low(self) -> float | None:
        """Lower end of the interval."""
        ...

    @property
    def high(self) -> float | None:
        """Its upper end."""
        ...

    @property
    def n(self) -> int:
        """Answers that it rests on."""
        ...


def figure_metric(name: str, found: Measured, version: str, at: int, detail: Detail) -> Metric:
    """A figure of the champion, by labels.

    Args:
        name: of the metric.
        found: the figure.
        version: of the champion.
        at: µs since 1970.
        detail: what else is told.

    Returns:
        The record.

    """
    return Metric(
        name=name,
        value=found.value,
        low=found.low,
        high=found.high,
        n=found.n,
        at=at,
        model=version,
        source="labels",
        detail=dict(detail),
    )


def verdict_metric(verdict: Verdict, model: str, at: int) -> Metric:
    """How a challenger did against the champion.

    Args:
        verdict: of the gate.
        model: version of the challenger.
        at: µs since 1970.

    Returns:
        The record.

    """
    return Metric(
        name=f"gate_{verdict.metric}_difference",
        value=verdict.difference,
        low=verdict.low,
        high=verdict.high,
        n=verdict.n,
        at=at,
        model=model,
        source="labels",
        detail={
            "passed": int(verdict.passed),
            "decision": verdict.reason,
            "champion": verdict.champion,
            "challenger": verdict.challenger,
        },
    )


def trust_metrics(trust: Trust, target: NDArray[np.int64], model: str, at: int) -> list[Metric]:
    """What was found of those who answer, and how many labels are worth a second look.

    Args:
        trust: what was found.
        target: (n,) classes of the labels.
        model: version in force.
        at: µs since 1970.

    Returns:
        The records: the detail of the first names the sources that count less, the worst first.

    """
    less = sorted((each for each in trust.sources if each.weight < 1), key=lambda each: (each.weight, each.name))
    detail: dict[str, str | float | int | None] = {"sources": len(trust.sources)}
    for number, each in enumerate(less[:_SOURCES], 1):
        detail |= {
            f"source_{number}": each.name[:_LONGEST],
            f"weight_{number}": round(each.weight, 3),
            f"right_{number}": round(each.right, 3),
            f"labels_{number}": each.labels,
        }
    values: tuple[tuple[str, float, dict[str, str | float | int | None]], ...] = (
        ("distrusted_sources", float(len(less)), detail),
        ("doubtful_labels", float(len(doubtful(trust, target))), {}),
    )
    return [
        Metric(
            name=name,
            value=value,
            low=None,
            high=None,
            n=len(target),
            at=at,
            model=model,
            source="labels",
            detail=told,
        )
        for name, value, told in values
    ]


def size_metric(rows: Dataset, classes: Sequence[str], model: str, at: int) -> Metric:
    """How many labels of each class a model learnt from.

    Args:
        rows: that it learnt from.
        classes: names of the classes.
        model: its version.
        at: µs since 1970.

    Returns:
        The record.

    """
    counts = np.bincount(rows.target, minlength=len(classes))[: len(classes)]
    return Metric(
        name="training_labels",
        value=float(len(rows)),
        low=None,
        high=None,
        n=len(rows),
        at=at,
        model=model,
        source="labels",
        detail={name: int(count) for name, count in zip(classes, counts, strict=True)},
    )
