"""`tidemark warm`: compile every kernel before a process needs it."""

from __future__ import annotations

import typer
from rich.table import Table

from tidemark.cli.console import out

app = typer.Typer(add_completion=False)


@app.command()
def warm() -> None:
    """Compile every kernel and keep the machine code on disk, so that no flow's first start waits for it.

    Run it once after installing, when an image is built say. What is in the cache already is only loaded.
    """
    from tidemark import warmup

    table = Table(box=None, pad_edge=False)
    table.add_column("kernel")
    table.add_column("seconds", justify="right")
    total = 0.0
    with out.status("kernels"):
        for name, seconds in warmup.warm():
            table.add_row(name, f"{seconds:.2f}")
            total += seconds
    out.print(table)
    out.print(f"{len(warmup.EXAMPLES)} kernels are warm, {total:.1f} s")
