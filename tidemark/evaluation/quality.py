"""Unbiased quality of each model version from labels that were drawn at random, with 95 % intervals.

Only labels with an inclusion probability count: what a policy picked because the model was unsure of it says
nothing about the other events (measured: accuracy wrong by 0.05 to 0.26).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tidemark.evaluation import metrics
from tidemark.evaluation.design import Estimate, Floats, StratifiedSample, logit_interval
from tidemark.evaluation.labels import final_labels
from tidemark.records import NO_MODEL, Label, Metric


def quality(
    labels: Iterable[Label], *, classes: Sequence[str], positive: str, at: int, threshold: float = 0.5
) -> list[Metric]:
    """Estimates of each model version that answered exploration cases, as records of source `labels`.

    Names: accuracy, log_loss (nats), brier, base_rate (share of `positive`), precision and recall (of flagging a
    probability of `positive` of at least `threshold`), average_precision. Each is stratified by tile with the tile's
    known number of events; a version that predicted part of a tile is a domain of it. `n` counts the answers the
    figure rests on; `detail` tells how many cases were drawn and got no answer (skipped or expired), which are taken
    to be missing at random within their tile. A figure without two answers in its domain is not given.

    labels: records of one or more policies, in the order of `P.labels`.  at: µs, the metrics' time.
    Raises ValueError for an answer that is not in `classes`, or probabilities of another length.
    """
    drawn = [label for label in final_labels(labels) if label.inclusion_probability is not None]
    answered = [label for label in drawn if label.status == "answered"]
    if not answered:
        return []
    sample = StratifiedSample.of(
        _strata(drawn),
        np.array([label.tile_count for label in drawn], np.int64),
        np.array([label.status == "answered" for label in drawn]),
    )
    place = {name: index for index, name in enumerate(classes)}
    truth = np.array([_class(place, label) for label in answered], np.int64)
    found: list[Metric] = []
    for model in sorted({label.model for label in answered if label.probabilities is not None} - {NO_MODEL}):
        mine = np.array([label.model == model and label.probabilities is not None for label in answered])
        estimates = _estimates(sample, mine, truth, answered, place[positive], len(classes), threshold)
        asked = sum(label.model == model for label in drawn)
        detail: dict[str, str | float | int | None] = {"drawn": asked, "unanswered": asked - int(mine.sum())}
        found += [
            Metric(
                name=name,
                value=estimate.value,
                low=estimate.low,
                high=estimate.high,
                n=estimate.n,
                at=at,
                model=model,
                source="labels",
                detail=detail,
            )
            for name, estimate in estimates.items()
            if estimate is not None
        ]
    return found


def _estimates(
    sample: StratifiedSample,
    mine: NDArray[np.bool_],
    truth: NDArray[np.int64],
    answered: list[Label],
    positive: int,
    classes: int,
    threshold: float,
) -> dict[str, Estimate | None]:
    table = np.full((len(answered), classes), 1 / classes)
    for row in np.flatnonzero(mine):
        probabilities = answered[row].probabilities or []
        if len(probabilities) != classes:
            raise ValueError(
                f"label of {answered[row].event_id}: {len(probabilities)} probabilities for {classes} classes"
            )
        table[row] = probabilities
    domain = mine.astype(np.float64)
    is_positive, flagged = truth == positive, table[:, positive] >= threshold
    return {
        "accuracy": sample.share(table.argmax(axis=1) == truth, mine),
        "log_loss": sample.ratio(metrics.losses(truth, table) * domain, domain),
        "brier": sample.ratio(metrics.squared_errors(truth, table) * domain, domain),
        "base_rate": sample.share(is_positive, mine),
        "precision": sample.share(is_positive, mine & flagged),
        "recall": sample.share(flagged, mine & is_positive),
        "average_precision": _average_precision(
            is_positive[mine], table[mine, positive], sample.weight[mine], int(mine.sum())
        ),
    }


def _average_precision(truth: NDArray[np.bool_], score: Floats, weight: Floats, n: int) -> Estimate | None:
    """Hájek-weighted average precision; its interval counts the positives by their effective number (Kish 1965)."""
    positives = weight[truth]
    if positives.shape[0] < 2:
        return None
    value = metrics.average_precision(truth, score, weight)
    effective = float(positives.sum() ** 2 / np.square(positives).sum())
    low, high = logit_interval(value, effective)
    return Estimate(value, low, high, math.nan, n)


def _strata(drawn: list[Label]) -> NDArray[np.int64]:
    """Stratum of each label: its policy's tiles, numbered in order of time."""
    tiles = [(label.policy, label.tile) for label in drawn]
    number = {tile: index for index, tile in enumerate(sorted(set(tiles)))}
    return np.array([number[tile] for tile in tiles], np.int64)


def _class(place: dict[str, int], label: Label) -> int:
    index = place.get(label.label or "")
    if index is None:
        raise ValueError(f"label of {label.event_id}: {label.label!r} is not one of the classes {', '.join(place)}")
    return index
