"""Draws docs/assets/kernels.svg: what each selection kernel picks on one two-dimensional example.

`python -m benchmarks.kernels.picks [--png FILE]`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kernels import (
    average_linkage,
    badge,
    bottom_k,
    cluster_margin,
    coin,
    density,
    determinantal,
    facility_location,
    k_center_greedy,
    kmeans_pp,
    margin,
    novelty,
    top_k,
    typicality,
    volume_sample,
    volume_state,
)

Array = NDArray[Any]

_TO: Final = Path(__file__).parents[2] / "docs" / "assets" / "kernels.svg"
_K: Final = 12
_GREY, _BLUE, _ORANGE, _LABEL, _PICK = "#8c8c8c", "#5b8fd6", "#d99a5b", "#808080", "#e0312f"


def example() -> tuple[Array, Array]:
    """Two large classes that overlap, a small group and a few outliers; and P(orange) by a linear model."""
    rng = np.random.default_rng(4)
    x = np.concatenate([
        rng.normal((-1.5, 0), 0.8, (160, 2)), rng.normal((1.5, 0), 0.8, (160, 2)), rng.normal((0.2, 3), 0.25, (25, 2)),
        rng.uniform(-4.5, 4.5, (10, 2)),
    ])  # fmt: skip
    return x, 1 / (1 + np.exp(-2.0 * x[:, 0]))


def picks(x: Array, p: Array) -> dict[str, Array]:
    """The picks of each kernel; of kernels that give scores, the highest."""
    n = len(x)
    unsure, coins = margin(p), coin(1, 0, np.arange(n), 7)
    lots = (coin(1, 0, np.arange(n), 8) >> np.uint64(11)).astype(float) / 2.0**53
    gradients = x * (1 - np.maximum(p, 1 - p))[:, None]
    chosen, _, _ = volume_sample(gradients, lots, _K / n, volume_state(2))

    def best(scores: Array) -> Array:
        return top_k(scores, coins, _K).indices

    return {
        "bottom_k (at random)": bottom_k(coins, _K),
        "margin": best(unsure),
        "margin × density": best(unsure * density(x, x[::5].copy(), scale=1.0)),
        "cluster_margin": cluster_margin(unsure, average_linkage(x, 1.0), _K, 1, candidates=80),
        "badge": badge(p, x, _K, 1, bias=1.0),
        "kmeans_pp": kmeans_pp(x, _K, 1),
        "k_center_greedy": k_center_greedy(x, _K),
        "facility_location": facility_location(x, _K),
        "determinantal, quality = margin": determinantal(x, _K, scale=1.0, quality=0.05 + unsure),
        "typicality": best(typicality(x)),
        "novelty (to the left class)": best(novelty(x, x[:160].copy())),
        "volume_sample (one pass)": np.flatnonzero(chosen),
    }


def draw() -> Figure:
    """The figure: its background is transparent and its greys show on light and on dark."""
    x, p = example()
    found = picks(x, p)
    figure = Figure(figsize=(12, 8.4), layout="constrained")
    for axes, (name, rows) in zip(figure.subplots(3, 4).flat, found.items(), strict=True):
        for rows_of, colour in ((p <= 0.5, _BLUE), (p > 0.5, _ORANGE)):
            axes.plot(*x[rows_of].T, "o", markersize=3, color=colour, alpha=0.55, markeredgewidth=0)
        axes.axvline(0, color=_GREY, linewidth=0.8, linestyle="--")
        axes.scatter(*x[rows].T, s=70, facecolors="none", edgecolors=_PICK, linewidths=1.8)
        axes.set_title(name, fontsize=11, color=_LABEL)
        axes.set(xticks=[], yticks=[], aspect="equal", facecolor="none", xlim=(-5, 5), ylim=(-5, 5))
        for spine in axes.spines.values():
            spine.set_color(_GREY)
    figure.patch.set_alpha(0)
    return figure


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--png", type=Path, help="write a PNG as well, to look at")
    png = parser.parse_args().png
    mpl.rcParams["svg.hashsalt"] = "kernels"
    figure = draw()
    figure.savefig(_TO, metadata={"Date": None})
    if png is not None:
        figure.savefig(png, dpi=60)


if __name__ == "__main__":
    main()
