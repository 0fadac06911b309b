"""How often the headline's intervals hold the truth, by simulation, and how much the focused draw narrows them (L4).

A population of a million events at each rate of positives, a model of each skill (none, fair, good) that scores it, and
samples of 20 to 2,000 answers: with equal weights, with weights of 1 to 4, and of the focused draw. Five measures:
accuracy, average precision, and precision, recall and cost of flagging twice as many events as are positive (a missed
one costs ten times a false alarm). A sample that can tell nothing (no positive, nothing flagged) is counted apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tidemark.evaluation.focus import sizes
from tidemark.evaluation.measures import Measured, Sample, accuracy, average_precision, cost, precision, recall

RATES: Final = (0.001, 0.01, 0.05, 0.1, 0.2, 0.5)
SIZES: Final = (20, 50, 200, 500, 2_000)
SKILLS: Final = (0.0, 0.75, 1.5)
DESIGNS: Final = ("equal", "weighted", "focused")
MEASURES: Final = ("accuracy", "average_precision", "precision", "recall", "cost")
_POPULATION: Final = 1_000_000
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


def cells(rate: float, n: int, skill: float, design: str, repetitions: int) -> dict[str, Cell]:
    """Samples of a number of answers, at a rate of positives and a skill of the model."""
    rng = np.random.default_rng([int(rate * 1e4), n, int(100 * skill), DESIGNS.index(design)])
    truth = (rng.random(_POPULATION) < rate).astype(np.int64)
    leaning = rng.normal(size=_POPULATION) + skill * (2 * truth - 1)
    positive = 1 / (1 + np.exp(-(2 * max(skill, 0.25) * leaning + np.log(rate / (1 - rate)))))
    table = np.column_stack((1 - positive, positive))
    threshold = float(np.quantile(positive, 1 - min(2 * rate, 0.5)))
    everything = figures(Sample(truth, table, np.ones(_POPULATION)), threshold)
    whole = {name: found.value for name, found in everything.items() if found.value is not None}
    size = sizes(table) if design == "focused" else np.ones(_POPULATION)
    reach = np.cumsum(size) / size.sum()
    found = {name: Cell() for name in whole}
    for _ in range(repetitions):
        rows = np.minimum(np.searchsorted(reach, rng.random(n)), _POPULATION - 1)
        weight = rng.choice([1.0, 2.0, 4.0], n) if design == "weighted" else 1 / size[rows]
        told = figures(Sample(truth[rows], table[rows], weight), threshold)
        for name, cell in found.items():
            cell.add(told[name], whole[name])
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


def covered(repetitions: int) -> list[dict[str, Any]]:
    """Rows N2-coverage (accuracy and average precision), L4-coverage of each measure, and L4-width."""
    rows = [row for rate in RATES for n in SIZES for row in coverage(rate, n, repetitions)]
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
