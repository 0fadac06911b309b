"""A threshold of alerts whose recall is guaranteed: at least .8, say, in 95 % of streams, whenever it is looked at.

Recall falls as the threshold rises. So thresholds are tested from the lowest on, each against "its recall is too low",
until one can't be refuted: the last before it is the answer. That it is too high needs the threshold at which recall is
just what was asked for to be refuted, whose chance is 5 % at most, however many are tested (risk-controlling prediction
sets: Bates et al. 2021). Tests are by betting on the positives as they come, each with the events that it stands for:
so labels may be drawn with unequal chances, and the answer may be looked at after every label (Xu, Karampatziakis and
Mineiro 2024, "Active, anytime-valid risk controlling prediction sets", arXiv 2406.10490).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from tidemark.evaluation.measures import Measured, Sample, share_of
from tidemark.evaluation.metrics import Floats

ALPHA: Final = 0.05
"""Chance that a threshold is ever told whose recall is below what was asked for."""
_STAKES: Final = 24
_CANDIDATES: Final = 64
_ALL: Final = 0.98
"""Of the wealth, at most this is staked on one positive."""


@dataclass(frozen=True, slots=True)
class Guaranteed:
    """The highest threshold whose recall is guaranteed.

    threshold: flag events whose probability is at least this; None where not even the lowest score of a positive so far
    can be told to be low enough.  recall: what it has on the answers.  alerts: share of all events that are flagged, of
    all where there is no threshold.  positives: answers that this rests on.  more: about how many more positives are
    needed where there is none, if all are flagged; 0 otherwise.
    """

    threshold: float | None
    recall: float | None
    alerts: Measured
    positives: int
    more: int = 0

    def fits(self, most_alerts: float) -> bool:
        """Whether no more than a share of all events is flagged, at the upper end of its interval."""
        return self.threshold is not None and self.alerts.high <= most_alerts


def guaranteed(sample: Sample, index: int, recall: float, alpha: float = ALPHA) -> Guaranteed:
    """The highest threshold that flags at least a share of all events of a class.

    Args:
        sample: answers in the order in which they were known, scored by a model that had not learnt from them.
        index: the class that is looked for.
        recall: share of its events that must be flagged, above 0 and below 1.
        alpha: chance of being wrong, however often this is asked as answers come.

    Returns:
        The threshold.

    Raises:
        ValueError: the recall or the chance is no share.

    """
    for name, given in (("recall", recall), ("alpha", alpha)):
        if not 0 < given < 1:
            raise ValueError(f"{name}: expected a number above 0 and below 1, got {given!r}")
    score, positive = sample.score(index), sample.truth == index
    of_positives, weight = score[positive], sample.weight[positive]
    if not len(weight):
        return Guaranteed(None, None, share_of(score >= -math.inf, sample.weight), 0, _needed(recall, alpha, 0.0))
    weight = weight / float(sample.weight.max())
    candidates = np.unique(of_positives)
    # Wealth falls as the threshold rises, so a coarser grid is never told a higher one.
    candidates = candidates[np.unique(np.linspace(0, len(candidates) - 1, _CANDIDATES).round().astype(np.int64))]
    wealth = _wealth(of_positives, weight, candidates, recall)
    refuted = wealth >= math.log(1 / alpha)
    kept = len(candidates) if refuted.all() else int(np.argmin(refuted))
    if kept == 0:
        more = _needed(recall, alpha, float(wealth[0]))
        return Guaranteed(None, None, share_of(score >= -math.inf, sample.weight), len(weight), more)
    threshold = float(candidates[kept - 1])
    found = float(weight[of_positives >= threshold].sum() / weight.sum())
    return Guaranteed(threshold, found, share_of(score >= threshold, sample.weight, sample.entity), len(weight))


def _wealth(score: Floats, weight: Floats, candidates: Floats, recall: float) -> Floats:
    """(candidates,) logarithm of the most wealth ever of who bets, at each, that more than `recall` is flagged.

    The wealth is spread over stakes, each of which stays what it is: one of them is about the best (Cover 1991).
    """
    stakes = _ALL / recall * np.arange(1, _STAKES + 1) / _STAKES
    most = np.full(len(candidates), -math.inf)
    wealth = np.zeros((len(candidates), _STAKES))
    for each, heavy in zip(score.tolist(), weight.tolist(), strict=True):
        gain = heavy * ((each >= candidates) - recall)
        wealth += np.log1p(gain[:, None] * stakes)
        most = np.maximum(most, np.logaddexp.reduce(wealth, axis=1) - math.log(_STAKES))
    return most


def _needed(recall: float, alpha: float, wealth: float) -> int:
    """Positives that are flagged until the wealth reaches its goal, at the largest stake."""
    each = math.log1p(_ALL / recall * (1 - recall))
    return max(1, math.ceil((math.log(1 / alpha) + math.log(_STAKES) / 2 - wealth) / each))
