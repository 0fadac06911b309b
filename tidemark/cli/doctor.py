"""`tidemark doctor`: is this machine ready, and what is to be done where it is not?"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from tidemark.cli.console import out
from tidemark.cli.examination import Finding, examine
from tidemark.errors import TidemarkError
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings

app = typer.Typer(add_completion=False)
WRONG: Final = 1
_STYLES: Final = {"ok": "green", "note": "yellow", "wrong": "bold red"}


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON list.")] = False,
) -> None:
    """Look at Python, packages, Java, Kafka, folders, disk, memory, ports, clock, compiled kernels and sign-in.

    Each line is ok, a note, or wrong with what to do. Exit code 1 if anything is wrong.
    """
    from tidemark.cli.sign_in_checks import examine_sign_in  # what only few installations need

    findings = [*examine(_settings()), *examine_sign_in()]
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        out.print(table_of(findings))
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(WRONG)


def _settings() -> Settings | TidemarkError:
    try:
        return Settings.from_environment()
    except TidemarkError as error:
        return error


def table_of(findings: list[Finding]) -> Table:
    """Findings as a person reads them."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    for finding in findings:
        words = Text(safe(finding.text))
        if finding.remedy:
            words.append(f"\n→ {safe(finding.remedy)}", style="bold")
        table.add_row(Text(finding.state, style=_STYLES[finding.state]), finding.name, words)
    return table
