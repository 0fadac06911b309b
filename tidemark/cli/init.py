"""`tidemark init --topic T`: a first pipeline file from a topic's records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidemark.cli.console import connected, err, out, told
from tidemark.cli.sampling import sample
from tidemark.errors import ConfigError
from tidemark.pipeline.draft import draft
from tidemark.runtime.safe_text import safe

app = typer.Typer(add_completion=False)
_SAMPLED = 2_000


@app.command()
def init(
    topic: Annotated[str, typer.Option(help="Topic to look at.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write.", show_default="print it")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Column that records are keyed by.", show_default="guessed")] = None,
    time: Annotated[str | None, typer.Option(help="Column of the event time.", show_default="guessed")] = None,
) -> None:
    """Draft a pipeline file from a topic's records."""
    with told():
        if output is not None and output.exists():
            raise ConfigError(f"{output}: is there already; name another file")
        samples, partitions = sample(connected(), topic, _SAMPLED)
        text = draft(topic, samples, partitions=partitions, key=key, time=time)
        if output is None:
            out.print(text, soft_wrap=True, end="")
            return
        output.write_text(text, encoding="utf-8")
        err.print(f"{safe(str(output))}: written; search it for CHOOSE, then run `tidemark check {safe(str(output))}`")
