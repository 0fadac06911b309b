"""The majority of the answers, to begin with and to compare with."""

from __future__ import annotations

import numpy as np

from tidemark.consensus.answers import Answers, Array2


def majority(answers: Answers) -> Array2:
    """Probability of each class by the most frequent answer, (cases, classes); ties share it."""
    counts = answers.counts()
    most = counts == counts.max(axis=1, keepdims=True, initial=0)
    return np.asarray(most / most.sum(axis=1, keepdims=True), np.float64)


def shares(answers: Answers) -> Array2:
    """Share of the answers that each class got, (cases, classes)."""
    counts = answers.counts()
    return np.asarray(counts / counts.sum(axis=1, keepdims=True), np.float64)
