"""The command line's top: finds the module of a command when it is asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from tidemark.cli.console import out

COMMANDS: Final = (
    "audit",
    "broker",
    "check",
    "deadletter",
    "demo",
    "init",
    "label",
    "metrics",
    "queue",
    "reset",
    "run",
    "schema",
    "status",
    "token",
    "train",
    "up",
    "warm",
    "watermark",
)
"""Each is a module of this package with a Typer `app`: of one command, or of several under its name."""


class OnDemand(TyperGroup):
    """A group that imports the module of a command only to run it: `tidemark broker status` needs no LightGBM."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 typer hides the type of its context
        """Names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002 as above
        """The command of this name, None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(import_module(f"tidemark.cli.{cmd_name}").app)
        command.name = cmd_name
        return command


app = typer.Typer(
    name="tidemark",
    cls=OnDemand,
    help="Real-time active learning on Apache Kafka.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(f"tidemark {version('tidemark')}")
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
