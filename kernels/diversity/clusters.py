"""Uncertain rows spread over clusters: cluster-margin, and the clustering that it needs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.diversity._distances import BLOCK, Points, count, points, rooted, squared_distances, uniforms
from kernels.diversity.gower import Gower
from kernels.numerics._checks import array, integer, number
from kernels.numerics._jit import kernel, lean
from kernels.uncertainty._probabilities import FLOATS

Floats = NDArray[Any]
Picks = NDArray[np.int64]

MOST_ROWS = 16_384
"""Average linkage keeps n² / 2 distances: 512 MiB of float32 here."""


@lean
def _pairwise(rows: Points, out: Floats) -> None:
    """Distances between all rows (n, n), infinity to themselves."""
    n = out.shape[0]
    for row in range(n):
        for start in range(0, n, BLOCK):
            squared_distances(rows, row, start, out[row, start : min(start + BLOCK, n)])
        rooted(rows, out[row])
        out[row, row] = np.inf


@lean
def _root(parents: Picks, row: int) -> int:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


@kernel
def _nearest_neighbour_chain(distances: Floats, threshold: float, parents: Picks) -> None:
    """Merge clusters that are each other's nearest; ``parents`` joins those no farther apart than the threshold."""
    n = distances.shape[0]
    sizes = np.ones(n)
    alive = np.ones(n, np.bool_)
    chain = np.empty(n, np.int64)
    length = 0
    start = 0
    for _ in range(n - 1):
        if length == 0:
            while not alive[start]:
                start += 1
            chain[0] = start
            length = 1
        while True:
            top = chain[length - 1]
            nearest = int(np.argmin(distances[top]))
            if length > 1 and distances[top, nearest] == distances[top, chain[length - 2]]:
                nearest = chain[length - 2]
                break
            chain[length] = nearest
            length += 1
        length -= 2
        apart = np.float64(distances[top, nearest])
        keep, drop = min(top, nearest), max(top, nearest)
        if apart <= threshold:
            parents[_root(parents, drop)] = _root(parents, keep)
        both = sizes[keep] + sizes[drop]
        for i in range(n):
            if alive[i] and i not in (keep, drop):
                mean = (sizes[keep] * distances[keep, i] + sizes[drop] * distances[drop, i]) / both
                distances[keep, i] = distances[i, keep] = mean
            distances[drop, i] = distances[i, drop] = np.inf
        sizes[keep] = both
        alive[drop] = False


def average_linkage(
    x: Floats, threshold: float, *, categories: NDArray[Any] | None = None, metric: Gower | None = None
) -> NDArray[np.int64]:
    """Clusters by agglomeration with average linkage, cut where the mean distance of two clusters exceeds a threshold.

    x: (n, d), n at most 16,384 (memory n²).  threshold: >= 0, in units of x.  categories: (n, q) integers, each that
    differs adds 1 to a squared distance.  metric: ``gower``, in place of Euclid's.  Returns labels (n,) int64, numbered
    from 0 by their first row.
    Sokal and Michener 1958; Müllner 2011, "Modern hierarchical, agglomerative clustering algorithms", 3.2.
    Raises ValueError (see ``kernels.diversity.kmeans_pp``).
    """
    rows = points("x", x, categories, metric)
    n = rows.numbers.shape[1]
    if n > MOST_ROWS:
        raise ValueError(f"x: expected at most {MOST_ROWS} rows, got {n}; cluster a sample of them")
    cut = number("threshold", threshold, 0.0, np.inf)
    parents = np.arange(n)
    if n > 1:
        distances = np.empty((n, n), rows.numbers.dtype)
        _pairwise(rows, distances)
        _nearest_neighbour_chain(distances, cut, parents)
    roots = np.array([_root(parents, row) for row in range(n)], dtype=np.int64)
    _, first, labels = np.unique(roots, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[labels].astype(np.int64)


def cluster_margin(
    uncertainty: Floats, clusters: NDArray[np.int64], k: int, seed: int, *, candidates: int | None = None
) -> Picks:
    """Cluster-margin: of the most uncertain rows, one of each cluster in turn, small clusters first.

    uncertainty: (n,) float32 or float64, large where unsure, such as ``margin``.  clusters: (n,) int64, of any
    clustering (``average_linkage`` in the paper).  candidates: how many of the most uncertain rows take part, 10 k by
    default.  seed: 0 to 2^64 - 1, settles which row of a cluster.  Returns (min(k, n),) int64.
    Citovsky et al. 2021, "Batch active learning at scale". Raises ValueError for NaN and other shapes.
    """
    scores = array("uncertainty", uncertainty, FLOATS, (None,))
    labels = array("clusters", clusters, np.int64, scores.shape)
    if bool(np.isnan(scores).any()):
        raise ValueError(f"uncertainty: NaN in row {int(np.isnan(scores).argmax())} of {len(scores)}")
    size = count(k, len(scores))
    pool_size = 10 * size if candidates is None else max(size, integer("candidates", candidates, 1, 2**31))
    pool = np.argsort(-scores, kind="stable")[:pool_size]
    shuffled = pool[np.argsort(uniforms(seed, len(pool)), kind="stable")]
    groups: dict[int, list[int]] = {}
    for row in shuffled.tolist():
        groups.setdefault(int(labels[row]), []).append(row)
    queues = sorted(groups.items(), key=lambda group: (len(group[1]), group[0]))
    turns = [(turn, place, row) for place, (_, rows) in enumerate(queues) for turn, row in enumerate(rows)]
    return np.array([row for _, _, row in sorted(turns)[:size]], dtype=np.int64)
