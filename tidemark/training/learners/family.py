"""The family of learners, and models put together of its members.

Every model is a LightGBM text: one reader, one sandbox and one forest kernel serve all learners. A member that is not
LightGBM's boosted trees alone is calibrated, so that its score is the log-odds; a mean of members is the mean of their
log-odds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidemark.pipeline.model import LearnerName
from tidemark.training.learners.calibration import Scale, log_likelihoods, scale_of, shifted, to_shares
from tidemark.training.learners.evidence import importance, inverse, partly_drawn, weights_of
from tidemark.training.learners.linear import LINEAR
from tidemark.training.learners.member import LEAST_ROWS, MANY_ROWS, Member, Model, Task, Weighted, Weights, part
from tidemark.training.learners.trees import BOOSTED, EXTRA_TREES, FOREST

MEMBERS: Final[dict[LearnerName, Member]] = {
    "boosted": BOOSTED,
    "forest": FOREST,
    "extra_trees": EXTRA_TREES,
    "linear": LINEAR,
}
"""Every learner that is none of others."""
BLOCKS: Final = 4
"""Blocks of labels, in the order of time; each but the first is foretold from those before it."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A member that has learnt.

    scale: makes log-odds of its scores.
    held_out: (n, outputs) log-odds of the rows, each by a model that had not learnt from the row.
    """

    model: Model
    scale: Scale
    held_out: NDArray[np.float64]


def model_of(
    learner: LearnerName,
    x: NDArray[np.float64],
    y: NDArray[np.int64],
    task: Task,
    *,
    order: NDArray[np.int64] | None = None,
    inclusion: NDArray[np.float64] | None = None,
    weights: Weights = None,
    uneven: bool = False,
) -> Model:
    """A model of rows.

    Args:
        learner: as `training.learner` names it.
        x: (n, d) rows, NaN is missing.
        y: (n,) classes.
        task: what is learnt.
        order: rows in the order in which their labels became known. None: as they stand.
        inclusion: (n,) probability by which each event was drawn to be labeled, NaN where there is none.
        weights: of the rows, when members learn.
        uneven: whether `inclusion` depends on the class.

    Returns:
        A model whose scores are log-odds; the same from the same arguments.

    Raises:
        ModelError: nothing can be learnt from these rows.

    """
    if learner in MEMBERS:
        return mixed([calibrated(MEMBERS[learner], x, y, task, weights, inclusion, uneven=uneven)], np.ones(1))
    members = {
        name: calibrated(member, x, y, _own(name, task), weights, inclusion, uneven=uneven)
        for name, member in MEMBERS.items()
    }
    if learner == "mean":
        shares = np.full(len(members), 1 / len(members))
    else:
        shares = judged(members, x, y, task, order=order, inclusion=inclusion, weights=weights)
    return mixed(list(members.values()), shares)


def calibrated(
    member: Member,
    x: NDArray[np.float64],
    y: NDArray[np.int64],
    task: Task,
    weights: Weights = None,
    inclusion: NDArray[np.float64] | None = None,
    *,
    uneven: bool = False,
) -> Calibrated:
    """A member that has learnt from rows; arguments as `model_of` has them."""
    fitted = member.fit_held_out(x, y, task, weights)
    share = float(np.mean(y == 1)) if task.outputs == 1 else 1 / task.classes
    known = ~np.isnan(fitted.held_out[:, 0])
    if weights is not None:  # old rows, which count less, would say that a model of the new ones is unsure
        known &= weights >= weights.mean()
    slope = member.slope(min(max(share, 0.01), 0.99))
    if known.any():
        scale = scale_of(fitted.held_out[known], y[known], task.classes, slope)
        if inclusion is not None and (uneven or partly_drawn(inclusion)):
            drawn = np.where(known, inverse(inclusion, bounded=not uneven), 0.0)
            scale = to_shares(scale, y[known], task.classes, drawn[known]) if uneven else scale
            scale = shifted(scale, fitted.held_out, y, task.classes, drawn)
    else:  # as if every score were 0
        scale = scale_of(np.zeros_like(fitted.held_out), y, task.classes, slope)
    return Calibrated(fitted.model, scale, scale(fitted.held_out))


def _own(name: LearnerName, task: Task) -> Task:
    """In a model of several members, parameters of LightGBM are of the boosted trees."""
    return task if name == "boosted" else replace(task, params=None)


def mixed(members: list[Calibrated], weights: NDArray[np.float64]) -> Model:
    """The weighted mean of members' log-odds."""
    return Weighted(
        [
            (member.model, weight * member.scale.slope, weight * member.scale.intercept)
            for member, weight in zip(members, weights.tolist(), strict=True)
            if weight > 0
        ]
    )


def judged(
    members: dict[LearnerName, Calibrated],
    x: NDArray[np.float64],
    y: NDArray[np.int64],
    task: Task,
    *,
    order: NDArray[np.int64] | None = None,
    inclusion: NDArray[np.float64] | None = None,
    weights: Weights = None,
) -> NDArray[np.float64]:
    """Weights of members by how well they foretell rows; arguments as `model_of` has them.

    A label is foretold twice: by what was learnt from labels on both sides of it in time, of which there are most, and
    by what was learnt from earlier labels alone, as in use. Each counts half.
    """
    weight = importance(inclusion, y)
    held_out = [member.held_out for member in members.values()]
    known = np.flatnonzero(~np.isnan(np.hstack(held_out)).any(axis=1))
    held_out = [each[known] for each in held_out]
    later, foretold = _foretold(members, x, y, task, np.arange(len(y)) if order is None else order, weights)
    parts = [(held_out, known), (foretold, later)]

    def losses(of: Callable[[list[NDArray[np.float64]]], NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.concatenate([weight[rows] * _losses(of(logits), y[rows]) for logits, rows in parts]) / len(parts)

    singles = [losses(itemgetter(at)) for at in range(len(members))]
    return weights_of(singles, losses(lambda logits: np.mean(logits, axis=0)))


def _foretold(
    members: dict[LearnerName, Calibrated],
    x: NDArray[np.float64],
    y: NDArray[np.int64],
    task: Task,
    order: NDArray[np.int64],
    weights: Weights,
) -> tuple[NDArray[np.int64], list[NDArray[np.float64]]]:
    """Rows of all blocks but the first, and each member's log-odds of them from the blocks before."""
    if len(y) < LEAST_ROWS * BLOCKS:
        return order[:0], [np.zeros((0, task.outputs)) for _ in members]
    blocks = np.array_split(order, BLOCKS)
    first = 1 if len(y) <= MANY_ROWS else BLOCKS - 1
    logits = []
    for name, member in members.items():
        parts = []
        for at in range(first, BLOCKS):
            before = np.sort(np.concatenate(blocks[:at])[-MANY_ROWS:])
            model = MEMBERS[name].fit(x[before], y[before], _own(name, task), part(weights, before))
            parts.append(member.scale(model.scores(x[blocks[at]])))
        logits.append(np.concatenate(parts))
    return np.concatenate(blocks[first:]), logits


def _losses(logits: NDArray[np.float64], y: NDArray[np.int64]) -> NDArray[np.float64]:
    return -log_likelihoods(logits)[np.arange(len(y)), y]
