"""`tidemark ingest PIPELINE FILE…|--source NAME`: files into a raw topic, or one of the pipeline's sources."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tidemark.cli.console import PipelineFile, told
from tidemark.cli.pipeline_file import load
from tidemark.cli.started import started
from tidemark.errors import ConfigError
from tidemark.pipeline import Pipeline
from tidemark.runtime.signals import hold
from tidemark.runtime.suggestions import did_you_mean

app = typer.Typer(add_completion=False)


@app.command()
def ingest(
    pipeline: PipelineFile,
    files: Annotated[list[Path] | None, typer.Argument(help="Files of rows: .parquet, .csv or .ndjson.")] = None,
    source: Annotated[str | None, typer.Option(help="Run this source of the pipeline instead.")] = None,
    topic: Annotated[str | None, typer.Option(help="Raw topic of the files, if not the first.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Rows a second.")] = None,
    max_lead: Annotated[int | None, typer.Option(min=1, help="Rows that `stream` may be behind.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Send rows again that were sent before.")] = False,
) -> None:
    """Send the rows of files into a raw topic, each once; or run a source of the pipeline until it is stopped.

    `tidemark up` runs all sources. Give the same files again whenever you like: only new rows are sent.
    """
    with told():
        loaded = load(pipeline)
        if (source is None) == (not files):
            raise ConfigError("name files, or one source with --source")
        if source is not None:
            module = ["dataflows.sources", str(pipeline), _known(loaded, source)]
        else:
            options = [
                *(["--topic", topic] if topic is not None else []),
                *(["--rate", str(rate)] if rate is not None else []),
                *(["--max-lead", str(max_lead)] if max_lead is not None else []),
                *(["--again"] if again else []),
            ]
            module = ["dataflows.ingest", *options, "--", str(pipeline), *map(str, files or [])]
        settings = started(loaded, pipeline, topic or loaded.raw_topics[0])
    os.environ.update({**settings.environment(), "PYTHONSAFEPATH": "1"})
    hold()  # as `tidemark run`: the process becomes the other one
    os.execv(sys.executable, [sys.executable, "-P", "-m", *module])  # noqa: S606


def _known(pipeline: Pipeline, name: str) -> str:
    names = [source.name for source in pipeline.sources]
    if name not in names:
        remedy = did_you_mean(name, names) if names else "declare it in [[sources]] (docs/how-to/sources.md)"
        raise ConfigError(f"pipeline '{pipeline.name}' has no source '{name[:60]}'; {remedy}")
    return name
