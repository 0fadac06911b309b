"""`make bench-kernels`: kernels on one thread, beside their peers in the same run (rows K1 to K9).

Peers come from requirements-bench.txt; one that is not installed has no figure, and its row says so. Times are medians
of CPU seconds of the whole process, so that a peer's threads count.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.kernels import bounds, forests, windows
from benchmarks.kernels.bounds import bounded
from benchmarks.kernels.forests import look_ups, trained
from benchmarks.kernels.rows import Row, Work, installed, reached, row, same, timed
from benchmarks.support.report import write
from benchmarks.support.timing import median_seconds
from kernels import (
    Forest,
    TopK,
    badge,
    bald,
    coin,
    entropy,
    facility_location,
    k_center_greedy,
    least_confidence,
    margin,
    mean_kl,
    top_k,
    vote_entropy,
)

Array = NDArray[Any]

_PEERS: Final = (
    "scikit-activeml", "modAL-python", "apricot-select", "treelite", "lleaves", "onnxruntime", "onnxmltools",
)  # fmt: skip


_OTHER_MEASURE: Final = {("mean_kl", "modAL")}
"""Peers whose nearest is of the same kind and cost, but another number: modAL has the largest divergence, no mean."""


class Proba:
    """What modAL calls a classifier."""

    def __init__(self, proba: Array) -> None:
        self.proba = proba

    def predict_proba(self, _x: object, **_: object) -> Array:
        """The probabilities it was made of."""
        return self.proba


def uncertainty(*, quick: bool) -> list[Row]:
    """K1."""
    n, repeats = (100_000, 3) if quick else (1_000_000, 7)
    rng = np.random.default_rng(1)
    skactiveml, modal = installed("skactiveml.pool"), installed("modAL.uncertainty")
    rows = []
    for c in (2, 20):
        p = rng.dirichlet(np.ones(c), n).astype(np.float32)
        source, target = p.reshape(-1), np.empty(p.size + n, np.float32)
        copy = median_seconds(lambda to=target, of=source: np.copyto(to[: of.size], of), repeats)  # type: ignore[misc]
        bandwidth = 2 * source.nbytes / copy
        moved = source.nbytes + 4 * n
        for name, kernel, theirs, modals in (
            ("margin", margin, "margin_sampling", "classifier_margin"),
            ("least_confidence", least_confidence, "least_confident", "classifier_uncertainty"),
            ("entropy", entropy, "entropy", "classifier_entropy"),
        ):
            out = np.empty(n, np.float32)
            ours = median_seconds(lambda f=kernel, of=p, to=out: f(of, out=to), repeats)  # type: ignore[misc]
            if skactiveml:
                same(
                    f"K1.{name}.{c}",
                    "scikit-activeml",
                    kernel(p),
                    skactiveml.uncertainty_scores(p, method=theirs),
                    1e-5,
                )
            if modal:
                scores = getattr(modal, modals)(Proba(p), p)
                same(f"K1.{name}.{c}", "modAL", kernel(p), 1 - scores if name == "margin" else scores, 1e-5)
            peers: dict[str, Work | None] = {
                "scikit-activeml": skactiveml and (lambda of=p, m=theirs: skactiveml.uncertainty_scores(of, method=m)),
                "modAL": modal and (lambda of=p, m=modals: getattr(modal, m)(Proba(of), of)),
            }
            share = moved / ours / bandwidth
            limit = (
                bounded("one logarithm a number", p.size * bounds.logarithm("float32"), ours)
                if name == "entropy"
                else bounded("memory bandwidth of a copy", moved / bandwidth, ours)
            )
            detail = {"rows": n, "classes": c, "share_of_bandwidth": round(share, 3), "quick": quick, **limit}
            rows.append(row(f"K1.{name}.{c}", ours, timed(peers, 3), 10.0, detail))
            if name != "entropy":
                wanted = 0.8 if c == 20 else 0.6
                rows.append(reached(f"K1.{name}.{c}.bandwidth", share, "of a copy's bandwidth", wanted, detail))
    return rows


def committees(*, quick: bool) -> list[Row]:
    """K2."""
    n, repeats = (20_000, 3) if quick else (200_000, 7)
    p = np.random.default_rng(2).dirichlet(np.ones(5), (10, n)).astype(np.float64)
    pool, modal = installed("skactiveml.pool"), installed("modAL.disagreement")
    votes = np.ascontiguousarray(p.argmax(axis=2).T)
    members = np.ascontiguousarray(np.moveaxis(p, 0, 1))

    class Committee:
        classes_ = np.arange(5)

        def vote(self, _x: object) -> Array:
            return votes

        def vote_proba(self, _x: object) -> Array:
            return members

        def predict_proba(self, _x: object) -> Array:
            return np.asarray(members.mean(axis=1))

        def __len__(self) -> int:
            return 10

        def __iter__(self) -> Iterator[int]:
            return iter(range(10))

    committee = Committee()
    detail = {"rows": n, "members": 10, "classes": 5, "quick": quick}
    logarithms = (p.size + p[0].size) * bounds.logarithm("float64")
    works: list[tuple[str, Work, dict[str, Work | None], str, float]] = [
        ("vote_entropy", lambda: vote_entropy(p), {
            "scikit-activeml": pool and (lambda: pool.vote_entropy(votes, np.arange(5))),
            "modAL": modal and (lambda: modal.vote_entropy(committee, votes)),
        }, "one read of the input", bounds.read(p)),
        ("mean_kl", lambda: mean_kl(p), {
            "scikit-activeml": pool and (lambda: pool.average_kl_divergence(p)),
            "modAL": modal and (lambda: modal.KL_max_disagreement(committee, votes)),
        }, "one logarithm a number", logarithms),
        ("bald", lambda: bald(p), {
            "scikit-activeml": pool and (lambda: pool.average_kl_divergence(p)),
        }, "one logarithm a number", logarithms),
    ]  # fmt: skip
    rows = []
    for name, work, peers, what, bound in works:
        for peer, their_work in peers.items():
            if their_work is not None and (name, peer) not in _OTHER_MEASURE:
                same(f"K2.{name}", peer, np.asarray(work()), their_work(), 1e-5)
        ours = median_seconds(work, repeats)
        rows.append(row(f"K2.{name}", ours, timed(peers, 3), 5.0, {**detail, **bounded(what, bound, ours)}))
    return rows


def numpy_badge(p: Array, x: Array, k: int) -> Array:
    """The gradients formed, k-means++ with numpy's products: what scikit-activeml does inside its strategy."""
    errors = p - np.eye(p.shape[1], dtype=p.dtype)[p.argmax(axis=1)]
    gradients = (errors[:, :, None] * x[:, None, :]).reshape(len(p), -1)
    squares = (gradients**2).sum(axis=1)
    picks = [int(squares.argmax())]
    nearest = np.full(len(p), np.inf)
    rng = np.random.default_rng(0)
    for _ in range(k - 1):
        nearest = np.maximum(
            0, np.minimum(nearest, squares + squares[picks[-1]] - 2 * gradients @ gradients[picks[-1]])
        )
        picks.append(int(rng.choice(len(p), p=nearest / nearest.sum())))
    return np.array(picks)


def modal_k_center(batch: Any, x: Array, first: int, k: int) -> Array:  # noqa: ANN401
    """Ranked batches of rows that are all as uncertain: each time the row farthest from what was picked."""
    start = SimpleNamespace(on_transformed=False, X_training=x[first : first + 1])
    return np.asarray(batch.ranked_batch(start, x, np.zeros(len(x)), k - 1, "euclidean", None)[0])


def blas_k_center(x: Array, k: int) -> Array:
    """Greedy k-center with one matrix-vector product a pick."""
    squares = (x**2).sum(axis=1)
    picks = [int(((x - x.mean(axis=0)) ** 2).sum(axis=1).argmin())]
    nearest = np.full(len(x), np.inf)
    for _ in range(k - 1):
        nearest = np.minimum(nearest, squares + squares[picks[-1]] - 2 * (x @ x[picks[-1]]))
        picks.append(int(nearest.argmax()))
    return np.array(picks)


def diversity(*, quick: bool) -> list[Row]:
    """K3, K4, K5."""
    repeats = 3 if quick else 7
    rng = np.random.default_rng(3)
    pool, utils = installed("skactiveml.pool"), installed("skactiveml.utils")
    n, k = (1_000, 20) if quick else (5_000, 100)
    x, p = rng.normal(size=(n, 100)), rng.dirichlet(np.ones(10), n)
    ours = median_seconds(lambda: badge(p, x, k, 0), repeats)
    limit = bounded("n k (c + d) products added up", n * k * 110 * bounds.distance_term("float64"), ours)
    rows = [row("K3", ours, timed({
        "numpy": lambda: numpy_badge(p, x, k),
        "scikit-activeml": pool and (lambda: _activeml_badge(pool, utils, p, x, k)),
    }, 3), 10.0, {"rows": n, "features": 100, "classes": 10, "picks": k, "quick": quick, **limit})]  # fmt: skip
    n, k = (4_000, 50) if quick else (20_000, 200)
    x = rng.normal(size=(n, 64)).astype(np.float32)
    picks = k_center_greedy(x, k)
    batch = installed("modAL.batch")
    labels = np.where(np.arange(n) == picks[0], 0.0, np.nan)  # the first pick is labeled, the rest is not
    peers: dict[str, Callable[[int], Any] | None] = {
        "numpy": lambda size: blas_k_center(x, size),
        "scikit-activeml": pool and (lambda size: pool.k_greedy_center(x, labels, size - 1)[0]),
        "modAL": batch and (lambda size: modal_k_center(batch, x, int(picks[0]), size)),
    }
    for peer, work in peers.items():
        if work is not None:
            chosen = work(20)
            same("K4", peer, picks[20 - len(chosen) : 20], chosen)
    ours = median_seconds(lambda: k_center_greedy(x, k), repeats)
    limit = bounded(
        "n k d squares added up, where none can be spared", n * k * 64 * bounds.distance_term("float32"), ours
    )
    theirs = {
        peer: median_seconds(partial(work, k), 1 if peer == "modAL" else 3) for peer, work in peers.items() if work
    }
    rows.append(row("K4", ours, theirs, 3.0, {
        "rows": n, "features": 64, "picks": k, "quick": quick, **limit,
    }))  # fmt: skip
    n, k = (1_000, 30) if quick else (5_000, 100)
    x = rng.normal(size=(n, 64)).astype(np.float32)
    apricot = installed("apricot")

    def by_apricot() -> Any:  # noqa: ANN401
        return apricot.FacilityLocationSelection(k, metric="euclidean", optimizer="lazy").fit(x).ranking

    if apricot is not None:
        same("K5", "apricot", np.sort(facility_location(x, k)), np.sort(by_apricot()))
    theirs = timed({"apricot": apricot and by_apricot}, 3)
    ours = median_seconds(lambda: facility_location(x, k), repeats)
    limit = bounded("n² d squares added up", n * n * 64 * bounds.distance_term("float32"), ours)
    rows.append(row("K5", ours, theirs, 2.0, {
        "rows": n, "features": 64, "picks": k, "quick": quick, **limit,
    }))  # fmt: skip
    return rows


def _activeml_badge(pool: Any, utils: Any, p: Array, x: Array, k: int) -> object:  # noqa: ANN401
    classifier = import_module("skactiveml.classifier").SklearnClassifier
    fixed = import_module("sklearn.dummy").DummyClassifier(strategy="prior")
    labels = np.full(len(x), utils.MISSING_LABEL)
    model = classifier(fixed, classes=np.arange(p.shape[1]))
    model.predict_proba = lambda rows: p[: len(rows)]
    return pool.Badge(random_state=0).query(x, labels, model, batch_size=k, fit_clf=False)


def decisions(*, quick: bool) -> list[Row]:
    """K9: predict, uncertainty and the batch's best, of 2,000 events."""
    n, batches = 2_000, 100 if quick else 1_000
    x = np.random.default_rng(9).normal(size=(20_000, 20))
    booster = trained(100, 31, x)
    forest = Forest.from_text(booster.model_to_string())
    pool = installed("skactiveml.pool")
    offsets = np.arange(n)

    def ours(start: int) -> TopK:
        scores = margin(forest.probability(x[start : start + n]))
        return top_k(scores, coin(1, 2, offsets, 3), 50)

    def theirs() -> Array:
        p = np.asarray(booster.predict(x[:n], num_threads=1))
        scores = pool.uncertainty_scores(np.stack([1 - p, p], axis=1), method="margin_sampling")
        return np.asarray(np.argsort(-scores)[:50])

    if pool:
        scores = margin(forest.probability(x[:n]))
        same("K9", "LightGBM + scikit-activeml", scores[ours(0).indices], scores[theirs()], 1e-9)
    taken = []
    for i in range(batches):
        start = time.perf_counter()
        ours(i % 9 * n)
        taken.append(time.perf_counter() - start)
    cost = median_seconds(lambda: ours(0), 21)
    p99 = float(np.quantile(taken, 0.99)) * 1e3
    limit = bounded("a look-up an event, tree and feature of the tree", n * look_ups(forest), cost)
    detail = {"events": n, "trees": 100, "leaves": 31, "quick": quick,
              "p50_ms": round(statistics.median(taken) * 1e3, 3), **limit}  # fmt: skip
    peers = timed({"LightGBM + scikit-activeml": pool and theirs}, 21)
    return [
        row("K9", cost, peers, 2.5, detail),
        {"id": "K9.p99", "value": round(p99, 3), "unit": "ms", "target": 5.0, "reached": p99 < 5, "detail": detail},
    ]


def rows(*, quick: bool) -> list[Row]:
    """All rows; `quick` takes smaller input, says so, and holds no row against its target."""
    found = [
        *uncertainty(quick=quick),
        *committees(quick=quick),
        *diversity(quick=quick),
        *forests.rows(quick=quick),
        *windows.rows(quick),
        *decisions(quick=quick),
    ]
    versions = {package: _version(package) for package in _PEERS}
    complete = [{**one, "detail": {**one["detail"], "peers": versions}} for one in found]
    return [_only_reported(one) for one in complete] if quick else complete


def _only_reported(found: Row) -> Row:
    """A row of smaller input: calls weigh more there, and input lies in a cache, so that the target says nothing."""
    return {**found, "target": None, "reached": True, "detail": {**found["detail"], "target_in_full": found["target"]}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def main() -> None:
    """Run and write `benchmarks/results/kernels.json`; a quick run writes beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, not held against targets")
    quick = parser.parse_args().quick
    warnings.simplefilter("ignore")
    write("kernels.quick" if quick else "kernels", rows(quick=quick))


if __name__ == "__main__":
    main()
