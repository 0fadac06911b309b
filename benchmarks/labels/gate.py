"""`make bench-gate`: how often a challenger no better replaces a champion, and how soon one that is better does.

L5-false: simulated pairs of models that are as good as each other, looked at after every 10 labels up to 5,000: the
share of champions that are ever replaced, the highest of several kinds of differences. Beside it the same for an
interval of 95 % that is looked at as often.

L5-labels: a challenger that is right two points more often: labels until it replaces, over those of a test of fixed
size: an interval of 95 % that leaves out 0 with a chance of 95 %, which is looked at once. The mean over kinds.
"""

from __future__ import annotations

import argparse
import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.support.report import write
from tidemark.evaluation.betting import ALPHA, wealth
from tidemark.pipeline.model import Gates
from tidemark.training.proof import MOST, worth

Floats = NDArray[np.float64]
_EVERY: Final = 10
_LABELS: Final = 5_000
_POINTS: Final = 0.02
_Z: Final = 1.959963984540054
_POWER: Final = 1.6448536269514722
_DISCORDANT: Final = (0.04, 0.08, 0.18)
"""Shares of events that one of the two models gets right and the other does not."""


def hits(rng: np.random.Generator, shape: tuple[int, int], discordant: float, better: float) -> Floats:
    """Differences of two models' hits."""
    draws = rng.random(shape)
    up = (discordant + better) / 2
    return np.where(draws < up, 1.0, np.where(draws < discordant, -1.0, 0.0))


def log_losses(rng: np.random.Generator, shape: tuple[int, int], rate: float) -> Floats:
    """Differences of the log losses of two models that are unsure in the same measure, each in its own way."""
    truth = rng.random(shape) < rate
    found = []
    for _ in range(2):
        leaning = math.log(rate / (1 - rate)) + rng.normal(size=shape, scale=1.5)
        chance = 1 / (1 + np.exp(-leaning))
        found.append(np.minimum(-np.log(np.where(truth, chance, 1 - chance)), MOST))
    return np.asarray(found[0] - found[1])


def replaced(values: Floats, bound: float) -> NDArray[np.int64]:
    """Labels after which each challenger replaces; the number of all and one more where it does not."""
    grown = wealth(values, bound, worth(Gates()))[_EVERY - 1 :: _EVERY] >= math.log(1 / ALPHA)
    return np.where(grown.any(axis=0), (grown.argmax(axis=0) + 1) * _EVERY, len(values) + 1)


def naive(values: Floats) -> float:
    """Share of challengers that an interval of 95 %, looked at as often, ever finds better."""
    n = np.arange(1, len(values) + 1)[:, None]
    mean = np.cumsum(values, axis=0) / n
    error = np.sqrt(np.maximum(np.cumsum(np.square(values), axis=0) / n - np.square(mean), 0) / n)
    return float((mean > _Z * error)[_EVERY - 1 :: _EVERY].any(axis=0).mean())


def false_alarms(repetitions: int) -> dict[str, Any]:
    """Row L5-false."""
    rng = np.random.default_rng(1)
    kinds: dict[str, tuple[Floats, float]] = {}
    shape = (_LABELS, repetitions)
    rows: list[dict[str, Any]] = []
    for discordant in _DISCORDANT:
        kinds[f"hits, {discordant:.0%} discordant"] = hits(rng, shape, discordant, 0.0), 1.0
    for rate in (0.01, 0.3):
        kinds[f"log loss, {rate:.0%} positive"] = log_losses(rng, shape, rate), MOST
    weight = rng.choice([0.5, 1.0, 3.0], p=[0.6, 0.35, 0.05], size=shape)
    kinds["log loss, 30% positive, weighted"] = weight * log_losses(rng, shape, 0.3), 3 * MOST
    for name, (values, bound) in kinds.items():
        found = float((replaced(values, bound) <= _LABELS).mean())
        rows.append({"kind": name, "replaced": round(found, 4), "interval_of_95": round(naive(values), 3)})
    highest = max(row["replaced"] for row in rows)
    return {
        "id": "L5-false",
        "value": highest,
        "unit": f"share of challengers no better that replace, looked at after every {_EVERY} of {_LABELS:,} labels",
        "target": 0.05,
        "reached": highest <= 0.05,
        "detail": {"repetitions": repetitions, "kinds": rows},
    }


def soonest(repetitions: int) -> dict[str, Any]:
    """Row L5-labels."""
    rng = np.random.default_rng(2)
    rows = []
    for discordant in _DISCORDANT:
        fixed = (_Z + _POWER) ** 2 * (discordant - _POINTS**2) / _POINTS**2
        labels = replaced(hits(rng, (int(4 * fixed), repetitions), discordant, _POINTS), 1.0)
        rows.append(
            {
                "discordant": discordant,
                "fixed_size": round(fixed),
                "mean": round(float(labels.mean())),
                "median": float(np.median(labels)),
                "over_fixed": round(float(labels.mean()) / fixed, 3),
                "never": round(float((labels > int(4 * fixed)).mean()), 4),
            }
        )
    ratio = round(float(np.mean([row["over_fixed"] for row in rows])), 3)
    return {
        "id": "L5-labels",
        "value": ratio,
        "unit": "mean labels to replace by a challenger two points better, over those of a test of fixed size",
        "target": 0.5,
        "reached": ratio <= 0.5,
        "detail": {"repetitions": repetitions, "kinds": rows},
    }


def main() -> None:
    """Write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    repetitions = 100 if given.quick else 2_000
    write("gate.quick" if given.quick else "gate", [false_alarms(repetitions), soonest(repetitions)])


if __name__ == "__main__":
    main()
