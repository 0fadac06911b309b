"""Whose answers to set aside, and why: those who guess, and those who turn answers round.

Each annotator is compared with what the *others* made of the same cases, so that nobody is their own witness.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from tidemark.consensus.answers import Answers, Array2, Indices
from tidemark.consensus.dawid_skene import dawid_skene
from tidemark.consensus.numbers import median
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
    usual = _usual(agreements)
    chances = [_chance(answers.labels[rows], others[rows]) for rows in mine]
    return [
        _screened(name, int(rows.sum()), agreement, chance, usual, least)
        for name, rows, agreement, chance in zip(answers.annotator_ids, mine, agreements, chances, strict=True)
    ]


def screen_numbers(
    answers: Iterable[tuple[str, str, float]], tolerance: float, *, least: int = _LEAST
) -> list[Screening]:
    """Compare each annotator's numbers with the median of the others'.

    Args:
        answers: (case, annotator, number), finite, one of each annotator a case.
        tolerance: within which two numbers agree; 0 where they must be the same.
        least: answers to shared cases below which nothing is said of an annotator.

    Returns:
        What is found of each annotator, in the order in which they come.

    """
    by_case: dict[str, dict[str, float]] = {}
    pairs: dict[str, list[tuple[float, float]]] = {}
    for case, annotator, number in answers:
        by_case.setdefault(case, {})[annotator] = number
        pairs.setdefault(annotator, [])
    for said in by_case.values():
        for annotator, number in said.items() if len(said) > 1 else ():
            others = median([theirs for other, theirs in said.items() if other != annotator])
            pairs[annotator].append((number, others))
    near = {name: _near(np.array(each).reshape(-1, 2), tolerance) for name, each in pairs.items()}
    usual = _usual([agreement for agreement, _ in near.values()])
    return [_screened(name, len(pairs[name]), *near[name], usual, least) for name in pairs]


def _near(pairs: Array2, tolerance: float) -> tuple[float, float]:
    """Share of numbers near to the others', and the share if they were dealt out among the cases by lot."""
    if not len(pairs):
        return float("nan"), float("nan")
    reach = tolerance + 1e-9 * tolerance + 1e-15 * float(np.abs(pairs).max())
    own, others = pairs[:, 0], np.sort(pairs[:, 1])
    met = np.searchsorted(others, own + reach, "right") - np.searchsorted(others, own - reach, "left")
    return float(np.mean(np.abs(own - pairs[:, 1]) <= reach)), float(met.mean() / len(own))


def _usual(agreements: Iterable[float]) -> float:
    return float(np.median([agreement for agreement in agreements if np.isfinite(agreement)] or [1.0]))


def _agreement(labels: Indices, others: Array2) -> float:
    return float(others[np.arange(len(labels)), labels].mean()) if len(labels) else float("nan")


def _chance(labels: Indices, others: Array2) -> float:
    if not len(labels):
        return float("nan")
    return float(np.bincount(labels, minlength=others.shape[1]) / len(labels) @ others.mean(axis=0))


def _screened(name: str, cases: int, agreement: float, chance: float, usual: float, least: int) -> Screening:
    if cases < least:
        why = f"{cases} answers to cases that others answered too; {least} are needed to tell"
        return Screening(name, "unknown", cases, float("nan"), 0.0, 1.0, float("nan"), why)
    low, high = wilson(agreement, cases)
    told = (
        f"agrees with the others in {agreement:.0%} of {cases} cases ({low:.0%} to {high:.0%}), by chance {chance:.0%}"
    )
    verdict: Verdict
    if high < chance:
        verdict, why = "contradicts", f"{told}: less than chance, as if answers were turned round"
    elif low > chance:
        verdict, why = "trusted", told
    elif high < usual:
        verdict, why = "guesses", f"{told}: no more than chance, where others reach {usual:.0%}"
    else:
        verdict, why = "unknown", f"{told}: too few to tell from chance"
    return Screening(name, verdict, cases, agreement, low, high, chance, why)
