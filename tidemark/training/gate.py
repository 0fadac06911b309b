"""The gate: does a challenger replace the champion?

The two are compared on labels that neither has learnt from: the labels since the champion, cut into three blocks in
the order in which they were known. A stand-in for the challenger learns from all that was known when the second block
began and answers it, another from all that was known when the third began and answers that: forward validation, nothing
is predicted from its future. What is published when the gate is passed has learnt from all labels.

While labels are few a challenger replaces the champion unless it is shown to be worse: it has learnt from more labels,
and a model gains most from each while they are few. A champion that has learnt from `gates.proof_from` labels is
replaced by one that is shown to be better (`tidemark.training.proof`).

The labels are mostly those the champion was unsure of, so the figures decide between models; they are no estimate of
a model's quality on the stream (`tidemark.evaluation` makes those).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from tidemark.errors import ModelError
from tidemark.evaluation.intervals import normal
from tidemark.evaluation.metrics import average_precision, losses
from tidemark.pipeline.model import GateMetric, Gates, NumberMetric
from tidemark.runtime.figures import figure
from tidemark.training.dataset import Dataset

Probabilities = Callable[[NDArray[np.float64]], NDArray[np.float64]]
Learner = Callable[[Dataset], Probabilities]
BLOCKS: Final = 3
_RESAMPLES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says.

    passed: the challenger becomes champion.  reason: a sentence for the manifest and people.
    metric, champion, challenger: what was compared and both figures (None if nothing could be).
    difference, low, high: challenger's figure less the champion's, and its 95 % interval.  n: labels compared on.
    """

    passed: bool
    reason: str
    metric: GateMetric
    n: int = 0
    champion: float | None = None
    challenger: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None

    def figures(self) -> dict[str, float | None]:
        """The figures under the names a manifest carries them by."""
        return {
            f"{self.metric}_champion": self.champion,
            f"{self.metric}_challenger": self.challenger,
            f"{self.metric}_difference": self.difference,
            f"{self.metric}_difference_low": self.low,
            f"{self.metric}_difference_high": self.high,
            "compared_on": float(self.n),
        }


def needed(gates: Gates) -> int:
    """Labels that neither model has learnt from without which the gate can't compare: two blocks are answered."""
    return math.ceil(gates.min_holdout * BLOCKS / (BLOCKS - 1))


def compare(
    rows: Dataset,
    unseen: NDArray[np.bool_],
    champion: Probabilities,
    learn: Learner,
    *,
    positive: int | None,
    gates: Gates,
) -> Verdict:
    """Verdict on a challenger that learns from `rows`, of which the champion has not learnt from those in `unseen`.

    A challenger is turned away if it is worse by more than the tolerance *and* the interval of the difference excludes
    that they are equal: with 30 labels chance alone moves the mean by more than any useful tolerance, and a challenger
    has more labels than the champion.
    """
    order = np.argsort(rows.known, kind="stable")
    new = order[unseen[order]]
    if len(new) < needed(gates):
        return Verdict(
            passed=False,
            reason=f"kept: {len(new)} labels are newer than the champion; {needed(gates)} are needed to compare",
            metric=gates.metric,
            n=len(new),
        )
    blocks = np.array_split(new, BLOCKS)
    rank = np.empty(len(rows), np.int64)
    rank[order] = np.arange(len(rows))
    answers = []
    for block in blocks[1:]:
        before = rank < rank[block[0]]
        try:
            answers.append(learn(rows.rows(before))(rows.features[block]))
        except ModelError as error:
            return Verdict(passed=False, reason=f"kept: the challenger can't be trained ({error})", metric=gates.metric)
    tested = np.concatenate(blocks[1:])
    ours, theirs = np.concatenate(answers), champion(rows.features[tested])
    return not_worse(rows, tested, ours, theirs, positive=positive, gates=gates)


def not_worse(
    rows: Dataset,
    tested: NDArray[np.int64],
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    *,
    positive: int | None,
    gates: Gates,
) -> Verdict:
    """Verdict on a challenger by labels that neither has learnt from: it replaces unless it is shown to be worse.

    Args:
        rows: labeled events.
        tested: which of them neither has learnt from.
        ours: (tested, width) what the challenger says.
        theirs: what the champion says.
        positive: the class that people look for; None where the label is a number.
        gates: metric and tolerance.

    Returns:
        The verdict.

    """
    if positive is None:
        return _number_not_worse(rows.of_numbers[tested], ours, theirs, gates)
    truth = rows.target[tested]
    if gates.metric == "average_precision" and 0 < int((truth == positive).sum()) < len(truth):
        return _by_average_precision(truth == positive, ours[:, positive], theirs[:, positive], gates.tolerance)
    return _by_log_loss(truth, ours, theirs, gates.tolerance)


def _number_not_worse(
    truth: NDArray[np.float64], ours: NDArray[np.float64], theirs: NDArray[np.float64], gates: Gates
) -> Verdict:
    """Verdict on a challenger by labels that neither has learnt from: it replaces unless it is shown to be worse.

    Args:
        truth: (n,) numbers.
        ours: (n, 3) the challenger's estimates.
        theirs: the champion's.
        gates: metric and tolerance, which is a share of the champion's figure.

    Returns:
        The verdict. The interval of a difference of roots is by linearisation.

    """
    metric: NumberMetric = "mae" if gates.metric == "mae" else "rmse"
    challenger, champion = (np.abs(each[:, 0] - truth) for each in (ours, theirs))
    if metric == "mae":
        mine, others = float(challenger.mean()), float(champion.mean())
        pairs = challenger - champion
    else:
        mine, others = (math.sqrt(float(np.square(each).mean())) for each in (challenger, champion))
        pairs = _part_of_root(challenger, mine) - _part_of_root(champion, others)
    n, difference = len(truth), mine - others
    error = float(pairs.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    low, high = normal(difference, error) if math.isfinite(error) else (-math.inf, math.inf)
    tolerance = gates.tolerance * others
    what = "RMSE" if metric == "rmse" else "mean absolute error"
    passed = not (difference > tolerance and low > 0)
    return Verdict(
        passed,
        f"{_why(difference, tolerance, passed=passed)}: {what} {figure(mine, 4)} against the champion's "
        f"{figure(others, 4)} on the {n} newest labels, difference {figure(difference, 4, signed=True)} "
        f"[{figure(low, 4, signed=True)}, {figure(high, 4, signed=True)}]",
        metric,
        n,
        others,
        mine,
        difference,
        low,
        high,
    )


def _part_of_root(errors: NDArray[np.float64], root: float) -> NDArray[np.float64]:
    """(n,) what each error has to do with the root of the mean square."""
    part: NDArray[np.float64] = np.square(errors) / (2 * root) if root > 0 else np.zeros(len(errors))
    return part


def _by_log_loss(
    truth: NDArray[np.int64], ours: NDArray[np.float64], theirs: NDArray[np.float64], tolerance: float
) -> Verdict:
    challenger, champion = losses(truth, ours), losses(truth, theirs)
    pairs = challenger - champion
    mean, n = float(pairs.mean()), len(pairs)
    low, high = normal(mean, float(pairs.std(ddof=1)) / math.sqrt(n)) if n > 1 else (-math.inf, math.inf)
    worse = mean > tolerance and low > 0
    figures = (float(champion.mean()), float(challenger.mean()))
    return _verdict("log_loss", not worse, n, figures, (mean, low, high), tolerance)


def _by_average_precision(
    truth: NDArray[np.bool_], ours: NDArray[np.float64], theirs: NDArray[np.float64], tolerance: float
) -> Verdict:
    """Interval: percentiles of paired bootstrap samples with at least one positive and one negative."""
    rng = np.random.default_rng(0)
    n = len(truth)
    champion, challenger = average_precision(truth, theirs), average_precision(truth, ours)
    drawn = []
    for _ in range(_RESAMPLES):
        rows = rng.integers(0, n, n)
        if 0 < int(truth[rows].sum()) < n:
            drawn.append(average_precision(truth[rows], ours[rows]) - average_precision(truth[rows], theirs[rows]))
    low, high = (float(each) for each in np.percentile(drawn, (2.5, 97.5)))
    difference = challenger - champion
    worse = difference < -tolerance and high < 0
    return _verdict("average_precision", not worse, n, (champion, challenger), (difference, low, high), tolerance)


def _verdict(
    metric: Literal["log_loss", "average_precision"],
    passed: bool,  # noqa: FBT001 - the verdict itself
    n: int,
    figures: tuple[float, float],
    difference: tuple[float, float, float],
    tolerance: float,
) -> Verdict:
    champion, challenger = figures
    middle, low, high = difference
    what = metric.replace("_", " ")
    worse_by = middle if metric == "log_loss" else -middle
    return Verdict(
        passed,
        f"{_why(worse_by, tolerance, passed=passed)}: {what} {challenger:.4f} against the champion's {champion:.4f} on "
        f"the {n} newest labels, difference {middle:+.4f} [{low:+.4f}, {high:+.4f}]",
        metric,
        n,
        champion,
        challenger,
        middle,
        low,
        high,
    )


def _why(worse_by: float, tolerance: float, *, passed: bool) -> str:
    """Why a challenger that is worse by so much (below 0: better) replaces the champion, or does not."""
    if not passed:
        return f"kept: the challenger is worse by more than the tolerance of {tolerance:g}, and not by chance"
    if worse_by < 0:
        return "replaces: better"
    if worse_by == 0:
        return "replaces: as good, and it has learnt from more labels"
    if worse_by <= tolerance:
        return f"replaces: worse by no more than the tolerance of {tolerance:g}, and it has learnt from more labels"
    return "replaces: looks worse, which may be chance as the interval holds 0, and it has learnt from more labels"
