"""What every command shares: the consoles, and how an expected error is told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from tidemark.errors import TidemarkError
from tidemark.runtime.safe_text import safe

if TYPE_CHECKING:
    from tidemark.runtime.settings import Settings


class SafeConsole(Console):
    """A console that takes every text for what it is: no markup, no emoji codes, nothing that a terminal obeys.

    Styles are given as styles (`Text`, `style=`). Texts from outside of one line go through `safe` where they are
    printed, so that widths are right; whatever was forgotten there is escaped here.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 as rich has them
        super().__init__(**options, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Segments of a renderable; those that move the cursor are rich's own and stay."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(safe(segment.text, lines=True), segment.style)


out = SafeConsole()
err = SafeConsole(stderr=True)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
PipelineFile = Annotated[Path, typer.Argument(metavar="PIPELINE", help="The pipeline's TOML file.", show_default=False)]


@contextmanager
def told() -> Iterator[None]:
    """Tell an expected error in a sentence and exit with 1; let a bug raise."""
    try:
        yield
    except TidemarkError as error:
        err.print(Text.assemble(("error", "bold red"), " ", safe(str(error), lines=True)), soft_wrap=True)
        sys.exit(1)


def connected() -> Settings:
    """Settings of the environment, naming the Kafka that runs."""
    from tidemark.broker import resolve_bootstrap  # half a second, which help need not wait for
    from tidemark.runtime.settings import Settings

    settings = Settings.from_environment()
    return settings.at(resolve_bootstrap(settings))


Command = Callable[..., None]
