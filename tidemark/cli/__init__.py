"""The `tidemark` command: the composition root, where all packages meet."""

from __future__ import annotations

import os
import sys
from typing import Final

from tidemark.runtime.signals import take_signals

__all__ = ["main"]
_LONG_RUNNING: Final = {"demo", "run", "up"}


def main() -> None:
    """Entry point of the `tidemark` command."""
    if sys.argv[1:] in ([], ["--help"]) and "_TIDEMARK_COMPLETE" not in os.environ:
        from tidemark.cli.overview import overview

        sys.stdout.write(overview())  # as Typer would, which takes three times as long to import
        sys.exit(0 if sys.argv[1:] else 2)
    if sys.argv[1:2] and sys.argv[1] in _LONG_RUNNING:
        take_signals()
    from tidemark.cli.app import main as run

    run()
