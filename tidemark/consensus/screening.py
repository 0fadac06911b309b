"""Whose answers to set aside, and why: those who guess, and those who turn classes round.

Each annotator is compared with what the *others* made of the same cases, so that nobody is their own witness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from tidemark.consensus.answers import Answers, Array2, Indices
from tidemark.consensus.dawid_skene import dawid_skene
from tidemark.consensus.online import cautious
from tidemark.evaluation.intervals import wilson

Verdict = Literal["trusted", "unknown", "guesses", "contradicts"]

_LEAST: Final = 20
"""Answers to cases that others answered too, below which nothing is said of an annotator."""


@dataclass(frozen=True, slots=True)
class Screening:
    """What is found of an annotator.

    cases: that others answered too.  agreement: with the others, and its 95 % interval.  chance: the agreement of one
    who draws from the same frequencies without looking.  why: a sentence for a person.
    """

    annotator: str
    verdict: Verdict
    cases: int
    agreement: float
    low: float
    high: float
    chance: float
    why: str

    @property
    def quarantined(self) -> bool:
        """Whether the answers should wait for a reviewer."""
        return self.verdict in {"guesses", "contradicts"}


def screen(answers: Answers, *, least: int = _LEAST) -> list[Screening]:
    """Compare each annotator with the others, in the order of `answers.annotator_ids`."""
    if not len(answers):
        return []
    model = dawid_skene(answers, pseudo=cautious(len(answers.classes)))
    said = np.log(model.confusion)[answers.annotators, :, answers.labels]
    joint = np.log(np.maximum(model.priors, 1e-10)) + answers.by_item(said)
    others = joint[answers.items] - said
    others = np.exp(others - others.max(axis=1, keepdims=True))
    others /= others.sum(axis=1, keepdims=True)
    shared = np.bincount(answers.items, minlength=len(answers.item_ids))[answers.items] > 1
    mine = [shared & (answers.annotators == number) for number in range(len(answers.annotator_ids))]
    agreements = [_agreement(answers.labels[rows], others[rows]) for rows in mine]
    usual = float(np.median([agreement for agreement in agreements if np.isfinite(agreement)] or [1.0]))
    return [
        _screened(name, answers.labels[rows], others[rows], usual, least)
        for name, rows in zip(answers.annotator_ids, mine, strict=True)
    ]


def _agreement(labels: Indices, others: Array2) -> float:
    return float(others[np.arange(len(labels)), labels].mean()) if len(labels) else float("nan")


def _screened(name: str, labels: Indices, others: Array2, usual: float, least: int) -> Screening:
    cases = len(labels)
    if cases < least:
        why = f"{cases} answers to cases that others answered too; {least} are needed to tell"
        return Screening(name, "unknown", cases, float("nan"), 0.0, 1.0, float("nan"), why)
    agreement = _agreement(labels, others)
    chance = float(np.bincount(labels, minlength=others.shape[1]) / cases @ others.mean(axis=0))
    low, high = wilson(agreement, cases)
    told = (
        f"agrees with the others in {agreement:.0%} of {cases} cases ({low:.0%} to {high:.0%}), by chance {chance:.0%}"
    )
    verdict: Verdict
    if high < chance:
        verdict, why = "contradicts", f"{told}: less than chance, as if classes were turned round"
    elif low > chance:
        verdict, why = "trusted", told
    elif high < usual:
        verdict, why = "guesses", f"{told}: no more than chance, where others reach {usual:.0%}"
    else:
        verdict, why = "unknown", f"{told}: too few to tell from chance"
    return Screening(name, verdict, cases, agreement, low, high, chance, why)
