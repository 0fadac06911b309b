"""`tidemark up PIPELINE`: all flows and the labeling service, supervised."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
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
from tidemark.cli.supervised import Asked, Supervised
from tidemark.cli.topics_compared import made, topics_lack
from tidemark.errors import ConfigError
from tidemark.flows import FLOWS, FlowSpec, flows_of
from tidemark.kafka import ensure_topics
from tidemark.pipeline import Pipeline
from tidemark.pipeline.loading import parse, read
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings
from tidemark.supervisor import ProcessSpec
from tidemark.supervisor.folder import PinnedFile, alone, pipeline_folder

app = typer.Typer(add_completion=False)


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
    webhooks: Iterable[str] = (),
    label_studio: bool = False,
) -> list[ProcessSpec]:
    """Every process of a pipeline.

    Args:
        file: of the pipeline.
        settings: that name the Kafka.
        flows: that are run.
        streams: processes that share the partitions of a flow whose partitions can be shared.
        folder: from which the file names other files; by default its own.
        sources: names of the pipeline's sources, each of which has a process of its own.
        webhooks: names of its webhooks, the same.
        label_studio: whether cases are answered in Label Studio too.

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

    def webhook(name: str) -> ProcessSpec:
        return ProcessSpec(
            name=f"webhook-{name}",
            module="dataflows.webhooks",
            arguments=(str(file), name),
            environment=environment,
        )

    bridge = ProcessSpec(
        name="label-studio", module="labeling_grpc.label_studio", arguments=(str(file),), environment=environment
    )
    return [
        *(flow(spec.name, slot) for spec in flows for slot in range(streams if spec.divided else 1)),
        ProcessSpec(name="labeling", module="labeling_grpc", arguments=(str(file),), environment=environment),
        *(source(name) for name in sources),
        *(webhook(name) for name in webhooks),
        *([bridge] if label_studio else []),
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
            if loaded.ask is not None and streams > 1:
                raise ConfigError(
                    "[ask] needs one stream process, for none of several has all windows; leave --streams out, or [ask]"
                )
            flows_of(loaded)  # refuses one of a package that is broken, before Kafka is started
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
                if console and (lacking := lacks()):
                    out.print(lacking, soft_wrap=True)
                shown = console and not lacking

                def every_process(of: Pipeline) -> list[ProcessSpec]:
                    names = [each.name for each in of.sources]
                    specs = processes(
                        pinned.copy,
                        settings,
                        flows=flows_of(of),
                        streams=streams,
                        sources=names,
                        webhooks=[each.name for each in of.webhooks],
                        label_studio=of.label_studio is not None,
                        folder=pipeline.parent,
                    )
                    return [*specs, *([console_process(pinned.copy, settings, pipeline.parent)] if shown else [])]

                supervised = Supervised(loaded, pinned, folder, every_process, partial(prepare, settings=settings))
                asyncio.run(supervised.run(log, asked))
                out.print(Text.assemble((loaded.name, "bold"), " has stopped; what it had committed is kept"))
    except KeyboardInterrupt:
        out.print("stopped before all had started; nothing is left running")
