"""Rows N1, N3 and N4: the way to a first champion, mistakes of first users, and how soon commands start.

`make bench-first-hour`, `python -m benchmarks first-hour [--quick] [--data FOLDER]`; the way is left out when quick.

Times are what a person waits, medians of several runs in a home of their own whose pipeline file was found right by the
run before; the processor's seconds stand beside. `N4 check edited` is of a file that is new each time.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.loop.first_champion import first_champions
from benchmarks.support.report import write
from tests.mistakes import MISTAKES, prepared, shortcomings

_ROOT: Final = Path(__file__).parents[2]
_FILE: Final = str(_ROOT / "pipelines" / "fraud.toml")
_EDITED: Final = "edited.toml"
_TIDEMARK: Final = str(Path(sys.executable).with_name("tidemark"))
_STARTS: Final = {
    "N4 help": (["--help"], 150),
    "N4 check": (["check", _FILE], 500),
    "N4 check edited": (["check", _EDITED], 500),
    "N4 status": (["status", _FILE], 1_000),
    "N4 label": (["label", _FILE], 1_000),
}
"""Command and milliseconds that a person may wait. Where no Kafka runs, `status` says so as soon as it could look."""
_SECONDS: Final = 3.0


def main() -> None:
    """Measure, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TIDEMARK_DATA", "data")))
    given = parser.parse_args()
    quick = given.quick
    rows = [] if quick else first_champions(given.data)
    rows += [_start(name, words, target, 3 if quick else 9) for name, (words, target) in _STARTS.items()]
    write("first_hour.quick" if quick else "first_hour", [*rows, _mistakes(list(MISTAKES)[:: 8 if quick else 1])])


def _start(name: str, words: list[str], target: int, runs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        text, edited = Path(_FILE).read_text(encoding="utf-8"), str(Path(home) / _EDITED)
        own = {"TIDEMARK_HOME": home, "TIDEMARK_CACHE": str(Path(home) / "cache")}
        given = [edited if word == _EDITED else word for word in words]
        waited, took = [], []
        for number in range(runs + 1):
            Path(edited).write_text(f"{text}\n# edit {number}\n", encoding="utf-8")
            begin = time.perf_counter()
            took.append(_run(given, own)[2] * 1_000)
            waited.append((time.perf_counter() - begin) * 1_000)
    median = round(sorted(waited[1:])[runs // 2])
    detail = {
        "runs": runs,
        "least": round(min(waited[1:])),
        "processor": round(sorted(took[1:])[runs // 2]),
        "command": " ".join(["tidemark", *(word.removeprefix(f"{_ROOT}/") for word in words)]),
    }
    return {"id": name, "value": median, "target": target, "unit": "ms", "reached": median <= target, "detail": detail}


def _mistakes(names: list[str]) -> dict[str, Any]:
    wrong: dict[str, list[str]] = {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            words, environment = prepared(MISTAKES[name], Path(folder))
            output, status, seconds = _run(words, environment)
        found = shortcomings(MISTAKES[name], output, status)
        found += [f"{seconds:.1f} s"] if seconds > _SECONDS else []
        if found:
            wrong[name] = found
    right = len(names) - len(wrong)
    detail = {"wrong": wrong, "of": len(names)}
    row = {"id": "N3", "value": right, "target": len(names), "unit": "mistakes", "reached": not wrong}
    return {**row, "detail": detail}


def _run(words: list[str], environment: dict[str, str]) -> tuple[str, int, float]:
    """What a command printed, its status, and its seconds of the processor."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMARK_")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [_TIDEMARK, *words],
        env=own | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return done.stdout.decode(errors="replace"), done.returncode, seconds


if __name__ == "__main__":
    main()
