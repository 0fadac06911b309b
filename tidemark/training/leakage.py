"""Target leakage: features that alone tell every label, as what is written once the truth is known does.

A model that learns from one looks perfect on the history, and knows nothing of an event that has just happened
(Kaufman, Rosset, Perlich, Stitelman: "Leakage in data mining", TKDD 2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

_FEWEST: Final = 20
"""Labels beside those of the commonest class, and of that one: of fewer, chance may part them."""
_WRONG: Final = 0.01
"""Share of the labels beside the commonest class's that a feature may tell wrongly and still be told of."""
_VALUES: Final = 20
"""Values up to which a feature counts as a category, each of which tells a class."""
_RANKS: Final = 0.999
_MOST: Final = 100_000
"""Rows that are looked at, of more every so many: each feature is sorted."""
_SHOWN: Final = 3


def leaking(
    features: NDArray[np.float64], names: Sequence[str], truth: NDArray[np.int64] | NDArray[np.float64]
) -> tuple[str, ...]:
    """Features that tell the label by themselves: by one threshold, by few values, or as a number of the same order.

    Args:
        features: (n, d), NaN is missing.
        names: d of them.
        truth: (n,) class of each row; where labels are numbers the number, as float64.

    Returns:
        Their names; none where there are too few labels to tell.

    """
    step = -(-len(truth) // _MOST) or 1
    features, truth = features[::step], truth[::step]
    columns = ((name, features[:, index]) for index, name in enumerate(names))
    if truth.dtype.kind == "f":
        numbers = truth.astype(np.float64)
        return tuple(name for name, column in columns if _follows(column, numbers))
    target = truth.astype(np.int64)
    counts = np.bincount(target)
    others = len(target) - int(counts.max(initial=0))
    if min(others, int(counts.max(initial=0))) < _FEWEST:
        return ()
    return tuple(name for name, column in columns if _mistakes(column, target) <= _WRONG * others)


def leakage_words(leaking: Sequence[str]) -> str:
    """What to think of features that tell the label by themselves, as a sentence.

    Args:
        leaking: their names, at least one.

    Returns:
        The sentence.

    """
    first = ", ".join(f"'{name}'" for name in leaking[:_SHOWN])
    more = f" and {len(leaking) - _SHOWN} more" if len(leaking) > _SHOWN else ""
    verb, those = ("tells", "it") if len(leaking) == 1 else ("tell", "them")
    return (
        f"{first}{more} alone {verb} nearly every label: if an event does not have {those} when it happens, remove "
        f"{those} from the pipeline's file, for no model will be as good as this history makes it look"
    )


def _mistakes(column: NDArray[np.float64], target: NDArray[np.int64]) -> int:
    """Rows whose class the best rule over one column tells wrongly; missing is a value of its own."""
    values, places = np.unique(column, return_inverse=True)
    table = np.zeros((len(values), int(target.max()) + 1), np.int64)
    np.add.at(table, (places, target), 1)
    if len(values) <= _VALUES:
        return int(len(target) - table.max(axis=1).sum())
    missing = np.isnan(values)
    ordered = table[~missing]
    below = np.vstack([np.zeros((1, table.shape[1]), np.int64), np.cumsum(ordered, axis=0)])
    right = below.max(axis=1) + (below[-1] - below).max(axis=1)
    return int(len(target) - right.max() - table[missing].max(axis=1).sum())


def _follows(column: NDArray[np.float64], numbers: NDArray[np.float64]) -> bool:
    """Whether a column has the order of the numbers, either way round."""
    told = ~np.isnan(column)
    if np.count_nonzero(told) < max(2 * _FEWEST, len(column) // 2):
        return False
    column, numbers = column[told], numbers[told]
    if min(len(np.unique(column)), len(np.unique(numbers))) <= _VALUES:
        return False
    return bool(abs(spearmanr(column, numbers).statistic) >= _RANKS)
