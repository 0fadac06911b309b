"""`tidemark webhook`: what tells programs elsewhere: a secret, a made-up event, one process, the schemas."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from tidemark.cli.console import PipelineFile, out, told
from tidemark.cli.pipeline_file import load
from tidemark.cli.started import started
from tidemark.errors import ConfigError
from tidemark.runtime.signals import hold

app = typer.Typer(help="Programs elsewhere that are told what happens.", no_args_is_help=True, add_completion=False)
Name = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its name in the pipeline file.")]


class Kind(StrEnum):
    """Types of events."""

    DECISION_MADE = "decision.made"
    LABEL_COMPLETED = "label.completed"
    LABEL_RETRACTED = "label.retracted"
    CHAMPION_CHANGED = "model.champion_changed"
    DRIFT_DETECTED = "drift.detected"
    DEADLETTER_ADDED = "deadletter.added"


@app.command()
def secret() -> None:
    """Print a new secret, chosen at random: for the file or variable that a webhook names, and for its receiver."""
    from tidemark.webhooks.signing import new_secret

    out.print(new_secret(), soft_wrap=True)


@app.command()
def schema(event: Annotated[Kind, typer.Argument(help="Type of the event.")]) -> None:
    """Print the JSON schema of what a receiver is sent of a type of event."""
    from tidemark.webhooks.messages import json_schema

    out.print(json.dumps(json_schema(event.value), indent=2), soft_wrap=True)


@app.command(name="test")
def try_out(
    pipeline: PipelineFile,
    name: Name,
    event: Annotated[Kind | None, typer.Option(help="Type of the event; by default the webhook's first.")] = None,
) -> None:
    """Send a made-up event to a webhook's receiver, signed as all are; needs no Kafka, and keeps nothing.

    Its body says `"test": true`. Exits with 1 where the receiver does not take it.
    """
    with told():
        from tidemark.runtime.web_addresses import web_address
        from tidemark.webhooks.declared import requests_of, spec_of
        from tidemark.webhooks.messages import Envelope, encoded, iso
        from tidemark.webhooks.samples import sample

        loaded = load(pipeline)
        spec = spec_of(loaded, name)
        kind, now = event.value if event is not None else spec.events[0], time.time()
        envelope = Envelope(
            type=kind,
            timestamp=iso(int(now * 1e6)) or "",
            pipeline=loaded.name,
            data=sample(kind, loaded, now),
            test=True,
        )
        requests = requests_of(loaded, spec)
        try:
            begun = time.monotonic()
            attempt = requests.send(f"evt_test_{secrets.token_hex(12)}", encoded(envelope), now)
            taken = time.monotonic() - begun
        finally:
            requests.close()
        where = web_address(spec.url).origin  # what is behind it may be a secret
        if not attempt.delivered:
            raise ConfigError(f"webhook '{spec.name}': {where} {attempt.reason}")
        line = f" has taken a made-up {kind}: {attempt.status}, in {1_000 * taken:.0f} ms"
        out.print(Text.assemble((where, "bold"), line), soft_wrap=True)


@app.command()
def run(pipeline: PipelineFile, name: Name) -> None:
    """Run a webhook until it is stopped (Ctrl-C or SIGTERM). `tidemark up` runs all of them.

    One process of a webhook at a time: a second on another host fences the first.
    """
    with told():
        from tidemark.webhooks.declared import spec_of

        loaded = load(pipeline)
        module = ["dataflows.webhooks", str(pipeline), spec_of(loaded, name).name]
        settings = started(loaded, pipeline, loaded.topics.labels)
    os.environ.update({**settings.environment(), "PYTHONSAFEPATH": "1"})
    hold()  # as `tidemark run`: the process becomes the other one
    os.execv(sys.executable, [sys.executable, "-P", "-m", *module])  # noqa: S606
