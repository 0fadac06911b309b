"""`make bench-label-curves`: labels that the product needs on labelled streams, against labels drawn at random.

The product's loop is played over each set (`benchmarks.labels.curve`), by several arms (`benchmarks.labels.arms`) and
seeds. Quality is average precision for two classes, macro-F1 for more, R² for numbers (`--numbers`). Rows:

    L1   labels until a champion of the arm is as good on the exam as LightGBM's defaults trained on all of random's
         labels, over these
    L1b  the same, as good as our own learner trained on them; and where the arm is behind the random arm by more than
         the spread of seeds
    L2   with --peers: labels of the draft for L1's goal over those of the peer that needs fewest on the set

Runs are kept as JSON lines and not made again while the code that they rest on is the same.

    python -m benchmarks label-curves [--data FOLDER] [--sets FOLDER] [--of SET ...] [--arms NAME ...]
        [--arm NAME TABLE.KEY=VALUE ...] [--seeds 0 1 2] [--minutes N] [--peers] [--numbers] [--quick]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks.labels import curve_report, peer_arms
from benchmarks.labels.arms import ARMS, DRAFT, RANDOM, Arm
from benchmarks.labels.curve import played
from benchmarks.labels.drafted_sets import drafted_sets
from benchmarks.labels.labeled_sets import OURS
from benchmarks.support import report
from tidemark.registry.sandbox import Sandbox

_ROOT: Final = Path(__file__).parents[2]
_RESTS_ON: Final = (
    *("kernels/forest", "kernels/diversity", "kernels/sampling", "kernels/uncertainty", "tidemark/features"),
    *("tidemark/pipeline", "tidemark/selection", "tidemark/strategies", "tidemark/training"),
    *("tidemark/evaluation", "tidemark/registry", "tidemark/stream/outputs.py"),
    *("tidemark/backtest", "benchmarks/labels/curve.py", "benchmarks/labels/drafted_sets.py"),
)
"""What a run's outcome follows from."""
_USUAL: Final = (RANDOM, DRAFT, "margin", "badge")


def code() -> str:
    """8 hex digits over the code that runs rest on."""
    sha = hashlib.sha256()
    for place in _RESTS_ON:
        path = _ROOT / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            sha.update(file.read_bytes())
    return sha.hexdigest()[:8]


def arms_of(names: Iterable[str], given: Iterable[list[str]]) -> dict[str, Arm]:
    """Arms by name, and those that are given as a name and settings."""
    arms = {name: ARMS[name] for name in names}
    for name, *settings in given:
        parsed = (setting.partition("=") for setting in settings)
        arms[name] = Arm({place: tomllib.loads(f"value = {value}")["value"] for place, _, value in parsed})
    return arms


def kept_runs(path: Path) -> list[dict[str, Any]]:
    """Runs that a file holds; a last line that was cut off is removed, so that the next one begins a line."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return [json.loads(line) for line in whole.splitlines()]


def main() -> None:
    """Play what was not played yet, then print and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TIDEMARK_DATA", "data")))
    parser.add_argument("--sets", type=Path, help="folder of TOML files; by default the project's")
    parser.add_argument("--of", nargs="+", help="names of sets; by default all whose files are there")
    parser.add_argument("--arms", nargs="+", default=list(_USUAL), choices=list(ARMS))
    parser.add_argument("--arm", nargs="+", action="append", default=[], metavar=("NAME", "TABLE.KEY=VALUE"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--numbers", action="store_true", help="the project's sets whose labels are numbers")
    parser.add_argument("--runs", type=Path, help="file of runs, whose name the result has; by default one in build/")
    parser.add_argument("--minutes", type=float, default=600, help="after which no run is begun")
    parser.add_argument("--report", action="store_true", help="of the runs that are there, whatever code made them")
    parser.add_argument("--peers", action="store_true", help="and strategies of other packages")
    parser.add_argument("--quick", action="store_true", help="one seed, two arms")
    given = parser.parse_args()
    name = "label_numbers" if given.numbers else "label_curves"
    given.sets = given.sets or (OURS / "numbers" if given.numbers else OURS)
    if given.runs is None:
        given.runs = _ROOT / "build" / f"{name}.jsonl"
    else:
        name = given.runs.stem  # other sets' runs are no result of the project's
    arms = arms_of((RANDOM, DRAFT) if given.quick else given.arms, given.arm)
    seeds = [0] if given.quick else given.seeds
    runs = kept_runs(given.runs)
    if not given.report:
        own = code()
        runs = [run for run in runs if run["code"] == own]
        runs += _play(given, arms, seeds, runs, own)
    if not runs:
        raise SystemExit(f"{given.data} holds the file of none of the sets in {given.sets}; name it with --data")
    rows, table = curve_report.rows_of(runs)
    report.write(f"{name}.quick" if given.quick else name, rows)
    Console(width=200).print(table, markup=False, highlight=False)


def _play(
    given: argparse.Namespace, arms: dict[str, Arm], seeds: list[int], runs: list[dict[str, Any]], own: str
) -> list[dict[str, Any]]:
    done = {(run["set"], run["arm"], run["seed"], run["settings"]) for run in runs}
    until = time.monotonic() + given.minutes * 60
    made = []
    given.runs.parent.mkdir(parents=True, exist_ok=True)
    with Sandbox() as sandbox, given.runs.open("a", encoding="utf-8") as file:
        for seed in seeds:  # of all sets the first seed first: a run that is cut short tells of each
            for data in drafted_sets(given.data, given.sets, given.of):
                for name in [*arms, *(peer_arms.PEERS if given.peers else ())]:
                    settings = json.dumps(dict(arms[name].settings), sort_keys=True) if name in arms else "peer"
                    if (data.name, name, seed, settings) in done or time.monotonic() > until:
                        continue
                    if name in arms:
                        run = played(data, name, arms[name], seed, sandbox)
                    else:
                        run = peer_arms.played(data, name, seed)
                    row = {**run.row(), "settings": settings, "code": own}
                    made.append(row)
                    file.write(json.dumps(row) + "\n")
                    file.flush()
                    Console().print(
                        f"{data.name}, {name}, seed {seed}: {row['labels']} labels, final {row['final']:.3f}, first "
                        f"model after {row['first_model']}, {row['seconds']:.0f} s",
                        highlight=False,
                    )
    return made


if __name__ == "__main__":
    main()
