from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from tidemark import __version__
from tidemark.cli.app import COMMANDS, app


def test_the_version_is_the_packages() -> None:
    assert CliRunner().invoke(app, ["--version"]).output.strip() == f"tidemark {__version__}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_is_for(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"])

    assert shown.exit_code == 0
    assert f"Usage: tidemark {command}" in shown.output


def test_a_command_that_is_not_there_is_refused_by_name() -> None:
    shown = CliRunner().invoke(app, ["nonsense"])

    assert shown.exit_code == 2
    assert "No such command 'nonsense'" in shown.output


def test_a_command_waits_only_for_what_it_needs() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from tidemark.cli.app import app;"
        "done = CliRunner().invoke(app, ['broker', '--help']); assert done.exit_code == 0;"
        "print([name for name in ('lightgbm', 'numba', 'polars', 'sklearn', 'grpc') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
