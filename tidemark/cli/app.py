"""The command line's top: mounts every command."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from tidemark.cli import broker, deadletter, demo, run, status, up
from tidemark.cli.console import out

app = typer.Typer(
    name="tidemark",
    help="Real-time active learning on Apache Kafka.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
app.add_typer(broker.app, name="broker")
app.add_typer(deadletter.app, name="deadletter")
for module in (demo, up, run, status):
    app.add_typer(module.app)


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(f"tidemark {version('tidemark')}", highlight=False)
        raise typer.Exit


@app.callback()
def _top(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Real-time active learning on Apache Kafka."""


def main() -> None:
    """Entry point of the `tidemark` command."""
    app()
