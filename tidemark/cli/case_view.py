"""A case as a person sees it in a terminal: what it is, why it was asked, what the model thinks, which key answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from rich.bar import Bar
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from labeling_grpc.client.values import Comment, Task, Value
from tidemark.cli.class_keys import COMMANDS, FIND, MANY, keys_of
from tidemark.records import NO_MODEL, Reason
from tidemark.runtime import safe_text as shown

_LIKELY: Final = 8
"""Classes whose probabilities are shown where there are many."""

_WHY: Final[dict[Reason, str]] = {
    "explore": "drawn at random, to measure the model without bias: please answer it even if it looks dull",
    "uncertain": "the model can't tell",
    "diverse": "unlike what was labeled before",
    "cold": "there is no model yet: the first answers make it",
    "imported": "brought in by hand",
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Progress:
    """What this sitting came to. seconds: since it began.  waiting: cases in the queue."""

    answered: int
    skipped: int
    seconds: float
    waiting: int


def rendered(task: Task, progress: Progress, *, blind: bool, comment: str = "") -> RenderableType:
    """The whole screen of one case. blind: without what the model thinks."""
    parts: list[RenderableType] = [
        Columns([_facts(task), _features(task)], padding=(0, 4), expand=False),
        Text(""),
        _why(task, blind=blind),
    ]
    if not blind:
        parts.append(_opinion(task))
    if task.earlier_comments:
        parts.append(
            Text(f"said     {task.earlier_comments:,} earlier comments are left out: ? shows all", style="dim")
        )
    parts += [_said(its) for its in task.comments]
    if comment:
        parts.append(Text.assemble(("comment  ", "dim"), safe(comment)))
    return Group(
        Panel(
            Group(*parts),
            title=Text(shown.safe(task.question), style="bold"),
            subtitle=_progress(progress),
            subtitle_align="right",
            padding=(1, 2),
        ),
        _legend(task),
    )


def discussion(comments: Iterable[Comment]) -> RenderableType:
    """All that was said about a case. comments: newest first."""
    return Group(*[_said(its) for its in comments])


def safe(text: str) -> Text:
    """Text from outside: no markup, and nothing that a terminal would obey or hide."""
    return Text(shown.safe(text))


def _facts(task: Task) -> Table:
    table = _table("case")
    if task.business_id is not None:
        table.add_row("id", safe(task.business_id))
    if task.key is not None:
        table.add_row("key", safe(task.key))
    table.add_row("time", _time(task.time))
    for name, value in task.context.items():
        table.add_row(safe(name), _shown(value))
    if task.expires_at is not None:
        table.add_row("of use until", _time(task.expires_at))
    if task.review:
        table.add_row("for review", "yes")
    if task.leases > 1:
        table.add_row("seen before", f"{task.leases - 1} ×")
    return table


def _features(task: Task) -> Table:
    table = _table("features")
    for name, value in task.features.items():
        table.add_row(safe(name), _shown(value))
    return table


def _table(title: str) -> Table:
    table = Table(title=title, title_style="bold", title_justify="left", box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", max_width=28)
    table.add_column(overflow="fold", max_width=48)
    return table


def _why(task: Task, *, blind: bool) -> Text:
    text = Text.assemble(("asked    ", "dim"), (_WHY[task.reason], "cyan"))
    if task.uncertainty is not None and not blind:
        text.append(f" (uncertainty {task.uncertainty:.2f})", style="dim")
    return text


def _opinion(task: Task) -> RenderableType:
    if not task.probabilities:
        return Text.assemble(("model    ", "dim"), "none yet")
    if len(task.probabilities) != len(task.classes):
        return Text.assemble(("model    ", "dim"), f"{safe(task.model)} spoke of other classes")
    table = Table.grid(padding=(0, 1))
    likely = list(zip(task.classes, task.probabilities, strict=True))
    if len(likely) >= MANY:
        likely = sorted(likely, key=lambda its: -its[1])[:_LIKELY]
    for index, (name, probability) in enumerate(likely):
        style = "red" if name == task.positive else "green"
        table.add_row(
            Text("model   " if index == 0 else "", style="dim"),
            safe(name),
            Bar(1.0, 0.0, probability, width=24, color=style),
            f"{probability:6.1%}",
        )
    version = "" if task.model == NO_MODEL else f"         {safe(task.model)}"
    return Group(table, Text(version, style="dim"))


def _said(comment: Comment) -> Text:
    text = Text.assemble(("said     ", "dim"), (safe(comment.annotator).plain, "bold"), ": ", safe(comment.text))
    return text.append(" (? shows all of it)", style="dim") if comment.cut else text


def _legend(task: Task) -> RenderableType:
    """The keys; each stays beside what it does, however narrow the terminal."""
    answers = [
        Text.assemble((f" {key} ", "bold reverse"), (f" {safe(name)}", "bold"))
        for key, name in keys_of(task.classes).items()
    ]
    commands = {FIND: "find", **COMMANDS} if len(task.classes) >= MANY else COMMANDS
    others = [Text.assemble((f" {key} ", "reverse dim"), (f" {what}", "dim")) for key, what in commands.items()]
    return Group(Columns(answers, padding=(0, 2)), Columns(others, padding=(0, 2)))


def _progress(progress: Progress) -> str:
    rate = 60.0 * progress.answered / progress.seconds if progress.seconds > 0 else 0.0
    parts = [f"{progress.answered} answered"]
    if progress.skipped:
        parts.append(f"{progress.skipped} skipped")
    parts += [f"{rate:.0f} a minute", f"{progress.waiting:,} waiting"]
    return " · ".join(parts)


def _time(us: int) -> str:
    try:
        moment = _EPOCH + timedelta(microseconds=us)
    except OverflowError:
        return f"{us} µs"
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _shown(value: Value) -> Text:
    match value:
        case None:
            return Text("–", style="dim")
        case bool():
            return Text("yes" if value else "no")
        case float():
            return Text(f"{value:,.6g}")
        case int():
            return Text(str(value))
        case str():
            return safe(value)
