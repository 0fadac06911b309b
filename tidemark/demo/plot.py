"""The demo's picture: average precision against labels spent, for both arms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tidemark.demo.curves import curve
from tidemark.demo.result import DemoResult
from tidemark.demo.sentence import compared
from tidemark.reports.picture import LIGHT, Theme, blank, inline_svg, plain


def figure(result: DemoResult, theme: Theme) -> Figure:
    """Average precision on the later period against labels spent."""
    drawn, axes = blank(theme)
    comparison = compared(result)
    if comparison is not None:
        count = np.arange(comparison.labels + 1)
        draws = [curve(points, comparison.labels, result.base_rate) for points in result.draws]
        for values in draws:
            axes.step(count, values, where="post", color=theme.random, linewidth=0.7, alpha=0.45)
        mean = np.mean(draws, axis=0)
        _line(axes, count, mean, theme.random, "--", f"random, mean of {len(draws)}", -24)
        ours = curve(result.active, comparison.labels, result.base_rate)
        _line(axes, count, ours, theme.active, "-", "chosen", 12)
        if comparison.ahead_from:
            ahead = comparison.ahead_from
            axes.annotate(
                f"never behind\nfrom label {ahead:,} on",
                (ahead, float(ours[ahead])),
                xytext=(28, -46),
                textcoords="offset points",
                color=theme.ink,
                arrowprops={"arrowstyle": "-", "color": theme.ink, "linewidth": 0.8},
            )
    axes.axhline(result.base_rate, color=theme.faint, linewidth=1, linestyle=":", zorder=0)
    axes.set(xlabel="labels spent", ylabel="average precision, later period", xlim=(0, None), ylim=(0, 1))
    plain(axes, theme)
    return drawn


def _line(
    axes: Axes, labels: NDArray[np.int64], quality: NDArray[np.float64], colour: str, dash: str, name: str, above: int
) -> None:
    """A curve: the model in force changes at once, so it goes in steps. above: points, of its name."""
    axes.step(labels, quality, dash, where="post", color=colour, linewidth=2, label=name)
    axes.annotate(
        name,
        (float(labels[-1]), float(quality[-1])),
        xytext=(0, above),
        textcoords="offset points",
        color=colour,
        ha="right",
    )


def svg(result: DemoResult, theme: Theme) -> str:
    """The picture as inline SVG."""
    return inline_svg(figure(result, theme))


def save_png(result: DemoResult, path: Path, theme: Theme = LIGHT) -> None:
    """The picture as a PNG file."""
    figure(result, theme).savefig(path, format="png", dpi=160)
