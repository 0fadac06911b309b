"""`tidemark status PIPELINE`: what runs, how far behind, what it has spent, how good it is, what is wrong."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tidemark.cli.console import PipelineFile, connected, out, told
from tidemark.observe import Observer, Snapshot
from tidemark.pipeline import Pipeline, load
from tidemark.records import NO_MODEL
from tidemark.records.topics import Topics
from tidemark.runtime.safe_text import safe

app = typer.Typer(add_completion=False)


@app.command()
def status(
    pipeline: PipelineFile,
    watch: Annotated[float | None, typer.Option(metavar="SECONDS", min=0.2, help="Look again so often.")] = None,
) -> None:
    """Show a pipeline's flows, lag, rates, budget, champion and quality, and what is wrong."""
    with told():
        loaded = load(pipeline)
        observer = Observer(loaded, connected())
        try:
            if watch is None:
                out.print(rendered(loaded, observer.look()))
                return
            with Live(rendered(loaded, observer.look()), console=out, auto_refresh=False) as live:
                while True:
                    time.sleep(watch)
                    live.update(rendered(loaded, observer.look()), refresh=True)
        except KeyboardInterrupt:
            return
        finally:
            observer.close()


def rendered(pipeline: Pipeline, snapshot: Snapshot) -> RenderableType:
    """A snapshot as a person reads it."""
    parts: list[RenderableType] = [_flows(snapshot), _topics(pipeline, snapshot), _model(snapshot)]
    if snapshot.metrics:
        parts.append(_metrics(snapshot))
        if note := _note(snapshot):
            parts.append(note)
    if snapshot.problems:
        parts.append(Text("\n".join(f"! {safe(problem)}" for problem in snapshot.problems), style="yellow"))
    else:
        parts.append(Text("nothing is wrong", style="green"))
    return Group(*parts)


def _flows(snapshot: Snapshot) -> Table:
    table = Table(title="Flows", title_justify="left", box=None, pad_edge=False)
    table.add_column("flow")
    table.add_column("processes", justify="right")
    table.add_column("behind", justify="right")
    table.add_column("model in force")
    for flow in snapshot.flows:
        style = None if flow.members else "red"
        table.add_row(flow.name, str(flow.members), f"{flow.lag:,}", safe(flow.model), style=style)
    table.add_row("labeling", "", "", safe(snapshot.ranked_by))
    return table


def _topics(pipeline: Pipeline, snapshot: Snapshot) -> Table:
    topics = Topics(pipeline.name)
    table = Table(title="Topics", title_justify="left", box=None, pad_edge=False)
    table.add_column("topic")
    table.add_column("end", justify="right")
    table.add_column("a second", justify="right")
    shown = [source.topic for source in pipeline.raw]
    shown += [
        topics.predictions,
        topics.proposals,
        topics.candidates,
        topics.labels,
        topics.outcomes,
        topics.deadletter,
    ]
    for topic in shown:
        if topic in snapshot.ends:
            table.add_row(safe(topic), f"{snapshot.ends[topic]:,}", f"{snapshot.rates[topic]:,.0f}")
    return table


def _model(snapshot: Snapshot) -> Text:
    champion = snapshot.champion
    if champion is None:
        return Text("Champion: none yet")
    parent = f", after {champion.parent}" if champion.parent else ""
    told = f"Champion: {champion.version}{parent}, trained on {champion.used:,} labels; {champion.decision}"
    return Text(safe(told))


def _note(snapshot: Snapshot) -> Text | None:
    """That the champion has not been measured yet, where other models' figures are shown."""
    champion = snapshot.champion
    measured = {metric.model for metric in snapshot.metrics.values() if metric.source in {"labels", "outcomes"}}
    if champion is None or champion.version in measured or not measured - {"", NO_MODEL}:
        return None
    return Text(f"no figure yet of {safe(champion.version)}: each is of the model that is named beside it", style="dim")


def _metrics(snapshot: Snapshot) -> Table:
    table = Table(title="Quality and budget", title_justify="left", box=None, pad_edge=False)
    for name in ("figure", "value", "95 % interval", "n", "from", "of model"):
        table.add_column(name, justify="left" if name in {"figure", "from", "of model"} else "right")
    champion = None if snapshot.champion is None else snapshot.champion.version
    for metric in sorted(snapshot.metrics.values(), key=lambda metric: metric.name):
        value = "–" if metric.value is None else f"{metric.value:,.4g}"
        interval = "" if metric.low is None or metric.high is None else f"{metric.low:,.3g} to {metric.high:,.3g}"
        other = metric.model not in {"", NO_MODEL, champion} and metric.source in {"labels", "outcomes"}
        row = (safe(metric.name), value, interval, f"{metric.n:,}", safe(metric.source), safe(metric.model))
        table.add_row(*row, style="dim" if other else None)
    return table
