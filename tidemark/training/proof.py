"""Proof that one model is better than another, which may be looked for after every few labels.

A champion that has learnt from many labels is replaced by a challenger that is shown to be better (`gates.proof_from`).
Both score each label that is newer than the champion before they learn from it. Those labels are cut into blocks, each
half as large again as the one before. A stand-in for the challenger has learnt from all that was known when a block
began and scores that block. Blocks follow from the labels alone: the difference of a label stays what it is whenever
it is looked at, which the test needs (`tidemark.evaluation.betting`).

A loss of a class is its log loss, one of a number its squared error over twice the variance of the numbers that the
champion has learnt from: both are nats, and count to a bound.

Labels of the random draw decide, each with the weight of the events that it stands for: of those that a policy picked
nobody knows what they stand for. A pipeline that draws none decides by all.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidemark.errors import ModelError
from tidemark.evaluation import betting
from tidemark.evaluation.metrics import Floats
from tidemark.pipeline.model import Gates
from tidemark.runtime.figures import figure
from tidemark.training.dataset import Dataset
from tidemark.training.gate import Verdict, needed, not_worse
from tidemark.training.target import Target

Probabilities = Callable[[Floats], Floats]
Learner = Callable[[Dataset], Probabilities]

MOST: Final = 3.0
"""Nats that a label's loss counts at most: one sure mistake does not decide, and the test needs a bound."""
_MOST_WEIGHT: Final = 3.0
"""Weight of a label at most, in units of those before it."""
_GROWTH: Final = 1.5
_KEPT: Final = 16
_LEAST_WORTH: Final = 0.005
ALPHA_BACK: Final = 0.01
"""Chance that a champion is ever taken to be worse than the one before where it is not."""
_HARM: Final = 0.25
"""Nats by which it is worse where it does harm: what is less, the next challenger mends."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Two models' losses on labels that neither has learnt from, in the order in which the labels were known.

    ours, theirs: (n,) nats, at most `MOST`, of the one in doubt and of the other.
    weight: (n,) relative weights, about 1.  drawn: whether the labels are of the random draw.
    target: what the losses are of.
    """

    ours: Floats
    theirs: Floats
    weight: Floats
    drawn: bool
    target: Target

    def __len__(self) -> int:
        """Labels."""
        return len(self.weight)

    @property
    def bound(self) -> float:
        """What no gain lies beyond."""
        return MOST * (_MOST_WEIGHT if self.drawn else 1.0)

    @property
    def gains(self) -> Floats:
        """How much better ours is on each label, weighted."""
        found: Floats = self.weight * (self.theirs - self.ours)
        return found

    def mean(self, values: Floats) -> float:
        """Weighted mean."""
        return float((self.weight * values).sum() / self.weight.sum())

    def verdict(self, reason: str, *, passed: bool, least: float) -> Verdict:
        """The verdict with its figures; `reason` comes before them. least: difference that was looked for, nats."""
        low, high = betting.interval(self.gains, self.bound, least)
        heavy = float(self.weight.mean())
        theirs = self.mean(self.theirs)
        losses = (self.mean(self.ours), theirs - high / heavy, theirs - low / heavy)
        champion = self.target.figure(theirs)
        ours, lowest, highest = (self.target.figure(max(loss, 0.0)) for loss in losses)
        difference, low, high = ours - champion, lowest - champion, highest - champion
        which = "random" if self.drawn else "newest"
        metric = self.target.metric

        def told(number: float, *, signed: bool = False) -> str:
            sign = "+" if signed else ""
            return f"{number:{sign}.4f}" if metric == "log_loss" else figure(number, 4, signed=signed)

        ends = f"[{told(low, signed=True)}, {told(high, signed=True)}]"
        words = (
            f"{self.target.words} {told(ours)} against the champion's {told(champion)} on the {len(self)} {which} "
            f"labels since, difference {told(difference, signed=True)} {ends}"
        )
        return Verdict(passed, f"{reason}: {words}", metric, len(self), champion, ours, difference, low, high)


def worth(gates: Gates) -> float:
    """The smallest difference that is looked for, nats. Of a number, about that share of the error of the mean."""
    return max(gates.tolerance, _LEAST_WORTH)


def pairs_of(
    target: Target,
    rows: Dataset,
    tested: NDArray[np.int64],
    ours: Floats,
    theirs: Floats,
    drawn: Mapping[str, float],
) -> Pairs:
    """Losses on labels of the random draw, or on all where there is none.

    Args:
        target: what the labels are, measured by labels that were known before these.
        rows: labeled events.
        tested: which of them neither model has learnt from, in the order in which they were known.
        ours: (tested, width) what the model in doubt says.
        theirs: what the other says.
        drawn: events of the random draw with what each stands for.

    Returns:
        The pairs.

    """
    weight = np.array([drawn.get(rows.event_ids[place], math.nan) for place in tested.tolist()], np.float64)
    known = np.isfinite(weight)
    chosen = known if known.any() else np.ones(len(tested), np.bool_)
    ours, theirs = (np.minimum(target.losses(rows, tested[chosen], table[chosen]), MOST) for table in (ours, theirs))
    if not known.any():
        return Pairs(ours, theirs, np.ones(len(tested)), drawn=False, target=target)
    weight = weight[known]
    before = (np.cumsum(weight) - weight + weight[0]) / np.arange(1, len(weight) + 1)
    return Pairs(ours, theirs, np.minimum(weight / before, _MOST_WEIGHT), drawn=True, target=target)


class Shadow:
    """Challengers that score each label before they learn from it. Keeps stand-ins from one call to the next."""

    def __init__(self, learn: Learner, target: Target) -> None:
        """learn: makes a model of rows.  target: what the labels are."""
        self._learn = learn
        self._target = target
        self._known: dict[str, Probabilities] = {}

    def compare(
        self,
        rows: Dataset,
        unseen: NDArray[np.bool_],
        champion: Probabilities,
        drawn: Mapping[str, float],
        *,
        positive: int | None,
        gates: Gates,
    ) -> Verdict:
        """Verdict on a challenger that learns from `rows`: it replaces the champion if it is shown to be better.

        Args:
            rows: labeled events.
            unseen: (n,) which of them the champion has not learnt from.
            champion: what it says of rows of features.
            drawn: events of the random draw with what each stands for.
            positive: the class that people look for; None where the label is a number.
            gates: of the pipeline.

        Returns:
            The verdict.

        """
        order = np.argsort(rows.known, kind="stable")
        new = order[unseen[order]]
        blocks = blocks_of(len(new), needed(gates) // 3)
        if len(new) < needed(gates) or len(blocks) < 2:
            reason = f"kept: {len(new)} labels are newer than the champion; {needed(gates)} are needed to compare"
            return Verdict(passed=False, reason=reason, metric=gates.metric, n=len(new))
        rank = np.empty(len(rows), np.int64)
        rank[order] = np.arange(len(rows))
        try:
            answers = [
                self._stand_in(rows.rows(rank < rank[new[block.start]]))(rows.features[new[block.start : block.stop]])
                for block in blocks[1:]
            ]
        except ModelError as error:
            return Verdict(passed=False, reason=f"kept: the challenger can't be trained ({error})", metric=gates.metric)
        tested, ours = new[blocks[1].start :], np.concatenate(answers)
        theirs = champion(rows.features[tested])
        pairs = pairs_of(self._target.measured_by(rows.rows(~unseen)), rows, tested, ours, theirs, drawn)
        if not betting.is_above(pairs.gains, pairs.bound, worth(gates)):
            return pairs.verdict(_WAITS.format(gates.proof_from), passed=False, least=worth(gates))
        found = pairs.verdict("replaces: shown to be better", passed=True, least=worth(gates))
        if gates.metric == self._target.metric:
            return found
        other = not_worse(rows, tested, ours, theirs, positive=positive, gates=gates)
        return found if other.passed else other

    def _stand_in(self, rows: Dataset) -> Probabilities:
        key = f"{rows.content_sha256} {hashlib.sha256(rows.features.tobytes()).hexdigest()}"
        model = self._known.pop(key, None) or self._learn(rows)
        self._known[key] = model
        while len(self._known) > _KEPT:
            del self._known[next(iter(self._known))]
        return model


_WAITS: Final = (
    "kept: not shown to be better yet, as a challenger must be once the champion has learnt from {:,} labels "
    "(gates.proof_from)"
)


def blocks_of(count: int, first: int) -> list[range]:
    """Places of `count` labels in blocks, each half as large again as the one before; the last may be unfinished."""
    blocks, start, size = [], 0, float(max(first, 1))
    while start < count:
        end = start + int(size)
        blocks.append(range(start, min(end, count)))
        start, size = end, max(size * _GROWTH, size + 1)
    return blocks


def worse_than_before(
    target: Target,
    rows: Dataset,
    unseen: NDArray[np.bool_],
    champion: Probabilities,
    before: Probabilities,
    drawn: Mapping[str, float],
) -> Verdict | None:
    """Whether the champion is shown to be worse than the one that it replaced, on labels since it did.

    Args:
        target: what the labels are.
        rows: labeled events.
        unseen: (n,) which of them neither has learnt from.
        champion: what the one in force says of rows of features.
        before: what the one says that it replaced.
        drawn: events of the random draw with what each stands for.

    Returns:
        The verdict for the one before; None where nothing is shown.

    """
    order = np.argsort(rows.known, kind="stable")
    tested = order[unseen[order]]
    if not len(tested):
        return None
    features = rows.features[tested]
    measured = target.measured_by(rows.rows(~unseen))
    pairs = pairs_of(measured, rows, tested, before(features), champion(features), drawn)
    if not betting.is_above(pairs.gains, pairs.bound, _HARM, ALPHA_BACK):
        return None
    return pairs.verdict("back again: better than the champion that replaced it", passed=True, least=_HARM)
