"""A table of names and what is told of each, as `why` and `replay` print it."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from tidemark.runtime.safe_text import safe


def fact_table(facts: Iterable[tuple[str, str]]) -> Table:
    """A row for each fact. facts: names of ours, and what is told, which may be a stranger's and have lines."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in facts:
        table.add_row(name, Text(safe(text, lines=True)))
    return table
