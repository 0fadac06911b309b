"""How fast old labels stop to count, by how well the newest ones are foretold.

A label's weight halves with each so many labels that came after its event. The number is one of a few, or none: each is
tried on the newest labels, in the order of their events, every block foretold by boosted trees of the labels before it
(prequential validation; Gama, Sebastiao and Rodrigues 2013, "On evaluating stream learning algorithms"). Forgetting
must be better by more than chance: where a stream stays as it is, old labels are as good as new ones.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidemark.training.dataset import Dataset
from tidemark.training.learners.calibration import log_likelihoods
from tidemark.training.learners.evidence import importance
from tidemark.training.learners.member import MANY_ROWS, Task, Weights
from tidemark.training.learners.trees import BOOSTED

_LEAST: Final = 160
"""Labels below which none are forgotten."""
_SHORTEST: Final = 25
_HALVINGS: Final = (2, 4, 8, 16, 32)
"""Half-lives, as parts of all labels."""
_ASKED: Final = 120
_MOST_ASKED: Final = 800
_OF_A_CLASS: Final = 10
"""Labels of the second most common class that the newest ones are to hold, where there are so many."""
_BLOCKS: Final = 4
_CLEARLY: Final = 2.0
"""Standard errors by which forgetting is to be better."""


def weights_by_age(rows: Dataset, task: Task) -> Weights:
    """What each label counts when a model learns.

    Args:
        rows: labeled events.
        task: what is learnt.

    Returns:
        (n,) on average 1; None where all count alike.

    """
    half_life = half_life_of(rows, task)
    return None if half_life is None else _weights(_ages(rows), half_life)


def half_life_of(rows: Dataset, task: Task) -> float | None:
    """After how many labels a label counts half; None where old labels are as good as new ones.

    Args:
        rows: labeled events.
        task: what is learnt.

    Returns:
        The half-life that foretells the newest labels best.

    """
    n = len(rows)
    if n < _LEAST:
        return None
    ages = _ages(rows)
    order = np.argsort(-ages, kind="stable")
    newest = order[-_asked(rows.target[order]) :]
    weight = importance(rows.inclusion, rows.target)[newest]
    losses: dict[float | None, NDArray[np.float64]] = {}
    for half_life in (None, *(n / parts for parts in _HALVINGS if n / parts >= _SHORTEST)):
        foretold = []
        for block in np.array_split(newest, _BLOCKS):
            oldest = int(ages[block].max())
            before = order[: n - 1 - oldest][-MANY_ROWS:]
            counts = None if half_life is None else _weights(ages[before], half_life)
            model = BOOSTED.fit(rows.features[before], rows.target[before], task, counts)
            logs = log_likelihoods(model.scores(rows.features[block]))
            foretold.append(-logs[np.arange(len(block)), rows.target[block]])
        losses[half_life] = weight * np.concatenate(foretold)
    best = min(losses, key=lambda each: float(losses[each].mean()))
    gain = losses[None] - losses[best]
    error = float(gain.std(ddof=1)) / np.sqrt(len(gain))
    return best if float(gain.mean()) > _CLEARLY * error else None


def _ages(rows: Dataset) -> NDArray[np.int64]:
    """(n,) labels of later events."""
    ages = np.empty(len(rows), np.int64)
    ages[np.argsort(rows.moments, kind="stable")] = np.arange(len(rows))[::-1]
    return ages


def _weights(ages: NDArray[np.int64], half_life: float) -> NDArray[np.float64]:
    weights = np.exp2(-(ages - ages.min()) / half_life)
    return np.asarray(weights / weights.mean())


def _asked(target: NDArray[np.int64]) -> int:
    """How many of the newest labels are foretold: target (n,) classes, the oldest first."""
    most = min(_MOST_ASKED, len(target) // 2)
    second = np.argsort(np.bincount(target))[-2:][0]
    found = np.flatnonzero(target[::-1] == second)
    enough = int(found[_OF_A_CLASS - 1]) + 1 if len(found) >= _OF_A_CLASS else most
    return min(max(min(_ASKED, most), enough), most)
