"""`tidemark run FLOW PIPELINE`: one process of one flow."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from tidemark.cli.console import PipelineFile, connected, told
from tidemark.pipeline import load
from tidemark.runtime.signals import hold

app = typer.Typer(add_completion=False)


class Runnable(StrEnum):
    """What can be run as a process of its own."""

    stream = "stream"
    select = "select"
    retrain = "retrain"
    monitor = "monitor"
    labeling = "labeling"


@app.command()
def run(
    what: Annotated[Runnable, typer.Argument(help="A flow, or the labeling service.")], pipeline: PipelineFile
) -> None:
    """Run one process of a flow, or the labeling service, until it is stopped (Ctrl-C or SIGTERM).

    Start the same flow again, here or on another host, and the processes share its partitions.
    """
    with told():
        load(pipeline)
        settings = connected()
    module = ["labeling_grpc"] if what is Runnable.labeling else ["dataflows.run", what.value]
    os.environ.update({**settings.environment(), "PYTHONSAFEPATH": "1"})
    # The process becomes the flow: signals reach it directly, and nothing else stays in memory.
    hold()
    os.execv(sys.executable, [sys.executable, "-P", "-m", *module, str(pipeline)])  # noqa: S606
