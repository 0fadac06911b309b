"""The command line's top: finds the module of a command when it is asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from tidemark.cli.commands import COMMANDS, MODULES
from tidemark.cli.overview import overview
from tidemark.runtime.leaving import leave


class OnDemand(TyperGroup):
    """A group that imports the module of a command only to run it: `tidemark broker status` needs no LightGBM.

    What lists the commands (help, completion, the remedy for a misspelt name) reads the table of their names.
    """

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 as typer gives them
        super().__init__(
            **attributes | {"commands": [TyperCommand(name, help=line) for name, line in COMMANDS.items()]}
        )

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002 typer hides the type of its context
        """The command of this name, None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(import_module(f"tidemark.cli.{MODULES.get(cmd_name, cmd_name)}").app)
        command.name = cmd_name
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002 as above
        """Write the help."""
        formatter.write(overview())

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:  # noqa: ANN401 as above
        """The names of commands, and options, that begin like this."""
        listing = TyperGroup(name=self.name, commands=list(self.commands.values()), params=self.params)
        before, ctx.command = ctx.command, listing
        try:
            completions: list[Any] = listing.shell_complete(ctx, incomplete)
        finally:
            ctx.command = before
        return completions


app = typer.Typer(
    name="tidemark",
    cls=OnDemand,
    help="Real-time active learning on Apache Kafka.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tidemark {version('tidemark')}")
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
    try:
        app()
    except SystemExit as end:
        leave(end.code)
