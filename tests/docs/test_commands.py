"""Every command, pipeline table and Python example in the documentation is one that works as it is written."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from benchmarks.__main__ import BENCHMARKS
from tidemark.cli.app import app
from tidemark.pipeline.checks import find_problems
from tidemark.pipeline.model import Pipeline

_ROOT = Path(__file__).parents[2]
_PAGES = [_ROOT / "README.md", _ROOT / "CONTRIBUTING.md", *sorted((_ROOT / "docs").rglob("*.md"))]
_SHELL = {"cd", "cp", "curl", "export", "git", "grpcurl", "kafka-transactions.sh", "pip", "protoc", "rm", "source"}
_FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""Typer's own of click's, which has no public name."""
_SHORTENED = r"[Mm]issing (argument|parameter|option)|requires an argument|requires \d+ arguments"
_INLINE = re.compile(r"`(tidemark [a-z][^`]*|make [a-z][^`]*|python -m [^`]*)`")


def _blocks(language: str) -> list[Any]:
    return [
        pytest.param(text, id=f"{page.relative_to(_ROOT).as_posix()}-{number}")
        for page in _PAGES
        for number, (kind, text) in enumerate(_FENCE.findall(page.read_text(encoding="utf-8")))
        if kind == language
    ]


def _written() -> Iterator[tuple[str, str]]:
    """Commands as the pages have them, in blocks and in the text: page, command."""
    for page in _PAGES:
        text = page.read_text(encoding="utf-8")
        name = page.relative_to(_ROOT).as_posix()
        for kind, block in _FENCE.findall(text):
            if kind in {"sh", "bash", "console"}:
                for line in block.replace("\\\n", " ").splitlines():
                    if command := re.sub(r"(^|\s)#.*", "", line).strip().removeprefix("$ "):
                        yield name, command
        for command in _INLINE.findall(_FENCE.sub("", text)):
            yield name, " ".join(command.split())


def _alternatives(command: str) -> list[str]:
    """`tidemark queue pause|resume` are two commands."""
    word = next((word for word in command.split() if re.fullmatch(r"[a-z]+(\|[a-z]+)+", word)), None)
    return [command] if word is None else [command.replace(word, each, 1) for each in word.split("|")]


_COMMANDS = sorted({(page, each) for page, command in _written() for each in _alternatives(command)})


@pytest.mark.parametrize(("page", "command"), _COMMANDS, ids=lambda text: text)
def test_a_command_in_the_documentation_is_one_that_there_is(page: str, command: str) -> None:
    """With these options and arguments. The words in capitals stand for the reader's own."""
    words = shlex.split(command.replace("…", ""))
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    if not words:
        return
    program = words[0].rpartition("/")[2]
    if program == "tidemark":
        _parse(words[1:])
    elif program == "make":
        targets = set(re.findall(r"^([a-z][\w-]*):", (_ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        benches = {f"bench-{name}" for name in BENCHMARKS}
        wanted = [word for word in words[1:] if "=" not in word and word != "bench-X"]
        assert set(wanted) <= targets | benches, page
    elif program in {"python", "python3"}:
        module = words[words.index("-m") + 1] if "-m" in words else None
        saved = f"Save this as `{words[1]}`" in " ".join((_ROOT / page).read_text(encoding="utf-8").split())
        assert find_spec(module) if module else saved or (_ROOT / words[1]).exists(), page
    else:
        assert program in _SHELL, f"{page}: what is {program!r}?"


def _parse(words: list[str]) -> None:
    """Fail where Typer would refuse the command before it does anything."""
    command: Any = get_command(app)
    name = "tidemark"
    while hasattr(command, "list_commands"):
        if not words or words[0] in {"--help", "--version"}:
            return
        assert words[0] in command.list_commands(None), f"{name} {words[0]}"
        name, command = f"{name} {words[0]}", command.get_command(None, words[0])
        words = words[1:]
    if "--help" in words:
        return
    refusal = _refusal(command, name, [_stand_in(word) for word in words])
    # In a sentence a command may stand without its file and the values of its options.
    named = not any("PIPELINE" in word or word.endswith(".toml") for word in words)
    assert refusal is None or "does not exist" in refusal or (named and re.search(_SHORTENED, refusal)), refusal


def _refusal(command: Any, name: str, words: list[str]) -> str | None:  # noqa: ANN401 typer hides the types of its commands
    try:
        command.make_context(name, words)
    except _USAGE_ERROR as error:
        return f"{name}: {error}"
    return None


def _stand_in(word: str) -> str:
    return str(_ROOT / "pipelines" / "fraud.toml") if re.fullmatch(r"(PIPELINE|FILE)(\.toml)?", word) else word


_BASE = (_ROOT / "pipelines" / "fraud.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", _blocks("toml"))
def test_a_table_in_the_documentation_is_one_that_a_pipeline_file_takes(text: str) -> None:
    """As part of a whole file: what the page writes takes the place of what is there."""
    part = tomllib.loads(text)
    pipeline = Pipeline.model_validate(part if "name" in part else _merged(tomllib.loads(_BASE), part))
    assert [str(problem) for problem in find_problems(pipeline)] == []


def _merged(base: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    whole = base | part
    for key, value in part.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            whole[key] = _merged(base[key], value)
        elif key in {"features", "windows", "derived"}:
            whole[key] = [*base[key], *value]
    return whole


@pytest.mark.parametrize("text", _blocks("python"))
def test_a_python_example_imports_what_there_is(text: str) -> None:
    """And reads as Python."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            assert [each.name for each in node.names if not hasattr(module, each.name)] == []
        elif isinstance(node, ast.Import):
            assert all(find_spec(each.name) for each in node.names)


def test_there_is_something_to_look_at() -> None:
    assert len(_COMMANDS) > 40
    assert len(_blocks("toml")) > 1
    assert len(_blocks("python")) > 0
