"""Documentation that can't rot: what it names exists, and what exists is named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from tidemark.cli.app import app
from tidemark.pipeline import load
from tools.reference import GENERATED

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROMISE = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def _commands(command: Any, name: str) -> list[str]:  # noqa: ANN401 typer hides the types of its commands
    children = command.list_commands(None) if hasattr(command, "list_commands") else []
    below = [path for child in children for path in _commands(command.get_command(None, child), f"{name} {child}")]
    return below or [name]


def test_every_command_is_in_the_documentation() -> None:
    """A command that no page names is a command that nobody finds."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    commands = _commands(get_command(app), "tidemark")
    assert len(commands) > 5
    assert [command for command in commands if command not in text] == []


def test_every_promise_has_its_test() -> None:
    """`docs/guarantees.md` names tests; each is there."""
    named = PROMISE.findall((ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8"))
    assert len(named) > 10
    missing = [f"{path}::{test}" for path, test in named if f"def {test}(" not in _source(path)]
    assert missing == []


def _source(path: str) -> str:
    file = ROOT / path
    return file.read_text(encoding="utf-8") if file.exists() else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    """Relative links name files that exist, or pages that are made when the site is built."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    there = {(ROOT / "docs" / path).resolve() for path in GENERATED}
    assert [link for link in links if not ((path := (page.parent / link).resolve()).exists() or path in there)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_lines_end_at_120_characters(page: Path) -> None:
    """Tables, code and what can't be parted apart."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    long = [line for line in text.splitlines() if len(line) > 120 and not line.lstrip().startswith(("|", "!["))]
    assert [line for line in long if " " in line.strip().lstrip("-*> ")] == []


def test_every_page_is_in_the_sites_navigation() -> None:
    """And each that is in it is there."""
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    written = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert listed == written | GENERATED.keys()


@pytest.mark.parametrize("file", sorted((ROOT / "pipelines").rglob("*.toml")), ids=lambda file: file.stem)
def test_every_pipeline_that_is_shipped_is_valid(file: Path) -> None:
    """What `tidemark check` would say."""
    assert load(file).feature_names
