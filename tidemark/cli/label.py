"""`tidemark label PIPELINE`: answer cases in the terminal, by a number, a letter or a name."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tidemark.cli.console import out, told
from tidemark.cli.service import runs_here
from tidemark.errors import ConfigError, LabelingError
from tidemark.runtime.safe_text import safe

if TYPE_CHECKING:
    from labeling_grpc.client import AsyncLabelingClient
    from tidemark.cli.sitting.sitting import Sitting

app = typer.Typer(add_completion=False)

_ANSWERS_WITHIN: Final = 2.0
"""Seconds after which a service that does not answer is said to be down."""

_CALL: Final = 5.0
_AWAY: Final = 1.0
"""Seconds for which a call of a sitting is tried before it is said that the service is away; it is tried on after."""


@app.command()
def label(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="The pipeline's TOML file, or its name.")],
    annotator: Annotated[str, typer.Option("--as", metavar="NAME", help="Who answers.")] = "",
    address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="The labeling service; by default the one that runs here.")
    ] = "",
    blind: Annotated[bool, typer.Option("--blind", help="Hide what the model thinks.")] = False,
    most: Annotated[int | None, typer.Option("--max", min=1, help="Stop after so many cases.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait for more cases when none is left.")] = True,
) -> None:
    """Answer cases in the terminal: what it is, why it was asked, one key to answer."""
    with told():
        who = annotator or getpass.getuser()
        if not (out.is_terminal and sys.stdin.isatty()):
            raise ConfigError(
                "tidemark label needs a terminal; a program uses labeling_grpc.client.LabelingClient instead"
            )
        if os.environ.get("TERM", "") in {"", "dumb"}:
            raise ConfigError("tidemark label draws on the terminal, and TERM names none that can: try TERM=xterm")
        sitting = asyncio.run(_sit(pipeline, address, who, blind=blind, most=most, wait=wait))
        if sitting.ended:
            out.print(sitting.ended)
        escalated = f", {sitting.escalated} escalated" if sitting.escalated else ""
        out.print(f"{sitting.answered} answered, {sitting.skipped} skipped{escalated}: thank you, {safe(who)}")


async def _sit(pipeline: str, address: str, who: str, *, blind: bool, most: int | None, wait: bool) -> Sitting:
    name = _name(pipeline)
    if not address:
        runs_here(name, pipeline)
    async with _client(name, address, who, timeout=_ANSWERS_WITHIN, patience=0.5) as client:
        await _answering(client, pipeline, name)
    async with _client(name, address, who, timeout=_CALL, patience=_AWAY) as client:
        from tidemark.cli.sitting.screen import (
            Screen,  # a third of a second, which a service that is down need not cost
        )

        screen = Screen(client, blind=blind, most=most, wait=wait)
        await screen.run()
        return screen.sitting


def _client(name: str, address: str, who: str, *, timeout: float, patience: float) -> AsyncLabelingClient:
    from labeling_grpc.client import AsyncLabelingClient
    from labeling_grpc.options import find
    from tidemark.runtime.settings import Settings

    settings = Settings.from_environment()
    return AsyncLabelingClient(
        address or (lambda: find(settings, name)), who, pipeline=name, timeout=timeout, patience=patience
    )


async def _answering(client: AsyncLabelingClient, pipeline: str, name: str) -> None:
    """Make sure that the service is there, before the screen is taken.

    Raises:
        LabelingError: It is not; says what to do.

    """
    from labeling_grpc.client import UnreachableError

    try:
        await client.stats()
    except UnreachableError as error:
        file = safe(pipeline) if pipeline.endswith(".toml") else "FILE"
        raise LabelingError(
            f"the labeling service of pipeline '{safe(name)}' is down: {error}. `tidemark up {file}` starts it, "
            f"`tidemark status {file}` says what runs"
        ) from error


def _name(pipeline: str) -> str:
    """The name of a pipeline, or of the one in a file: of this all else is the service's to know."""
    path = Path(pipeline)
    if not (pipeline.endswith(".toml") or path.is_file()):
        return pipeline
    try:
        name = tomllib.loads(path.read_text(encoding="utf-8")).get("name")
    except (OSError, ValueError):
        name = None
    if isinstance(name, str):
        return name
    from tidemark.cli.pipeline_file import load  # slow, and tells what is wrong with the file

    return load(path).name
