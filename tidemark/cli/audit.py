"""`tidemark audit list|verify`: who did what to a pipeline's queue, and whether the trail was tampered with."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from labeling_grpc.database import reading
from labeling_grpc.options import database_url, queue_database
from labeling_grpc.security.audit import newest, verify
from tidemark.cli.console import PipelineFile, out, told
from tidemark.cli.pipeline_file import load
from tidemark.errors import ConfigError, LabelingError
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings

app = typer.Typer(help="The labeling service's audit trail.", no_args_is_help=True, add_completion=False)


@app.command(name="list")
def list_entries(
    pipeline: PipelineFile,
    last: Annotated[int, typer.Option(min=1, metavar="N", help="The newest so many.")] = 50,
) -> None:
    """Show the newest entries, oldest first."""
    with told(), _reading(pipeline) as connection:
        for entry in newest(connection, last):
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry.at / 1e6))
            who = f"{entry.actor or 'the service'} ({entry.role})"
            line = f"{entry.number} {at} {who}: {entry.action} {entry.object} {entry.detail} {entry.hash[:12]}"
            out.print(safe(line), soft_wrap=True)


@app.command(name="verify")
def verify_chain(
    pipeline: PipelineFile,
    expect: Annotated[
        str, typer.Option(metavar="HASH", help="A hash that was kept elsewhere: an entry must have it.")
    ] = "",
) -> None:
    """Read the whole trail and say whether its chain of hashes holds; exit status 1 if it does not."""
    with told(), _reading(pipeline) as connection:
        found = verify(connection, expect)
        if found.broken:
            raise LabelingError(
                f"the audit trail was tampered with: {found.broken} (docs/how-to/operations.md: what to do)"
            )
        out.print(f"{found.entries:,} entries, the chain holds; keep the head elsewhere:")
        out.print(found.head or "(no entry yet)", soft_wrap=True)


@contextmanager
def _reading(pipeline: PipelineFile) -> Iterator[Any]:
    name = load(pipeline).name
    database = queue_database(Settings.from_environment(), name, database_url(os.environ))
    if isinstance(database, Path) and not database.exists():
        raise ConfigError(
            f"pipeline '{name}' has no queue here ({database}): it was not started yet; "
            f"`tidemark up {pipeline}` starts it"
        )
    with reading(database, name) as connection:
        yield connection
