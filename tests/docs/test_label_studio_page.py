"""What docs/how-to/label-studio.md shows: its table is right, and its commands do what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from labeling import PIPELINE
from studio import TOKEN, Studio, standing_in
from typer.testing import CliRunner

from labeling_grpc.label_studio.declared import check_project, names_of
from labeling_grpc.label_studio.messages import Project
from tidemark.cli.app import app
from tidemark.pipeline import parse

PAGE: Final = (Path(__file__).parents[2] / "docs" / "how-to" / "label-studio.md").read_text(encoding="utf-8")
TABLE: Final[str] = re.findall(r'^```toml title="label-studio"\n(.*?)^```', PAGE, re.MULTILINE | re.DOTALL)[0]


def text(name: str, studio: Studio | None = None) -> str:
    """A pipeline file with the page's table; of a stand-in, where there is one."""
    table: str = TABLE
    if studio is not None:
        table = table.replace("https://label.example.com", studio.url).replace(
            "project = 7\n", 'private_host = "127.0.0.1"\n'
        )
    return PIPELINE.replace("NAME", name) + table


def test_the_table_of_the_page_is_right() -> None:
    spec = parse(text("pay"), "p.toml").label_studio
    assert spec is not None
    assert (spec.project, spec.users, spec.listen) == (7, {"ada@example.com": "ada"}, "127.0.0.1:8431")


def test_the_project_that_the_command_makes_serves_and_its_number_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", TOKEN)
    file = tmp_path / "fraud.toml"
    with standing_in() as studio:
        file.write_text(text("fraud", studio))
        result = CliRunner().invoke(app, ["label-studio", "project", str(file)])
        (made,) = studio.projects.values()
    assert result.exit_code == 0, result.output
    assert f"write project = {made['id']} " in result.output
    pipeline = parse(text("fraud"), "p.toml")
    assert pipeline.label_studio is not None
    fields = {name: made[name] for name in ("id", "label_config", "skip_queue")}
    check_project(Project(**fields), names_of(pipeline, pipeline.label_studio))


def test_a_bridge_without_a_project_says_how_to_make_one(tmp_path: Path) -> None:
    file = tmp_path / "fraud.toml"
    file.write_text(text("fraud").replace("project = 7\n", ""))
    result = CliRunner().invoke(app, ["label-studio", "run", str(file)])
    assert result.exit_code == 1
    assert "tidemark label-studio project" in " ".join(result.output.split())


def test_status_says_so_where_no_bridge_has_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path / "home"))
    file = tmp_path / "fraud.toml"
    file.write_text(text("fraud"))
    result = CliRunner().invoke(app, ["label-studio", "status", str(file)])
    assert result.exit_code == 1
    assert "no bridge of pipeline 'fraud' has run here" in " ".join(result.output.split())


@pytest.mark.parametrize("promise", ["X-Tidemark-Secret", "SSRF_PROTECTION_ENABLED=false", "label-studio.db", "401"])
def test_the_page_says_what_an_operator_must_know(promise: str) -> None:
    assert promise in PAGE
