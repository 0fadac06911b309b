"""`tidemark run FLOW PIPELINE`: one process of one flow."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Final

import typer

from tidemark.cli.console import PipelineFile, told
from tidemark.cli.pipeline_file import load
from tidemark.cli.started import started
from tidemark.flows import FLOWS
from tidemark.runtime.signals import hold

app = typer.Typer(add_completion=False)
_LABELING: Final = "labeling"


@app.command()
def run(
    what: Annotated[str, typer.Argument(metavar="FLOW|labeling", help="A flow, or the labeling service.")],
    pipeline: PipelineFile,
) -> None:
    """Run one process of a flow, or the labeling service, until it is stopped (Ctrl-C or SIGTERM).

    Start the same flow again, here or on another host, and the processes share its partitions.
    """
    with told():
        module = ["labeling_grpc"] if what == _LABELING else ["dataflows.run", FLOWS.get(what).name]
        loaded = load(pipeline)
        settings = started(loaded, pipeline, loaded.topics.labels)
    os.environ.update({**settings.environment(), "PYTHONSAFEPATH": "1"})
    # The process becomes the flow: signals reach it directly, and nothing else stays in memory.
    hold()
    os.execv(sys.executable, [sys.executable, "-P", "-m", *module, str(pipeline)])  # noqa: S606
