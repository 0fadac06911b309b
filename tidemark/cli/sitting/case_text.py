"""A case as a person sees it in a terminal: what it is, why it is asked, what the model thinks, what is like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from rich.bar import Bar
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from labeling_grpc.client.foretelling import foretelling
from labeling_grpc.client.history import HistoryPoint
from labeling_grpc.client.reasons import why_asked
from labeling_grpc.client.values import CaseDetails, Comment, NumberRange, SimilarCase, Task, Value
from tidemark.cli.sitting.class_keys import MANY, numbers_of
from tidemark.records import NO_MODEL
from tidemark.runtime import safe_text as shown
from tidemark.runtime.figures import figure

_LIKELY: Final = 8
"""Classes whose probabilities are shown where there are many."""

_TELLING: Final = 12
"""Contributions that are shown, the largest first."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def identity(task: Task) -> Text:
    """Which case it is, in a line or two."""
    parts = [] if task.business_id is None else [Text.assemble(("id ", "dim"), (safe(task.business_id).plain, "bold"))]
    if task.key is not None:
        parts.append(Text.assemble(("of ", "dim"), (safe(task.key).plain, "bold")))
    parts.append(Text(moment(task.time)))
    if task.expires_at is not None:
        parts.append(Text(f"of use until {moment(task.expires_at)}"))
    if task.review:
        parts.append(Text("for review", style="reverse"))
    if task.leases > 1:
        parts.append(Text(f"seen before {task.leases - 1} ×"))
    return Text(" · ", style="dim").join(parts)


def reason(task: Task, current: str, *, blind: bool) -> Text:
    """Why a case is asked, as of now.

    Args:
        task: The case.
        current: Version of the model in force, "" before the first.
        blind: Without what the model thinks.

    Returns:
        A sentence.

    """
    text = Text.assemble(("asked ", "dim"), (safe(why_asked(task, current)).plain, "cyan"))
    if task.uncertainty is not None and not blind:
        text.append(f" (uncertainty {task.uncertainty:.2f})", style="dim")
    return text


def case_body(task: Task, details: CaseDetails | None, *, blind: bool, comment: str = "") -> RenderableType:
    """What a person looks at to decide.

    Args:
        task: The case.
        details: More about it, once it is there.
        blind: Without what the model thinks.
        comment: What will go with the answer.

    Returns:
        It, of any height.

    """
    parts: list[RenderableType] = []
    if comment:
        parts += [Text.assemble(("your comment  ", "dim"), safe(comment))]
    tables = [table for table in (_context(task), _features(task)) if table.row_count]
    if tables:
        parts += [Columns(tables, padding=(0, 4), expand=False), Text("")]
    if not blind:
        parts.append(_opinion(task, details))
    parts += [said(its) for its in task.comments]
    if task.earlier_comments:
        parts.append(Text(f"said  {task.earlier_comments:,} earlier comments: Tab shows all", style="dim"))
    return Group(*parts)


def more_body(task: Task, details: CaseDetails | None, comments: Sequence[Comment], *, blind: bool) -> RenderableType:
    """What else is known of a case: the model's reasons, the entity's history, its like, all that was said.

    Args:
        task: The case.
        details: None while they are not there.
        comments: All, newest first.
        blind: Without what the model thinks.

    Returns:
        It, of any height.

    """
    if details is None:
        return Text("looking it up …", style="dim")
    parts: list[RenderableType] = []
    if not blind:
        parts += [_opinion(task, details), Text(""), _contributions(task, details), Text("")]
    parts += [_history(task, details.history, blind=blind), Text(""), _similar(task, details.similar), Text("")]
    parts.append(_title("what was said" if comments else "nothing was said of it"))
    parts += [said(its) for its in comments]
    return Group(*parts)


def safe(text: str) -> Text:
    """Text from outside: no markup, and nothing that a terminal would obey or hide."""
    return Text(shown.safe(text))


def said(comment: Comment) -> Text:
    """What somebody said of a case."""
    text = Text.assemble(("said  ", "dim"), (safe(comment.annotator).plain, "bold"), ": ", safe(comment.text))
    return text.append(" (Tab shows all of it)", style="dim") if comment.cut else text


def moment(us: int) -> str:
    """Event time, µs, as people write it."""
    try:
        when = _EPOCH + timedelta(microseconds=us)
    except OverflowError:
        return f"{us} µs"
    return when.strftime("%Y-%m-%d %H:%M:%S")


def _context(task: Task) -> Table:
    table = _table("case")
    for name, value in task.context.items():
        table.add_row(safe(name), _shown(value))
    if task.hidden_columns:
        table.add_row("not for you", safe(", ".join(task.hidden_columns)))
    return table


def _features(task: Task) -> Table:
    """Features that the context does not tell already."""
    table = _table("features")
    for name, value in task.features.items():
        text = _feature(name, value, task.categories)
        if name in task.context and (task.context[name] == value or text == _shown(task.context[name])):
            continue
        table.add_row(safe(name), text)
    return table


def _feature(name: str, value: float | None, categories: Mapping[str, str]) -> Text:
    return safe(categories[name]) if name in categories else _shown(value)


def _table(title: str) -> Table:
    table = Table(title=title, title_style="bold", title_justify="left", box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", max_width=28)
    table.add_column(overflow="fold", max_width=48)
    return table


def _title(text: str) -> Text:
    return Text(text, style="bold")


def _opinion(task: Task, details: CaseDetails | None) -> RenderableType:
    """What the model in force says, or the one that asked while that is not known."""
    if task.number is not None:
        return _number_opinion(task, task.number, details)
    probabilities, version = task.probabilities, "" if task.model == NO_MODEL else task.model
    earlier = ""
    if details is not None and details.current_probabilities and details.contributions_model != task.model:
        if version and len(probabilities) == len(task.classes):
            then = probabilities[task.classes.index(task.positive)]
            earlier = f", {safe(version)} when it was asked: {safe(task.positive)} {then:.1%}"
        probabilities, version = details.current_probabilities, details.contributions_model
    if not probabilities:
        return Text.assemble(("model ", "dim"), "none yet")
    if len(probabilities) != len(task.classes):
        return Text.assemble(("model ", "dim"), f"{safe(version)} spoke of other classes")
    likely = list(zip(task.classes, probabilities, strict=True))
    if len(likely) >= MANY:
        likely = sorted(likely, key=lambda its: -its[1])[:_LIKELY]
    table = Table.grid(padding=(0, 1))
    for name, probability in likely:
        style = "red" if name == task.positive else "green"
        table.add_row(safe(name), Bar(1.0, 0.0, probability, width=24, color=style), f"{probability:6.1%}")
    return Group(Text.assemble(("model ", "dim"), (f"{safe(version)}{earlier}", "dim")), table)


def _number_opinion(task: Task, number: NumberRange, details: CaseDetails | None) -> RenderableType:
    """The same of a number."""
    found = foretelling(task, details)
    if found is None:
        return Text.assemble(("model ", "dim"), "none yet")
    before = found.earlier
    earlier = "" if before is None else f", {found.earlier_version} when it was asked: {number.foretold(before)}"
    told = safe(f", nine times of ten {number.between(found.estimate)}")
    return Group(
        Text.assemble(("model ", "dim"), (safe(f"{found.version}{earlier}").plain, "dim")),
        Text.assemble((safe(number.foretold(found.estimate)).plain, "bold"), told),
    )


def _contributions(task: Task, details: CaseDetails) -> RenderableType:
    parts = details.contributions[:_TELLING]
    if not parts:
        return Text("no model says yet what matters", style="dim")
    table = Table.grid(padding=(0, 2))
    largest = max(abs(part.contribution) for part in parts) or 1.0
    for part in parts:
        style = "red" if part.contribution > 0 else "green"
        length = abs(part.contribution) / largest
        table.add_row(
            safe(part.name),
            _feature(part.name, part.value, task.categories),
            Bar(1.0, 0.0, length, width=12, color=style),
            f"{part.contribution:+.2f}",
        )
    if task.number is not None:
        return Group(_title("what makes the number larger (+) and smaller (−)"), table)
    return Group(_title(f"what speaks for (+) and against (−) {safe(task.positive)}"), table)


def _history(task: Task, history: Sequence[HistoryPoint], *, blind: bool) -> RenderableType:
    if not history:
        return Text("no earlier case of the same " + ("entity" if task.key is None else "key"), style="dim")
    table = Table.grid(padding=(0, 2))
    for point in reversed(history):
        chance = "" if blind or point.probability is None else f"{point.probability:.1%}"
        table.add_row(moment(point.time), safe(point.label or "not answered"), chance)
    return Group(_title(f"earlier cases of {safe(task.key or '')}, newest first"), table)


def _similar(task: Task, similar: Sequence[SimilarCase]) -> RenderableType:
    if not similar:
        return Text("no labeled case to compare it with", style="dim")
    table = Table.grid(padding=(0, 2))
    numbers = {name: number for number, name in numbers_of(task.classes).items()}
    for case in similar:
        differing = [
            f"{shown.safe(name)} {_feature(name, value, case.categories)}"
            for name, value in case.features.items()
            if value != task.features.get(name)
        ]
        label = f"{numbers.get(case.label, '')} {shown.safe(case.label)}".strip()
        table.add_row(f"{case.distance:.2f}", label, moment(case.time), Text(", ".join(differing[:4]), style="dim"))
    return Group(_title("labeled cases like it: distance, answer, and what differs"), table)


def _shown(value: Value) -> Text:
    match value:
        case None:
            return Text("–", style="dim")
        case bool():
            return Text("yes" if value else "no")
        case float():
            return Text(figure(value, 6))
        case int():
            return Text(str(value))
        case str():
            return safe(value)
