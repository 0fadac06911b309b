"""Every kernel with its oracle, its generator, its peer and its bound: tests and benchmarks are driven by this table.

A public name of `kernels` that is not in the table fails the tests. A kernel with a generator is tested by the table
alone (tests/kernels/test_table.py); a kernel with state, or of bytes and models, names the file that tests it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

import kernels
from tests import naive

Array = NDArray[Any]
Case = tuple[tuple[Any, ...], dict[str, Any]]
Generator = Callable[[np.random.Generator, int, "np.dtype[Any]"], Case]


class Row(NamedTuple):
    """One kernel.

    oracle: the naive version, of the same arguments; None where the reference is another program, named in ``peer``.
    generate: arguments of n rows, the first of which is the array whose rows are judged; None where ``tested_in`` says
    which file tests the kernel.  exact: picks and labels, which are compared exactly.  regret: of picks,
    where two rows may be as good but for the last bits: how much worse than the best a pick is.  axis: of the rows in
    that array.  compared: what of the result must be near the oracle's, where it is a logarithm of what is exact.
    peer: who else does this, as in the benchmarks.  bound: what the time cannot fall below.
    """

    oracle: Callable[..., Any] | None
    bound: str
    peer: str = ""
    generate: Generator | None = None
    exact: bool = False
    regret: Callable[..., float] | None = None
    axis: int = 0
    compared: Callable[[Array], Array] = np.asarray
    tested_in: str = ""


READ: Final = "memory bandwidth: one read of the input"
LOGS: Final = "one logarithm a number"
DISTANCES: Final = "n k d multiplications and additions"
PAIRS: Final = "n² d multiplications and additions"
HASHES: Final = "multiplications of the hash, a latency chain in each event"


def probabilities(rng: np.random.Generator, n: int, dtype: np.dtype[Any], c: int | None = None) -> Array:
    """Rows of a Dirichlet distribution, some of them certain, some uniform, some with a denormal number."""
    classes = int(rng.choice([2, 3, 4, 7, 20])) if c is None else c
    p = rng.dirichlet(np.full(classes, 0.5), n)
    for row in range(n):
        kind = rng.integers(8)
        if kind == 0:
            p[row] = np.eye(classes)[rng.integers(classes)]
        elif kind == 1:
            p[row] = 1 / classes
        elif kind == 2:
            p[row] = 0
            p[row, rng.permutation(classes)[:2]] = (1.0, 1e-310 if dtype == np.float64 else 1e-40)
    return p.astype(dtype)


def points(rng: np.random.Generator, n: int, dtype: np.dtype[Any], d: int = 5) -> Array:
    """Rows on a coarse grid, where copies and ties are, moved a little so that no sum's order can decide."""
    return (np.round(rng.normal(size=(n, d)) * 2) + rng.normal(size=(n, d)) * 0.05).astype(dtype)


def binary_or_not(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> Case:
    p = probabilities(rng, n, dtype)
    return (p[:, 1].copy() if p.shape[1] == 2 and rng.random() < 0.5 else p,), {}


def with_lots(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> Case:
    p = probabilities(rng, n, dtype)
    return (p, rng.uniform(0.01, 0.99, n)), {"beta": 2.0}


def with_costs(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> Case:
    p = probabilities(rng, n, dtype)
    return (p, rng.uniform(0, 50, (p.shape[1], 3))), {}


def with_priors(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> Case:
    p = probabilities(rng, n, dtype)
    return (p, rng.uniform(0.1, 1, p.shape[1]), rng.uniform(0.1, 1, p.shape[1])), {}


def with_weights(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> Case:
    p = probabilities(rng, n, dtype)
    return (p, rng.uniform(0, 5, p.shape[1])), {}


def with_curve(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> Case:
    p = probabilities(rng, n, dtype)
    knots = np.concatenate([[0.0], np.sort(rng.uniform(0.1, 0.9, 4)), [1.0]])
    return (p[:, 0].copy() if rng.random() < 0.3 else p, knots, np.sort(rng.uniform(0, 1, 6))), {}


def committees(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> Case:
    c = int(rng.choice([2, 4]))
    p = np.stack([probabilities(rng, n, dtype, c) for _ in range(5)])
    return (p[:, :, 1].copy() if c == 2 and rng.random() < 0.5 else p,), {}


def picks_of(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> Case:
    return (points(rng, n, dtype), int(rng.integers(0, 9))), {}


def with_holes(rng: np.random.Generator, x: Array) -> tuple[Array, Array]:
    """Numbers and two categories of each row, some of them missing; the first number never is."""
    numbers, categories = x.copy(), rng.integers(0, 3, (len(x), 2))
    numbers[:, 1:][rng.random((len(x), x.shape[1] - 1)) < 0.2] = np.nan
    categories[rng.random(categories.shape) < 0.2] -= 4
    return numbers, categories


def compared(
    rng: np.random.Generator, x: Array, others: Array | None = None, name: str = ""
) -> tuple[Array, Array | None, dict[str, Any]]:
    """Rows, others, and how they are compared: as they are, with categories, or with holes by Gower's distance."""
    kind = rng.integers(3)
    if kind == 0:
        return x, others, {}
    rows, categories = with_holes(rng, x) if kind == 1 else (x, rng.integers(0, 3, (len(x), 2)))
    options: dict[str, Any] = {"categories": categories}
    if kind == 1:
        options["metric"] = kernels.gower(rows, categories, weights=rng.choice([0.5, 1.0, 2.0], x.shape[1]))
    if others is not None:
        m = len(others)
        others, options[name] = with_holes(rng, others) if kind == 1 else (others, rng.integers(0, 3, (m, 2)))
    return rows, others, options


def chosen_from(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> tuple[Array, int, dict[str, Any]]:
    """Rows, how many to pick, and options: with centres or without, compared in some way."""
    (x, k), _ = picks_of(rng, n, dtype)
    centres = points(rng, int(rng.integers(0, 4)), dtype) if rng.random() < 0.5 else None
    rows, others, options = compared(rng, x, centres, "centre_categories")
    return rows, k, options if others is None else {"centres": others, **options}


def seeded_picks(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> Case:
    x, k, options = chosen_from(rng, n, dtype)
    weights = {"weights": rng.uniform(0.1, 2, n).astype(dtype)} if rng.random() < 0.5 else {}
    return (x, k, int(rng.integers(2**32))), {**options, **weights}


def greedy_picks(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> Case:
    x, k, options = chosen_from(rng, n, dtype)
    return (x, k), options


def covering_picks(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> Case:
    x, k, options = chosen_from(rng, n, dtype)
    weights = {"weights": rng.uniform(0.1, 2, n).astype(dtype)} if rng.random() < 0.5 else {}
    return (x, k), {**options, **weights}


def gradients(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> Case:
    p = rng.dirichlet(np.full(3, 2.0), n).astype(dtype)
    options: dict[str, Any] = {"bias": 0.5}
    if rng.random() < 0.5:
        options["categories"] = rng.integers(0, 3, (n, 2))
    return (p, points(rng, n, dtype), int(rng.integers(0, 9)), int(rng.integers(2**32))), options


def spanning_picks(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> Case:
    options: dict[str, Any] = {"scale": 2.0}
    if rng.random() < 0.5:
        options["quality"] = rng.uniform(0.5, 1, n).astype(dtype)
    if rng.random() < 0.5:
        options["categories"] = rng.integers(0, 3, (n, 2))
    return (rng.normal(size=(n, 5)).astype(dtype), int(rng.integers(0, 9))), options


def near_others(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> Case:
    x, labeled, options = compared(rng, points(rng, n, dtype), points(rng, 4, dtype), "labeled_categories")
    return (x, labeled), options


def near_sketch(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> Case:
    x, sketch, options = compared(rng, points(rng, n, dtype), points(rng, 4, dtype), "sketch_categories")
    return (x, sketch), options if "metric" in options else {"scale": 2.0, **options}


def neighbourhoods(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> Case:
    x, _, options = compared(rng, points(rng, n, dtype))
    return (x, int(rng.integers(1, 6))), options


def linked(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> Case:
    x, _, options = compared(rng, rng.normal(size=(n, 3)).astype(dtype))
    return (x, float(rng.uniform(0.1, 0.6) if "metric" in options else rng.uniform(0.5, 3))), options


def clustered(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> Case:
    options = {"candidates": int(rng.integers(1, 30))} if rng.random() < 0.5 else {}
    scores = rng.permutation(n).astype(dtype)
    return (scores, rng.integers(0, 5, n), int(rng.integers(0, 9)), int(rng.integers(2**32))), options


def with_gaps(rng: np.random.Generator, n: int, dtype: np.dtype[Any]) -> Case:
    x = points(rng, n, dtype)
    x[rng.random(x.shape) < 0.15] = np.nan
    x[:, 3] = 4.0
    return (x,), {"indicators": bool(rng.random() < 0.5)}


def _picked(kernel: Callable[..., Any], generate: Generator, bound: str = DISTANCES, peer: str = "") -> Row:
    return Row(kernel, bound, peer, generate, exact=True)


def _measure(oracle: Callable[..., Any], bound: str, peer: str, generate: Generator = binary_or_not) -> Row:
    return Row(oracle, bound, peer, generate)


def _committee(oracle: Callable[..., Any], bound: str, peer: str = "scikit-activeml, modAL") -> Row:
    return Row(oracle, bound, peer, committees, axis=1)


def _elsewhere(tested_in: str, bound: str, oracle: Callable[..., Any] | None = None, peer: str = "") -> Row:
    return Row(oracle, bound, peer, tested_in=tested_in)


TABLE: Final[dict[str, Row]] = {
    # uncertainty
    "least_confidence": _measure(naive.least_confidence, READ, "scikit-activeml, modAL"),
    "margin": _measure(naive.margin, READ, "scikit-activeml, modAL"),
    "breaking_ties": _measure(naive.breaking_ties, READ, "scikit-activeml"),
    "ratio": _measure(naive.ratio, READ, "numpy"),
    "entropy": _measure(naive.entropy, LOGS, "scikit-activeml, modAL"),
    "power_margin": Row(naive.power_margin, LOGS, "numpy", with_lots, compared=np.exp),
    # costs
    "expected_cost": _measure(naive.expected_cost, READ, "scikit-activeml", with_costs),
    "cost_margin": _measure(naive.cost_margin, READ, "numpy", with_costs),
    "shifted": _measure(naive.shifted, READ, "numpy", with_priors),
    "weighted_entropy": _measure(naive.weighted_entropy, LOGS, "numpy", with_weights),
    "recalibrated": _measure(naive.recalibrated, "a binary search a number", "numpy interp", with_curve),
    # committees
    "vote_entropy": _committee(naive.vote_entropy, READ),
    "variation_ratio": _committee(naive.variation_ratio, READ, "numpy"),
    "consensus_entropy": _committee(naive.consensus_entropy, LOGS, "modAL"),
    "bald": _committee(naive.bald, LOGS, "scikit-activeml"),
    "mean_kl": _committee(naive.mean_kl, LOGS),
    # diversity
    "kmeans_pp": _picked(naive.kmeans_pp, seeded_picks, peer="scikit-learn"),
    "badge": _picked(naive.badge, gradients, "n k (c + d) multiplications and additions", "scikit-activeml"),
    "k_center_greedy": _picked(naive.k_center_greedy, greedy_picks, peer="scikit-activeml, modAL, BLAS"),
    "facility_location": _picked(naive.facility_location, covering_picks, PAIRS, "apricot, submodlib")._replace(
        regret=naive.facility_regret
    ),
    "determinantal": _picked(naive.determinantal, spanning_picks, "n k (k + d) multiplications and additions", "numpy"),
    "cluster_margin": _picked(naive.cluster_margin, clustered, "a sort", "numpy"),
    "average_linkage": _picked(naive.average_linkage, linked, "n² distances in memory", "scipy"),
    "novelty": _measure(naive.novelty, DISTANCES, "scipy", near_others),
    "density": _measure(naive.density, DISTANCES, "numpy", near_sketch),
    "typicality": _measure(naive.typicality, PAIRS, "scikit-learn", neighbourhoods),
    "robust_scale": _measure(naive.robust_scale, "a sort of each column", "scikit-learn", with_gaps),
    "isolation": _elsewhere(
        "diversity/test_isolation.py", "trees n log2(sample) cuts", naive.isolation, "scikit-learn"
    ),
    "gower": _elsewhere("diversity/test_gower.py", READ, naive.gower),
    "volume_sample": _elsewhere("test_table.py", "n d² multiplications and additions", naive.volume_sample),
    "volume_state": _elsewhere("test_table.py", "none"),
    "virtual_ends": _elsewhere("test_table.py", "none", naive.virtual_ends),
    # sampling
    "bottom_k": _elsewhere("sampling/test_bottom_k.py", READ, naive.bottom_k, "numpy argpartition"),
    "bottom_k_sample": _elsewhere("sampling/test_bottom_k.py", READ, naive.bottom_k, "numpy argpartition"),
    "bottom_k_threshold": _elsewhere("sampling/test_bottom_k.py", READ, naive.bottom_k),
    "top_k": _elsewhere("sampling/test_bottom_k.py", READ, naive.top_k, "numpy argpartition"),
    "StreamingTopK": _elsewhere("sampling/test_bottom_k.py", READ, naive.top_k),
    "inclusion_probabilities": _elsewhere("sampling/test_weighted.py", READ, naive.inclusion_probabilities),
    "robust_mixture": _elsewhere("sampling/test_weighted.py", READ, naive.inclusion_probabilities),
    "poisson_sample": _elsewhere("sampling/test_weighted.py", READ, peer="numpy"),
    "systematic_sample": _elsewhere("sampling/test_weighted.py", READ, naive.systematic_sample, "numpy"),
    "priority_sample": _elsewhere("sampling/test_weighted.py", READ, peer="numpy argpartition"),
    "exponential_bottom_k": _elsewhere("sampling/test_weighted.py", LOGS, naive.successive_inclusion, "numpy choice"),
    "WeightedReservoir": _elsewhere("sampling/test_weighted.py", LOGS, naive.successive_inclusion),
    # hashing
    "hash64": _elsewhere("sampling/test_hashing.py", HASHES, naive.xxh64),
    "hash_strings": _elsewhere("sampling/test_hashing.py", HASHES, naive.xxh64),
    "hash_int64": _elsewhere("sampling/test_hashing.py", HASHES, naive.xxh64),
    "coin": _elsewhere("sampling/test_hashing.py", HASHES, naive.xxh64),
    "unit": _elsewhere("sampling/test_hashing.py", READ),
    # estimates
    "stratified_mean": _elsewhere("sampling/test_estimates.py", READ, naive.stratified_mean),
    "stratified_ratio": _elsewhere("sampling/test_estimates.py", READ, naive.stratified_mean),
    "horvitz_thompson": _elsewhere("sampling/test_estimates.py", READ),
    "hajek": _elsewhere("sampling/test_estimates.py", READ),
    "lure": _elsewhere("sampling/test_estimates.py", READ, naive.lure),
    "active_inference": _elsewhere("sampling/test_estimates.py", READ),
    # thresholds
    "variable_uncertainty": _elsewhere(
        "uncertainty/test_thresholds.py", "latency from row to row", naive.variable_uncertainty
    ),
    # windows
    "WindowState": _elsewhere(
        "windows/test_windows.py", "an addition's latency a row", naive.windows, "Polars, Bytewax"
    ),
    # sketches
    "distinct_sketch": _elsewhere("windows/test_sketches.py", "none"),
    "add_distinct": _elsewhere("windows/test_sketches.py", "cache misses of the registers"),
    "distinct_estimate": _elsewhere("windows/test_sketches.py", READ),
    "quantile_layout": _elsewhere("windows/test_sketches.py", "none"),
    "quantile_sketch": _elsewhere("windows/test_sketches.py", "none"),
    "add_quantiles": _elsewhere("windows/test_sketches.py", LOGS),
    "quantile_estimate": _elsewhere("windows/test_sketches.py", READ),
    # forests: the reference is LightGBM itself
    "Forest": _elsewhere(
        "forest/test_forest.py", "latency of a load a level of a tree", peer="LightGBM, lleaves, treelite"
    ),
    "parse_model": _elsewhere("forest/test_model_text.py", "the text's length", peer="LightGBM"),
}

TYPES: Final = {
    "BottomKSample", "Chosen", "Estimate", "ForestModel", "Gower", "ModelTextError", "QuantileLayout", "RobustScale",
    "ThresholdState", "TopK", "VolumeState", "WeightedSample", "WindowSpec",
}  # fmt: skip
"""Public names that are arguments and results of kernels."""


def kernel(name: str) -> Any:  # noqa: ANN401  (kernels have signatures of their own)
    """A kernel by its name in the table."""
    return getattr(kernels, name)
