"""How often the headline's intervals hold the truth, by simulation, and how much the focused draw narrows them (L4).

A population of a million events at each rate of positives, a model of each skill (none, fair, good) that scores it, and
samples of 20 to 2,000 answers: with equal weights, with weights of 1 to 4, and of the focused draw. Five measures:
accuracy, average precision, and precision, recall and cost of flagging twice as many events as are positive (a missed
one costs ten times a false alarm). A sample that can tell nothing (no positive, nothing flagged) is counted apart.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidemark.evaluation.focus import sizes
from tidemark.evaluation.measures import Measured, Sample, accuracy, average_precision, cost, precision, recall

RATES: Final = (0.001, 0.01, 0.05, 0.1, 0.2, 0.5)
SIZES: Final = (20, 50, 200, 500, 2_000)
SKILLS: Final = (0.0, 0.75, 1.5)
DESIGNS: Final = ("equal", "weighted", "focused")
MEASURES: Final = ("accuracy", "average_precision", "precision", "recall", "cost")
_POPULATION: Final = 1_000_000
_PROCESSES: Final = 2
_MISSED: Final = 10.0
_LOWEST, _HIGHEST = 0.93, 0.97
_NARROWER: Final = 1.3
_TOLD: Final = 0.2
"""Share of samples that can tell something, below which a cell is left out of the coverage."""


@dataclass(slots=True)
class Cell:
    """What the samples of one design tell by one measure. width: sum over those that can tell."""

    told: int = 0
    held: int = 0
    width: float = 0.0

    def add(self, found: Measured, truth: float) -> None:
        """Take in a sample's interval."""
        if found.value is not None:
            self.told += 1
            self.held += found.low <= truth <= found.high
            self.width += found.high - found.low


def figures(sample: Sample, threshold: float) -> dict[str, Measured]:
    """Each measure of a sample."""
    return {
        "accuracy": accuracy(sample),
        "average_precision": average_precision(sample, 1),
        "precision": precision(sample, 1, threshold),
        "recall": recall(sample, 1, threshold),
        "cost": cost(sample, 1, missed=_MISSED, false=1.0, threshold=threshold),
    }


@dataclass(frozen=True, slots=True)
class Population:
    """All events at a rate of positives, as a model of some skill scores them.

    truth: (n,) class.  table: (n, 2) probabilities.  size: (n,) in the focused draw.  threshold: of flagging.  whole:
    each measure of all of them.
    """

    truth: NDArray[np.int64]
    table: NDArray[np.float64]
    size: NDArray[np.float64]
    threshold: float
    whole: dict[str, float]


@lru_cache(maxsize=len(SKILLS))
def population(rate: float, skill: float) -> Population:
    """The same for the same rate and skill."""
    rng = np.random.default_rng([int(rate * 1e4), int(100 * skill)])
    truth = (rng.random(_POPULATION) < rate).astype(np.int64)
    leaning = rng.normal(size=_POPULATION) + skill * (2 * truth - 1)
    positive = 1 / (1 + np.exp(-(2 * max(skill, 0.25) * leaning + np.log(rate / (1 - rate)))))
    table = np.column_stack((1 - positive, positive))
    threshold = float(np.quantile(positive, 1 - min(2 * rate, 0.5)))
    everything = figures(Sample(truth, table, np.ones(_POPULATION)), threshold)
    whole = {name: found.value for name, found in everything.items() if found.value is not None}
    return Population(truth, table, sizes(table), threshold, whole)


def cells(rate: float, n: int, skill: float, design: str, repetitions: int) -> dict[str, Cell]:
    """Samples of a number of answers, at a rate of positives and a skill of the model."""
    rng = np.random.default_rng([int(rate * 1e4), n, int(100 * skill), DESIGNS.index(design)])
    of = population(rate, skill)
    reach = np.cumsum(of.size) / of.size.sum()
    found = {name: Cell() for name in of.whole}
    for _ in range(repetitions):
        weight = np.ones(n)
        if design == "focused":
            rows = np.minimum(np.searchsorted(reach, rng.random(n)), _POPULATION - 1)
            weight = 1 / of.size[rows]
        else:
            rows = rng.integers(0, _POPULATION, n)
        if design == "weighted":
            weight = rng.choice([1.0, 2.0, 4.0], n)
        told = figures(Sample(of.truth[rows], of.table[rows], weight), of.threshold)
        for name, cell in found.items():
            cell.add(told[name], of.whole[name])
    return found


def coverage(rate: float, n: int, repetitions: int) -> list[dict[str, Any]]:
    """Coverage of every measure at a rate of positives and a number of answers; widths of both draws."""
    found = {(skill, design): cells(rate, n, skill, design, repetitions) for skill in SKILLS for design in DESIGNS}
    rows = []
    for name in MEASURES:
        known = {key: each[name] for key, each in found.items() if each[name].told >= repetitions * _TOLD}
        if not known:
            continue
        ratios = [
            (plain.width / plain.told) / (focused.width / focused.told)
            for skill in SKILLS
            if (plain := found[skill, "equal"][name]).told >= repetitions // 2
            and (focused := found[skill, "focused"][name]).told >= repetitions // 2
        ]
        shares = {key: each.held / each.told for key, each in known.items()}
        lowest = min(shares, key=lambda key: shares[key])
        rows.append(
            {
                "rate": rate,
                "answers": n,
                "metric": name,
                "lowest": round(shares[lowest], 3),
                "lowest_at": f"skill {lowest[0]}, {lowest[1]}",
                "by_design": {
                    design: round(float(np.mean([share for key, share in shares.items() if key[1] == design])), 3)
                    for design in DESIGNS
                    if any(key[1] == design for key in shares)
                },
                "mean": round(sum(each.held for each in known.values()) / sum(each.told for each in known.values()), 3),
                "told": round(sum(each[name].told for each in found.values()) / (repetitions * len(found)), 3),
                "width": round(float(np.mean([each.width / each.told for each in known.values()])), 3),
                "uniform_over_focused": [round(ratio, 2) for ratio in ratios],
            }
        )
    return rows


def _of_rate(rate: float, repetitions: int) -> list[dict[str, Any]]:
    return [row for n in SIZES for row in coverage(rate, n, repetitions)]


def covered(repetitions: int) -> list[dict[str, Any]]:
    """Rows N2-coverage (accuracy and average precision), L4-coverage of each measure, and L4-width."""
    with ProcessPoolExecutor(_PROCESSES) as processes:
        made = processes.map(_of_rate, RATES, [repetitions] * len(RATES))
        rows = [row for of_rate in made for row in of_rate]
    of_headline = [row for row in rows if row["metric"] in ("accuracy", "average_precision")]
    found = [_covered("N2-coverage", of_headline, repetitions)]
    found += [
        _covered(f"L4-coverage {name}", [row for row in rows if row["metric"] == name], repetitions)
        for name in MEASURES
    ]
    ratios = {name: _mean_ratio([row for row in rows if row["metric"] == name]) for name in MEASURES}
    narrower = _mean_ratio(rows)
    found.append(
        {
            "id": "L4-width",
            "value": narrower,
            "unit": "width of the uniform draw's intervals over the focused draw's, geometric mean",
            "target": _NARROWER,
            "reached": narrower >= _NARROWER,
            "detail": {"repetitions": repetitions, "by_measure": ratios},
        }
    )
    return found


def _mean_ratio(rows: list[dict[str, Any]]) -> float:
    ratios = [ratio for row in rows for ratio in row["uniform_over_focused"]]
    return round(float(np.exp(np.mean(np.log(ratios)))), 3)


def _covered(identity: str, rows: list[dict[str, Any]], repetitions: int) -> dict[str, Any]:
    lowest, highest = min(row["lowest"] for row in rows), max(row["mean"] for row in rows)
    inside = [row for row in rows if row["lowest"] >= _LOWEST and row["mean"] <= _HIGHEST]
    return {
        "id": identity,
        "value": round(float(np.mean([row["mean"] for row in rows])), 3),
        "unit": "share of 95 % intervals that hold the truth, mean over rates and sizes; the lowest in detail",
        "target": f"{_LOWEST} to {_HIGHEST}",
        "reached": lowest >= _LOWEST and highest <= _HIGHEST,
        "detail": {
            "repetitions": repetitions,
            "lowest": lowest,
            "highest": highest,
            "below": sum(row["lowest"] < _LOWEST for row in rows),
            "inside": len(inside),
            "cells": len(rows),
            "rows": rows,
        },
    }
