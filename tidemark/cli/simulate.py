"""`tidemark simulate`: what labels would be worth, played on one's own history."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidemark.cli.console import PipelineFile, err, out, told
from tidemark.cli.pipeline_file import load
from tidemark.errors import ConfigError
from tidemark.runtime.safe_text import safe

if TYPE_CHECKING:
    from tidemark.backtest.history import History
    from tidemark.backtest.result import Simulation
    from tidemark.pipeline import Pipeline
    from tidemark.sources.thinning import Thinning

app = typer.Typer(add_completion=False)
_EVENTS = 200_000


@app.command()
def simulate(
    pipeline: PipelineFile,
    data: Annotated[
        Path,
        typer.Option("--data", metavar="FILE", help="History with labels: .parquet, .csv or .ndjson.", dir_okay=False),
    ],
    strategies: Annotated[
        str, typer.Option(metavar="A,B", help="Strategies to compare, beside the pipeline's and random.")
    ] = "margin,badge,robust",
    learners: Annotated[
        str, typer.Option(metavar="A,B", help="Learners to compare, beside the pipeline's; '' for none.")
    ] = "mean,boosted",
    schedules: Annotated[
        str, typer.Option(metavar="A", help="Schedules to compare: 'sooner' trains sooner; '' for none.")
    ] = "sooner",
    budget: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Labels to spend; by default what the pipeline would, at most 1,000."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, metavar="N", help="Plays of each, with other coins.")] = 5,
    minutes: Annotated[
        float, typer.Option(min=0.01, max=10_000, metavar="M", help="Stop after so long; say what was done by then.")
    ] = 10,
    events: Annotated[
        int,
        typer.Option(
            min=100, max=20_000_000, metavar="N", help="Most events to hold; of a longer history, those of some keys."
        ),
    ] = _EVENTS,
    topic: Annotated[
        str | None,
        typer.Option("--topic", metavar="TOPIC", help="The raw topic that the history is of, as for `train --from`."),
    ] = None,
    answers: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="How long an answer takes after its event; by default label.delay."),
    ] = None,
    all_known: Annotated[
        bool, typer.Option("--all-known", help="Use the events of the last label.delay too: their truth has arrived.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with the picture.", dir_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Play the pipeline on a history with labels: quality by labels, when more stop paying, what to set."""
    with told():
        if html is not None:
            _needs_matplotlib()
        from tidemark.backtest.arms import arms_of
        from tidemark.cli.simulation_view import Progress

        read = load(pipeline)
        arms = arms_of(read, _names(strategies), _names(learners), _names(schedules))
        with Progress(err) if err.is_terminal else nullcontext() as progress:
            history, notes = _history(read, data, events, topic, answers, all_known=all_known)
            from tidemark.backtest.simulation import simulate as play

            found = play(
                read,
                history,
                data.name,
                arms=arms,
                labels=budget,
                seeds=seeds,
                minutes=minutes,
                notes=notes,
                **({} if progress is None else {"show": progress.show}),
            )
        _tell(found, html, as_json=as_json)


def _tell(found: Simulation, html: Path | None, *, as_json: bool) -> None:
    if html is not None:
        from tidemark.backtest.report import html as page

        try:
            html.write_text(page(found), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{html} can't be written: {error.strerror}") from error
    if as_json:
        import msgspec

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
        return
    from tidemark.cli.simulation_view import shown

    out.print(shown(found, out.width, out.height if out.is_terminal else None))
    if html is not None:
        out.print(f"page: {safe(str(html))}", soft_wrap=True)


def _history(
    pipeline: Pipeline, data: Path, events: int, topic: str | None, answers: str | None, *, all_known: bool
) -> tuple[History, list[str]]:
    from tidemark.backtest.history import prepared
    from tidemark.pipeline.durations import parse_duration
    from tidemark.sources.history import read_history
    from tidemark.sources.thinning import Thinning

    try:
        delay = None if answers is None else parse_duration(answers, zero=True)
    except ValueError as error:
        raise ConfigError(f"--answers: {answers!r} {error}") from error
    thinning = Thinning(pipeline.keys[0], pipeline.time.column, events)
    frame = read_history(pipeline, data, topic=topic, timestamp=time.time_ns() // 1_000_000, thinning=thinning)
    return prepared(pipeline, frame, data.name, answers=delay, all_known=all_known), _cut(pipeline, thinning)


def _cut(pipeline: Pipeline, thinning: Thinning) -> list[str]:
    """What is left out of a history that is too long."""
    if thinning.share == 1 and not thinning.latest:
        return []
    key, kept = pipeline.keys[0], len(thinning.frame())
    what = "the latest" if thinning.share == 1 else f"those of one in {1 / thinning.share:,.0f} of '{key}'"
    if thinning.share < 1 and thinning.latest:
        what = f"the latest {what}"
    others = [name for name in pipeline.keys[1:] if any(window.key == name for window in pipeline.windows)]
    less = f"; windows over '{others[0]}' see these rows alone" if others else ""
    return [f"{kept:,} of {thinning.read:,} rows are used, {what} (--events){less}"]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _needs_matplotlib() -> None:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise ConfigError("--html draws with matplotlib, which is not installed; pip install 'tidemark[demo]'")
