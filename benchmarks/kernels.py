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
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from benchmarks import kernels_bounds as bounds
from benchmarks import kernels_windows
from benchmarks.kernels_bounds import bounded
from benchmarks.report import write
from benchmarks.timing import median_seconds
from kernels import (
    Forest,
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

Row = dict[str, Any]
Work = Callable[[], object]
Array = NDArray[Any]

_PEERS: Final = ("scikit-activeml", "modAL-python", "apricot-select", "treelite")


def row(id_: str, ours: float, peers: dict[str, float], target: float, detail: dict[str, Any]) -> Row:
    """A row that compares with the fastest peer; without any the target counts as missed."""
    best = min(peers.values(), default=float("nan"))
    value = best / ours
    times = {f"{name}_ms": round(taken * 1e3, 3) for name, taken in peers.items()}
    return {
        "id": id_,
        "value": round(value, 3) if value == value else None,  # noqa: PLR0124
        "unit": "times the fastest peer",
        "target": target,
        "reached": bool(value >= target),
        "detail": {"milliseconds": round(ours * 1e3, 4), **times, **detail},
    }


def reached(id_: str, value: float, unit: str, target: float, detail: dict[str, Any]) -> Row:
    """A row that compares with a number."""
    return {"id": id_, "value": round(value, 3), "unit": unit, "target": target, "reached": value >= target,
            "detail": detail}  # fmt: skip


def installed(*modules: str) -> Any:  # noqa: ANN401  (modules of peers, most without types)
    """The last of the modules, or None where one is not installed."""
    try:
        return [import_module(module) for module in modules][-1]
    except ImportError:
        return None


def timed(peers: dict[str, Work | None], repeats: int) -> dict[str, float]:
    """Seconds of each peer that is there."""
    return {name: median_seconds(work, repeats) for name, work in peers.items() if work is not None}


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
    if k_center_greedy(x, 20).tolist() != blas_k_center(x.astype(np.float64), 20).tolist():
        raise AssertionError("K4: other picks than the BLAS formulation")
    ours = median_seconds(lambda: k_center_greedy(x, k), repeats)
    limit = bounded(
        "n k d squares added up, where none can be spared", n * k * 64 * bounds.distance_term("float32"), ours
    )
    rows.append(row("K4", ours, timed({
        "numpy": lambda: blas_k_center(x, k),
        "scikit-activeml": pool and (lambda: pool.k_greedy_center(x, np.r_[True, np.zeros(n - 1, bool)], k)),
    }, 3), 3.0, {"rows": n, "features": 64, "picks": k, "quick": quick, **limit}))  # fmt: skip
    n, k = (1_000, 30) if quick else (5_000, 100)
    x = rng.normal(size=(n, 64)).astype(np.float32)
    apricot = installed("apricot")
    same: dict[str, Any] = {}

    def theirs() -> object:
        chosen = apricot.FacilityLocationSelection(k, metric="euclidean", optimizer="lazy").fit(x)
        same["same_picks"] = np.mean(np.isin(chosen.ranking, facility_location(x, k))).round(3).item()
        return chosen

    peers = timed({"apricot": apricot and theirs}, 3)
    ours = median_seconds(lambda: facility_location(x, k), repeats)
    limit = bounded("n² d squares added up", n * n * 64 * bounds.distance_term("float32"), ours)
    rows.append(row("K5", ours, peers, 2.0, {
        "rows": n, "features": 64, "picks": k, "quick": quick, **same, **limit,
    }))  # fmt: skip
    return rows


def _activeml_badge(pool: Any, utils: Any, p: Array, x: Array, k: int) -> object:  # noqa: ANN401
    classifier = import_module("skactiveml.classifier").SklearnClassifier
    fixed = import_module("sklearn.dummy").DummyClassifier(strategy="prior")
    labels = np.full(len(x), utils.MISSING_LABEL)
    model = classifier(fixed, classes=np.arange(p.shape[1]))
    model.predict_proba = lambda rows: p[: len(rows)]
    return pool.Badge(random_state=0).query(x, labels, model, batch_size=k, fit_clf=False)


def trained(rounds: int, leaves: int, x: Array) -> lgb.Booster:
    """A binary model of so many trees."""
    y = (x[:, 0] * x[:, 1] + x[:, 2] + np.random.default_rng(0).normal(size=len(x)) > 0).astype(float)
    options = {"objective": "binary", "num_leaves": leaves, "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    return lgb.train(options, lgb.Dataset(x[:20_000], y[:20_000]), rounds)


def look_ups(forest: Forest) -> float:
    """Seconds of a row's look-ups, all of them in the nearest cache."""
    tables = forest._tables  # noqa: SLF001  (what the kernel does is counted)
    return 0.0 if tables is None else len(tables.pair_column) * bounds.look_up()


def levels(forest: Forest) -> float:
    """Seconds of a row's way down all trees, eight at a time."""
    bundles = forest._bundles  # noqa: SLF001  (what the kernel does is counted)
    depths = np.zeros(0) if bundles is None else bundles.depth
    deepest = [depths[i : i + 8].max() for i in range(0, len(depths), 8)]
    return float(2 * bounds.load() * np.sum(deepest))


def forests(*, quick: bool) -> list[Row]:
    """K6."""
    n, repeats = (10_000, 3) if quick else (100_000, 7)
    x = np.random.default_rng(6).normal(size=(n, 20))
    treelite = installed("treelite.gtil", "treelite.frontend", "treelite")
    rows = []
    for trees, leaves in ((100, 31),) if quick else ((100, 31), (500, 63)):
        booster = trained(trees, leaves, x)
        forest = Forest.from_text(booster.model_to_string())
        np.testing.assert_array_equal(forest.raw(x), booster.predict(x, raw_score=True))
        peers: dict[str, Work | None] = {"LightGBM": lambda b=booster: b.predict(x, raw_score=True, num_threads=1)}  # type: ignore[misc]
        single: dict[str, Work | None] = {
            "LightGBM": lambda b=booster: [  # type: ignore[misc]
                b.predict(x[i : i + 1], raw_score=True, num_threads=1) for i in range(200)
            ]
        }
        with tempfile.TemporaryDirectory() as folder:
            if treelite is not None:
                path = Path(folder) / "model.txt"
                booster.save_model(path)
                model = treelite.frontend.load_lightgbm_model(path)
                peers["treelite"] = lambda m=model: treelite.gtil.predict(m, x, nthread=1)  # type: ignore[misc]
            theirs = timed(peers, repeats)
        detail = {"rows": n, "trees": trees, "leaves": leaves, "features": 20, "quick": quick}
        ours = median_seconds(lambda f=forest: f.raw(x), repeats)  # type: ignore[misc]
        beside = {f"{name}_ms": round(taken * 1e3, 3) for name, taken in theirs.items()}
        limit = bounded("a look-up a row, tree and feature of the tree", n * look_ups(forest), ours)
        rows.append(
            row(f"K6.{trees}x{leaves}", ours, {"LightGBM": theirs["LightGBM"]}, 3.0, {**detail, **beside, **limit})
        )
        one = median_seconds(lambda f=forest: [f.raw(x[i : i + 1]) for i in range(200)], repeats)  # type: ignore[misc]
        limit = bounded("two loads, one after the other, a level of eight trees", 200 * levels(forest), one)
        rows.append(row(f"K6.{trees}x{leaves}.single", one, timed(single, 3), 3.0, {**detail, "rows": 200, **limit}))
    return rows


def decisions(*, quick: bool) -> list[Row]:
    """K9: predict, uncertainty and the batch's best, of 2,000 events."""
    n, batches = 2_000, 100 if quick else 1_000
    x = np.random.default_rng(9).normal(size=(20_000, 20))
    booster = trained(100, 31, x)
    forest = Forest.from_text(booster.model_to_string())
    pool = installed("skactiveml.pool")
    offsets = np.arange(n)

    def ours(start: int) -> object:
        scores = margin(forest.probability(x[start : start + n]))
        return top_k(scores, coin(1, 2, offsets, 3), 50)

    def theirs() -> object:
        p = np.asarray(booster.predict(x[:n], num_threads=1))
        scores = pool.uncertainty_scores(np.stack([1 - p, p], axis=1), method="margin_sampling")
        return np.argsort(-scores)[:50]

    ours(0)
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
    """All rows; `quick` takes smaller input, and says so."""
    found = [
        *uncertainty(quick=quick),
        *committees(quick=quick),
        *diversity(quick=quick),
        *forests(quick=quick),
        *kernels_windows.rows(quick),
        *decisions(quick=quick),
    ]
    versions = {package: _version(package) for package in _PEERS}
    return [{**one, "detail": {**one["detail"], "peers": versions}} for one in found]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def main() -> None:
    """Run and write `benchmarks/results/kernels.json`; a quick run writes beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    quick = parser.parse_args().quick
    warnings.simplefilter("ignore")
    write("kernels.quick" if quick else "kernels", rows(quick=quick))


if __name__ == "__main__":
    main()
