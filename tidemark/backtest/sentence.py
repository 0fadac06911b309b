"""A simulation in words."""

from __future__ import annotations

from typing import Final

from tidemark.backtest.result import ArmCurve, Simulation
from tidemark.observe.more_labels import NEXT, Point, next_hundred

_PART: Final = 3
"""The curve is fitted from the last number of labels over this on: the first models are of another kind."""
_TOO_FEW: Final = 2 * NEXT


def about(found: Simulation) -> str:
    """What quality is measured on."""
    what = f" of '{found.positive}'" if found.metric == "average precision" else ""
    return f"{capital(found.metric)}{what} on {found.exam:,} later labels that none of the models has learnt from."


def capital(words: str) -> str:
    """Words as a sentence begins; what is written with capitals stays so."""
    return words[:1].upper() + words[1:]


def sentence(found: Simulation) -> str:
    """What to make of it."""
    return f"{_best(found)} {_pays(found)}"


def _best(found: Simulation) -> str:
    arm = found.arm(found.chosen)
    if arm is found.own or arm.gain is None or arm.gain_low is None:
        return "No change that was played is better than the pipeline as it is by more than chance."
    return f"Best is {arm.name}: {arm.gain:+.3f} on average over all labels (95 %: at least {arm.gain_low:+.3f})."


def _pays(found: Simulation) -> str:
    arm = found.arm(found.chosen)
    last = arm.grid[-1]
    if found.stop is None:
        end = f"{arm.mean[-1]:.3f} [{arm.low[-1]:.3f}, {arm.high[-1]:.3f}]{found.off(arm.mean[-1])} after {last:,}"
        if last < _TOO_FEW:
            return f"{last:,} labels are too few to tell when more stop paying: {end}."
        return f"Labels pay as far as can be told: {end}{_following(arm)}."
    at = arm.grid.index(found.stop)
    here = f"{arm.mean[at]:.3f} [{arm.low[at]:.3f}, {arm.high[at]:.3f}]{found.off(arm.mean[at])}"
    end = f"{found.told(arm.mean[-1])} after {last:,}{_following(arm)}"
    return f"More than {found.stop:,} labels stop paying: {here} there, {end}."


def _following(arm: ArmCurve) -> str:
    """What a hundred labels beyond those that were played would bring, by the later half of the curve."""
    points = [
        Point(labels, mean, high - low)
        for labels, mean, low, high in zip(arm.grid, arm.mean, arm.low, arm.high, strict=True)
        if labels * _PART >= arm.grid[-1]
    ]
    gain = next_hundred(points)
    if gain is None:
        return ""
    return f"; a hundred more would bring about {100 * gain.expected:.1f} points, at most {100 * gain.most:.1f}"
