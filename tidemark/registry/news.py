"""What flows tell people of the models they serve."""

from __future__ import annotations

import time
from typing import Final

from tidemark.records import Metric
from tidemark.records.metric_kind import MetricKind

METRICS: Final = (
    MetricKind("model_in_force", "1", "every flow with a model", "stream", "The flow serves the record's model."),
    MetricKind(
        "model_refused", "1", "every flow with a model", "stream", "The flow refused a model; the detail says why."
    ),
)


def model_metric(
    flow: str, version: str, *, refused: str | None = None, reason: str = "", at: int | None = None
) -> Metric:
    """Record that tells which version is in force at a flow; or that another one was refused there, and why."""
    told: dict[str, str | float | int | None] = {"flow": flow}
    return Metric(
        name="model_in_force" if refused is None else "model_refused",
        value=1.0,
        low=None,
        high=None,
        n=1,
        at=time.time_ns() // 1_000 if at is None else at,
        model=version,
        source="stream",
        detail=told if refused is None else {**told, "refused": refused, "reason": reason[:2_000]},
    )
