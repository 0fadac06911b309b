"""`tidemark label-studio`: cases answered in Label Studio as well: a project for them, the bridge, what it did."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table

from tidemark.cli.console import PipelineFile, out, told
from tidemark.cli.pipeline_file import load
from tidemark.errors import ConfigError
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings
from tidemark.runtime.signals import hold

if TYPE_CHECKING:
    from labeling_grpc.label_studio.ledger import Seen
    from tidemark.pipeline import Pipeline

app = typer.Typer(
    help="The bridge to Label Studio: cases are answered there as well.", no_args_is_help=True, add_completion=False
)
_SHOWN: Final = 20


@app.command()
def project(
    pipeline: PipelineFile,
    title: Annotated[str, typer.Option(help="Title of the project; by default the pipeline's.")] = "",
) -> None:
    """Make a project in Label Studio that asks the pipeline's question; prints its number, for the pipeline file."""
    with told():
        from labeling_grpc.label_studio.api import AwayError, DeniedError
        from labeling_grpc.label_studio.declared import api_of, spec_of
        from labeling_grpc.label_studio.tasks import project_fields

        loaded = load(pipeline)
        api = api_of(loaded, spec_of(loaded))
        try:
            made = api.create_project(project_fields(title or _title(loaded), loaded.label.classes))
        except (AwayError, DeniedError) as error:
            raise ConfigError(safe(str(error))) from error
        out.print(
            f"project {made.id} at {api.origin}: write project = {made.id} under \\[label_studio]", soft_wrap=True
        )


@app.command()
def run(pipeline: PipelineFile) -> None:
    """Run the bridge until it is stopped (Ctrl-C or SIGTERM). `tidemark up` runs it too."""
    with told():
        from labeling_grpc.label_studio.declared import project_of, spec_of

        project_of(spec_of(load(pipeline)))
    os.environ["PYTHONSAFEPATH"] = "1"
    hold()  # as `tidemark run`: the process becomes the other one
    module = ["-m", "labeling_grpc.label_studio", str(pipeline)]
    os.execv(sys.executable, [sys.executable, "-P", *module])  # noqa: S606


@app.command()
def status(pipeline: PipelineFile) -> None:
    """Show what the bridge on this machine has offered and taken, and what it could not take."""
    with told():
        from labeling_grpc.label_studio.declared import ledger_path, spec_of
        from labeling_grpc.label_studio.ledger import look

        loaded = load(pipeline)
        spec = spec_of(loaded)
        path: Path = ledger_path(Settings.from_environment(), loaded.name)
        if not path.exists():
            raise ConfigError(f"no bridge of pipeline '{loaded.name}' has run here: start it with `tidemark up`")
        _show(look(path, _SHOWN), spec.offered)


def _title(pipeline: Pipeline) -> str:
    title = pipeline.title or pipeline.name
    return title if len(title) >= 3 else f"{title} cases"


def _show(seen: Seen, most: int) -> None:
    out.print(f"{seen.held:,} of {most:,} cases offered, {seen.taken:,} annotations taken, {seen.refused:,} not taken")
    if not seen.newest:
        return
    table = Table(title="Not taken, the newest first", title_justify="left")
    for column in ("annotation", "case", "who", "why"):
        table.add_column(column)
    for each in seen.newest:
        table.add_row(str(each.annotation), safe(each.event_id), safe(each.who), safe(each.refused))
    out.print(table)
