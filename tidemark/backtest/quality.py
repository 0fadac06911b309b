"""Quality of probabilities: average precision where there are two classes, the mean F1 of the classes where more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidemark.evaluation.metrics import average_precision


def quality(truth: NDArray[np.int64], given: NDArray[np.float64], positive: int = 1) -> float:
    """Quality of probabilities.

    Args:
        truth: (n,) classes.
        given: (n, classes) probabilities.
        positive: of two classes, the one that is looked for.

    Returns:
        Average precision of the positive class; of more classes the mean F1 of those that occur.

    """
    if given.shape[1] == 2:
        return float(average_precision(truth == positive, given[:, positive]))
    guess = given.argmax(axis=1)
    of_class = [
        2 * np.sum((guess == each) & (truth == each)) / (np.sum(guess == each) + np.sum(truth == each))
        for each in np.unique(truth)
    ]
    return float(np.mean(of_class))


def of_constant(truth: NDArray[np.int64], classes: int, positive: int = 1) -> float:
    """Quality of a model that says the same of every row: the share of positives, or always the commonest class."""
    if classes == 2:
        return float(np.mean(truth == positive))
    return quality(truth, np.tile(np.eye(classes)[np.bincount(truth, minlength=classes).argmax()], (len(truth), 1)))
