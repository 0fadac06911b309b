"""A pipeline's status as a person reads it, on 80 columns and more."""

from __future__ import annotations

from typing import Final

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tidemark.observe.label_studio import bridge_words
from tidemark.observe.status_record import FlowStatus, LabelingStatus, Status
from tidemark.observe.words import (
    alert_words,
    budget_words,
    decision_words,
    gain_words,
    label_words,
    labeling_words,
    quality_words,
    rate_words,
    seconds_words,
)
from tidemark.runtime.figures import figure
from tidemark.runtime.safe_text import safe

_STATES: Final = {
    "well": ("runs", "green"),
    "starting": ("is starting", "cyan"),
    "not started": ("not started", "yellow"),
    "stopped": ("does not run", "red"),
    "wrong": ("something is wrong", "red"),
}
_ANNOTATORS: Final = 8


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
        parts += [_facts(status), _flows(status)]
        if status.sources:
            parts.append(_sources(status))
        if status.webhooks:
            parts.append(_webhooks(status))
        parts.append(_topics(status))
        if status.labeling is not None and status.labeling.annotators:
            parts.append(_annotators(status.labeling))
        if figures and status.figures:
            parts.append(_figures(status))
    parts += [Text(f"! {safe(problem)}", style="red") for problem in status.problems]
    parts += [Text(f"· {safe(note)}", style="yellow") for note in status.notes]
    return parts


def _facts(status: Status) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    _model_facts(status, table)
    if status.budget is not None:
        table.add_row("budget", Text(safe(budget_words(status.budget))))
    if status.sample is not None:
        table.add_row("sample", f"{status.sample.events:,} of {status.sample.size:,} events, drawn at random")
    if status.labeling is not None:
        table.add_row("labeling", Text(safe(labeling_words(status.labeling))))
    if status.label_studio is not None:
        table.add_row("label studio", Text(safe(bridge_words(status.label_studio))))
    if status.latency is not None:
        latency = status.latency
        table.add_row(
            "latency",
            f"{seconds_words(latency.p50)} median, {seconds_words(latency.p99)} p99, from a record's append to its "
            "prediction",
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
    if status.decisions:
        table.add_row("decisions", Text(safe(decision_words(status.decisions))))
    champion = status.champion
    if champion is not None:
        whose = label_words(champion.sources, champion.conflicts)
        text = f"{champion.version}, learnt from {champion.labels:,} labels{whose}; {champion.decision}"
        table.add_row("champion", Text(safe(text)))


def _in_force(flow: FlowStatus) -> str:
    """The version in force, and those of the last rows where they are of others."""
    last = ", ".join(flow.last_rows)
    return f"{flow.model} (last rows: {last})" if flow.model and last else flow.model or last


def _flows(status: Status) -> Table:
    table = _table("flow", "processes", "records behind", "model in force")
    for flow in status.flows:
        style = None if flow.processes else "red"
        table.add_row(flow.name, str(flow.processes), f"{flow.behind:,}", safe(_in_force(flow)), style=style)
    if status.labeling is not None:
        found = status.labeling
        style = None if found.reachable else "red"
        table.add_row("labeling", "1" if found.reachable else "0", "", safe(found.model), style=style)
    return table


def _sources(status: Status) -> Table:
    table = _table("source", "processes", "records", "a second", "refused")
    for source in status.sources:
        style = None if source.processes else "red"
        name = safe(f"{source.name} ({source.kind})")
        rate = rate_words(source.per_second) if source.processes else ""
        table.add_row(name, str(source.processes), f"{source.records:,}", rate, f"{source.refused:,}", style=style)
    return table


def _webhooks(status: Status) -> Table:
    table = _table("webhook", "runs", "delivered", "waiting", "given up", "receiver", text={"runs", "receiver"})
    for each in status.webhooks:
        style = None if each.runs and each.failing_since is None else "red"
        counts = f"{each.delivered:,}", f"{each.waiting:,}", f"{each.given_up:,}"
        table.add_row(safe(each.name), "yes" if each.runs else "no", *counts, safe(each.receiver), style=style)
    return table


def _topics(status: Status) -> Table:
    table = _table("topic", "records", "a second")
    for topic in status.topics:
        about = "" if topic.exact else "about "
        left = "" if topic.open is None or topic.open == topic.records else f", {topic.open:,} open"
        table.add_row(safe(topic.name), f"{about}{topic.records:,}{left}", rate_words(topic.per_second))
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
        value = "–" if metric.value is None else figure(metric.value, 4)
        interval = "" if metric.low is None or metric.high is None else f"{figure(metric.low)} to {figure(metric.high)}"
        table.add_row(safe(f"{metric.name} ({metric.source})"), value, interval, f"{metric.n:,}", safe(metric.model))
    return table


def _table(*names: str, text: frozenset[str] | set[str] = frozenset()) -> Table:
    """A table whose columns are numbers but for the first, the last of flows, and those named."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, name in enumerate(names):
        words = place == 0 or name in text or name == "model in force"
        table.add_column(name, justify="left" if words else "right", overflow="fold")
    return table
