"""The demo's picture: average precision against labels spent, for both arms."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tidemark.demo.result import DemoResult, ModelPoint

mpl.use("svg")


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a picture. The two lines differ in lightness and dash too, so that they part without colour."""

    background: str
    ink: str
    faint: str
    active: str
    random: str


LIGHT: Final = Theme(background="#ffffff", ink="#1b1f24", faint="#d0d7de", active="#0b6bcb", random="#8a6100")
DARK: Final = Theme(background="#0d1117", ink="#e6edf3", faint="#30363d", active="#6cb6ff", random="#e3b341")


def figure(result: DemoResult, theme: Theme) -> Figure:
    """Average precision on the later period against labels spent."""
    drawn = Figure(figsize=(8.4, 4.4), facecolor=theme.background, layout="constrained")
    axes = drawn.add_subplot(facecolor=theme.background)
    _line(axes, result.random, theme.random, "--", "random")
    _line(axes, result.active, theme.active, "-", "active")
    if result.random:
        goal = result.random[-1].average_precision
        axes.axhline(goal, color=theme.faint, linewidth=1, zorder=0)
        if (reached := result.labels_to_match) is not None:
            axes.annotate(
                f"{reached:,} labels do the work\nof {result.random[-1].labels:,} random ones",
                (reached, goal),
                xytext=(24, -58),
                textcoords="offset points",
                color=theme.ink,
                arrowprops={"arrowstyle": "-", "color": theme.ink, "linewidth": 0.8},
            )
    axes.axhline(result.base_rate, color=theme.faint, linewidth=1, linestyle=":", zorder=0)
    axes.set(xlabel="labels spent", ylabel="average precision, later period", xlim=(0, None), ylim=(0, 1))
    axes.tick_params(colors=theme.ink)
    axes.xaxis.label.set_color(theme.ink)
    axes.yaxis.label.set_color(theme.ink)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(theme.faint)
    return drawn


def _line(axes: Axes, points: list[ModelPoint], colour: str, dash: str, name: str) -> None:
    if not points:
        return
    x, y = [point.labels for point in points], [point.average_precision for point in points]
    axes.plot(x, y, dash, color=colour, linewidth=2, label=name)
    axes.annotate(name, (x[-1], y[-1]), xytext=(6, 0), textcoords="offset points", color=colour, va="center")


def svg(result: DemoResult, theme: Theme) -> str:
    """The picture as inline SVG."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "tidemark", "svg.fonttype": "none"}):
        figure(result, theme).savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def save_png(result: DemoResult, path: Path, theme: Theme = LIGHT) -> None:
    """The picture as a PNG file."""
    figure(result, theme).savefig(path, format="png", dpi=160)
