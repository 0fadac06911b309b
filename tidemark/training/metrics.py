"""What the retrain flow tells of its models: what they learnt from, and how champion and challenger compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from tidemark.records import Metric
from tidemark.records.metric_kind import MetricKind
from tidemark.training.dataset import Dataset
from tidemark.training.gate import Verdict

METRICS: Final = (
    MetricKind(
        "quality",
        "0 to 1",
        "retrain",
        "labels",
        "How good the champion is, on randomly drawn labels it has not learnt from. The detail names the measure "
        "(accuracy, average_precision or macro_recall), the base rate, and how many more answers are needed to tell.",
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
    counts = np.bincount(rows.target, minlength=len(classes))
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
