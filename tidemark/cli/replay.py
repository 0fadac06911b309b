"""`tidemark replay PIPELINE`: events of the past once more, into a shadow topic, compared with what was recorded."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from tidemark.cli.console import PipelineFile, out, told
from tidemark.cli.fact_table import fact_table
from tidemark.cli.pipeline_file import load
from tidemark.cli.started import started
from tidemark.pipeline import Pipeline
from tidemark.pipeline.number_checks import refuse_number
from tidemark.runtime.safe_text import safe

if TYPE_CHECKING:
    from tidemark.parity.report import DifferencePart, ReplayReport

app = typer.Typer(add_completion=False)
_DIFFERENT: Final = 2
_SHOWN: Final = 12
_MOST: Final = 1_000_000


@app.command()
def replay(
    pipeline: PipelineFile,
    *,
    begin: Annotated[
        str, typer.Option("--from", metavar="TIME|earliest|OFFSET", help="Where to begin; a time is ISO 8601.")
    ] = "earliest",
    end: Annotated[str, typer.Option("--to", metavar="TIME|latest|OFFSET", help="Where to end, exclusive.")] = "latest",
    name: Annotated[str, typer.Option(help="Of the replay: its topic is PIPELINE.shadow.NAME.")] = "replay",
    model: Annotated[
        str | None, typer.Option(metavar="VERSION|champion", help="Score all by this model, not each by its own.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Delete what an earlier replay of this name wrote.")
    ] = False,
    no_topic: Annotated[bool, typer.Option("--no-topic", help="Compare only; write nothing.")] = False,
    most: Annotated[int, typer.Option(min=1, max=50_000_000, help="Raw records at most.")] = _MOST,
    list_: Annotated[bool, typer.Option("--list", help="List the replays there are, and do nothing else.")] = False,
    remove: Annotated[
        str | None, typer.Option("--remove", metavar="NAME", help="Delete the topic of a replay, and do nothing else.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Compute and score past events once more, and compare that with what was recorded.

    Rows are read from as far back as windows reach. What comes out is written to a topic of its own, in one
    transaction; nothing that runs is touched. A time is when the raw records came to Kafka.

    Exits with 2 where something was recorded otherwise than it comes out now, or where a prediction is missing.
    """
    with told():
        loaded = load(pipeline)
        refuse_number(loaded, "tidemark replay")
        if list_ or remove is not None:
            _manage(loaded, pipeline, remove, as_json=as_json)
            return
        from tidemark.parity.replay import Replay, Wanted  # half a second, which help need not wait for
        from tidemark.times.places import read_place

        wanted = Wanted(
            read_place(begin, "--from"),
            read_place(end, "--to"),
            None if no_topic else name,
            model,
            most,
            replace,
        )
        report = Replay(loaded, started(loaded, pipeline, loaded.topics.predictions)).run(wanted)
        if as_json:
            out.print(msgspec.json.format(msgspec.json.encode(report)).decode(), soft_wrap=True)
        else:
            _print(report)
    if not report.agrees:
        sys.exit(_DIFFERENT)


def _manage(pipeline: Pipeline, file: Path, remove: str | None, *, as_json: bool) -> None:
    from tidemark.parity.shadow import Shadow, listed

    settings = started(pipeline, file, pipeline.topics.predictions)
    if remove is not None:
        shadow = Shadow(pipeline, settings, remove)
        shadow.remove()
        out.print(f"{safe(shadow.topic)}: deleted", soft_wrap=True)
        return
    found = listed(pipeline, settings)
    if as_json:
        out.print(msgspec.json.format(msgspec.json.encode(found)).decode(), soft_wrap=True)
        return
    if not found:
        out.print("there is no replay")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("replay", overflow="fold")
    table.add_column("topic", overflow="fold")
    table.add_column("written", justify="right")
    for each in found:
        table.add_row(safe(each.name), safe(each.topic), f"{each.written:,}")
    out.print(table)


def _print(report: ReplayReport) -> None:
    out.print(fact_table(_lines(report)))
    for each in report.differences[:_SHOWN]:
        out.print(Text(safe(_difference(each)), style="red"), soft_wrap=True)
    if len(report.differences) > _SHOWN:
        out.print(f"and {len(report.differences) - _SHOWN:,} more kinds of differences; --json tells all")
    for reason in report.reasons[:_SHOWN]:
        out.print(safe(f"not compared for {reason.events:,} events: {reason.reason}"), soft_wrap=True)
    for note in report.notes[:_SHOWN]:
        out.print(safe(note), soft_wrap=True)


def _lines(report: ReplayReport) -> list[tuple[str, str]]:
    spans = [f"{each.topic}[{each.partition}] {each.start:,} to {each.end:,}" for each in report.spans]
    more = f"\nand {len(spans) - _SHOWN:,} more partitions" if len(spans) > _SHOWN else ""
    scored = ", ".join(
        f"{count:,} by {version}" if version != "none" else f"{count:,} without a model"
        for version, count in list(report.models.items())[:_SHOWN]
    )
    lines = [
        ("raw records", "\n".join(spans[:_SHOWN]) + more),
        ("events", f"{report.events:,}{f', and {report.refused:,} records that are none' if report.refused else ''}"),
        ("scored", scored or "none"),
    ]
    if report.incomplete:
        whole = "none has all its rows" if report.full_from is None else f"full from {_time(report.full_from)} on"
        lines.append(
            ("windows", f"{whole}: of {report.incomplete:,} events retention has removed rows that features need")
        )
    if report.topic is not None:
        lines.append(("written to", report.topic))
    counts = [
        (report.equal, "equal"),
        (report.differing, "differing"),
        (report.not_comparable, "not comparable"),
        (report.missing, "without a prediction"),
        (report.not_held, "not predicted yet, or any more"),
        (report.unexpected, "predicted that are no events"),
    ]
    told_counts = [f"{count:,} {what}" for count, what in counts if count or what in ("equal", "differing")]
    return [*lines, ("compared", f"{', '.join(told_counts)} ({report.compared:,} figures)")]


def _difference(each: DifferencePart) -> str:
    by = "" if each.largest is None else f", by up to {each.largest:.6g}"
    values = f"{_value(each.derived)} now, {_value(each.recorded)} recorded"
    return f"{each.what} differs for {each.events:,} events{by}: {each.example} has {values} in {each.where}"


def _value(value: str | float | bool | None) -> str:
    if value is None:
        return "none"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _time(us: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    return moment.isoformat(sep=" ", timespec="seconds")
