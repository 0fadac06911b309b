"""A pipeline's status as a person reads it, on 80 columns and more."""

from __future__ import annotations

from typing import Final

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tidemark.observe.status_record import AlertsStatus, LabelingStatus, QualityStatus, Status
from tidemark.runtime.safe_text import safe

_STATES: Final = {
    "well": ("runs", "green"),
    "starting": ("is starting", "cyan"),
    "not started": ("not started", "yellow"),
    "stopped": ("does not run", "red"),
    "wrong": ("something is wrong", "red"),
}
_ANNOTATORS: Final = 8
_MEASURES: Final = {
    "accuracy": "accuracy",
    "average_precision": "average precision",
    "macro_recall": "mean recall of the classes",
}


def rendered(status: Status, *, figures: bool) -> RenderableType:
    """The whole view, for a console to print: `parts_of` together."""
    return Group(*parts_of(status, figures=figures))


def printed(console: Console, status: Status, *, figures: bool) -> None:
    """Print the view. A command or path that is longer than a line stays in one piece, so that it can be copied."""
    for part in parts_of(status, figures=figures):
        long = isinstance(part, Text) and any(cell_len(word) > console.width for word in part.plain.split())
        console.print(part, soft_wrap=long)


def parts_of(status: Status, *, figures: bool) -> list[RenderableType]:
    """The view from the top down.

    Args:
        status: what was found.
        figures: show every metric, too.

    Returns:
        Parts for a console to print, each on lines of its own.

    """
    words, style = _STATES[status.state]
    parts: list[RenderableType] = [Text.assemble((safe(status.pipeline), "bold"), " ", (words, style))]
    if status.state != "not started":
        parts += [_facts(status), _flows(status), _topics(status)]
        if status.labeling is not None and status.labeling.annotators:
            parts.append(_annotators(status.labeling))
        if figures and status.figures:
            parts.append(_figures(status))
    parts += [Text(f"! {safe(problem)}", style="red") for problem in status.problems]
    parts += [Text(f"· {safe(note)}", style="yellow") for note in status.notes]
    return parts


def quality_words(found: QualityStatus) -> str:
    """The headline in words."""
    measure = _MEASURES.get(found.metric, found.metric)
    of = f" of {found.of_class}" if found.metric == "average_precision" and found.of_class else ""
    more = f"about {found.more:,} more random answers tell" if found.more else ""
    if found.value is None:
        so_far = f"{found.n:,} random answers so far" if found.n else "no random answer yet"
        return f"{measure}{of}: cannot be told yet, {so_far}; {more}"
    low, high = found.low or 0.0, 1.0 if found.high is None else found.high
    text = f"{measure}{of} {found.value:.2f} (95 %: {low:.2f} to {high:.2f}) on {found.n:,} random answers it had not "
    text += "learnt from"
    if found.way == "forward validation":
        text += ", the newest, as older ones no longer tell"
    if found.chance is not None:
        text += f"; a guess reaches {found.chance:.2g}"
    return f"{text}; {more}" if more else text


def alert_words(found: AlertsStatus) -> str:
    """From which probability on to flag, and what that makes, in words."""
    share = f"{100 * found.recall:.3g} % of {found.of_class}"
    if found.threshold is None:
        return (
            f"no threshold is known to find {share} yet; about {found.more_positives:,} more random answers of it tell"
        )
    text = f"flag from {found.threshold:.3g} on, which finds at least {share} (95 % sure)"
    if found.alerts_per_day is None or found.alerts_low is None or found.alerts_high is None:
        return text
    text += f"; about {found.alerts_per_day:,.0f} alerts a day ({found.alerts_low:,.0f} to {found.alerts_high:,.0f})"
    if found.fits is not None and found.most_per_day is not None:
        text += f", {'within' if found.fits else 'perhaps more than'} the {found.most_per_day:,.0f} that people can see"
    return text


def gain_words(found: QualityStatus) -> str:
    """What a hundred more labels would bring, in words; "" where that can't be told."""
    if found.next_hundred is None or found.next_hundred_most is None:
        return ""
    about, most = 100 * found.next_hundred, 100 * found.next_hundred_most
    if found.enough:
        return f"enough: a hundred more labels bring about {about:.1f} points, less than half a point in any case"
    return f"a hundred more bring about {about:.1f} points, at most {most:.1f}"


def _facts(status: Status) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    _model_facts(status, table)
    if status.budget is not None:
        budget = status.budget
        of = "" if budget.total is None else f" of {budget.total:,}"
        last = f"{budget.tile} of {budget.tile_budget} in the last tile"
        if budget.per_hour is not None:
            last += f", {budget.in_hour or 0:,} of {budget.per_hour:,} in its hour"
        if budget.per_day is not None:
            last += f", {budget.in_day or 0:,} of {budget.per_day:,} on its day"
        table.add_row("budget", f"{budget.in_all:,}{of} cases asked in all; {last}")
    if status.sample is not None:
        table.add_row("sample", f"{status.sample.events:,} of {status.sample.size:,} events, drawn at random")
    if status.labeling is not None:
        table.add_row("labeling", Text(safe(_labeling_words(status.labeling))))
    if status.latency is not None:
        latency = status.latency
        table.add_row(
            "latency",
            f"{_seconds(latency.p50)} median, {_seconds(latency.p99)} p99, from a record's append to its prediction",
        )
    return table


def _model_facts(status: Status, table: Table) -> None:
    if status.quality is not None:
        table.add_row("quality", Text(safe(quality_words(status.quality)), style="bold"))
        if words := gain_words(status.quality):
            table.add_row("labels", words)
    elif status.champion is not None:
        table.add_row("quality", "is measured soon")
    if status.alerts is not None:
        table.add_row("alerts", Text(safe(alert_words(status.alerts))))
    champion = status.champion
    if champion is not None:
        text = f"{champion.version}, learnt from {champion.labels:,} labels; {champion.decision}"
        table.add_row("champion", Text(safe(text)))


def _labeling_words(found: LabelingStatus) -> str:
    if not found.reachable:
        return "is not reached"
    if found.problem:
        return f"runs at {found.address}; see below"
    waiting = found.waiting_random + found.waiting_active
    text = f"{waiting:,} cases wait ({found.waiting_random:,} random), {found.leased:,} are being answered"
    if found.unpublished:
        text += f", {found.unpublished:,} answers on their way to Kafka"
    return text


def _seconds(value: float) -> str:
    if value < 1:
        return f"{1_000 * value:.0f} ms"
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 7_200 else f"{value / 3_600:.1f} h"


def _flows(status: Status) -> Table:
    table = _table("flow", "processes", "records behind", "model in force")
    for flow in status.flows:
        style = None if flow.processes else "red"
        table.add_row(flow.name, str(flow.processes), f"{flow.behind:,}", safe(flow.model), style=style)
    if status.labeling is not None:
        found = status.labeling
        style = None if found.reachable else "red"
        table.add_row("labeling", "1" if found.reachable else "0", "", safe(found.model), style=style)
    return table


def _topics(status: Status) -> Table:
    table = _table("topic", "records", "a second")
    for topic in status.topics:
        about = "" if topic.exact else "about "
        rate = (
            f"{topic.per_second:,.0f}" if topic.per_second >= 10 or not topic.per_second else f"{topic.per_second:.1f}"
        )
        table.add_row(safe(topic.name), f"{about}{topic.records:,}", rate)
    return table


def _annotators(found: LabelingStatus) -> Table:
    table = _table("annotator", "answered", "skipped")
    busiest = sorted(found.annotators, key=lambda each: (-each.answered, each.name))
    for each in busiest[:_ANNOTATORS]:
        table.add_row(safe(each.name), f"{each.answered:,}", f"{each.skipped:,}")
    if len(busiest) > _ANNOTATORS:
        table.add_row(f"and {len(busiest) - _ANNOTATORS:,} more", "", "", style="dim")
    return table


def _figures(status: Status) -> Table:
    table = _table("figure", "value", "95 % interval", "n", "of model", text={"figure", "of model"})
    for metric in status.figures:
        value = "–" if metric.value is None else f"{metric.value:,.4g}"
        interval = "" if metric.low is None or metric.high is None else f"{metric.low:,.3g} to {metric.high:,.3g}"
        table.add_row(safe(f"{metric.name} ({metric.source})"), value, interval, f"{metric.n:,}", safe(metric.model))
    return table


def _table(*names: str, text: frozenset[str] | set[str] = frozenset()) -> Table:
    """A table whose columns are numbers but for the first, the last of flows, and those named."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, name in enumerate(names):
        words = place == 0 or name in text or name == "model in force"
        table.add_column(name, justify="left" if words else "right", overflow="fold")
    return table
