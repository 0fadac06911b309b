"""Benchmarks' rows: a table for a person, a JSON file for the record (see the Benchmarks part of the design)."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

RESULTS: Final = Path(__file__).parents[1] / "results"
_PACKAGES: Final = ("bytewax", "confluent-kafka", "polars", "numba", "lightgbm", "grpcio")


def write(name: str, rows: Sequence[dict[str, Any]]) -> Path:
    """Print the rows and write them to `benchmarks/results/NAME.json`; returns its path.

    The machine's cores and the packages' versions are added to each row's `detail`.
    """
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in _PACKAGES},
    }
    complete = [{**row, "detail": {**row["detail"], "machine": machine}} for row in rows]
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(complete, indent=2) + "\n", encoding="utf-8")
    table = Table(title=f"{name}: {path.name}")
    for heading in ("id", "value", "target", "reached", "unit"):
        table.add_column(heading)
    for row in complete:
        target = "–" if row["target"] is None else f"{row['target']}"
        table.add_row(row["id"], f"{row['value']}", target, "yes" if row["reached"] else "no", row["unit"])
    Console().print(table)
    return path


def earlier(name: str) -> list[dict[str, Any]]:
    """The rows that `write` wrote last, of a benchmark that runs in parts."""
    path = RESULTS / f"{name}.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return rows
