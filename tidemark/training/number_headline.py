"""The headline where the label is a number: how much of its variance is foretold, and how far off models are."""

from __future__ import annotations

from typing import Final

from tidemark.evaluation.numbers import NumberSample, coverage, mae, more_answers, r_squared, rmse
from tidemark.records import Metric
from tidemark.records.metric_kind import MetricKind
from tidemark.registry.estimates import LEVEL
from tidemark.training.metrics import Detail, figure_metric

METRICS: Final = (
    MetricKind(
        "rmse",
        "the label's own",
        "retrain",
        "labels or outcomes",
        "Where the label is a number: root of the champion's mean squared error, on randomly drawn labels it has not "
        "learnt from; of outcomes, which `monitor` measures by, of each model on the events that it foretold.",
    ),
    MetricKind("mae", "the label's own", "retrain", "labels or outcomes", "The same: mean absolute error."),
    MetricKind(
        "interval_coverage",
        "share",
        "retrain",
        "labels or outcomes",
        "The same: share of labels since the champion, or of outcomes, whose number lies in the interval that was "
        "told; 0.9 is aimed at.",
    ),
)
_MEASURES: Final = {"rmse": rmse, "mae": mae, "interval_coverage": coverage}


def number_metrics(sample: NumberSample, unit: str | None, version: str, at: int, rest: Detail) -> list[Metric]:
    """The headline's record, and those of errors and of the interval.

    Args:
        sample: answers of the random draw.
        unit: of the number, for people.
        version: of the champion.
        at: µs, of the records.
        rest: what else the headline's detail tells.

    Returns:
        `quality`, whose value is R² and whose detail has the errors, and one of each of `METRICS`.

    """
    figures = {name: measure(sample) for name, measure in _MEASURES.items()}
    quality = r_squared(sample)
    detail: Detail = {
        "metric": "r_squared",
        "of_class": "",
        "chance": 0.0,
        "more": more_answers(quality),
        "unit": unit,
        "rmse": figures["rmse"].value,
        "mae": figures["mae"].value,
        **rest,
    }
    told = [figure_metric("quality", quality, version, at, detail)]
    for name, figure in figures.items():
        told.append(
            figure_metric(name, figure, version, at, {"goal": LEVEL} if name == "interval_coverage" else {"unit": unit})
        )
    return told
