"""`make bench-demo`: label efficiency of the whole loop, on simulated payments (rows D1, L11) and the handbook's (D2).

The active arm runs through Kafka, live; the random arm has its budget in each tile of the same stream, and the same
annotators, features and trainer. Both are measured on the simulator's truth for a later period that neither arm saw.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks.support.report import write
from tidemark.cli.demonstration import ERRORS, Show, demonstrate
from tidemark.datasets import DATASETS
from tidemark.demo.result import DemoResult
from tidemark.demo.sentence import compared
from tidemark.runtime.settings import Settings
from tidemark.simulators import simulate

TARGET: Final = 1 / 3
AREA: Final = 1.5
AHEAD_FROM: Final = 60
_NEVER: Final = 1.0
_BEHIND: Final = 1_000_000
_UNIT: Final = "labels of the active arm / labels of the random arm, at the random arm's final average precision"
_PIPELINES: Final = Path(__file__).parents[2] / "pipelines"


def rows(*, quick: bool) -> list[dict[str, Any]]:
    """D1, and D2 where the data is: labels the active arm needs to reach the random arm's final average precision.

    Both over the random arm's labels. D1 is the median of five seeds of the simulation, D2 one run. L11 compares whole
    curves, each seed's with five random draws.
    """
    seeds = (1,) if quick else (1, 2, 3, 4, 5)
    events, later = (30_000, 10_000) if quick else (150_000, 40_000)
    size = {"quick": quick, "events": events, "later": later}
    runs = [
        _run(Show(_PIPELINES / "fraud.toml", simulate("fraud", seed, events + later), events, seed, ERRORS))
        for seed in seeds
    ]
    median = statistics.median(_ratio(run) for run in runs)
    found = [
        {
            "id": "D1",
            "value": round(median, 4),
            "unit": _UNIT,
            "target": round(TARGET, 4),
            "reached": median <= TARGET,
            "detail": {**size, "seeds": [_detail(run) for run in runs]},
        }
    ]
    found.append(_curves(runs, size))
    data, folder = DATASETS["handbook"], Settings.from_environment().data_dir
    if not all(path.is_file() for path in data.paths(folder)):
        Console().print(f"D2 is left out: there is no {data.files[0]} in {folder}; name its folder in TIDEMARK_DATA")
        return found
    real = _run(Show(_PIPELINES / "real/handbook.toml", data.load(folder, events + later), events, 1, ERRORS))
    found.append(
        {
            "id": "D2",
            "value": round(_ratio(real), 4),
            "unit": _UNIT,
            "target": None,
            "reached": True,
            "detail": {**size, "data": data.files[0], **_detail(real)},
        }
    )
    return found


def _curves(runs: list[DemoResult], size: dict[str, Any]) -> dict[str, Any]:
    """L11: the area under the active arm's curve over the random arms', and from which label on it is never behind."""
    comparisons = [compared(run) for run in runs]
    ratios = [0.0 if comparison is None else comparison.ratio for comparison in comparisons]
    ahead = [None if comparison is None else comparison.ahead_from for comparison in comparisons]
    latest = max((_BEHIND if label is None else label for label in ahead), default=_BEHIND)
    median = statistics.median(ratios)
    return {
        "id": "L11",
        "value": round(median, 4),
        "unit": "area under the active arm's curve / under the random arms' in the mean, median of the seeds",
        "target": AREA,
        "reached": median >= AREA and latest <= AHEAD_FROM,
        "detail": {
            **size,
            "ratios": [round(ratio, 4) for ratio in ratios],
            "never_behind_from_label": ahead,
            "target_never_behind_from_label": AHEAD_FROM,
            "draws": [
                [round(area, 4) for area in comparison.random] if comparison else [] for comparison in comparisons
            ],
        },
    }


def _run(show: Show) -> DemoResult:
    result = demonstrate(show, view=False)
    Console().print(_line(result), highlight=False)
    return result


def _ratio(run: DemoResult) -> float:
    """A run whose active arm never got there counts as having needed all the labels of the random arm."""
    return _NEVER if run.ratio is None else run.ratio


def _line(result: DemoResult) -> str:
    ratio = "never reached" if result.ratio is None else f"{result.ratio:.3f}"
    return f"{result.title}, seed {result.seed}: {ratio}, {result.seconds:.0f} s, lost {result.accounting.lost}"


def _detail(result: DemoResult) -> dict[str, Any]:
    return {
        "seed": result.seed,
        "ratio": result.ratio,
        "labels": result.labels_to_match,
        "labels_random": result.random[-1].labels if result.random else None,
        "average_precision_random": result.random[-1].average_precision if result.random else None,
        "average_precision_active": result.active[-1].average_precision if result.active else None,
        "seconds": round(result.seconds, 1),
        "lost": result.accounting.lost,
        "doubled": result.accounting.doubled,
        "latency_p50_ms": result.latency.p50,
        "latency_p99_ms": result.latency.p99,
    }


def main() -> None:
    """Run and write `benchmarks/results/demo.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, a shorter stream")
    write("demo", rows(quick=parser.parse_args().quick))


if __name__ == "__main__":
    main()
