"""Dawid and Skene 1979, "Maximum likelihood estimation of observer error-rates using the EM algorithm"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from tidemark.consensus.answers import Answers, Array1, Array2, Array3
from tidemark.consensus.vote import shares

_FLOOR: Final = 1e-10
"""Of a probability that was never seen, so that one answer does not rule a class out for ever."""


@dataclass(frozen=True, slots=True)
class DawidSkene:
    """A fitted model.

    priors: (classes,), how frequent each class is.  confusion: (annotators, true, said), rows sum to 1.
    posteriors: (cases, classes).  log_likelihood: of the answers, natural logarithm, after each iteration.
    """

    priors: Array1
    confusion: Array3
    posteriors: Array2
    log_likelihood: tuple[float, ...]


def dawid_skene(
    answers: Answers, *, pseudo: Array2 | None = None, iterations: int = 1_000, tolerance: float = 1e-9
) -> DawidSkene:
    """Fit by expectation and maximisation from the shares of the votes.

    pseudo: answers that each annotator is taken to have given before, (true, said); None for maximum likelihood.
    Ends when an iteration adds less than `tolerance` a case to the (penalised) log-likelihood.

    Raises:
        ValueError: there are no answers.

    """
    if not len(answers):
        raise ValueError("there are no answers to reach a consensus on")
    size = len(answers.classes)
    before = np.zeros((size, size)) if pseudo is None else pseudo
    posteriors = shares(answers)
    history: list[float] = []
    best = -np.inf
    while True:
        priors, confusion = _maximise(answers, posteriors, before)
        posteriors, likelihood = _expect(answers, priors, confusion)
        history.append(likelihood)
        objective = likelihood + float(np.sum(before * np.log(confusion)))
        if len(history) >= iterations or objective - best <= tolerance * len(answers.item_ids):
            return DawidSkene(priors, confusion, posteriors, tuple(history))
        best = objective


def penalised(answers: Answers, priors: Array1, confusion: Array3, pseudo: Array2) -> float:
    """What EM climbs: log-likelihood of the answers and of those taken as given before. pseudo: (true, said)."""
    return _expect(answers, priors, confusion)[1] + float(np.sum(pseudo * np.log(confusion)))


def _maximise(answers: Answers, posteriors: Array2, before: Array2) -> tuple[Array1, Array3]:
    size, people = len(answers.classes), len(answers.annotator_ids)
    cells = answers.annotators * size + answers.labels
    held = posteriors[answers.items]
    counts = np.stack([np.bincount(cells, column, people * size).reshape(people, size) for column in held.T], axis=1)
    return posteriors.mean(axis=0), normalised(counts + before)


def _expect(answers: Answers, priors: Array1, confusion: Array3) -> tuple[Array2, float]:
    said = np.log(confusion)[answers.annotators, :, answers.labels]
    return posterior(np.log(np.maximum(priors, _FLOOR)) + answers.by_item(said))


def normalised(counts: Array3) -> Array3:
    """Confusion matrices of counts (annotators, true, said), none of whose entries is 0."""
    floored = np.maximum(counts, _FLOOR)
    return np.asarray(floored / floored.sum(axis=-1, keepdims=True), np.float64)


def posterior(joint: Array2) -> tuple[Array2, float]:
    """Probabilities of the classes from the logarithms of the joint ones, (cases, classes); and their evidence."""
    most = joint.max(axis=1, keepdims=True)
    weights = np.exp(joint - most)
    total = weights.sum(axis=1, keepdims=True)
    return weights / total, float(np.sum(most + np.log(total)))
