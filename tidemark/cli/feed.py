"""`tidemark feed PIPELINE`: a simulated stream for a pipeline that has a simulator."""

from __future__ import annotations

import math
import signal
import threading
from typing import Annotated, get_args

import typer

from tidemark.cli.console import PipelineFile, connected, out, told
from tidemark.cli.pipeline_file import load
from tidemark.errors import ConfigError
from tidemark.pipeline import Pipeline
from tidemark.runtime.safe_text import safe
from tidemark.runtime.suggestions import did_you_mean
from tidemark.simulators import UseCase, simulate

app = typer.Typer(add_completion=False)
_USE_CASES: dict[str, UseCase] = {name: name for name in get_args(UseCase)}


@app.command()
def feed(
    pipeline: PipelineFile,
    events: Annotated[int, typer.Option(min=1, max=1_000_000, help="Events in all.")] = 20_000,
    rate: Annotated[float, typer.Option(min=0, help="Events a second; 0: as fast as Kafka takes them.")] = 200.0,
    seed: Annotated[int, typer.Option(help="Of the simulation: the same seed gives the same events.")] = 1,
    simulator: Annotated[
        str | None, typer.Option(help="Whose events; by default those of the pipeline's name.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
) -> None:
    """Produce simulated events to the first raw topic of a pipeline, until Ctrl-C or all are sent."""
    with told():
        loaded = load(pipeline)
        use_case = _use_case(loaded, simulator)
        settings = connected()
        topic = loaded.raw_topics[0]
        speed = f"{rate:g} a second" if rate else "as fast as Kafka takes them"
        if dry_run:
            out.print(f"{events:,} events of '{use_case}' would be sent to '{safe(topic)}', {speed}", soft_wrap=True)
            return
        from tidemark.cli.topics_compared import made
        from tidemark.features.raw_records import Records  # Polars, and a decoder
        from tidemark.formats.json_lines import json_lines
        from tidemark.kafka import ensure_topics
        from tidemark.sources.sending import Sender, paced

        ensure_topics(settings, made(loaded))
        rows = simulate(use_case, seed, events).events
        records = Records(loaded).records(json_lines(rows))
        out.print(f"sending {events:,} events to '{safe(topic)}', {speed}; Ctrl-C stops it", soft_wrap=True)
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        sender = Sender(settings, topic, log_level=0)
        paced(records, sender.send, rate=rate or math.inf, stop=stop)
        sender.finish()
        out.print(f"{'stopped; ' if stop.is_set() else ''}{sender.sent:,} events sent")


def _use_case(pipeline: Pipeline, wanted: str | None) -> UseCase:
    name = wanted or pipeline.name
    if name in _USE_CASES:
        return _USE_CASES[name]
    if wanted is not None:
        raise ConfigError(f"--simulator: there is no '{safe(wanted)}'; {did_you_mean(wanted, _USE_CASES)}")
    raise ConfigError(
        f"pipeline '{safe(name)}' has no simulator of its name: name one (--simulator {'|'.join(_USE_CASES)}), or "
        f"produce your own rows with `tidemark topic produce {safe(pipeline.raw_topics[0])} FILE`"
    )
