"""How far each source of labels is to be trusted, where several answer and no case has more than one answer.

What a model of all labels says of a case that it has not learnt from stands in for a second answer. A source that is
right with probability a names a class that the model gives p with probability a * p + (1 - a) * (1 - p) / (classes -
1); how likely its labels are with each a tells how often it is right (after Raykar et al. 2010, "Learning from
crowds"). The model may be less sure of a source's cases than it says, for instance where one source alone answers the
hard ones: that is as likely beforehand, and must not explain the labels as well. A source counts less only where it is
surely worse than the others: by more than ten points, at the upper end of a 99 % interval. So whoever answers the hard
cases is not punished for it, and who answers few is believed. Models are then made anew with what was found, for wrong
answers have misled the first one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidemark.errors import ModelError
from tidemark.training.dataset import Dataset
from tidemark.training.learners.calibration import log_likelihoods
from tidemark.training.learners.family import calibrated
from tidemark.training.learners.member import MANY_ROWS, Task, Weights
from tidemark.training.learners.trees import FOREST

LEAST: Final = 12
"""Labels of a source from which on it is judged."""
_WORSE: Final = 0.1
"""By how much its share of right answers must be below that of the others."""
_SURE: Final = 0.99
_RIGHT: Final = np.linspace(0.0, 1.0, 201)
"""Shares of right answers that are tried; all are as likely beforehand."""
_SURENESS: Final = (0.25, 0.5, 1.0)
"""Powers of the model's probabilities that are as likely beforehand."""
_FLOOR: Final = 1e-3
_TIMES: Final = 3


@dataclass(frozen=True, slots=True)
class Source:
    """What was found of a source. right: share of its labels that are right.  weight: what each counts, 0 to 1."""

    name: str
    labels: int
    right: float
    weight: float


@dataclass(frozen=True, slots=True)
class Trust:
    """What labels are to count.

    weights: (n,) 0 to 1, of each label.  sources: what was found of each that has labels enough.
    said: (n, classes) probabilities by a model that has not learnt from the label; NaN where they are not known.
    """

    weights: NDArray[np.float64]
    sources: list[Source]
    said: NDArray[np.float64]


def several(rows: Dataset) -> bool:
    """Whether there are sources to compare: two of which each has labels enough."""
    return len(_judged(rows)) > 1


def _judged(rows: Dataset) -> list[str]:
    """Sources that have labels enough: as few as the labels allow, however many names there are."""
    counts = Counter(name for name in rows.sources or () if name is not None)
    return sorted(name for name, count in counts.items() if count >= LEAST)


def measured(rows: Dataset, task: Task) -> Trust | None:
    """How far labels are to be trusted.

    Args:
        rows: labeled events, with their sources; None of a source that is beyond doubt.
        task: what is learnt.

    Returns:
        It; None where nothing can be learnt from the labels, or of too many classes for what is known of them.

    """
    names = _judged(rows)
    place = {name: at for at, name in enumerate(names)}
    source = np.array([-1 if name is None else place.get(name, -1) for name in rows.sources or ()], np.int64)
    if rows.sources is None or len(source) != len(rows) or not len(rows):
        return None
    weights = np.ones(len(rows))
    trust = None
    for _ in range(_TIMES):
        said = _said(rows, task, weights)
        if said is None:  # what is left is of one class
            break
        found = _compared(said, rows.target, source, names)
        before, weights = weights, np.array([1.0, *(each.weight for each in found)])[source + 1]
        trust = Trust(weights, found, said)
        if (weights == before).all():
            break
    return trust


def _said(rows: Dataset, task: Task, weights: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """(n, classes) what a forest says of rows that it has not learnt from, and of those of little weight."""
    learnt = np.flatnonzero(weights > _FLOOR)[-MANY_ROWS:]
    if len(np.unique(rows.target[learnt])) < 2:
        return None
    given: Weights = weights[learnt] / weights[learnt].mean()
    try:
        found = calibrated(FOREST, rows.features[learnt], rows.target[learnt], task, given)
    except ModelError:
        return None
    said = np.full((len(rows), task.classes), np.nan)
    known = ~np.isnan(found.held_out).any(axis=1)
    said[learnt[known]] = np.exp(log_likelihoods(found.held_out[known]))
    left = np.setdiff1d(np.arange(len(rows)), learnt)
    if len(left):
        said[left] = np.exp(log_likelihoods(found.scale(found.model.scores(rows.features[left]))))
    return said


def _compared(
    said: NDArray[np.float64], target: NDArray[np.int64], source: NDArray[np.int64], names: list[str]
) -> list[Source]:
    """What was found of each source. One that is right by chance alone counts nothing."""
    known = ~np.isnan(said).any(axis=1)
    classes = said.shape[1]
    softened = [_own(said, target, power) for power in _SURENESS]
    mine = [known & (source == at) for at in range(len(names))]
    counts = np.array([int(each.sum()) for each in mine])
    right, most = np.ones(len(names)), np.ones(len(names))
    for at, rows in enumerate(mine):
        if counts[at] >= LEAST:
            parts = [
                np.log(_RIGHT[:, None] * own[rows] + (1 - _RIGHT[:, None]) * (1 - own[rows]) / (classes - 1)).sum(
                    axis=1
                )
                for own in softened
            ]
            logs = np.logaddexp.reduce(parts, axis=0)
            passed = np.cumsum(np.exp(logs - logs.max()))
            right[at] = _RIGHT[int(np.argmax(logs))]
            most[at] = _RIGHT[int(np.searchsorted(passed, _SURE * passed[-1]))]
    share = np.bincount(target, minlength=classes) / len(target)
    found = []
    for at, name in enumerate(names):
        others = [other for other in range(len(names)) if other != at and counts[other] >= LEAST]
        weight = 1.0
        if counts[at] >= LEAST and others:
            theirs = _median(right[others], counts[others])
            if most[at] < theirs - _WORSE:
                chance = float(np.bincount(target[mine[at]], minlength=classes) / counts[at] @ share)
                weight = float(np.clip((right[at] - chance) / max(theirs - chance, _FLOOR), 0.0, 1.0))
        found.append(Source(name, int((source == at).sum()), float(right[at]), weight))
    return found


def _own(said: NDArray[np.float64], target: NDArray[np.int64], power: float) -> NDArray[np.float64]:
    """(n,) probability of each label's class by the model, less sure of it the smaller the power."""
    powered = np.clip(said, _FLOOR, 1.0) ** power
    found: NDArray[np.float64] = powered[np.arange(len(target)), target] / powered.sum(axis=1)
    return np.clip(found, _FLOOR, 1 - _FLOOR)


def _median(values: NDArray[np.float64], counts: NDArray[np.int64]) -> float:
    """The median source, each counting as many times as it has labels."""
    order = np.argsort(values, kind="stable")
    passed = np.cumsum(counts[order])
    return float(values[order][int(np.searchsorted(passed, passed[-1] / 2))])


def doubtful(trust: Trust, target: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels that are worth a second look, the most doubtful first.

    A label is one where a model that has not learnt from it is as sure of another class as it is of that class on
    average where labels say it, and surer than of the label's own (confident learning; Northcutt, Jiang and Chuang
    2021, "Confident learning: estimating uncertainty in dataset labels").

    Args:
        trust: of the labels.
        target: (n,) their classes.

    Returns:
        Row numbers.

    """
    said = trust.said
    known = ~np.isnan(said).any(axis=1)
    classes = said.shape[1]
    bars = np.array(
        [
            said[known & (target == each), each].mean() if (known & (target == each)).any() else 2.0
            for each in range(classes)
        ]
    )
    own = said[np.arange(len(target)), target]
    others = np.where(np.arange(classes)[None] == target[:, None], -1.0, said)
    others = np.where(said >= bars[None], others, -1.0)
    other = others.max(axis=1)
    rows = np.flatnonzero(known & (other > own))
    found: NDArray[np.int64] = rows[np.argsort(-(other - own)[rows], kind="stable")]
    return found
