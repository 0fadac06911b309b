"""A call of every kernel on a few made-up rows, so that its machine code is there before a flow needs it.

Kernels are compiled for the types that they are called with, and kept on disk (`kernels.numerics._jit`). These calls
have the types of the flows: float64 rows, probabilities of two classes, of three and of more.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

import msgspec
import numpy as np
from numba.core.event import Listener, install_listener

import kernels
from kernels.windows.specs import NEEDS_NO_COLUMN, Aggregate
from tidemark.formats.avro_scan import scan_avro
from tidemark.formats.csv_fields import Cells, scan_csv
from tidemark.formats.json_columns import Field, PlainColumns
from tidemark.formats.json_scan import name_hashes, suspicious
from tidemark.formats.places import Places
from tidemark.formats.protobuf_scan import scan_protobuf
from tidemark.formats.scanned import Found, joined
from tidemark.times.iso8601 import iso_times

_N: Final = 65
_LONG: Final = {"WindowState": 23, "Forest": 13, "badge": 5, "kmeans_pp": 3, "k_center_greedy": 3, "top_k": 2}
"""Seconds of those that take longest to compile; the others take one, or less."""
_AGGREGATES: Final[tuple[Aggregate, ...]] = (
    "count",
    "mean",
    "max",
    "since_last",
    "distinct",
    "approx_distinct",
    "approx_quantile",
    "zscore",
    "rate",
)

_rng = np.random.default_rng(0)
_X: Final = _rng.normal(size=(_N, 3))
_P: Final = _rng.dirichlet(np.ones(3), _N)
_CLASSES: Final = 6
_MANY: Final = _rng.dirichlet(np.ones(_CLASSES), _N)
_BINARY: Final = _rng.dirichlet(np.ones(2), _N)
_COMMITTEE: Final = _rng.dirichlet(np.ones(3), (4, _N))
_WEIGHTS: Final = _rng.uniform(0.1, 1, _N)
_COINS: Final = _rng.integers(0, 2**64, _N, np.uint64)
_GROUPS: Final = np.arange(_N) % 4
_SIZES: Final = np.full(4, 100)
_TEXT: Final = b"abcdefgh" * _N

Work = Callable[[], object]


def warm() -> Iterator[tuple[str, float]]:
    """Call each kernel, compiling it or loading it from the cache; its name and the seconds that took."""
    _model_text()  # whose making is no kernel's
    for name, work in EXAMPLES.items():
        begin = time.perf_counter()
        work()
        yield name, time.perf_counter() - begin


def main(argv: list[str]) -> None:
    """Compile a share of all kernels, and tell in lines of JSON how far it is: what `tidemark up` runs and shows.

    Args:
        argv: `NUMBER OF`: which share, from 0, and how many there are.

    """
    number, shares = map(int, argv)
    names = share(number, shares)
    told = {"kernel": "", "part": "", "done": 0, "of": len(names), "weight": 0, "all": sum(map(weight, names))}

    def tell(**news: object) -> None:
        told.update(news)
        sys.stdout.write(f"{msgspec.json.encode(told).decode()}\n")
        sys.stdout.flush()

    with install_listener("numba:compile", _Compiles(lambda part: tell(part=part))):
        for done, name in enumerate(names):
            tell(kernel=name, part="", done=done, weight=sum(map(weight, names[:done])))
            EXAMPLES[name]()
    tell(kernel="", part="", done=len(names), weight=told["all"])


def weight(name: str) -> int:
    """About how many seconds a kernel takes to compile, beside the others."""
    return _LONG.get(name, 1)


def share(number: int, shares: int) -> list[str]:
    """Names of the kernels of one share: the longest are dealt first, each to the share that has least."""
    dealt: list[list[str]] = [[] for _ in range(shares)]
    for name in sorted(EXAMPLES, key=weight, reverse=True):
        min(dealt, key=lambda names: sum(map(weight, names))).append(name)
    return dealt[number]


class _Compiles(Listener):
    """Told by numba of each function that it begins to compile."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def on_start(self, event: Any) -> None:  # noqa: ANN401 numba's own
        """Tell its name."""
        self._tell(event.data["dispatcher"].py_func.__name__.strip("_"))

    def on_end(self, event: Any) -> None:  # noqa: ANN401 as above
        """The next one is told."""


def _of_probabilities(kernel: Callable[..., object], *more: object) -> Work:
    def work() -> None:
        for p in (_BINARY, _P, _MANY):
            c = p.shape[1]
            kernel(p, *(each[:c] if isinstance(each, np.ndarray) and len(each) == _CLASSES else each for each in more))

    return work


def _hashes() -> None:
    kernels.hash_strings(np.arange(_N + 1) * 8, np.frombuffer(_TEXT, np.uint8))
    kernels.hash64(_TEXT)


def _windows() -> None:
    """Rows that come out of order, of so many keys that the tables grow; written to bytes and read again."""
    specs = [kernels.WindowSpec(each, -1 if each in NEEDS_NO_COLUMN else 0, 1_000) for each in _AGGREGATES]
    state = kernels.WindowState.with_watermark(specs, 1, 10, 0)
    rows = 4_096
    keys = kernels.hash_int64(np.arange(rows) % 512)
    state.update(keys, np.arange(rows) ^ 3, np.ones((rows, 1)))
    state.peek(keys[:2], np.full(2, rows), np.ones((2, 1)))
    kernels.WindowState.from_bytes(state.to_bytes())


def _reservoir() -> None:
    kernels.WeightedReservoir(3, 0).update(_WEIGHTS)


def _streaming() -> None:
    best = kernels.StreamingTopK(3)
    best.update(_WEIGHTS, _COINS)
    best.merge(best)


def _distincts() -> None:
    registers = kernels.distinct_sketch(4)
    kernels.add_distinct(registers, _GROUPS, _COINS)
    kernels.distinct_estimate(registers)


def _quantiles() -> None:
    layout = kernels.quantile_layout()
    counts = kernels.quantile_sketch(4, layout)
    kernels.add_quantiles(counts, _GROUPS, _WEIGHTS, layout)
    kernels.quantile_estimate(counts, np.array([0.5]), layout)


def _volumes() -> None:
    kernels.volume_sample(_X, _WEIGHTS, 0.1, kernels.volume_state(3))


@cache
def _model_text() -> str:
    import lightgbm as lgb  # noqa: PLC0415 a second of imports, which other users of this module need not wait for

    target = (_X[:, 0] > 0).astype(np.int64)
    parameters = {"objective": "binary", "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 2, "num_leaves": 8}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return lgb.train(parameters, lgb.Dataset(_X, target), 4).model_to_string(num_iteration=-1)


def _forest() -> None:
    """Few rows walk the trees, many are encoded first."""
    forest = kernels.Forest.from_text(_model_text())
    for rows in (_X[:1], _X):
        forest.probability(rows)
        forest.leaves(rows)
        forest.virtual_ensemble(rows, 2)
        forest.expected_change(rows)
    forest.contributions(_X[0])


def _scan_csv() -> None:
    found, zero = Found.nothing(1, 1, absent=False), np.zeros(1, np.int64)
    scan_csv(
        *joined([b"1"]), Cells(np.uint8(ord(",")), zero, zero), Places(found.whole, found.numbers, found.lengths),
        found.read,
    )  # fmt: skip


def _scan_json() -> None:
    PlainColumns([Field("a", "float", strict=True)], 1_000).read([b'{"a": 1}'])


def _scan_avro() -> None:
    found = Found.nothing(1, 1, absent=False)
    scan_avro(*joined([b"\x02"]), np.array([[2, 0, -1, 0]]), found.whole, found.numbers, found.lengths, found.read)


def _scan_protobuf() -> None:
    found = Found.nothing(1, 1, absent=True)
    scan_protobuf(
        *joined([b"\x08\x01"]), np.ones(1, np.int64), np.zeros(1, np.int64), found.whole, found.numbers, found.lengths,
        found.read,
    )  # fmt: skip


EXAMPLES: Final[dict[str, Work]] = {
    "iso_times": lambda: iso_times(["2025-01-01T00:00:00Z"]),
    "scan_json": _scan_json,
    "scan_csv": _scan_csv,
    "scan_avro": _scan_avro,
    "scan_protobuf": _scan_protobuf,
    "suspicious": lambda: suspicious([b'{"a": 1}'], name_hashes(["a"])),
    "least_confidence": _of_probabilities(kernels.least_confidence),
    "margin": _of_probabilities(kernels.margin),
    "breaking_ties": _of_probabilities(kernels.breaking_ties),
    "ratio": _of_probabilities(kernels.ratio),
    "entropy": _of_probabilities(kernels.entropy),
    "power_margin": _of_probabilities(kernels.power_margin, _WEIGHTS),
    "expected_cost": _of_probabilities(kernels.expected_cost, np.ones((_CLASSES, 3))),
    "cost_margin": _of_probabilities(kernels.cost_margin, np.ones((_CLASSES, 3))),
    "shifted": _of_probabilities(kernels.shifted, np.ones(_CLASSES), np.ones(_CLASSES)),
    "weighted_entropy": _of_probabilities(kernels.weighted_entropy, np.ones(_CLASSES)),
    "recalibrated": _of_probabilities(kernels.recalibrated, np.linspace(0, 1, 5), np.linspace(0, 1, 5)),
    "vote_entropy": lambda: kernels.vote_entropy(_COMMITTEE),
    "variation_ratio": lambda: kernels.variation_ratio(_COMMITTEE),
    "consensus_entropy": lambda: kernels.consensus_entropy(_COMMITTEE),
    "bald": lambda: kernels.bald(_COMMITTEE),
    "mean_kl": lambda: kernels.mean_kl(_COMMITTEE),
    "virtual_ends": lambda: kernels.virtual_ends(10, 2),
    "kmeans_pp": lambda: kernels.kmeans_pp(_X, 3, 0),
    "badge": lambda: kernels.badge(_P, _X, 3, 0, bias=1.0),
    "k_center_greedy": lambda: kernels.k_center_greedy(_X, 3),
    "facility_location": lambda: kernels.facility_location(_X, 3),
    "determinantal": lambda: kernels.determinantal(_X, 3, scale=1.0),
    "average_linkage": lambda: kernels.average_linkage(_X, 1.0),
    "cluster_margin": lambda: kernels.cluster_margin(_WEIGHTS, _GROUPS, 3, 0),
    "novelty": lambda: kernels.novelty(_X, _X[:4]),
    "density": lambda: kernels.density(_X, _X[:4], scale=1.0),
    "typicality": lambda: kernels.typicality(_X, 3),
    "robust_scale": lambda: kernels.robust_scale(_X),
    "isolation": lambda: kernels.isolation(_X, 0),
    "gower": lambda: kernels.novelty(_X, _X[:4], metric=kernels.gower(_X)),
    "volume_sample": _volumes,
    "volume_state": lambda: kernels.volume_state(3),
    "bottom_k": lambda: kernels.bottom_k(_COINS, 3),
    "bottom_k_sample": lambda: kernels.bottom_k_sample(_COINS, 3),
    "bottom_k_threshold": lambda: kernels.bottom_k_threshold(_COINS, 3),
    "top_k": lambda: kernels.top_k(_WEIGHTS, None, 3),
    "StreamingTopK": _streaming,
    "inclusion_probabilities": lambda: kernels.inclusion_probabilities(_WEIGHTS, 3.0),
    "robust_mixture": lambda: kernels.robust_mixture(_WEIGHTS, 3.0, 0.5),
    "poisson_sample": lambda: kernels.poisson_sample(_WEIGHTS, _COINS),
    "systematic_sample": lambda: kernels.systematic_sample(_WEIGHTS, 1),
    "priority_sample": lambda: kernels.priority_sample(_WEIGHTS, _COINS, 3),
    "exponential_bottom_k": lambda: kernels.exponential_bottom_k(_WEIGHTS, _COINS, 3),
    "WeightedReservoir": _reservoir,
    "hash64": lambda: kernels.hash64(b"a"),
    "hash_strings": _hashes,
    "hash_int64": lambda: kernels.hash_int64(_GROUPS),
    "coin": lambda: kernels.coin(1, 0, np.arange(_N), 2),
    "unit": lambda: kernels.unit(_COINS),
    "stratified_mean": lambda: kernels.stratified_mean(_WEIGHTS, _GROUPS, _SIZES),
    "stratified_ratio": lambda: kernels.stratified_ratio(_WEIGHTS, _WEIGHTS, _GROUPS, _SIZES),
    "horvitz_thompson": lambda: kernels.horvitz_thompson(_WEIGHTS, _WEIGHTS, _N),
    "hajek": lambda: kernels.hajek(_WEIGHTS, _WEIGHTS),
    "lure": lambda: kernels.lure(_WEIGHTS, np.full(_N, 1 / (2 * _N)), 2 * _N),
    "active_inference": lambda: kernels.active_inference(_WEIGHTS, _WEIGHTS, _WEIGHTS),
    "variable_uncertainty": lambda: kernels.variable_uncertainty(_WEIGHTS, _COINS, kernels.ThresholdState(), 0.1),
    "WindowState": _windows,
    "distinct_sketch": lambda: kernels.distinct_sketch(4),
    "add_distinct": _distincts,
    "distinct_estimate": _distincts,
    "quantile_layout": kernels.quantile_layout,
    "quantile_sketch": lambda: kernels.quantile_sketch(4, kernels.quantile_layout()),
    "add_quantiles": _quantiles,
    "quantile_estimate": _quantiles,
    "parse_model": lambda: kernels.parse_model(_model_text()),
    "Forest": _forest,
}
"""By the kernel's name: of `tests/kernel_table.py`, and of the readers of times and records."""


if __name__ == "__main__":
    main(sys.argv[1:])
