"""Columns to a few bins each, which the first rows decide, and columns of how the others go together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy  # its parts are imported on first use: half a second, which flows that watch no drift do not wait for
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_CUTS: Final = 22
"""Cuts of a column, at most: up to 21 values have a bin each, and values below and above all of them."""
KINDS: Final = _CUTS + 2
"""Bins of a column: between cuts, and missing."""
MISSING: Final = KINDS - 1
_QUANTILES: Final = 16
_STRONGEST: Final = 16
"""Pairs of columns that are looked at for being the most correlated, and as many others."""
_SHRUNK: Final = 0.1
_SEED: Final = 20_240_229
_RIDGE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Bins:
    """How n columns become D: themselves, products of pairs of them, and how unusual they are together.

    cuts: (D, 22) in order, infinite where there are fewer.  exact: (D,) each value of the first rows has its own bin.
    scores: (n, bins) normal score of each bin.  pairs: (m, 2).  whitened: (n, n), None for a single column.
    """

    cuts: Floats
    exact: NDArray[np.bool_]
    scores: Floats
    pairs: NDArray[np.int64]
    whitened: Floats | None

    def of(self, row: Floats) -> NDArray[np.int64]:
        """The bin of each column of a row of n values: (D,)."""
        n = self.scores.shape[0]
        own = _placed(self.cuts[:n], row)
        if self.whitened is None:
            return own
        return np.concatenate([own, _placed(self.cuts[n:], _together(self, own))])


def learnt(rows: Floats, *, together: bool) -> Bins:
    """Bins by the first rows.

    Args:
        rows: (first, n), NaN where missing.
        together: look at how columns go together as well.

    Returns:
        The bins. They depend on these rows alone.

    """
    n = rows.shape[1]
    cut = [_cuts(rows[:, at]) for at in range(n)]
    cuts = np.array([each for each, _ in cut]).reshape(n, _CUTS)
    exact = np.array([own for _, own in cut], np.bool_)
    placed = np.array([_placed(cuts, row) for row in rows]).reshape(len(rows), n)
    scores = _normal(placed)
    none = np.empty((0, 2), np.int64)
    alone = Bins(cuts, exact, scores, none, None)
    if not together or n < 2:
        return alone
    seen = np.take_along_axis(scores, placed.T, axis=1).T
    varying = seen.std(axis=0) > 0
    correlation = np.eye(n)
    correlation[np.ix_(varying, varying)] = np.corrcoef(seen[:, varying], rowvar=False)
    shrunk = max(_SHRUNK, n / (n + len(rows)))
    values, vectors = np.linalg.eigh((1 - shrunk) * correlation + shrunk * np.eye(n))
    whitened = vectors / np.sqrt(np.maximum(values, _RIDGE))
    whole = Bins(cuts, exact, scores, _pairs(correlation, varying), whitened)
    joint = np.array([_together(whole, row) for row in placed])
    more = [_cuts(joint[:, at]) for at in range(joint.shape[1])]
    return Bins(
        np.vstack([cuts, np.array([each for each, _ in more])]),
        np.concatenate([exact, np.zeros(len(more), np.bool_)]),
        scores,
        whole.pairs,
        whitened,
    )


def fixed(values: Floats) -> Bins:
    """Bins of one column whose values are known: (k,) in order, 21 at most."""
    cuts = np.full(_CUTS, np.inf)
    cuts[: len(values)] = np.append(np.nextafter(values[0], -np.inf), (values[1:] + values[:-1]) / 2)
    return Bins(cuts[None], np.ones(1, np.bool_), np.zeros((1, KINDS)), np.empty((0, 2), np.int64), None)


def _placed(cuts: Floats, row: Floats) -> NDArray[np.int64]:
    places: NDArray[np.int64] = (cuts < row[:, None]).sum(axis=1)
    return np.where(np.isnan(row), MISSING, places)


def _cuts(values: Floats) -> tuple[Floats, bool]:
    """Cuts of a column, and whether each value has a bin of its own."""
    cuts = np.full(_CUTS, np.inf)
    distinct = np.unique(values[~np.isnan(values)])
    if not len(distinct):
        return cuts, True
    exact = len(distinct) < _CUTS
    if exact:
        inner = distinct[:-1] + (distinct[1:] - distinct[:-1]) / 2
    else:
        present = np.sort(values[~np.isnan(values)])
        inner = np.unique(present[np.arange(1, _QUANTILES) * len(present) // _QUANTILES])
    found = np.unique(np.concatenate([[np.nextafter(distinct[0], -np.inf)], inner, [distinct[-1]]]))
    cuts[: len(found)] = found
    return cuts, exact


def _normal(placed: NDArray[np.int64]) -> Floats:
    """Normal score of the middle rank of each bin, of unit variance over the rows; 0 where missing or never seen."""
    n = placed.shape[1]
    scores = np.zeros((n, KINDS))
    for at in range(n):
        sizes = np.bincount(placed[:, at], minlength=KINDS)[:MISSING].astype(np.float64)
        middle = (np.cumsum(sizes) - sizes / 2) / max(1.0, sizes.sum())
        own = scipy.special.ndtri(np.clip(middle, 1e-3, 1 - 1e-3))
        mean = float(np.average(own, weights=sizes)) if sizes.any() else 0.0
        spread = float(np.sqrt(np.average((own - mean) ** 2, weights=sizes))) if sizes.any() else 0.0
        scores[at, :MISSING] = (own - mean) / spread if spread > 0 else 0.0
    return scores


def _pairs(correlation: Floats, varying: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The most correlated pairs, and some of the others."""
    first, second = np.triu_indices(len(varying), 1)
    own = varying[first] & varying[second]
    every = np.column_stack([first[own], second[own]])
    strength = np.abs(correlation[every[:, 0], every[:, 1]])
    order = np.lexsort((every[:, 1], every[:, 0], -strength.round(9)))
    rest = np.random.Generator(np.random.PCG64(_SEED)).permutation(order[_STRONGEST:])
    found: NDArray[np.int64] = every[np.concatenate([order[:_STRONGEST], rest[:_STRONGEST]])]
    return found


def _together(bins: Bins, placed: NDArray[np.int64]) -> Floats:
    """Products of the pairs' scores, and how far the row lies from the middle of all."""
    assert bins.whitened is not None  # noqa: S101 - for the type checker
    scores = bins.scores[np.arange(len(placed)), placed]
    far = scores @ bins.whitened
    return np.append(scores[bins.pairs[:, 0]] * scores[bins.pairs[:, 1]], far @ far)
