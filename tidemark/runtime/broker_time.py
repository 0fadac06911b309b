"""What time it was when a record came: Kafka's timestamp, as far as it can be believed.

A topic whose `message.timestamp.type` is CreateTime has its producers' timestamps: -1 where a producer gives none, and
any time where its clock is wrong. Nobody can have written a record later than it is read, so a timestamp is believed
up to the clock of the process that reads it first.
"""

from __future__ import annotations

import time
from typing import Final

import numpy as np
from numpy.typing import NDArray

_MILLISECOND: Final = 1_000
_LATEST_MS: Final = 2**62 // _MILLISECOND


def wall_clock() -> int:
    """This machine's clock, µs since 1970."""
    return time.time_ns() // 1_000


def broker_times(timestamps: NDArray[np.int64], now: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """When each record came, µs since 1970.

    Args:
        timestamps: (n,) Kafka's, ms since 1970; negative where there is none.
        now: clock of the process that reads the records first, µs since 1970; one, or (n,).

    Returns:
        (n,) int64: the timestamp, or `now` where that is earlier or there is no timestamp.

    """
    told = np.minimum(timestamps, _LATEST_MS) * _MILLISECOND
    return np.where(timestamps >= 0, np.minimum(told, now), now)


def moved_to(times: NDArray[np.int64], came: NDArray[np.int64], skew: int) -> NDArray[np.int64]:
    """How far rows may move the watermark: to their own times, at most to `skew` (µs) after they came; (n,) int64."""
    return np.minimum(times, came + skew)
