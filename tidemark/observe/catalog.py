"""Every metric that Tidemark writes to `P.metrics`, with its unit and meaning. The reference is made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class MetricKind:
    """A metric that flows write.

    name: as in the record.  unit: of its value.  flow: what writes it.  source: what it is computed from, one of the
    record's sources, several separated by ` or `.
    """

    name: str
    unit: str
    flow: Literal["stream", "select", "retrain", "monitor", "every flow with a model"]
    source: str
    meaning: str


METRICS: Final = (
    MetricKind(
        "accuracy", "share", "monitor", "labels or outcomes", "Share of events whose likeliest class was right."
    ),
    MetricKind("log_loss", "nats", "monitor", "labels or outcomes", "Mean logarithmic loss. Smaller is better."),
    MetricKind("brier", "squared", "monitor", "labels or outcomes", "Mean squared error of the probabilities."),
    MetricKind("base_rate", "share", "monitor", "labels or outcomes", "Share of events of the positive class."),
    MetricKind("precision", "share", "monitor", "labels or outcomes", "Share of flagged events that were positive."),
    MetricKind("recall", "share", "monitor", "labels or outcomes", "Share of positive events that were flagged."),
    MetricKind("average_precision", "0 to 1", "monitor", "outcomes", "Area under the precision-recall curve."),
    MetricKind("precision_at_100", "share", "monitor", "outcomes", "Share of positives among the 100 highest scores."),
    MetricKind(
        "outcome_coverage",
        "share",
        "monitor",
        "outcomes",
        "Share of matured events whose truth has come. Below 0.9 no other figure is computed from outcomes.",
    ),
    MetricKind("response_rate", "share", "monitor", "labels", "Share of randomly drawn cases that were answered."),
    MetricKind("labels_answered", "cases", "monitor", "budget", "Answered cases, by reason in the detail."),
    MetricKind("labels_skipped", "cases", "monitor", "budget", "Skipped cases, by reason in the detail."),
    MetricKind("labels_expired", "cases", "monitor", "budget", "Expired cases, by reason in the detail."),
    MetricKind("labels_withdrawn", "cases", "monitor", "budget", "Withdrawn cases, by reason in the detail."),
    MetricKind("prediction_rate", "events a second", "monitor", "stream", "Predictions since the last report."),
    MetricKind("prediction_delay_p50", "s", "monitor", "stream", "Median time from event time to prediction."),
    MetricKind("prediction_delay_p99", "s", "monitor", "stream", "99 % of predictions came within this time."),
    MetricKind("late_share", "share", "stream", "stream", "Share of rows whose windows may have lost rows."),
    MetricKind(
        "ahead_share",
        "share",
        "stream",
        "stream",
        "Share of rows further ahead of Kafka's timestamp than `time.skew`. The detail names the keys that lead.",
    ),
    MetricKind("model_in_force", "1", "every flow with a model", "stream", "The flow serves the record's model."),
    MetricKind(
        "model_refused", "1", "every flow with a model", "stream", "The flow refused a model; the detail says why."
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
    MetricKind("budget_spent", "cases", "select", "budget", "Cases asked in a tile; the detail has the sum over all."),
    MetricKind(
        "budget_offered", "cases", "select", "budget", "Cases that a tile might have asked, with what was carried."
    ),
    MetricKind("tile_events", "events", "select", "budget", "Events of a tile."),
)
"""All of them; a test compares the table with the names that the code writes."""
