"""Rows of `make bench-kernels` that compare a kernel with its peers."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.support.timing import median_seconds

Row = dict[str, Any]
Work = Callable[[], object]


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


def same(id_: str, peer: str, ours: NDArray[Any], theirs: object, tolerance: float = 0.0) -> None:
    """Check that a peer does the same work. Raises AssertionError that names the row and the peer."""
    np.testing.assert_allclose(
        np.asarray(theirs, np.float64).reshape(ours.shape), ours, rtol=0, atol=tolerance, err_msg=f"{id_}: {peer}"
    )
