"""The picture of a simulation: quality by labels, with the bands of the pipeline as it is and of what is advised."""

from __future__ import annotations

from typing import Final

from tidemark.backtest.arms import OWN, RANDOM
from tidemark.backtest.result import ArmCurve, Simulation
from tidemark.reports.picture import Theme, blank, inline_svg, plain

_DASHES: Final = ("-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)))


def svg(found: Simulation, theme: Theme) -> str:
    """The picture as inline SVG."""
    drawn, axes = blank(theme)
    for number, arm in enumerate(found.arms):
        colour, dash, width = _line(arm, number, theme)
        axes.step(arm.grid, arm.mean, linestyle=dash, where="post", color=colour, linewidth=width, label=arm.name)
        if arm.name in {OWN, found.chosen}:
            axes.fill_between(arm.grid, arm.low, arm.high, step="post", color=colour, alpha=0.16, linewidth=0)
    axes.axhline(found.constant, color=theme.faint, linewidth=1, linestyle=":", zorder=0)
    if found.stop is not None:
        right = found.stop > found.own.grid[-1] / 2
        axes.axvline(found.stop, color=theme.ink, linewidth=0.8, linestyle="--")
        axes.annotate(
            f"{found.stop:,} labels:\nmore stop paying",
            (found.stop, 0),
            xytext=(-6 if right else 6, 10),
            textcoords="offset points",
            color=theme.ink,
            ha="right" if right else "left",
        )
    axes.set(xlabel="labels", ylabel=found.metric, xlim=(0, found.own.grid[-1]), ylim=(found.least, 1))
    plain(axes, theme)
    axes.legend(loc="best", frameon=False, labelcolor=theme.ink, fontsize=9, ncols=2)
    return inline_svg(drawn)


def _line(arm: ArmCurve, number: int, theme: Theme) -> tuple[str, object, float]:
    if arm.name == OWN:
        return theme.active, "-", 2.2
    if arm.name == RANDOM:
        return theme.random, "--", 2.0
    return theme.others[number % len(theme.others)], _DASHES[number % len(_DASHES)], 1.4
