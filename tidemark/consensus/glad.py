"""GLAD: annotators' abilities and cases' ease together.

Whitehill, Ruvolo, Wu, Bergsma, Movellan 2009, "Whose vote should count more". An annotator of ability a answers a case
of ease b > 0 rightly with probability 1 / (1 + exp(-a b)), else with any of the other classes alike. Abilities and
log b have normal priors with mean 1 and variance 1, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy  # its parts are imported on first use: half a second, which commands that weigh no answers do not wait for
from numpy.polynomial.hermite_e import hermegauss

from tidemark.consensus.answers import Answers, Array1, Array2
from tidemark.consensus.dawid_skene import posterior
from tidemark.consensus.vote import shares

_MEAN: Final = 1.0
_STEPS: Final = 25
"""Of the ascent within one maximisation: enough to climb, for EM comes back to it."""


_NODES, _MASS = hermegauss(15)
_EASE: Final = np.exp(_MEAN + _NODES)
_WEIGHT: Final = _MASS / _MASS.sum()
"""Quadrature over the prior of a case's ease."""

_MOST: Final = 20.0
"""Of an ability, either way."""


@dataclass(frozen=True, slots=True)
class Glad:
    """A fitted model.

    ability: (annotators,), 0 for one who guesses, below for one who answers the opposite.  log_ease: (cases,).
    posteriors: (cases, classes).  log_posterior: of abilities and eases, up to a constant, after each iteration.
    """

    ability: Array1
    log_ease: Array1
    posteriors: Array2
    log_posterior: tuple[float, ...]


def glad(answers: Answers, *, iterations: int = 200, tolerance: float = 1e-7) -> Glad:
    """Fit by EM, from the shares of the votes; classes are equally frequent beforehand.

    Ends when an iteration adds less than `tolerance` a case to the log-posterior.

    Raises:
        ValueError: there are no answers.

    """
    if not len(answers):
        raise ValueError("there are no answers to reach a consensus on")
    people, cases = len(answers.annotator_ids), len(answers.item_ids)
    parameters = np.full(people + cases, _MEAN)
    posteriors = shares(answers)
    history: list[float] = []
    while True:
        right = posteriors[answers.items, answers.labels]
        parameters = scipy.optimize.minimize(
            _cost, parameters, (answers, right), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}
        ).x
        posteriors, evidence = _expect(answers, parameters)
        history.append(evidence - 0.5 * float(np.sum((parameters - _MEAN) ** 2)))
        if len(history) >= iterations or (len(history) > 1 and history[-1] - history[-2] <= tolerance * cases):
            return Glad(parameters[:people], parameters[people:], posteriors, tuple(history))


def ability(accuracy: float) -> float:
    """Ability of an annotator who answers cases of all sorts rightly with this probability, 0 to 1."""
    if not _accuracy(-_MOST) < accuracy < _accuracy(_MOST):
        return float(np.copysign(_MOST, accuracy - 0.5))
    return float(scipy.optimize.brentq(lambda each: _accuracy(each) - accuracy, -_MOST, _MOST))


def weighed(priors: Array1, answers: Sequence[tuple[float, int]]) -> Array1:
    """Probability of each class of one case whose ease is unknown, (classes,).

    priors: (classes,), how frequent each class is.  answers: of each, the annotator's ability and the class. Abilities
    are known from other cases; over the ease it is summed, so that answers that disagree make the case a hard one.
    """
    size = len(priors)
    right = np.array([scipy.special.expit(able * _EASE) for able, _ in answers]).reshape(-1, len(_EASE))
    said = np.array([label for _, label in answers], np.int64)
    mass = np.empty(size)
    for truth in range(size):
        hit = (said == truth)[:, None]
        mass[truth] = _WEIGHT @ np.prod(np.where(hit, right, (1 - right) / max(size - 1, 1)), axis=0)
    joint = np.maximum(priors * mass, np.finfo(np.float64).tiny)
    return np.asarray(joint / joint.sum(), np.float64)


def _accuracy(able: float) -> float:
    return float(_WEIGHT @ scipy.special.expit(able * _EASE))


def log_posterior(answers: Answers, ability: Array1, log_ease: Array1) -> float:
    """What EM climbs, up to a constant: log-likelihood of the answers plus the priors' logarithms."""
    parameters = np.concatenate([ability, log_ease])
    return _expect(answers, parameters)[1] - 0.5 * float(np.sum((parameters - _MEAN) ** 2))


def _cost(parameters: Array1, answers: Answers, right: Array1) -> tuple[float, Array1]:
    """Minus the expected log-posterior, and its gradient. right: probability that an answer is the true class."""
    people = len(answers.annotator_ids)
    ability, ease = parameters[:people][answers.annotators], np.exp(parameters[people:])[answers.items]
    margin = ability * ease
    wrong = np.log(max(len(answers.classes) - 1, 1))
    value = right * scipy.special.log_expit(margin) + (1 - right) * (scipy.special.log_expit(-margin) - wrong)
    slope = right - scipy.special.expit(margin)
    gradient = np.concatenate(
        [
            np.bincount(answers.annotators, slope * ease, people),
            np.bincount(answers.items, slope * margin, len(parameters) - people),
        ]
    )
    apart = parameters - _MEAN
    return float(0.5 * np.sum(apart**2) - value.sum()), apart - gradient


def _expect(answers: Answers, parameters: Array1) -> tuple[Array2, float]:
    people, size = len(answers.annotator_ids), len(answers.classes)
    margin = parameters[:people][answers.annotators] * np.exp(parameters[people:])[answers.items]
    said = np.repeat((scipy.special.log_expit(-margin) - np.log(max(size - 1, 1)))[:, None], size, axis=1)
    said[np.arange(len(answers)), answers.labels] = scipy.special.log_expit(margin)
    return posterior(answers.by_item(said) - np.log(size))
