"""`tidemark queue export|rebuild`: annotations as files, and the queue's database anew from Kafka."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tidemark.cli.console import PipelineFile, connected, out, told
from tidemark.cli.operator import operator
from tidemark.errors import ConfigError
from tidemark.pipeline import load
from tidemark.settings import Settings
from tidemark.topics import Topics

app = typer.Typer(help="The labeling service's queue.", no_args_is_help=True, add_completion=False)


@app.command()
def export(
    pipeline: PipelineFile,
    to: Annotated[Path, typer.Option(metavar="FILE", help=".csv, .parquet, .ndjson, or .json for Label Studio.")],
    verdicts: Annotated[
        bool, typer.Option("--verdicts", help="One row an event: what its annotations come to, corrections applied.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write all annotations of a pipeline, as Kafka has them, to a file."""
    from labeling_grpc.export import export as write
    from tidemark.evaluation import final_labels
    from tidemark.kafka import read_all
    from tidemark.records import Label, decode

    with told():
        if to.exists() and not force:
            raise ConfigError(f"{to} is there already: take another name, or --force")
        topic = Topics(load(pipeline).name).labels
        labels = [decode(Label, message.value()) for message in read_all(connected(), topic)]
        found = final_labels(labels) if verdicts else labels
        write(found, to)
        out.print(f"{len(found):,} written to {escape(str(to))}", highlight=False, soft_wrap=True)


@app.command()
def rebuild(
    pipeline: PipelineFile,
    discard: Annotated[bool, typer.Option("--discard-unpublished", help="Give up what is not in Kafka yet.")] = False,
) -> None:
    """Empty the queue's database, while no service runs; the next start builds it anew from Kafka."""
    from labeling_grpc.options import database_url, queue_database
    from labeling_grpc.stores.rebuild import empty

    with told():
        name = load(pipeline).name
        database = queue_database(Settings.from_environment(), name, database_url(os.environ))
        lost = empty(database, name, discard=discard, operator=operator())
        out.print(f"the queue of {escape(name)} is empty; the service builds it from Kafka when it starts")
        if lost:
            out.print(f"[yellow]{lost} records that were not in Kafka are lost[/]", highlight=False)
