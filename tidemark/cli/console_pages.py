"""`tidemark console PIPELINE…`: the pages of pipelines, in a browser."""

from __future__ import annotations

import os
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer

from tidemark.cli.console import told
from tidemark.cli.pipeline_file import load
from tidemark.errors import ConfigError
from tidemark.runtime.settings import Settings
from tidemark.runtime.signals import hold
from tidemark.supervisor import ProcessSpec

app = typer.Typer(add_completion=False)
_ADDRESS: Final = "TIDEMARK_CONSOLE_ADDRESS"
_PORT: Final = 8420
_NEEDS: Final = ("itsdangerous", "jinja2", "prometheus_client", "starlette", "uvicorn")


@app.command()
def console(
    pipelines: Annotated[list[Path], typer.Argument(metavar="PIPELINE...", help="Pipelines' TOML files.")],
) -> None:
    """Serve the pages of pipelines until Ctrl-C: to label cases, and to watch the loop.

    `tidemark up` serves its pipeline's already. Only this machine is listened on, at TIDEMARK_CONSOLE_ADDRESS or
    http://127.0.0.1:8420/.
    """
    with told():
        if lacking := lacks():
            raise ConfigError(lacking)
        for pipeline in pipelines:
            load(pipeline)
    os.environ["PYTHONSAFEPATH"] = "1"
    # The process becomes the console: signals reach it directly, and nothing else stays in memory.
    hold()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "console", *map(str, pipelines)])  # noqa: S606


def lacks() -> str:
    """What the console needs and is not installed, in a sentence; "" where all is there."""
    missing = [name for name in _NEEDS if find_spec(name) is None]
    if not missing:
        return ""
    return (
        f"the console is not served: {', '.join(missing)} is not installed; `pip install 'tidemark[console]'` brings it"
    )


def free_address() -> str:
    """Where a console can listen that is about to be started: as the environment says, or on this machine alone."""
    told_address = os.environ.get(_ADDRESS, "").strip()
    if told_address:
        return told_address
    for port in (_PORT, 0):
        try:
            with socket.create_server(("127.0.0.1", port)) as listening:
                return f"127.0.0.1:{listening.getsockname()[1]}"
        except OSError:
            continue  # taken: any other will do
    raise ConfigError(f"the console finds no free port on this machine: name one in {_ADDRESS}")


def console_process(file: Path, settings: Settings, folder: Path, address: str = "") -> ProcessSpec:
    """The console of one pipeline as a process of `tidemark up`.

    Args:
        file: of the pipeline.
        settings: that name the Kafka.
        folder: from which the file names other files.
        address: where it listens; "": as the environment says.

    Returns:
        It.

    """
    environment = {**settings.environment(), "TIDEMARK_PIPELINE_FOLDER": str(folder.absolute())}
    environment |= {_ADDRESS: address} if address else {}
    return ProcessSpec(name="console", module="console", arguments=(str(file),), environment=environment)
