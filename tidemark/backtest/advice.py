"""What to make of the curves: when more labels stop paying, and which change is worth making.

Labels stop paying where, from a number of labels on, the rest of the curve never brings as much as half a point for a
hundred labels (`tidemark.observe.more_labels.ENOUGH`), whatever later number of labels, at least a hundred on, it is
compared with. A number within the last hundred is never said to be the one: what follows it was not played.

A change is worth making if its mean quality over all labels is higher than that of the pipeline as it is: by half a
point at least, and by more than chance would have it in one of twenty simulations (a paired t test over seeds, with the
level shared among the changes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.sampling._distributions import t_quantile
from tidemark.observe.more_labels import ENOUGH, NEXT

Floats = NDArray[np.float64]
_LEVEL: Final = 0.05


def stops_paying(grid: NDArray[np.int64], mean: Floats) -> int | None:
    """Labels from which on more stop paying.

    Args:
        grid: (n,) numbers of labels, ascending.
        mean: (n,) quality after each.

    Returns:
        The least of `grid`; None where labels pay to the end, or what follows is too short to tell.

    """
    for at, labels in enumerate(grid.tolist()):
        later = grid >= labels + NEXT
        if not later.any():
            return None
        if (mean[later] - mean[at] < ENOUGH * (grid[later] - labels) / NEXT).all():
            return int(labels)
    return None


@dataclass(frozen=True, slots=True)
class Gain:
    """Mean quality over all labels, less that of the pipeline as it is. low: its lower bound, None with one seed."""

    mean: float
    low: float | None

    @property
    def worth(self) -> bool:
        """Whether the change is worth making."""
        return self.low is not None and self.low > 0 and self.mean >= ENOUGH


def gain(areas: Mapping[int, float], own: Mapping[int, float], changes: int) -> Gain | None:
    """What a change brings.

    Args:
        areas: mean quality over labels, by seed.
        own: the same of the pipeline as it is.
        changes: how many are compared.

    Returns:
        The gain; None where no seed was played of both.

    """
    seeds = sorted(areas.keys() & own.keys())
    if not seeds:
        return None
    apart = np.array([areas[seed] - own[seed] for seed in seeds])
    if len(apart) < 2:
        return Gain(float(apart.mean()), None)
    error = float(apart.std(ddof=1)) / len(apart) ** 0.5
    reach = t_quantile(1 - _LEVEL / max(1, changes), len(apart) - 1) * error
    return Gain(float(apart.mean()), float(apart.mean()) - reach)
