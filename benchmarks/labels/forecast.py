"""`make bench-simulate`, row L10: what `tidemark simulate` foretells on half of a set, and what then happened.

The loop is played over the first half of each set (`benchmarks.labels.drafted_sets`) as `simulate` plays it: that gives
a curve and its band. Then it is played over the later half, with as many labels at the same pace, and examined on that
half's last fifth. Rows:

    L10           quality at the budget: mean over sets of how far the forecast was from what happened on average
    L10-coverage  share of runs over the later halves whose quality, at a fifth of the budget to all of it, was in the
                  band

    python -m benchmarks simulate [--data FOLDER] [--sets FOLDER] [--of SET ...] [--seeds N] [--quick]
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from benchmarks.labels.drafted_sets import DraftedSet, drafted_sets
from benchmarks.labels.labeled_sets import OURS
from benchmarks.support import report
from tidemark.backtest.arms import OWN, RANDOM, Arm, arms_of
from tidemark.backtest.curves import curve_of, grid_of
from tidemark.backtest.history import STREAMED
from tidemark.backtest.plays import Play, played
from tidemark.backtest.stream import LabeledStream

_LEVELS: Final = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Shares of the budget at which runs are held against the band."""
_FEWEST: Final = 5
"""Labels of any but the commonest class that both exams need."""
_FOREVER: Final = 600.0


def half(data: DraftedSet, *, later: bool) -> LabeledStream:
    """A half of a set, whose last fifth is an exam."""
    whole, middle = data.stream, len(data.target) // 2
    begin, end = (middle, len(data.target)) if later else (0, middle)
    exam = int((end - begin) * STREAMED)
    rows = slice(begin, end)
    return LabeledStream(whole.features[rows], whole.target[rows], whole.tiles[rows], whole.known_at[rows], exam=exam)


def can_be_told(stream: LabeledStream) -> bool:
    """Whether the exam of a half has enough of the rarer classes."""
    counts = np.bincount(stream.target[stream.exam :])
    return bool(counts.sum() - counts.max() >= _FEWEST)


def held(first: Sequence[Play], later: Sequence[Play]) -> dict[str, Any]:
    """A forecast beside what happened, of one arm: by the plays of both halves."""
    most = min(max(play.labels for play in plays) for plays in (first, later))
    grid = grid_of(most)
    forecast, happened = curve_of(first, grid), curve_of(later, grid)
    levels = [int(np.searchsorted(grid, level * most)) for level in _LEVELS]
    runs = np.array([curve_of([play], grid).mean for play in later])[:, levels]
    within = (runs >= forecast.low[levels]) & (runs <= forecast.high[levels])
    return {
        "labels": most,
        "seeds": len(later),
        "forecast": round(float(forecast.mean[-1]), 4),
        "low": round(float(forecast.low[-1]), 4),
        "high": round(float(forecast.high[-1]), 4),
        "happened": round(float(happened.mean[-1]), 4),
        "constant": [round(plays[0].constant.value, 4) for plays in (first, later)],
        "in_band": int(within.sum()),
        "of": int(within.size),
    }


def of_set(data: DraftedSet, seeds: int) -> dict[str, dict[str, Any]]:
    """What was foretold of each arm and what happened; nothing where an exam is too poor."""
    halves = [half(data, later=later) for later in (False, True)]
    if not all(map(can_be_told, halves)):
        return {}
    arms: list[Arm] = arms_of(data.pipeline({}), (), (), ())
    first, later = (played(stream, arms, range(seeds), minutes=_FOREVER).plays for stream in halves)
    return {
        arm.name: held(*([play for play in plays if play.arm == arm.name] for plays in (first, later))) for arm in arms
    }


def rows_of(found: dict[str, dict[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Row L10 of the pipeline as it is drafted and of random, and the coverage over both."""
    rows: list[dict[str, Any]] = []
    for arm in (OWN, RANDOM):
        own = {name: each[arm] for name, each in found.items() if arm in each}
        errors = {name: each["happened"] - each["forecast"] for name, each in own.items()}
        away = [abs(error) for error in errors.values()]
        value = statistics.mean(away)
        rows.append(
            {
                "id": f"L10 {arm}",
                "value": round(value, 4),
                "unit": f"of quality, mean over {len(own)} sets of how far off; most {max(away):.3f}",
                "target": 0.03 if arm == OWN else None,
                "reached": value <= 0.03,
                "detail": {"sets": own, "mean_error": round(statistics.mean(errors.values()), 4)},
            }
        )
    all_of = [each for arms in found.values() for each in arms.values()]
    value = sum(each["in_band"] for each in all_of) / sum(each["of"] for each in all_of)
    rows.append(
        {
            "id": "L10-coverage",
            "value": round(value, 3),
            "unit": f"of {sum(each['of'] for each in all_of)} figures of later runs are in the band",
            "target": "0.90 to 0.97",
            "reached": 0.9 <= value <= 0.97,
            "detail": {
                name: {arm: f"{each['in_band']} of {each['of']}" for arm, each in arms.items()}
                for name, arms in found.items()
            },
        }
    )
    return rows


def main() -> None:
    """Measure every set, then print and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TIDEMARK_DATA", "data")))
    parser.add_argument("--sets", type=Path, default=OURS, help="folder of TOML files; by default the project's")
    parser.add_argument("--of", nargs="+", help="names of sets; by default all whose files are there")
    parser.add_argument("--seeds", type=int, default=5, help="plays of each arm on each half")
    parser.add_argument("--quick", action="store_true", help="two seeds, the set ai4i2020")
    given = parser.parse_args()
    names, seeds = (["ai4i2020"], 2) if given.quick else (given.of, given.seeds)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for data in drafted_sets(given.data, given.sets, names):
        arms = of_set(data, seeds)
        if not arms:
            Console().print(f"{data.name}: left out, too few labels of the rarer classes in an exam", highlight=False)
            continue
        found[data.name] = arms
        for arm, each in arms.items():
            Console().print(
                f"{data.name}, {arm}: {each['forecast']:.3f} [{each['low']:.3f}, {each['high']:.3f}] foretold with "
                f"{each['labels']} labels, {each['happened']:.3f} happened; {each['in_band']} of {each['of']} in band",
                highlight=False,
            )
        report.write("simulate.quick" if given.quick else "simulate", rows_of(found))  # a run may be cut short
    if not found:
        raise SystemExit(f"{given.data} holds the file of none of the sets in {given.sets}; name it with --data")


if __name__ == "__main__":
    main()
