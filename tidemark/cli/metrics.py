"""`tidemark metrics`: what the figures in `P.metrics` mean."""

from __future__ import annotations

import typer
from rich.table import Table

from tidemark.cli.console import out, told
from tidemark.runtime.safe_text import safe

app = typer.Typer(add_completion=False)


@app.command()
def metrics() -> None:
    """List every metric that flows write, those of installed packages too, with its unit and meaning."""
    from tidemark.observe.catalog import metrics as known

    table = Table(box=None, pad_edge=False)
    for name in ("metric", "unit", "written by", "source", "meaning"):
        table.add_column(name)
    with told():
        for kind in known().all().values():
            table.add_row(*map(safe, (kind.name, kind.unit, kind.flow, kind.source, kind.meaning)))
    out.print(table)
