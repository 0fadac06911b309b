"""The commands of the page on simulations do what it says, on a small history."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from histories import PIPELINE, frame
from typer.testing import CliRunner

from tidemark.cli.app import app

_PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "simulate.md"
_COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.parametrize("command", _COMMANDS)
def test_a_command_of_the_page_runs(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fraud.toml").write_text(PIPELINE)
    frame(3_000).write_parquet("history.parquet")
    words = shlex.split(command)
    assert words[0] == "tidemark"
    quick = ["--seeds", "1", "--schedules", "", *([] if "--learners" in words else ["--learners", ""])]
    done = CliRunner().invoke(app, [*words[1:], *quick])
    assert done.exit_code == 0, done.output
    if "--json" in words:
        assert json.loads(done.stdout)["arms"]
    else:
        assert "[selection]" in done.stdout
    if "--html" in words:
        assert Path("simulation.html").read_text().startswith("<!doctype html>")
