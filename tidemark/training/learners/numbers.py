"""Models of a number: the members of the family as regressions, and an interval about what they say.

The number is learnt in units of its own spread. Every member is a regression by least squares: boosted trees, forests,
and ridge regression on ranks. `auto` weighs them as classes' learners are weighed, by exponential weights; the loss of
a label is its squared error over twice the variance of the mean's errors, a Gaussian's log-loss.

The interval is conformal. Each label is foretold by models that have learnt from none of its fold, and folds hold whole
entities, or pieces of time where entities are few (`tidemark.training.folds`). A forest learns how large these errors
are where (Lei et al. 2018, "Distribution-free predictive inference for regression", section 5.2). An error over what
was expected of it, again by a forest that has not learnt from the fold, is a label's score; the interval is so many
times the expected error as the 90 % quantile of the scores says, with one more label at infinity (cross-conformal:
Vovk 2015, "Cross-conformal predictors"; Barber et al. 2021, "Predictive inference with the jackknife+"). Where labels
of a random draw are enough they alone count, each for the events that it stands for (Tibshirani et al. 2019,
"Conformal prediction under covariate shift"). With fewer than nine labels the interval is all that can be right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.forest.combination import stacked
from kernels.forest.model_text import ForestModel
from tidemark.errors import ModelError
from tidemark.pipeline.model import LearnerName
from tidemark.registry.estimates import LEVEL
from tidemark.training.learners.evidence import LEAST_DRAWN, drawn_of, inverse, weights_of
from tidemark.training.learners.family import BLOCKS, MEMBERS
from tidemark.training.learners.member import (
    FOLDS,
    LEAST_ROWS,
    MANY_ROWS,
    Fitted,
    Grown,
    Member,
    Model,
    Task,
    Weighted,
    Weights,
    part,
    unknown,
)
from tidemark.training.learners.steps import step_forest
from tidemark.training.learners.trees import FOREST

Floats = NDArray[np.float64]
_DIGITS: Final = 9
"""Significant digits of what is measured of labels, that processors which round otherwise come to the same bytes."""
_TINY: Final = 1e-9
"""Least spread, in units of the number's own."""


@dataclass(frozen=True, slots=True)
class Labeled:
    """Rows that a number is learnt from.

    x: (n, d), NaN is missing.  y: (n,) numbers.  fold: (n,) fold of each, from 0.
    order: rows in the order in which their labels became known.
    inclusion: (n,) probability by which each event was drawn to be labeled, NaN where there is none; None: of none.
    weights: of the rows, when members learn.
    """

    x: Floats
    y: Floats
    fold: NDArray[np.int64]
    order: NDArray[np.int64]
    inclusion: Floats | None = None
    weights: Weights = None


@dataclass(frozen=True, slots=True)
class NumberModel:
    """A model whose scores are the number and half the width of its interval."""

    value: Model
    half: Model

    def scores(self, x: Floats, /) -> Floats:
        """(n, 2) of rows (n, d)."""
        return np.hstack((self.value.scores(x), self.half.scores(x)))

    def forest(self) -> ForestModel:
        """The forest of both."""
        return stacked([self.value.forest(), self.half.forest()])


@dataclass(frozen=True, slots=True)
class _Unit:
    """In what a number is learnt: less `center`, divided by `spread`."""

    center: float
    spread: float

    @classmethod
    def of(cls, y: Floats) -> _Unit:
        return cls(_rounded(float(y.mean())), _rounded(float(y.std())) or 1.0)

    def __call__(self, y: Floats) -> Floats:
        return (y - self.center) / self.spread


def number_model(learner: LearnerName, rows: Labeled, task: Task) -> NumberModel:
    """A model of a number.

    Args:
        learner: as `training.learner` names it.
        rows: labels, at least one.
        task: what is learnt.

    Returns:
        The model; the same from the same arguments.

    Raises:
        ModelError: nothing can be learnt from these rows.

    """
    _check(rows.y)
    unit = _Unit.of(rows.y)
    z = unit(rows.y)
    members, shares = _members(learner, rows, z, task)
    held_out = np.sum([share * each.held_out for share, each in zip(shares, members, strict=True)], axis=0)
    value = _mean([each.model for each in members], shares, unit)
    return NumberModel(value, _half(rows, np.abs(z - held_out[:, 0]), unit, task))


def value_model(learner: LearnerName, rows: Labeled, task: Task) -> Model:
    """What `number_model` says of the number alone; arguments as it has them."""
    _check(rows.y)
    unit = _Unit.of(rows.y)
    z, names = unit(rows.y), _names(learner)
    if learner == "auto":
        members, shares = _members(learner, rows, z, task)
        return _mean([each.model for each in members], shares, unit)
    models = [MEMBERS[name].fit(rows.x, z, _own(name, learner, task), rows.weights) for name in names]
    return _mean(models, np.full(len(names), 1 / len(names)), unit)


def _members(learner: LearnerName, rows: Labeled, z: Floats, task: Task) -> tuple[list[Fitted], Floats]:
    """The members of a learner, and the weight of each."""
    members = {name: _fitted(MEMBERS[name], rows, z, _own(name, learner, task)) for name in _names(learner)}
    shares = _judged(members, rows, z, task) if learner == "auto" else np.full(len(members), 1 / len(members))
    return list(members.values()), shares


def _check(y: Floats) -> None:
    if not len(y) or y.min() == y.max():
        raise ModelError(f"{len(y)} labels are too few or too alike to learn from")


def _names(learner: LearnerName) -> list[LearnerName]:
    return [learner] if learner in MEMBERS else list(MEMBERS)


def _own(name: LearnerName, learner: LearnerName, task: Task) -> Task:
    """In a model of several members, parameters of LightGBM are of the boosted trees."""
    return task if name in ("boosted", learner) else replace(task, params=None)


def _mean(models: list[Model], shares: Floats, unit: _Unit) -> Model:
    parts = [
        (model, share * unit.spread, np.array([share * unit.center]))
        for model, share in zip(models, shares.tolist(), strict=True)
        if share > 0
    ]
    return Weighted(parts)


def _fitted(member: Member, rows: Labeled, z: Floats, task: Task) -> Fitted:
    """A member that has learnt from rows, and what it says of each where it has not learnt from the row's fold."""
    model = member.fit(rows.x, z, task, rows.weights)
    if len(z) < LEAST_ROWS:
        return unknown(model, len(z), task)
    held_out = np.full((len(z), 1), np.nan)
    folds = np.unique(rows.fold)
    for fold in folds[: FOLDS if len(z) <= MANY_ROWS else 1].tolist():
        out = rows.fold == fold
        learnt = ~out
        if learnt.sum() >= LEAST_ROWS // 2:
            held_out[out] = member.fit(rows.x[learnt], z[learnt], task, part(rows.weights, learnt)).scores(rows.x[out])
    return Fitted(model, held_out)


def _judged(members: dict[LearnerName, Fitted], rows: Labeled, z: Floats, task: Task) -> Floats:
    """Weights of members by how well they foretell labels: from labels of other folds, and from earlier ones alone."""
    held_out = [each.held_out[:, 0] for each in members.values()]
    known = np.flatnonzero(~np.isnan(held_out).any(axis=0))
    later, foretold = _foretold(members, rows, z, task)
    weight = _importance(rows.inclusion, len(z))
    parts = [([each[known] for each in held_out], known), (foretold, later)]
    errors = np.mean([each[known] for each in held_out], axis=0) - z[known] if len(known) else np.ones(1)
    variance = max(float(np.square(errors).mean()), _TINY)

    def losses(of: list[Floats], places: NDArray[np.int64]) -> list[Floats]:
        given = [*of, np.mean(of, axis=0)]
        return [weight[places] * np.square(each - z[places]) / (2 * variance) / len(parts) for each in given]

    *singles, mean = (np.concatenate(both) for both in zip(*(losses(*each) for each in parts), strict=True))
    return weights_of(singles, mean)


def _foretold(
    members: dict[LearnerName, Fitted], rows: Labeled, z: Floats, task: Task
) -> tuple[NDArray[np.int64], list[Floats]]:
    """Rows of all blocks of time but the first, and what each member says of them from the blocks before."""
    if len(z) < LEAST_ROWS * BLOCKS:
        return rows.order[:0], [np.zeros(0) for _ in members]
    blocks = np.array_split(rows.order, BLOCKS)
    first = 1 if len(z) <= MANY_ROWS else BLOCKS - 1
    said = []
    for name in members:
        parts = []
        for at in range(first, BLOCKS):
            before = np.sort(np.concatenate(blocks[:at])[-MANY_ROWS:])
            weights = part(rows.weights, before)
            model = MEMBERS[name].fit(rows.x[before], z[before], _own(name, "auto", task), weights)
            parts.append(model.scores(rows.x[blocks[at]])[:, 0])
        said.append(np.concatenate(parts))
    return np.concatenate(blocks[first:]), said


def _importance(inclusion: Floats | None, n: int) -> Floats:
    """(n,) what each label counts for the stream: only drawn ones where they are enough, else all alike."""
    if inclusion is None or int(drawn_of(inclusion).sum()) < LEAST_DRAWN:
        return np.ones(n)
    return inverse(inclusion)


def _half(rows: Labeled, errors: Floats, unit: _Unit, task: Task) -> Model:
    """Half the width of the interval. errors: (n,) of labels, NaN where none is known."""
    known = np.flatnonzero(~np.isnan(errors))
    least, greatest = task.schema.bounds or (-math.inf, math.inf)
    all_there_is = Grown(step_forest([], np.array([greatest - least]), task.schema))
    if len(known) < LEAST_ROWS:
        return all_there_is
    usual = max(_rounded(float(errors[known].mean())), _TINY)
    own = replace(rows, x=rows.x[known], fold=rows.fold[known], weights=part(rows.weights, known))
    sized = _fitted(FOREST, own, errors[known], replace(task, params=None))
    expected = (np.where(np.isnan(sized.held_out[:, 0]), usual, sized.held_out[:, 0]) + usual) / 2
    weight = _importance(None if rows.inclusion is None else rows.inclusion[known], len(known))
    times = quantile(errors[known] / np.maximum(expected, _TINY), weight, LEVEL)
    if math.isinf(times):
        return all_there_is
    slope = _rounded(times) * unit.spread / 2
    return Weighted([(sized.model, slope, np.array([slope * usual]))])


def quantile(scores: Floats, weight: Floats, level: float) -> float:
    """The score that a new label stays below with a probability of `level` at least.

    Args:
        scores: (n,) of labels.
        weight: (n,) what each counts. A new label may count as much as the heaviest of them.
        level: from 0 to 1.

    Returns:
        A score; infinity where there are too few.

    """
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(weight[order]) / (weight.sum() + weight.max(initial=0.0) + _TINY * _TINY)
    at = int(np.searchsorted(reached, level - _TINY))
    return float(scores[order[at]]) if at < len(order) else math.inf


def _rounded(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")
