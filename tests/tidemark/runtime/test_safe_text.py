"""Nothing from outside reaches a terminal, a log or a page as anything but text."""

from __future__ import annotations

import ast
import io
import logging
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tidemark.cli.console import SafeConsole
from tidemark.runtime.logs import PLAIN, SafeFormatter
from tidemark.runtime.safe_text import indented, safe

_ROOT = Path(__file__).parents[3]
_SOURCES = [path for folder in ("tidemark", "dataflows", "labeling_grpc") for path in (_ROOT / folder).rglob("*.py")]
HOSTILE = [
    "[/]",
    "[bold red]x[/bold red] [/nothing] [link=http://x]y[/link]",
    ":warning: :smile:",
    "\x1b[2J\x1b]0;title\x07\x1b]8;;http://x\x1b\\",
    "\x9b31m \x85 \x90",
    "\u202eevil\u202c \u2066x\u2069 \u061c\u200e\u200f",
    "a\u200bb\ufeffc\u2060d\u00ade",
    "\r\n\x0b\x0c\u2028\u2029 ERROR forged",
    "\x00\x08\x7f",
    "\U000e0041\U000e0100\u3164\u115f\u2800",
    "\ud800",
    "o" + "\u0301" * 400,
    "\\[/] \\x1b",
]
_FORBIDDEN_KINDS = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def _obeyed(text: str) -> list[str]:
    """Characters that a terminal obeys or hides, line ends apart: by Unicode's categories, not by `safe`'s list."""
    return [hex(ord(c)) for c in text if unicodedata.category(c) in _FORBIDDEN_KINDS and c not in "\n\t\u200c\u200d"]


@given(st.text() | st.sampled_from(HOSTILE))
def test_safe_text_has_nothing_that_a_terminal_obeys_or_hides_and_stays_as_it_is(text: str) -> None:
    shown = safe(text)
    assert not _obeyed(shown)
    assert "\n" not in shown
    assert "\t" not in shown
    assert safe(shown) == shown
    assert not _obeyed(safe(text, lines=True))
    shown.encode()


@given(st.text(st.characters(categories=["Lu", "Ll", "Nd", "P", "Zs"], exclude_characters="\u00a0"), max_size=30))
def test_ordinary_text_is_shown_as_it_is(text: str) -> None:
    assert safe(text) == "".join(c if c == " " or c.isprintable() else f"\\u{ord(c):04x}" for c in text)


@pytest.mark.parametrize(
    "text",
    [
        "\u0645\u06cc\u200c\u062e\u0648",
        "क्\u200dष",
        "👩\u200d🔬 ❤️",
        "Zoë 北京 東京 Ünïcödé",
        "e\u0301 ạ̈ — … “quoted” 5 % ½",
    ],
)
def test_spelling_of_any_script_is_left_alone(text: str) -> None:
    assert safe(text) == text


@pytest.mark.parametrize("text", ["ad\u200dmin", "\u200cx", "x\u200d", "\u0430\u200db", "\u0640\u200d\u200d"])
def test_a_joiner_that_joins_nothing_is_shown(text: str) -> None:
    assert "\\u200" in safe(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_the_console_prints_any_text_as_text_wherever_it_stands(text: str) -> None:
    """Also where a command forgot `safe`: in cells, titles, panels, styled text."""
    console = SafeConsole(file=io.StringIO(), width=4_000, force_terminal=False)
    table = Table(text, title=text)
    table.add_row(text)
    for shown in (text, Text(text), table, Panel(Text(text), title=Text(text))):
        console.print(shown, soft_wrap=isinstance(shown, str | Text))
    file = console.file
    assert isinstance(file, io.StringIO)
    printed = file.getvalue()
    assert not _obeyed(printed)
    if safe(text) == text:
        assert printed.count(text) == 7


def test_the_consoles_own_colours_are_not_escaped() -> None:
    console = SafeConsole(file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(Text("x", "red"))
    file = console.file
    assert isinstance(file, io.StringIO)
    assert file.getvalue() == "\x1b[31mx\x1b[0m\n"


@pytest.mark.parametrize("text", HOSTILE)
def test_no_entry_of_the_log_can_pass_for_another(text: str) -> None:
    record = logging.LogRecord("flow", logging.WARNING, "", 1, "%s: refused\n%s", (text, text), None)
    entry = SafeFormatter(PLAIN).format(record)
    assert not _obeyed(entry)
    first, *further = entry.split("\n")
    assert first.startswith("WARNING flow: ")
    assert all(line.startswith("    ") for line in further)


def test_further_lines_of_a_text_are_indented() -> None:
    assert indented("a\nb\tc\x1b") == "a\n    b\tc\\x1b"


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            yield name, node


def _faults(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    where = path.relative_to(_ROOT).as_posix()
    for name, call in _calls(tree):
        given_names = {keyword.arg: keyword.value for keyword in call.keywords}
        if name == "Console" and where != "tidemark/cli/console.py":
            yield f"{where}:{call.lineno}: a console of its own; use those of tidemark.cli.console"
        if name == "from_markup" or (name != "__init__" and "markup" in given_names):
            yield f"{where}:{call.lineno}: markup; give styles by Text or style="
        if name == "Panel":  # rich reads markup in a panel's title whatever its console says
            for title in ("title", "subtitle"):
                value = given_names.get(title)
                if isinstance(value, ast.JoinedStr):
                    yield f"{where}:{call.lineno}: a panel's {title} is markup; give a Text"
        if name == "basicConfig" and "format" in given_names and where != "tidemark/cli/broker.py":
            yield f"{where}:{call.lineno}: a log of its own; use tidemark.runtime.logs"
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rich.markup"):
            yield f"{where}:{node.lineno}: rich.markup; texts are no markup here"


def test_no_module_has_text_read_as_markup_or_a_log_of_its_own() -> None:
    faults = [fault for path in _SOURCES for fault in _faults(path)]
    assert faults == []
    assert len(_SOURCES) > 100
