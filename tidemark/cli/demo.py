"""`tidemark demo`: the whole loop on a simulated stream of card payments, with a report at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from tidemark.cli.console import err, out, told
from tidemark.runtime.safe_text import safe

app = typer.Typer(add_completion=False)
_STOPPED = 130


@app.command()
def demo(
    pipeline: Annotated[Path, typer.Option(help="The fraud pipeline's file.")] = Path("pipelines/fraud.toml"),
    events: Annotated[int, typer.Option(min=1_000, help="Events to stream.")] = 150_000,
    later: Annotated[int, typer.Option(min=1_000, help="Later events that both arms are measured on.")] = 40_000,
    seed: Annotated[int, typer.Option(help="Seed of the simulation.")] = 1,
    to: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("demo"),
    console: Annotated[
        bool, typer.Option(envvar="TIDEMARK_CONSOLE", help="Serve the console's pages, on this machine alone.")
    ] = True,
) -> None:
    """Watch a model learn card fraud from a stream with a handful of labels, on a real Kafka."""
    from tidemark.cli.console_pages import free_address, lacks
    from tidemark.cli.demonstration import ERRORS, Show, demonstrate, take_sigterm_for_ctrl_c  # all that a loop takes
    from tidemark.demo.report import write_report
    from tidemark.demo.run import DemoStoppedError
    from tidemark.demo.sentence import sentence
    from tidemark.simulators import simulate

    take_sigterm_for_ctrl_c()
    with told():
        try:
            lacking = lacks() if console else ""
            address = free_address() if console and not lacking else ""
            if address:
                where = f"http://{address}/"
                out.print(
                    Text.assemble("look on in a browser: ", (safe(where), "bold"), ", by any name, while it runs")
                )
            elif lacking:
                out.print(lacking, soft_wrap=True)
            show = Show(pipeline, simulate("fraud", seed, events + later), events, seed, ERRORS, console=address)
            result = demonstrate(show, view=True)
            report = write_report(result, to)
        except (DemoStoppedError, KeyboardInterrupt):
            err.print("stopped; nothing is left running")
            raise typer.Exit(_STOPPED) from None
        out.print(Text(safe(sentence(result)), style="bold"))
        counted = f"lost {result.accounting.lost}, doubled {result.accounting.doubled}; report: "
        out.print(Text.assemble(counted, (safe(str(report)), "bold")))
