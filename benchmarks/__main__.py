"""`python -m benchmarks NAME [--quick]`: run one benchmark, whatever room it is in."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final, NoReturn

BENCHMARKS: Final = {
    "budget": "benchmarks.labels.budget",
    "console": "benchmarks.console.suite",
    "console-crowd": "benchmarks.console.crowd",
    "console-label-studio": "benchmarks.console.beside_label_studio",
    "console-killed": "benchmarks.console.killed",
    "demo": "benchmarks.loop.demo",
    "drift": "benchmarks.labels.drift",
    "faults": "benchmarks.loop.faults",
    "first-hour": "benchmarks.loop.first_hour",
    "format-fuzz": "benchmarks.sources.fuzz",
    "formats": "benchmarks.sources.formats",
    "forgetting": "benchmarks.labels.forgetting",
    "gate": "benchmarks.labels.gate",
    "headline": "benchmarks.labels.headline",
    "kernels": "benchmarks.kernels.suite",
    "label-curves": "benchmarks.labels.label_curves",
    "label-efficiency": "benchmarks.labels.efficiency",
    "label-faults": "benchmarks.loop.label_faults",
    "labels": "benchmarks.labels.learners",
    "labeling": "benchmarks.labeling.suite",
    "labeling-chaos": "benchmarks.labeling.chaos",
    "labeling-fuzz": "benchmarks.labeling.fuzz",
    "models": "benchmarks.models.suite",
    "pass": "benchmarks.loop.pass_through",
    "real": "benchmarks.loop.real",
    "scale": "benchmarks.stream.scale",
    "selection": "benchmarks.labels.selection",
    "simulate": "benchmarks.labels.forecast",
    "sources": "benchmarks.sources.suite",
    "wrong-answers": "benchmarks.labels.wrong_answers",
    "stream": "benchmarks.stream.suite",
    "cold-start": "benchmarks.labels.cold_start",
}
"""The module of each benchmark; `make bench-NAME` runs it."""
_HELPERS: Final = Path(__file__).parents[1] / "tests" / "lib"
"""What tests and benchmarks share."""


def main(argv: list[str]) -> NoReturn:
    """Replace this process by the benchmark that `argv` names."""
    if not argv or argv[0] not in BENCHMARKS:
        sys.exit(f"usage: python -m benchmarks {'|'.join(BENCHMARKS)} [--quick]")
    path = [str(_HELPERS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    command = [sys.executable, "-m", BENCHMARKS[argv[0]], *argv[1:]]
    os.execve(sys.executable, command, environment)  # noqa: S606 - a program of ours


if __name__ == "__main__":
    main(sys.argv[1:])
