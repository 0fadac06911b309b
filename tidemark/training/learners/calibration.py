"""From scores to log-odds: Platt scaling on scores of rows that the model had not learnt from.

Two classes: the log-odds are a * score + b (Platt 1999, "Probabilistic outputs for support vector machines"), with his
targets, which never say 0 or 1. More classes: the softmax of a * score_k + b_k (vector scaling with one slope; Guo et
al. 2017, "On calibration of modern neural networks"). With few labels, a stays near what the learner's scores mean, and
each b_k near 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy  # its parts are imported on first use: half a second, which what trains nothing does not wait for
from numpy.typing import NDArray

_DIGITS: Final = 4
"""Significant digits kept: a minimum is found no more exactly, and processors round otherwise."""
_WIDTH_OF_SLOPE: Final = 1.0
"""Standard deviation of the logarithm of a slope beforehand."""
_WIDTH_OF_INTERCEPT: Final = 0.5
_WIDTH_OF_TURN: Final = 0.25
"""Standard deviation beforehand of the logarithm by which the stream's slope differs from that of all labels."""
_WIDTH_OF_SHIFT: Final = 0.5
"""The same of the log-odds. A few positives among few drawn labels are chance: with more, they moved it too far."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Log-odds are slope * score + intercept (outputs,)."""

    slope: float
    intercept: NDArray[np.float64]

    def __call__(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds (n, outputs) of scores (n, outputs)."""
        return self.slope * scores + self.intercept


def log_likelihoods(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-probabilities (n, classes) of log-odds (n, outputs): one output is the second of two classes."""
    if logits.shape[1] == 1:
        return np.column_stack((-np.logaddexp(0, logits[:, 0]), -np.logaddexp(0, -logits[:, 0])))
    table: NDArray[np.float64] = scipy.special.log_softmax(logits, axis=1)
    return table


def targets(y: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """What a calibrated probability (n, classes) of a row should be: Platt's for two classes, else 1 of its class."""
    wanted = np.eye(classes)[y]
    if classes > 2:
        return wanted
    counts = wanted.sum(axis=0)
    sure = (counts + 1) / (counts + 2)
    smoothed: NDArray[np.float64] = np.where(wanted == 1, sure, 1 - sure[::-1])
    return smoothed


def scale_of(scores: NDArray[np.float64], y: NDArray[np.int64], classes: int, slope: float) -> Scale:
    """The scale under which rows are likeliest.

    Args:
        scores: (n, outputs) of rows that the scoring model had not learnt from.
        y: (n,) their classes.
        classes: of the task.
        slope: of the scores where nothing is known.

    Returns:
        The scale; its slope is above 0, so that calibration keeps the order of rows.

    """
    wanted, outputs = targets(y, classes), scores.shape[1]

    def loss(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        a = slope * np.exp(point[0])
        logits = a * scores + point[1:]
        logs = log_likelihoods(logits)
        off = np.exp(logs) - wanted
        off = off[:, 1:] if outputs == 1 else off
        value = -float((wanted * logs).sum()) + float(point[0] ** 2) / (2 * _WIDTH_OF_SLOPE**2)
        gradient = np.concatenate([[a * float((off * scores).sum()) + point[0] / _WIDTH_OF_SLOPE**2], off.sum(axis=0)])
        if outputs > 1:
            value += float((point[1:] ** 2).sum()) / (2 * _WIDTH_OF_INTERCEPT**2)
            gradient[1:] += point[1:] / _WIDTH_OF_INTERCEPT**2
        return value, gradient

    start = np.zeros(1 + outputs)
    if outputs == 1:
        start[1] = np.log(wanted[:, 1].mean() / wanted[:, 0].mean()) - slope * float(scores.mean())
    bounds = [(-4.0, 4.0), *[(None, None)] * outputs]
    found = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 200}).x
    return Scale(_rounded(slope * float(np.exp(found[0]))), np.array([_rounded(each) for each in found[1:].tolist()]))


def shifted(
    scale: Scale,
    scores: NDArray[np.float64],
    y: NDArray[np.int64],
    classes: int,
    weights: NDArray[np.float64],
) -> Scale:
    """The scale for the stream that labels were drawn from, where the scale was fitted on other labels too.

    Labels that a model asked for hold more of a rare class than the stream does. How much the log-odds are to be
    shifted is told by the drawn ones, as their posterior's mode: with few of them, the scale stays near what it was.

    Args:
        scale: fitted on all labels.
        scores: (n, outputs) as `scale_of` has them.
        y: (n,) classes.
        classes: of the task.
        weights: (n,) inverse of the probability by which each row was drawn, 0 for those that were not, of a sum that
            is the number of labels they are worth.

    Returns:
        The scale; its slope is above 0.

    """
    drawn = weights > 0
    scores, weight = scores[drawn], weights[drawn]
    wanted, outputs = np.eye(classes)[y[drawn]], scores.shape[1]

    def loss(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        a = scale.slope * np.exp(point[0])
        logs = log_likelihoods(a * scores + scale.intercept + point[1:])
        off = (np.exp(logs) - wanted) * weight[:, None]
        off = off[:, 1:] if outputs == 1 else off
        widths = np.array([_WIDTH_OF_TURN, *[_WIDTH_OF_SHIFT] * outputs])
        value = -float((weight[:, None] * wanted * logs).sum()) + float(((point / widths) ** 2).sum()) / 2
        gradient = np.concatenate([[a * float((off * scores).sum())], off.sum(axis=0)]) + point / widths**2
        return value, gradient

    bounds = [(-2.0, 2.0), *[(None, None)] * outputs]
    found = scipy.optimize.minimize(loss, np.zeros(1 + outputs), jac=True, method="L-BFGS-B", bounds=bounds).x
    intercept = np.array([_rounded(each) for each in (scale.intercept + found[1:]).tolist()])
    return Scale(_rounded(scale.slope * float(np.exp(found[0]))), intercept)


def to_shares(scale: Scale, y: NDArray[np.int64], classes: int, weights: NDArray[np.float64]) -> Scale:
    """The scale for a stream of which some classes were taken more often than others, each by a chance that is known.

    The log-odds move by how much rarer a class is in the stream than among the labels (King and Zeng 2001, "Logistic
    regression in rare events data", prior correction).

    Args:
        scale: fitted on the labels.
        y: (n,) classes.
        classes: of the task.
        weights: (n,) inverse of the probability by which each row was taken, 0 where it is not known.

    Returns:
        The scale. A class that has no such row stays where it was.

    """
    labels, stream = np.bincount(y, minlength=classes), np.bincount(y, weights, minlength=classes)
    told = stream > 0
    moved = np.zeros(classes)
    moved[told] = np.log(stream[told] / stream.sum() * labels[told].sum() / labels[told])
    moved = moved[1:] - moved[0] if classes == 2 else moved - moved.mean()
    return Scale(scale.slope, np.array([_rounded(each) for each in (scale.intercept + moved).tolist()]))


def _rounded(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")


def probabilities_of(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities (n, classes) of log-odds (n, outputs)."""
    if logits.shape[1] == 1:
        return np.exp(log_likelihoods(logits))
    table: NDArray[np.float64] = scipy.special.softmax(logits, axis=1)
    return table
