"""`tidemark schema`: the JSON schema of pipeline files."""

from __future__ import annotations

import json

import typer

from tidemark.cli.console import out
from tidemark.pipeline import json_schema

app = typer.Typer(add_completion=False)


@app.command()
def schema() -> None:
    """Print the JSON schema of pipeline files, for editors."""
    out.print(json.dumps(json_schema(), indent=2), soft_wrap=True)
