"""River's detectors of change, one for each feature, with their defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from benchmarks.labels.drift_streams import Floats

NAMES: Final = ("ADWIN", "KSWIN", "PageHinkley")


def made(name: str) -> Callable[[], Any]:
    """What makes a detector.

    Raises:
        ImportError: River is not installed.

    """
    from river import drift  # noqa: PLC0415 - a benchmark's peer, often not installed

    found: Callable[[], Any] = getattr(drift, name)
    return found


def alarms(detector: Any, values: Floats) -> list[int]:  # noqa: ANN401 - River's classes have no common type here
    """At which values a detector tells of a change; a missing value is 0."""
    found = []
    for at, value in enumerate(np.nan_to_num(values).tolist()):
        detector.update(value)
        if detector.drift_detected:
            found.append(at)
    return found
