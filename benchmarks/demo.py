"""`make bench-demo`: label efficiency of the whole loop (row D1).

The active arm runs through Kafka, live; the random arm has its budget in each tile of the same stream, and the same
annotators, features and trainer. Both are measured on the simulator's truth for a later period that neither arm saw.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks.report import write
from tidemark.cli.demo import demonstrate
from tidemark.demo.result import DemoResult
from tidemark.pipeline import load

TARGET: Final = 1 / 3
_NEVER: Final = 1.0
_FILE: Final = Path("pipelines/fraud.toml")


def rows(*, quick: bool) -> list[dict[str, Any]]:
    """D1: labels the active arm needs to reach the random arm's final average precision, over the random arm's."""
    seeds = (1,) if quick else (1, 2, 3, 4, 5)
    events, later = (30_000, 10_000) if quick else (150_000, 40_000)
    console = Console()
    runs: list[DemoResult] = []
    for seed in seeds:
        result = demonstrate(load(_FILE), _FILE, events=events, later=later, seed=seed, view=False)
        runs.append(result)
        console.print(_line(result), highlight=False)
    # A run whose active arm never got there counts as having needed all the labels of the random arm.
    median = statistics.median(_NEVER if run.ratio is None else run.ratio for run in runs)
    return [
        {
            "id": "D1",
            "value": round(median, 4),
            "unit": "labels of the active arm / labels of the random arm, at the random arm's final average precision",
            "target": round(TARGET, 4),
            "reached": median <= TARGET,
            "detail": {"quick": quick, "events": events, "later": later, "seeds": [_detail(run) for run in runs]},
        }
    ]


def _line(result: DemoResult) -> str:
    ratio = "never reached" if result.ratio is None else f"{result.ratio:.3f}"
    return f"seed {result.seed}: {ratio}, {result.seconds:.0f} s, lost {result.accounting.lost}"


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
