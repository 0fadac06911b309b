"""How long the monitor needs what it reads again."""

from __future__ import annotations

from typing import Final

from tidemark.pipeline.model import Pipeline

DAY: Final = 86_400_000_000
WINDOW: Final = 7 * DAY
"""Event time (µs) over which predictions whose truth has had its time are measured."""


def predictions_retention(pipeline: Pipeline) -> int:
    """µs for which `P.predictions` must be kept: until the truth has come and been measured, and a day of outage."""
    return pipeline.label.delay + pipeline.label.grace + WINDOW + DAY
