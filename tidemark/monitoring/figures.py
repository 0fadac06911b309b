"""Quality of each model version from outcomes: events whose truth has had its delay and grace to arrive."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidemark.evaluation import intervals, metrics
from tidemark.evaluation.measures import Sample, average_precision
from tidemark.evaluation.numbers import NumberSample, coverage, mae, rmse
from tidemark.monitoring.joined import UNKNOWN
from tidemark.records import Metric
from tidemark.records.metric_kind import MetricKind

METRICS: Final = (
    MetricKind("average_precision", "0 to 1", "monitor", "outcomes", "Area under the precision-recall curve."),
    MetricKind("precision_at_100", "share", "monitor", "outcomes", "Share of positives among the 100 highest scores."),
    MetricKind(
        "outcome_coverage",
        "share",
        "monitor",
        "outcomes",
        "Share of matured events whose truth has come. Below 0.9 no other figure is computed from outcomes.",
    ),
)

MIN_COVERAGE: Final = 0.9
"""Share of the events whose truth must have come. Below, the events without are no random ones: nothing is shown."""
TOP: Final = 100
"""Events that `precision_at_100` looks at: a day's work of a team that goes through the highest scores."""

Detail = dict[str, str | float | int | None]


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its 95 % interval; NaN where the events can't define it."""

    name: str
    value: float
    low: float
    high: float


def from_outcomes(
    rows: NDArray[Any], models: Sequence[str], *, positive: int, at: int, threshold: float
) -> Iterator[Metric]:
    """Records of source `outcomes` for each model version among matured predictions (`joined.prediction_dtype`).

    Always `outcome_coverage`, the share of the version's events whose truth has come; then, where that is at least
    `MIN_COVERAGE`: accuracy, log_loss (nats), brier, base_rate, precision and recall (of flagging a probability of the
    positive class of at least `threshold`), average_precision, precision_at_100.
    """
    scored = rows[~np.isnan(rows["p"][:, 0])]
    yield from _of_models(scored, models, at, lambda told: _figures(told, positive, threshold), {})


def of_numbers(rows: NDArray[Any], models: Sequence[str], *, unit: str | None, at: int) -> Iterator[Metric]:
    """As `from_outcomes`, where the label is a number: beside the coverage rmse, mae and interval_coverage.

    unit: of the number, for people.
    """
    scored = rows[~np.isnan(rows["said"][:, 0])]
    yield from _of_models(scored, models, at, _number_figures, {"unit": unit})


def _of_models(
    scored: NDArray[Any],
    models: Sequence[str],
    at: int,
    figures_of: Callable[[NDArray[Any]], Iterable[Figure]],
    rest: Detail,
) -> Iterator[Metric]:
    """Coverage of each version, and where it suffices its figures."""
    for number in np.unique(scored["model"]).tolist():
        mine = scored[scored["model"] == number]
        told = mine[mine["truth"] != UNKNOWN]
        events, known = mine.shape[0], told.shape[0]
        share = known / events
        detail: Detail = {"events": events, "with_outcome": known, **rest}
        figures = [Figure("outcome_coverage", share, *intervals.wilson(share, events))]
        if share >= MIN_COVERAGE:
            figures += figures_of(told)
        for figure in figures:
            if math.isfinite(figure.value):
                yield Metric(
                    name=figure.name,
                    value=figure.value,
                    low=figure.low,
                    high=figure.high,
                    n=events if figure.name == "outcome_coverage" else known,
                    at=at,
                    model=models[number],
                    source="outcomes",
                    detail=detail,
                )


def _number_figures(rows: NDArray[Any]) -> Iterator[Figure]:
    sample = NumberSample(rows["number"], rows["said"], np.ones(len(rows)))
    for name, found in (("rmse", rmse(sample)), ("mae", mae(sample)), ("interval_coverage", coverage(sample))):
        if found.value is not None and found.low is not None and found.high is not None:
            yield Figure(name, found.value, found.low, found.high)


def _figures(rows: NDArray[Any], positive: int, threshold: float) -> Iterator[Figure]:
    probabilities, truth = rows["p"].astype(np.float64), rows["truth"].astype(np.int64)
    score, is_positive = probabilities[:, positive], truth == positive
    flagged = score >= threshold
    yield _share("accuracy", probabilities.argmax(axis=1) == truth)
    yield _mean("log_loss", metrics.losses(truth, probabilities))
    yield _mean("brier", metrics.squared_errors(truth, probabilities))
    yield _share("base_rate", is_positive)
    yield _share("precision", is_positive[flagged])
    yield _share("recall", flagged[is_positive])
    average = average_precision(Sample(truth, probabilities, np.ones(len(truth))), positive)
    if average.value is not None:
        yield Figure("average_precision", average.value, average.low, average.high)
    if rows.shape[0] >= TOP:
        top = metrics.precision_at(is_positive, score, TOP)
        yield Figure(f"precision_at_{TOP}", top, *intervals.wilson(top, TOP))


def _share(name: str, hits: NDArray[np.bool_]) -> Figure:
    if hits.shape[0] == 0:
        return Figure(name, math.nan, math.nan, math.nan)
    share = float(hits.mean())
    return Figure(name, share, *intervals.wilson(share, hits.shape[0]))


def _mean(name: str, values: metrics.Floats) -> Figure:
    if values.shape[0] < 2:
        return Figure(name, math.nan, math.nan, math.nan)
    mean = float(values.mean())
    return Figure(name, mean, *intervals.normal(mean, float(values.std(ddof=1)) / math.sqrt(values.shape[0])))
