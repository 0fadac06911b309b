"""Each mistake of a first user gets one short message that says what, where and what to do."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from mistakes import MISTAKES
from typer.testing import CliRunner

from tidemark.cli.app import app

_LINES = 4
_SECONDS = 3.0
_FRAME = re.compile(r"^[╭╰│─╮╯\s]+|[│\s]+$")


def _message(output: str) -> list[str]:
    """The lines that say something: without the frame around a usage error and the two lines before it."""
    lines = [_FRAME.sub("", line) for line in output.splitlines()]
    return [line for line in lines if line and not line.startswith(("Usage:", "Try '", "Error ─"))]


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_of_a_first_user_is_told_what_where_and_what_to_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake = MISTAKES[name]
    for file, content in mistake.files.items():
        path = tmp_path / file
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("TIDEMARK_BOOTSTRAP_SERVERS", raising=False)
    for variable, value in mistake.environment.items():
        monkeypatch.setenv(variable, _filled(value, tmp_path))

    began = time.process_time()
    done = CliRunner().invoke(app, [_filled(word, tmp_path) for word in mistake.words.split()])
    took = time.process_time() - began

    assert done.exit_code != 0
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    message = _message(done.output)
    assert len(message) < _LINES, done.output
    whole = " ".join(message)
    assert [each for each in mistake.told if not re.search(each, whole)] == [], whole
    assert took < _SECONDS


def _filled(text: str, folder: Path) -> str:
    return re.sub(r"\{([\w.]+)\}", lambda match: str(folder / match[1]), text)


def test_there_are_sixty() -> None:
    assert len(MISTAKES) >= 60
    assert all(each.told for each in MISTAKES.values())
