"""What every command shares: the consoles, and how an expected error is told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from tidemark.broker import resolve_bootstrap
from tidemark.errors import TidemarkError
from tidemark.settings import Settings

out = Console()
err = Console(stderr=True)

PipelineFile = Annotated[Path, typer.Argument(metavar="PIPELINE", help="The pipeline's TOML file.", show_default=False)]


@contextmanager
def told() -> Iterator[None]:
    """Tell an expected error in a sentence and exit with 1; let a bug raise."""
    try:
        yield
    except TidemarkError as error:
        err.print(f"[bold red]error[/] {escape(str(error))}", highlight=False, markup=True, soft_wrap=True)
        sys.exit(1)


def connected() -> Settings:
    """Settings of the environment, naming the Kafka that runs."""
    settings = Settings.from_environment()
    return settings.at(resolve_bootstrap(settings))


Command = Callable[..., None]
