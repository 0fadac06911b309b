"""Lays a sitting out on a terminal of any size: question, case and keys are always there, the rest is paged."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from labeling_grpc.client import Task
from tidemark.cli.console import SafeConsole
from tidemark.cli.sitting.answer_keys import AnswerKeys, ClassKeys, keys_of
from tidemark.cli.sitting.case_text import case_body, identity, more_body, reason, safe
from tidemark.cli.sitting.class_keys import COMMANDS, FIND
from tidemark.cli.sitting.sitting import UNDONE, Sitting

Page = Literal["case", "more", "help"]

_QUESTION: Final = 3
_IDENTITY: Final = 2
_REASON: Final = 2
_CLASSES: Final = 3
_KEYS: Final = 4
"""Most lines of each."""

_FEW: Final = ("s", "z", "q", "?", "Backspace", "Esc")
"""Keys that are always shown, where there is no room for all."""

_BESIDE: Final[Mapping[str, str]] = {"Tab": "more", "?": "help"}
_BACK: Final[Mapping[str, str]] = {"z": "further back", "Backspace": "take back", "c": "comment", "Esc": "leave it"}

_FINDING: Final = ((FIND, "answer with a class that you type some of the name of"),)
_HELP: Final = (
    ("s", "skip: nobody is asked again, the case counts as not answered"),
    ("u", "give back: others are asked at once, you after a while"),
    ("c", "write a comment that goes with your answer"),
    ("+", "tell whoever is given this case something"),
    ("!", "escalate: hand it to the reviewers, with what makes it hard"),
    ("z", f"go back, up to {UNDONE} cases: answer anew, or take back (Backspace)"),
    ("Tab", "more: the model's reasons, earlier cases, similar ones, all said"),
    ("↓ ↑ Space PgUp", "turn the page"),
    ("Esc", "back; closes what is open"),
    ("q Ctrl-C", "end; the case before you goes back into the queue"),
)


@dataclass(slots=True)
class Look:
    """What of a sitting is looked at. top: first line of the body that is shown.  typed: of an answer so far.

    problem: what is wrong with that, "" for nothing.
    """

    page: Page = "case"
    top: int = 0
    typed: str = ""
    problem: str = ""
    blind: bool = False
    body_height: int = 1
    body_lines: int = 0

    def turn(self, page: Page) -> None:
        """Show another page, from its first line."""
        self.page, self.top, self.typed, self.problem = page, 0, "", ""

    def scroll(self, lines: int) -> None:
        """Move what is shown of the body, within it."""
        self.top = max(0, min(self.top + lines, self.body_lines - self.body_height))


def compose(sitting: Sitting, look: Look, width: int, height: int) -> list[str]:
    """Draw a sitting.

    Args:
        sitting: What is shown.
        look: What of it; learns how long the body is.
        width: Columns of the terminal.
        height: Its lines.

    Returns:
        `height` lines at most, with the escape sequences of colours.

    """
    task = sitting.shown
    head = _head(sitting, task, look, width)
    foot = _foot(sitting, task, look, width)
    body = _lines(_body(sitting, task, look), width)
    foot = foot[-max(1, height - 1) :]
    head = head[: max(0, height - len(foot) - 1)]
    look.body_height, look.body_lines = max(0, height - len(head) - len(foot) - 1), len(body)
    look.scroll(0)
    end = look.top + look.body_height
    rule = "─" * width
    if end < len(body) or look.top:
        place = f" lines {look.top + 1}–{min(end, len(body))} of {len(body)}: ↓ ↑ Space PgUp "
        rule = ("──" + place)[:width].ljust(width, "─")
    shown = body[look.top : end]
    blank = [""] * (look.body_height - len(shown))
    return [*head, *shown, *blank, *_lines(Text(rule, style="dim", no_wrap=True), width), *foot][:height]


def _head(sitting: Sitting, task: Task | None, look: Look, width: int) -> list[str]:
    if task is None:
        question = sitting.stats.question if sitting.stats is not None else "tidemark label"
        return [*_lines(Text(safe(question).plain, style="bold"), width)[:_QUESTION], ""]
    current = sitting.stats.ranked_by if sitting.stats is not None else ""
    lines = _cut(Text(safe(task.question).plain, style="bold"), width, _QUESTION)
    if sitting.looking_back is not None:
        lines += _cut(Text(f" an earlier case: {sitting.looking_back.text} ", style="reverse"), width, 1)
    lines += _cut(identity(task), width, _IDENTITY)
    lines += _cut(reason(task, current, blind=look.blind), width, _REASON)
    return [*lines, *_lines(Text("─" * width, style="dim"), width)]


def _body(sitting: Sitting, task: Task | None, look: Look) -> RenderableType:
    if look.page == "help":
        return _help(task)
    if task is None:
        paused = sitting.stats.paused if sitting.stats is not None else ""
        if paused:
            return Text(f"the queue is paused: {safe(paused)}")
        return Text("no case is waiting; the next one is shown when it comes")
    if look.page == "more":
        return more_body(task, sitting.known, sitting.comments, blind=look.blind)
    return case_body(task, sitting.known, blind=look.blind, comment=sitting.draft)


def _foot(sitting: Sitting, task: Task | None, look: Look, width: int) -> list[str]:
    """What there is to be told, the keys, and how far one is: the keys are last, so that they are always there."""
    lines = _cut(_message(sitting, task, look), width, 2)
    if task is not None:
        lines += _answers(task, width)
    open_page = {"more": {"Tab": "back"}, "help": {"?": "back"}, "case": {}}[look.page]
    finds = {FIND: "find"} if task is not None and keys_of(task).finds else {}
    commands = _BACK if sitting.looking_back is not None else {**COMMANDS, **finds, **_BESIDE, **open_page}
    shown = {"q": "quit"} if task is None else commands
    keys = _flow([_key(key, what) for key, what in shown.items()], width)
    if len(keys) > _KEYS:
        few = {key: what for key, what in shown.items() if key in _FEW}
        keys = _flow([_key(key, what) for key, what in few.items()], width)
    return [*lines, *keys, *_cut(_progress(sitting), width, 1)]


def _message(sitting: Sitting, task: Task | None, look: Look) -> Text:
    if sitting.away_since is not None:
        when = time.strftime("%H:%M:%S", time.localtime(sitting.away_since))
        kept = (
            "" if sitting.unsent is None else f"; what you decided{_named(sitting)} is kept, and sent when it is back"
        )
        return Text(f" the service is away since {when}{kept} ", style="reverse")
    if look.typed:
        prompt = "" if task is None else keys_of(task).prompt(look.typed)
        return Text(look.problem or prompt, style="bold")
    if sitting.notice:
        return Text(sitting.notice, style="bold")
    if sitting.unsent is not None:
        return Text(f"{sitting.unsent.kind}{_named(sitting)} …")
    return Text("")


def _key(key: str, what: str) -> Text:
    return Text.assemble((f" {key} ", "reverse"), f" {what}")


def _flow(items: Sequence[Text], width: int) -> list[str]:
    """Items one after the other, each whole on a line, cut where a line has no room for it alone."""
    rows: list[Text] = []
    for item in items:
        item.truncate(width, overflow="ellipsis")
        if rows and rows[-1].cell_len + 2 + item.cell_len <= width:
            rows[-1] = Text.assemble(rows[-1], "  ", item)
        else:
            rows.append(item)
    return [line for row in rows for line in _lines(row, width)]


def _named(sitting: Sitting) -> str:
    return f" ({safe(sitting.unsent.text)})" if sitting.unsent is not None and sitting.unsent.text else ""


def _answers(task: Task, width: int) -> list[str]:
    """The answers beside their keys; of many, those that have room, and how the rest is found."""
    keys = keys_of(task).shown()
    lines = _flow(keys, width)
    if len(lines) <= _CLASSES:
        return lines
    rest = Text(f"… of {len(keys)}: {FIND} finds a class by its name, ? lists them all", style="bold")
    return [*lines[: _CLASSES - 1], *_cut(rest, width, 1)]


def _help(task: Task | None) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    keys: AnswerKeys = ClassKeys(()) if task is None else keys_of(task)
    for key, what in (*keys.help, *(_FINDING if keys.finds else ()), *_HELP):
        table.add_row(Text(key, style="bold"), what)
    if not keys.listed:
        return table
    numbered = [Text(each) for each in keys.listed]
    return Group(table, Text(""), Text("classes", style="bold"), Columns(numbered, padding=(0, 2)))


def _progress(sitting: Sitting) -> Text:
    parts = [f"{sitting.answered} answered"]
    if sitting.skipped:
        parts.append(f"{sitting.skipped} skipped")
    if sitting.escalated:
        parts.append(f"{sitting.escalated} escalated")
    if sitting.minute_rate is not None:
        parts.append(f"{sitting.minute_rate:.0f} a minute")
    if sitting.agreed:
        parts.append(f"verdicts agree with {sitting.agreed}")
    if sitting.stats is not None:
        parts.append(f"{sitting.stats.waiting:,} waiting")
    return Text(" · ".join(parts), style="dim")


def _cut(text: Text, width: int, most: int) -> list[str]:
    lines = _lines(text, width)
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], *_lines(Text.assemble(_plain(lines[most - 1], width), ("…", "bold")), width)[:1]]


def _plain(line: str, width: int) -> str:
    return Text.from_ansi(line).plain.rstrip()[: max(0, width - 1)]


def _lines(renderable: RenderableType, width: int) -> list[str]:
    console = SafeConsole(
        width=max(1, width), file=io.StringIO(), force_terminal=True, color_system="standard", legacy_windows=False
    )
    with console.capture() as capture:
        console.print(renderable)
    return capture.get().rstrip("\n").split("\n")
