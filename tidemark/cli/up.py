"""`tidemark up PIPELINE`: all flows and the labeling service, supervised."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from dataflows.engine.transactional_ids import place
from tidemark.broker import kafka_for
from tidemark.cli.console import PipelineFile, out, told
from tidemark.cli.costs import costs
from tidemark.cli.topics_compared import made, topics_lack
from tidemark.flows import FLOWS, FlowSpec, flows_of
from tidemark.kafka import ensure_topics
from tidemark.pipeline import Pipeline, load
from tidemark.runtime.private_files import private_folder, private_log
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings
from tidemark.supervisor import ProcessSpec, Supervisor

app = typer.Typer(add_completion=False)


def prepare(pipeline: Pipeline, settings: Settings) -> None:
    """Create the pipeline's topics where they are missing."""
    ensure_topics(settings, made(pipeline))


def processes(
    file: Path, settings: Settings, *, flows: Iterable[FlowSpec] = FLOWS.own.values(), streams: int = 1
) -> list[ProcessSpec]:
    """Every process of a pipeline.

    Args:
        file: of the pipeline.
        settings: that name the Kafka.
        flows: that are run.
        streams: processes that share the partitions of a flow whose partitions can be shared.

    Returns:
        What the supervisor keeps running.

    """
    environment = {**settings.environment(), "TIDEMARK_PIPELINE": str(file)}
    here = place(settings.state_dir)

    def flow(name: str, slot: int = 0) -> ProcessSpec:
        return ProcessSpec(
            name=name if slot == 0 else f"{name}-{slot + 1}",
            module="dataflows.run",
            arguments=(name, str(file)),
            environment={**environment, "TIDEMARK_SLOT": f"{here}-up-{slot}"},
        )

    return [
        *(flow(spec.name, slot) for spec in flows for slot in range(streams if spec.divided else 1)),
        ProcessSpec(name="labeling", module="labeling_grpc", arguments=(str(file),), environment=environment),
    ]


def log_file(pipeline: Pipeline, settings: Settings) -> Path:
    """Where the one log of a supervised pipeline is."""
    return settings.state_dir / "pipelines" / pipeline.name / "tidemark.log"


@app.command()
def up(
    pipeline: PipelineFile,
    streams: Annotated[int, typer.Option(min=1, help="Processes of the stream flow.")] = 1,
) -> None:
    """Run a whole pipeline: Kafka if none is named, every flow and the labeling service, until Ctrl-C."""
    asked = Asked()
    try:
        with told():
            loaded = load(pipeline)
            flows = flows_of(loaded)
            with kafka_for(Settings.from_environment()) as settings:
                prepare(loaded, settings)
                for line in [*costs(loaded, settings), *topics_lack(loaded, settings)]:
                    out.print(safe(line), soft_wrap=True)
                log = log_file(loaded, settings)
                private_folder(log.parent.parent)
                private_folder(log.parent)
                where = f" on Kafka at {settings.bootstrap_servers}; log {safe(str(log))}; Ctrl-C stops it"
                out.print(Text.assemble((loaded.name, "bold"), where))
                asyncio.run(_supervise(processes(pipeline, settings, flows=flows, streams=streams), log, asked))
    except KeyboardInterrupt:
        out.print("stopped before all had started; nothing is left running")


class Asked:
    """What SIGTERM and SIGINT do. act: first an interrupt, which unwinds what is being started."""

    def __init__(self) -> None:
        self.act: Callable[[], object] = _interrupt
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.act())


def _interrupt() -> None:
    raise KeyboardInterrupt


def _nothing() -> None:
    """Kafka is being stopped, which is not hurried."""


async def _supervise(specs: list[ProcessSpec], log: Path, asked: Asked) -> None:
    with private_log(log) as file:
        supervisor = Supervisor(specs, file, echo=out.print)
        loop = asyncio.get_running_loop()
        asked.act = lambda: loop.call_soon_threadsafe(supervisor.stop)
        try:
            await supervisor.run()
        finally:
            asked.act = _nothing
