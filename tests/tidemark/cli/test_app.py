from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

import tidemark.cli
from tidemark import __version__
from tidemark.cli.app import app
from tidemark.cli.commands import COMMANDS, MODULES
from tidemark.cli.overview import overview

_COLUMNS = 80


def _command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The installed command, in a process of its own."""
    command = [str(Path(sys.executable).with_name("tidemark")), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def test_the_version_is_the_packages() -> None:
    assert CliRunner().invoke(app, ["--version"]).output.strip() == f"tidemark {__version__}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_is_for(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"])

    assert shown.exit_code == 0
    assert f"Usage: tidemark {command}" in shown.output


def test_the_table_of_commands_has_every_module_that_is_one() -> None:
    modules = [import_module(f"tidemark.cli.{each.name}") for each in iter_modules(tidemark.cli.__path__)]
    commands = {
        module.__name__.rpartition(".")[2] for module in modules if isinstance(vars(module).get("app"), typer.Typer)
    }

    assert commands - {"app"} == {MODULES.get(name, name) for name in COMMANDS}


def test_the_overview_is_the_help_and_fits_a_terminal() -> None:
    assert CliRunner().invoke(app, ["--help"]).output == overview()
    assert [line for line in overview().splitlines() if len(line) > _COLUMNS] == []
    assert all(f"  {name} " in overview() and line in overview() for name, line in COMMANDS.items())


@pytest.mark.parametrize(("words", "status"), [((), 2), (("--help",), 0)])
def test_the_installed_command_shows_the_overview_without_importing_a_library(
    words: tuple[str, ...], status: int
) -> None:
    done = _command(*words, PYTHONPROFILEIMPORTTIME="1")

    assert (done.stdout, done.returncode) == (overview(), status)
    assert [name for name in ("typer", "rich", "confluent_kafka") if f"| {name}\n" in done.stderr] == []


def test_a_command_that_is_not_there_is_refused_by_name() -> None:
    shown = CliRunner().invoke(app, ["nonsense"])

    assert shown.exit_code == 2
    assert "No such command 'nonsense'" in shown.output


def test_a_misspelt_command_is_told_what_was_meant() -> None:
    assert "Did you mean 'status'?" in CliRunner().invoke(app, ["stauts"]).output


def test_a_shell_completes_commands_and_their_options() -> None:
    def completed(line: str) -> list[str]:
        number = str(len(line.split(" ")) - 1)
        asked = {"_TIDEMARK_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": number}
        return _command(**asked).stdout.split()

    assert completed("tidemark st") == ["status"]
    assert set(completed("tidemark ")) == set(COMMANDS)
    assert "--watch" in completed("tidemark status --")


_NEEDED = {
    "broker": {"psutil", "confluent_kafka"},
    "check": {"polars", "confluent_kafka"},
    "status": {"polars", "confluent_kafka"},
    "label": {"polars", "grpc"},
    "init": {"polars", "confluent_kafka"},
}
"""What each command may import of the slow packages; its start takes as long as theirs."""
_SLOW = (
    "lightgbm",
    "numba",
    "polars",
    "sklearn",
    "scipy",
    "sqlalchemy",
    "grpc",
    "bytewax",
    "psutil",
    "confluent_kafka",
)


@pytest.mark.parametrize("command", _NEEDED)
def test_a_command_waits_only_for_what_it_needs(command: str) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from tidemark.cli.app import app;"
        f"done = CliRunner().invoke(app, ['{command}', '--help']); assert done.exit_code == 0;"
        f"print(*[name for name in {_SLOW} if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert set(done.stdout.split()) <= _NEEDED[command]


def _texts(command: Any, name: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 typer hides the types of its commands
    yield name, command.help or ""
    for each in command.params:
        yield f"{name} {each.name}", getattr(each, "help", None) or ""
    for inner in command.list_commands(None) if hasattr(command, "list_commands") else ():
        yield from _texts(command.get_command(None, inner), f"{name} {inner}")


def test_no_help_text_has_brackets_which_the_terminal_would_take_for_markup() -> None:
    assert [name for name, text in _texts(get_command(app), "tidemark") if "[" in text] == []
