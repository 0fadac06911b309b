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
from tidemark.broker import broker_status, kafka_for
from tidemark.cli.check import check_schemas
from tidemark.cli.compiling import Compiling
from tidemark.cli.console import PipelineFile, out, told
from tidemark.cli.console_pages import console_process, lacks
from tidemark.cli.costs import costs
from tidemark.cli.raw_topics import empty_topics
from tidemark.cli.topics_compared import made, topics_lack
from tidemark.flows import FLOWS, FlowSpec, flows_of
from tidemark.kafka import ensure_topics
from tidemark.pipeline import Pipeline
from tidemark.pipeline.loading import parse, read
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings
from tidemark.supervisor import ProcessSpec, Supervisor
from tidemark.supervisor.folder import PinnedFile, alone, pipeline_folder
from tidemark.supervisor.log import Log

app = typer.Typer(add_completion=False)
_LOOK_SECONDS = 1.0


def prepare(pipeline: Pipeline, settings: Settings) -> list[str]:
    """Create the pipeline's topics where they are missing; the names of those that were."""
    return ensure_topics(settings, made(pipeline))


def processes(
    file: Path,
    settings: Settings,
    *,
    flows: Iterable[FlowSpec] = FLOWS.own.values(),
    streams: int = 1,
    folder: Path | None = None,
    sources: Iterable[str] = (),
) -> list[ProcessSpec]:
    """Every process of a pipeline.

    Args:
        file: of the pipeline.
        settings: that name the Kafka.
        flows: that are run.
        streams: processes that share the partitions of a flow whose partitions can be shared.
        folder: from which the file names other files; by default its own.
        sources: names of the pipeline's sources, each of which has a process of its own.

    Returns:
        What the supervisor keeps running.

    """
    environment = {**settings.environment(), "TIDEMARK_PIPELINE": str(file)}
    if folder is not None:
        environment["TIDEMARK_PIPELINE_FOLDER"] = str(folder.absolute())
    here = place(settings.state_dir)

    def flow(name: str, slot: int = 0) -> ProcessSpec:
        return ProcessSpec(
            name=name if slot == 0 else f"{name}-{slot + 1}",
            module="dataflows.run",
            arguments=(name, str(file)),
            environment={**environment, "TIDEMARK_SLOT": f"{here}-up-{slot}"},
        )

    def source(name: str) -> ProcessSpec:
        return ProcessSpec(
            name=f"source-{name}",
            module="dataflows.sources",
            arguments=(str(file), name),
            environment={**environment, "TIDEMARK_SLOT": f"{here}-up"},
        )

    return [
        *(flow(spec.name, slot) for spec in flows for slot in range(streams if spec.divided else 1)),
        ProcessSpec(name="labeling", module="labeling_grpc", arguments=(str(file),), environment=environment),
        *(source(name) for name in sources),
    ]


@app.command()
def up(
    pipeline: PipelineFile,
    streams: Annotated[int, typer.Option(min=1, help="Processes of the stream flow.")] = 1,
    console: Annotated[
        bool, typer.Option(envvar="TIDEMARK_CONSOLE", help="Serve the console's pages, on this machine alone.")
    ] = True,
) -> None:
    """Run a whole pipeline: Kafka if none is named, every flow and the labeling service, until Ctrl-C."""
    asked = Asked()
    try:
        with told():
            text = read(pipeline)
            loaded = parse(text, str(pipeline))
            check_schemas(loaded)
            flows = flows_of(loaded)
            wanted = Settings.from_environment()
            folder = pipeline_folder(wanted, loaded.name)
            if wanted.bootstrap_servers is None and not broker_status(wanted).running:
                out.print("starting the embedded Kafka", soft_wrap=True)
            with (
                alone(folder, loaded.name),
                Compiling(wanted, out) as compilation,  # while Kafka starts
                kafka_for(wanted) as settings,
            ):
                new = prepare(loaded, settings)
                told_first = [*costs(loaded, settings), *topics_lack(loaded, settings)]
                for line in [*told_first, *empty_topics(loaded, settings, new)]:
                    out.print(safe(line), soft_wrap=True)
                log = folder / "tidemark.log"
                where = f" on Kafka at {settings.bootstrap_servers}; log {safe(str(log))}; Ctrl-C stops it"
                out.print(Text.assemble((loaded.name, "bold"), where), soft_wrap=True)
                pinned = PinnedFile(pipeline, text, folder)
                compilation.wait()
                names = [each.name for each in loaded.sources]
                specs = processes(
                    pinned.copy, settings, flows=flows, streams=streams, sources=names, folder=pipeline.parent
                )
                if console and (lacking := lacks()):
                    out.print(lacking, soft_wrap=True)
                elif console:
                    specs.append(console_process(pinned.copy, settings, pipeline.parent))
                asyncio.run(_supervise(specs, log, asked, pinned))
                out.print(Text.assemble((loaded.name, "bold"), " has stopped; what it had committed is kept"))
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


async def _supervise(specs: list[ProcessSpec], log: Path, asked: Asked, pinned: PinnedFile) -> None:
    with Log(log) as file:
        supervisor = Supervisor(specs, file, echo=_echo)
        loop = asyncio.get_running_loop()
        asked.act = lambda: loop.call_soon_threadsafe(_stop, supervisor)
        watch = asyncio.create_task(_watch(pinned, supervisor))
        try:
            await supervisor.run()
        finally:
            asked.act = _nothing
            watch.cancel()


def _echo(line: str) -> None:
    out.print(line, soft_wrap=True)


def _stop(supervisor: Supervisor) -> None:
    supervisor.say("supervisor", "stopping: each process commits what it has done, and ends")
    supervisor.stop()


async def _watch(pinned: PinnedFile, supervisor: Supervisor) -> None:
    """Say of an edit of the file that it waits for the next start."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if pinned.edited():
            supervisor.say(
                "supervisor",
                f"{safe(str(pinned.source))} was edited: what runs goes on with the file as it was. To take the edit "
                f"over: `tidemark check {safe(str(pinned.source))}`, Ctrl-C here, `tidemark up` again",
            )
