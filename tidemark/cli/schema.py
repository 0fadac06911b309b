"""`tidemark schema`: the JSON schema of pipeline files, or the Avro schema of what `[[outputs]]` write."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from tidemark.cli.console import out
from tidemark.pipeline import json_schema

app = typer.Typer(add_completion=False)


class Written(StrEnum):
    """What outputs write."""

    PREDICTIONS = "predictions"
    CANDIDATES = "candidates"


@app.command()
def schema(
    avro: Annotated[Written | None, typer.Option(help="Print the Avro schema of what `outputs` write.")] = None,
) -> None:
    """Print the JSON schema of pipeline files, for editors; or the Avro schema of predictions or candidates."""
    if avro is None:
        found = json_schema()
    else:
        from tidemark.publishing.avro_schema import KINDS, schema_of

        found = schema_of(KINDS[avro.value])
    out.print(json.dumps(found, indent=2), soft_wrap=True)
