"""Rows L1 and L1b of runs of `label-curves`, and a table of sets and arms."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.labels.arms import DRAFT, RANDOM
from benchmarks.labels.peer_arms import PEERS

_LEAST_SPREAD: Final = 0.01
"""Of quality; seeds that happen to agree better are no reason to call a smaller difference one."""
_LEVELS: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Shares of random's skill (its final quality above a constant's) for which labels are counted too."""
_SKILL: Final = 1.1
"""Random's final quality over a constant's, below which a set shows no skill that could be reached sooner."""

_Run = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figures:
    """An arm on a set.

    l1, l1b: labels to the goal over random's labels, 1 where it is never reached.  reached: whether each is.
    several: the same for several shares of random's skill, the geometric mean; an arm that gets to none counts its
    last label.
    area: under the curve on the next period, over random's.  behind: by how much the arm is worse than random on the
    next period or the exam at its worst moment, beyond spread and two standard errors.  behind_at: labels spent there.
    """

    seeds: int
    labels: float
    final: float
    final_sd: float
    log_loss: float
    l1: float
    l1b: float
    reached: tuple[bool, bool]
    several: float
    area: float
    behind: float
    behind_at: float | None
    first_model: float
    kept: int


def _curve(runs: Sequence[_Run], column: int) -> NDArray[np.float64]:
    """(seeds, moments) of a column of the track."""
    return np.array([[moment[column] for moment in run["track"]] for run in runs], np.float64)


def _on_exam(runs: Sequence[_Run], grid: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean over seeds of the champion's quality on the exam, after each number of labels."""
    curves = np.empty((len(runs), len(grid)))
    for curve, run in zip(curves, runs, strict=True):
        curve[:] = run["constant"]
        for spent, value in run["points"]:
            curve[grid >= spent] = value
    return np.asarray(curves.mean(axis=0))


def _reached(curve: NDArray[np.float64], grid: NDArray[np.int64], goal: float) -> int | None:
    at = np.flatnonzero(curve >= goal)
    return int(grid[at[0]]) if len(at) else None


def _deviation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1:]))


def _area(runs: Sequence[_Run]) -> float:
    """Mean quality over labels spent; periods without positives have none."""
    spent, values = _curve(runs, 0).mean(axis=0), _curve(runs, 1)
    known = ~np.isnan(values).all(axis=0)
    value = np.nanmean(values[:, known], axis=0)
    return float(np.trapezoid(value, spent[known]) / (spent[known][-1] - spent[known][0]))


def _over(own: float, random: float) -> float:
    """An area over random's; NaN where one is not above 0, as R² may be."""
    return own / random if min(own, random) > 0 else math.nan


def figures(own: Sequence[_Run], random: Sequence[_Run]) -> Figures:
    """Figures of an arm's runs on a set, beside those of random's, both by seed."""
    most = statistics.mean(run["labels"] for run in random)
    grid = np.arange(1, max(run["labels"] for run in [*own, *random]) + 1)
    ours, theirs = _on_exam(own, grid), _on_exam(random, grid)
    goals = [statistics.mean(run[name] for run in random) for name in ("lightgbm", "final")]
    found = [_reached(ours, grid, goal) for goal in goals]
    floor = own[0]["constant"]
    ratios = []
    for share in _LEVELS:
        level = floor + share * (goals[1] - floor)
        ratios.append((_reached(ours, grid, level) or grid[-1]) / (_reached(theirs, grid, level) or grid[-1]))
    behind, behind_at = 0.0, None
    for column in (1, 2):
        mine, others = _curve(own, column), _curve(random, column)
        gap = others.mean(axis=0) - mine.mean(axis=0)
        error = np.sqrt(_deviation(mine) ** 2 / len(own) + _deviation(others) ** 2 / len(random))
        worse = (gap > np.maximum(_deviation(others), _LEAST_SPREAD)) & (gap > 2 * error)
        if worse.any() and gap[worse].max() > behind:
            behind = float(gap[worse].max())
            behind_at = float(_curve(own, 0).mean(axis=0)[np.argmax(np.where(worse, gap, 0))])
    return Figures(
        seeds=len(own),
        labels=statistics.mean(run["labels"] for run in own),
        final=statistics.mean(run["final"] for run in own),
        final_sd=float(_deviation(np.array([[run["final"]] for run in own]))[0]),
        log_loss=statistics.mean(run["log_loss"] for run in own),
        l1=1.0 if found[0] is None else min(1.0, found[0] / most),
        l1b=1.0 if found[1] is None else min(1.0, found[1] / most),
        reached=(found[0] is not None, found[1] is not None),
        several=float(statistics.geometric_mean(ratios)),
        area=_over(_area(own), _area(random)),
        behind=behind,
        behind_at=behind_at,
        first_model=statistics.mean(run["first_model"] or run["labels"] for run in own),
        kept=sum(run["gate"][0] for run in own),
    )


def by_set(runs: Sequence[_Run]) -> dict[str, dict[str, Figures]]:
    """Figures of every set and arm of which there are random runs; the skill of a set's random arm decides nothing."""
    found: dict[str, dict[str, Figures]] = {}
    for name in sorted({run["set"] for run in runs}):
        arms: dict[str, list[_Run]] = {}
        for run in runs:
            if run["set"] == name:
                arms.setdefault(run["arm"], []).append(run)
        if RANDOM in arms:
            found[name] = {arm: figures(own, arms[RANDOM]) for arm, own in arms.items()}
    return found


def shows_skill(runs: Sequence[_Run], name: str) -> bool:
    """Whether random's final quality on a set is above a constant's: else there is no goal to be reached."""
    own = [run for run in runs if run["set"] == name and run["arm"] == RANDOM]
    return bool(statistics.mean(run["final"] for run in own) > _SKILL * own[0]["constant"])


def rows_of(runs: Sequence[_Run]) -> tuple[list[dict[str, Any]], str]:
    """Rows L1 and L1b of each arm, geometric means over the sets that show skill, and the table in Markdown."""
    found = by_set(runs)
    skilled = [name for name in found if shows_skill(runs, name)]
    rows = []
    for arm in dict.fromkeys(run["arm"] for run in runs):
        own = {name: found[name][arm] for name in skilled if arm in found[name]}
        if not own:
            continue
        detail = {
            "sets": {name: _plain(each) for name, each in own.items()},
            "several_goals": round(statistics.geometric_mean(each.several for each in own.values()), 3),
            "area_over_random": _mean_of([each.area for each in own.values()]),
            "sets_behind_random": [name for name, each in own.items() if each.behind],
        }
        for row, target in (("l1", 0.25), ("l1b", 0.5)):
            values = [getattr(each, row) for each in own.values()]
            value = round(statistics.geometric_mean(values), 3)
            reached = value <= target and (max(values) <= 2 / 3 if row == "l1" else not detail["sets_behind_random"])
            rows.append(
                {
                    "id": f"{row.upper().replace('B', 'b')} {arm}",
                    "value": value,
                    "unit": f"of random's labels, geometric mean over {len(own)} sets; most {max(values):.2f}",
                    "target": target if arm == DRAFT else None,
                    "reached": reached,
                    "detail": detail,
                }
            )
    if against := _against_peers(found, skilled):
        rows.append(against)
    return rows, _table(found, skilled)


def _against_peers(found: dict[str, dict[str, Figures]], skilled: Sequence[str]) -> dict[str, Any] | None:
    """Row L2 of the draft; what never reaches the goal counts all its labels."""
    ratios: dict[str, tuple[float, str]] = {}
    for name in skilled:
        peers = {arm: each.l1 for arm, each in found[name].items() if arm in PEERS}
        if peers and DRAFT in found[name]:
            best = min(peers, key=lambda arm: peers[arm])
            ratios[name] = found[name][DRAFT].l1 / peers[best], best
    if not ratios:
        return None
    value = statistics.geometric_mean(ratio for ratio, _ in ratios.values())
    return {
        "id": f"L2 {DRAFT}",
        "value": round(value, 3),
        "unit": f"of the labels of the best peer of each set, geometric mean over {len(ratios)} sets",
        "target": 0.67,
        "reached": value <= 2 / 3,
        "detail": {name: {"ratio": round(ratio, 3), "best": best} for name, (ratio, best) in ratios.items()},
    }


def _mean_of(ratios: Sequence[float]) -> float | None:
    """Geometric mean of those that are known."""
    known = [ratio for ratio in ratios if not math.isnan(ratio)]
    return round(statistics.geometric_mean(known), 3) if known else None


def _plain(each: Figures) -> dict[str, Any]:
    return {
        name: (None if math.isnan(value) else round(value, 4)) if isinstance(value, float) else value
        for name in Figures.__slots__
        for value in [getattr(each, name)]
    }


def _table(found: dict[str, dict[str, Figures]], skilled: Sequence[str]) -> str:
    columns = (
        *("set", "arm", "seeds", "labels", "final (sd)", "L1", "L1b", "several goals", "area"),
        *("behind random (at)", "first model", "log-loss", "kept out"),
    )
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for name, arms in found.items():
        for arm, each in arms.items():
            shown = [
                f"{value:.2f}" if ok else "never" for value, ok in zip((each.l1, each.l1b), each.reached, strict=True)
            ]
            behind = f"{each.behind:.3f} ({each.behind_at:.0f})" if each.behind_at is not None else ""
            lines.append(
                f"| {name}{'' if name in skilled else ' (no skill)'} | {arm} | {each.seeds} | {each.labels:.0f} "
                f"| {each.final:.3f} ({each.final_sd:.3f}) | {shown[0]} | {shown[1]} | {each.several:.2f} "
                f"| {each.area:.2f} | {behind} | {each.first_model:.0f} | {each.log_loss:.3f} | {each.kept} |"
            )
    return "\n".join(lines)
