"""Consensus that moves with each answer: EM a case at a time.

Neal and Hinton 1998, "A view of the EM algorithm that justifies incremental, sparse, and other variants": a case's part
of the expected counts is taken out, computed anew with what is known of the annotators now, and put back. Each step
raises the same objective as a whole EM, so that repeated over all cases it ends where that ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

_FLOOR: Final = 1e-10


def cautious(classes: int, right: float = 3.0, wrong: float = 1.0) -> NDArray[np.float64]:
    """Answers to take as given before by an annotator of whom nothing is known, (true, said): mostly right ones."""
    return np.full((classes, classes), wrong / max(classes - 1, 1)) + np.eye(classes) * (
        right - wrong / max(classes - 1, 1)
    )


def weighed(priors: NDArray[np.float64], answers: Iterable[tuple[NDArray[np.float64], int]]) -> NDArray[np.float64]:
    """Probability of each class of one case, (classes,).

    priors: (classes,), how frequent each class is.  answers: of each, what its annotator said before, (true, said),
    all above 0 in each row's sum, and the class that is answered now.
    """
    joint = np.log(np.maximum(priors, _FLOOR))
    for counts, said in answers:
        joint = joint + np.log(np.maximum(counts[:, said], _FLOOR)) - np.log(counts.sum(axis=1))
    weights = np.exp(joint - joint.max())
    return np.asarray(weights / weights.sum(), np.float64)


@dataclass(slots=True)
class _Case:
    answers: dict[str, int] = field(default_factory=dict)
    posterior: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


class OnlineDawidSkene:
    """Dawid and Skene's model, kept up to date. One answer costs (answers to its case) × classes².

    pseudo: answers that each annotator is taken to have given before, (true, said).
    """

    def __init__(self, classes: Sequence[str], pseudo: NDArray[np.float64] | None = None) -> None:
        self.classes = tuple(classes)
        self._numbers = {name: index for index, name in enumerate(self.classes)}
        self._pseudo = cautious(len(self.classes)) if pseudo is None else pseudo
        self._counts: dict[str, NDArray[np.float64]] = {}
        self._totals = np.zeros(len(self.classes))
        self._cases: dict[str, _Case] = {}

    def add(self, item: str, annotator: str, label: str) -> NDArray[np.float64]:
        """Take an answer, or another in the place of the annotator's earlier one; the case's posterior, (classes,).

        Raises:
            ValueError: the class is unknown.

        """
        if label not in self._numbers:
            raise ValueError(f"{annotator!r} answered {item!r} with {label!r}, none of {', '.join(self.classes)}")
        case = self._cases.setdefault(item, _Case())
        self._counts.setdefault(annotator, self._pseudo.copy())
        return self._settle(case, case.answers | {annotator: self._numbers[label]})

    def retract(self, item: str, annotator: str) -> None:
        """Take an answer back. One that was never given changes nothing."""
        case = self._cases.get(item)
        if case is None or annotator not in case.answers:
            return
        left = {who: said for who, said in case.answers.items() if who != annotator}
        self._settle(case, left)
        if not left:
            self._put(case, -1.0)
            del self._cases[item]

    def posterior(self, item: str) -> NDArray[np.float64]:
        """Probability of each class of a case, (classes,).

        Raises:
            KeyError: nobody answered it.

        """
        return self._cases[item].posterior.copy()

    def confusion(self, annotator: str) -> NDArray[np.float64]:
        """What an annotator says, by what is true, (true, said); of one unknown, what is taken to begin with."""
        counts = self._counts.get(annotator, self._pseudo)
        return np.asarray(counts / counts.sum(axis=1, keepdims=True), np.float64)

    def accuracy(self, annotator: str) -> float:
        """Expected share of right answers, over cases as they come."""
        return float(self.priors() @ np.diag(self.confusion(annotator)))

    def priors(self) -> NDArray[np.float64]:
        """How frequent each class is, (classes,)."""
        total = self._totals.sum()
        return self._totals / total if total > 0 else np.full(len(self.classes), 1 / len(self.classes))

    def sweep(self) -> float:
        """Go through all cases once more with what is known now; the largest change of a probability."""
        most = 0.0
        for case in self._cases.values():
            before = case.posterior
            most = max(most, float(np.max(np.abs(self._settle(case, case.answers) - before))))
        return most

    def _settle(self, case: _Case, answers: dict[str, int]) -> NDArray[np.float64]:
        """Let a case have these answers: its posterior by what is known now, and then the counts by that."""
        posterior = weighed(self.priors(), [(self._counts[annotator], said) for annotator, said in answers.items()])
        self._put(case, -1.0)
        case.answers, case.posterior = answers, posterior
        self._put(case, 1.0)
        return case.posterior

    def _put(self, case: _Case, sign: float) -> None:
        if not case.answers:
            return
        self._totals += sign * case.posterior
        for annotator, said in case.answers.items():
            self._counts[annotator][:, said] += sign * case.posterior
