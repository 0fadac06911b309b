"""With what chance events are drawn into the background sample: a power of one half that follows how many come.

A day of few events is drawn whole, one of many gives `size` to twice as many. Between, one in 32 is enough, so
that a history which is read at full speed is not slowed down. The chance of an event follows from how many came before
it, on its day and the day before, and never from what it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_DAY: Final = 86_400_000_000
_FEW: Final = 512
"""Events of a day that are drawn whatever it costs: fewer show no change of a feature."""
_SPARSE: Final = 5
"""Below `size` events of a day no fewer than one in 2**5 is drawn."""


def halvings(events: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """How often the chance 1 is halved.

    Args:
        events: (n,) of a day, as far as is known where each is drawn.
        size: of the sample.

    Returns:
        (n,) from 0 on.

    """
    sparse = np.minimum(_halved(events, _FEW), _SPARSE)
    return np.maximum(sparse, _halved(events, size))


def _halved(events: NDArray[np.int64], enough: int) -> NDArray[np.int64]:
    """How often `events` may be halved and are still as many as `enough`."""
    _, exponents = np.frexp((events // enough).astype(np.float64))
    return np.maximum(exponents.astype(np.int64) - 1, 0)


@dataclass(slots=True)
class Counted:
    """Rows of a partition. day: of event time.  before: rows of the last day before it that had any."""

    day: int
    so_far: int = 0
    before: int = 0

    def take(self, times: NDArray[np.int64], partitions: int, size: int) -> NDArray[np.int64]:
        """Count rows.

        Args:
            times: (n,) event time reached at each row, µs.
            partitions: that the events are spread over.
            size: of the sample.

        Returns:
            (n,) how often the chance of each row is halved.

        """
        days = np.maximum(np.maximum.accumulate(times // _DAY), self.day)
        found = np.empty(len(days), np.int64)
        starts = np.flatnonzero(np.diff(days, prepend=days[:1])).tolist()
        for begin, end in zip([0, *starts], [*starts, len(days)], strict=True):
            if int(days[begin]) > self.day:
                self.day, self.before, self.so_far = int(days[begin]), self.so_far, 0
            rows = self.so_far + np.arange(1, end - begin + 1)
            found[begin:end] = halvings(np.maximum(rows, self.before) * partitions, size)
            self.so_far += end - begin
        return found
