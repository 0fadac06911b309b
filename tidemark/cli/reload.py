"""`tidemark reload PIPELINE`: what runs goes on with the file as it is now."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from tidemark.cli.check import check_schemas, compared
from tidemark.cli.console import PipelineFile, out, told
from tidemark.errors import ConfigError
from tidemark.pipeline.loading import parse, read
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings
from tidemark.supervisor.folder import pipeline_folder, running_text, supervised_by
from tidemark.supervisor.reloading import Answer, answer_of, ask, asking, withdraw

app = typer.Typer(add_completion=False)
_LOOK_SECONDS = 0.1


@app.command()
def reload(
    pipeline: PipelineFile,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what the edit costs.")] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=1.0, help="Wait so long for it.")] = 60.0,
) -> None:
    """Let `tidemark up` go on with the file as it is now: its processes end cleanly and begin again.

    What the flows have committed is kept, and nothing is lost or done twice. A file that is wrong changes nothing.
    """
    with told():
        text = read(pipeline)
        loaded = parse(text, str(pipeline))
        check_schemas(loaded)
        folder = pipeline_folder(Settings.from_environment(), loaded.name)
        process = supervised_by(folder)
        if process is None:
            raise ConfigError(f"pipeline '{loaded.name}' is not up here: `tidemark up {pipeline}` starts it")
        if running_text(folder) == text:
            out.print(f"{safe(loaded.name)} runs by this file already")
            return
        for line in compared(loaded):
            out.print(safe(line), soft_wrap=True)
        if dry_run:
            return
        with asking(folder):
            answer = _answered(folder, pipeline, text, timeout, process)
        if answer.problem:
            raise ConfigError(f"{answer.problem}; {loaded.name} goes on with the file as it was")
        out.print(f"{safe(loaded.name)} runs by {safe(str(pipeline))} as it is now")


def _answered(folder: Path, pipeline: Path, text: str, timeout: float, process: int) -> Answer:
    """What the process that supervises the pipeline makes of another text.

    Raises:
        ConfigError: it does not say so in time.

    """
    identity = ask(folder, pipeline, text)
    deadline = time.monotonic() + timeout
    while (answer := answer_of(folder, identity)) is None:
        if time.monotonic() > deadline or supervised_by(folder) != process:
            withdraw(folder)
            raise ConfigError(
                f"`tidemark up` (process {process}) has not taken the edit over within {timeout:g} s; it may be of "
                f"an earlier version: stop it with Ctrl-C there, then `tidemark up {pipeline}`"
            )
        time.sleep(_LOOK_SECONDS)
    return answer
