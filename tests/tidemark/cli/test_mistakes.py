"""Each mistake of a first user gets one short message that says what, where and what to do.

How soon it comes is a row of `python -m benchmarks first-hour`: it depends on the machine's load.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.mistakes import MISTAKES, prepared, shortcomings
from tidemark.cli.app import app


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_of_a_first_user_is_told_what_where_and_what_to_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, environment = prepared(MISTAKES[name], tmp_path)
    monkeypatch.delenv("TIDEMARK_BOOTSTRAP_SERVERS", raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)

    done = CliRunner().invoke(app, words)

    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert shortcomings(MISTAKES[name], done.output, done.exit_code) == [], done.output


def test_there_are_sixty() -> None:
    assert len(MISTAKES) >= 60
    assert all(each.told for each in MISTAKES.values())
