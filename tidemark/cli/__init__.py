"""The `tidemark` command: the composition root, where all packages meet."""

from __future__ import annotations

from tidemark.cli.app import main

__all__ = ["main"]
