"""How many calls a caller may make: a bucket each, refilled steadily. One caller's haste is nobody else's wait."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from labeling_grpc.contract.errors import Reason, RefusedError

_MOST: Final = 10_000
"""Buckets that are kept. The one that was used longest ago goes first: by then it is full, as a new one is."""


class Rates:
    """At most `rate` calls a second of each caller, in bursts of up to twice as many. Lives in one thread."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = max(2 * rate, 1.0)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def spend(self, caller: str) -> None:
        """Count a call.

        Raises:
            RefusedError: the caller's bucket is empty; tells when to come back.

        """
        now = self._clock()
        left, at = self._buckets.pop(caller, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        spent = left >= 1.0
        self._buckets[caller] = left - spent, now
        if len(self._buckets) > _MOST:
            self._buckets.popitem(last=False)
        if not spent:
            raise RefusedError(
                Reason.TOO_MANY_CALLS,
                f"more than {self._rate:g} calls a second: lease and submit several at once, or come back later",
                retry_after=(1.0 - left) / self._rate,
            )

    def give_back(self, caller: str) -> None:
        """Count a call as not made.

        Args:
            caller: Whose it was.

        """
        if caller in self._buckets:
            left, at = self._buckets[caller]
            self._buckets[caller] = min(self._burst, left + 1.0), at
