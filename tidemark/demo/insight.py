"""What people look for first in a run: what was asked, what decides, whether probabilities and figures are true."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from tidemark.demo.result import Asked, FeatureWeight, Measured, ModelPoint, ReasonCount, Reliability
from tidemark.evaluation.metrics import calibration
from tidemark.pipeline import Pipeline
from tidemark.records import Candidate, Label, Metric

if TYPE_CHECKING:
    import lightgbm as lgb

_EXAMPLES: Final = 2
"""Cases shown of each reason."""

_EXPLAINED: Final = 2_000
"""Later events over which it is looked what decides."""

_WEIGHTS: Final = 10
_MEASURED: Final = 6
"""Rows shown of each."""

_BINS: Final = 10


def asked(
    pipeline: Pipeline,
    candidates: Mapping[str, Candidate],
    labels: Sequence[Label],
    truth: Callable[[str | None], str],
) -> tuple[list[Asked], list[ReasonCount]]:
    """What was asked.

    Args:
        pipeline: Whose cases they are.
        candidates: By event id.
        labels: Final annotations, in their order.
        truth: Class of the event of a business id.

    Returns:
        Examples of each reason, from early and from late, in the order of time; and how often each reason was, in the
        order of their first case.

    """
    positive = pipeline.label.positive
    place = pipeline.label.classes.index(positive)
    by_reason: dict[str, list[tuple[Candidate, Label]]] = defaultdict(list)
    for label in labels:
        candidate = candidates.get(label.event_id)
        if candidate is not None and label.status == "answered":
            by_reason[candidate.reason].append((candidate, label))
    examples = []
    for pairs in by_reason.values():
        places = np.linspace(0, len(pairs) - 1, min(_EXAMPLES, len(pairs))).astype(int)
        for candidate, label in (pairs[index] for index in places):
            chances = candidate.probabilities
            examples.append(
                Asked(
                    candidate.reason,
                    candidate.time,
                    dict(candidate.context),
                    chances[place] if chances else None,
                    label.label or "",
                    truth(candidate.business_id),
                )
            )
    counts = [
        ReasonCount(reason, len(pairs), sum(label.label == positive for _, label in pairs))
        for reason, pairs in by_reason.items()
    ]
    return sorted(examples, key=lambda example: example.time), counts


def weights(booster: lgb.Booster, features: NDArray[np.float64]) -> list[FeatureWeight]:
    """What decides: each feature's share of the mean absolute Shapley values over some events.

    Args:
        booster: Of one or more outputs.
        features: (n, d) of events.

    Returns:
        The largest ten, the largest first.

    """
    names = booster.feature_name()
    step = max(1, len(features) // _EXPLAINED)
    parts = np.asarray(booster.predict(features[::step], pred_contrib=True, num_threads=1), np.float64)
    by_output = np.abs(parts).reshape(len(parts), -1, len(names) + 1)[:, :, :-1]  # the last is the base score
    sizes = by_output.mean(axis=(0, 1))
    total = float(sizes.sum()) or 1.0
    largest = np.argsort(-sizes, kind="stable")[:_WEIGHTS]
    return [FeatureWeight(names[index], float(sizes[index]) / total) for index in largest.tolist()]


def reliability(truth: NDArray[np.bool_], said: NDArray[np.float64]) -> list[Reliability]:
    """Whether what the model says comes true: later events by what it said of them, in tenths that are not empty."""
    bins = calibration(truth, said, bins=_BINS)
    rows = zip(bins.predicted.tolist(), bins.observed.tolist(), bins.weight.tolist(), strict=True)
    return [Reliability(*row) for row in rows]


def measured(metrics: Sequence[Metric], active: Sequence[ModelPoint]) -> list[Measured]:
    """The headline at some moments, evenly spread, the last included, beside the truth on the later period.

    Args:
        metrics: All headlines, in their order; only those of an average precision are comparable.
        active: The active arm's models, with their truth.

    Returns:
        The last figure of each model that is among those that are shown.

    """
    truth = {point.version: point.average_precision for point in active}
    last = {metric.model: metric for metric in metrics if metric.value is not None and metric.model in truth}
    of_precision = [metric for metric in last.values() if metric.detail.get("metric") == "average_precision"]
    if not of_precision:
        return []
    places = np.unique(np.linspace(0, len(of_precision) - 1, _MEASURED).round().astype(int))
    return [
        Measured(
            metric.model,
            float(metric.value or 0.0),
            0.0 if metric.low is None else metric.low,
            1.0 if metric.high is None else metric.high,
            metric.n,
            truth[metric.model],
        )
        for metric in (of_precision[index] for index in places.tolist())
    ]
