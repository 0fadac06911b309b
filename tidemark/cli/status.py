"""`tidemark status PIPELINE`: what runs, how far behind, what it has spent, how good it is, what is wrong."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.live import Live

from tidemark.broker import resolve_bootstrap
from tidemark.cli.console import PipelineFile, out, told
from tidemark.cli.labeling_status import labeling_status
from tidemark.cli.pipeline_file import load
from tidemark.cli.status_view import printed, rendered
from tidemark.errors import BrokerError
from tidemark.observe.status_record import EXIT, LabelStudioStatus, Status
from tidemark.pipeline import Pipeline
from tidemark.runtime.settings import Settings
from tidemark.supervisor.folder import supervised_by

if TYPE_CHECKING:
    from tidemark.observe import Observer

app = typer.Typer(add_completion=False)


@app.command()
def status(
    pipeline: PipelineFile,
    watch: Annotated[float | None, typer.Option(metavar="SECONDS", min=0.2, help="Look again so often.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object (docs/reference/status.md), a line for each look.")
    ] = False,
    figures: Annotated[bool, typer.Option("--figures", help="Show every metric, too.")] = False,
) -> None:
    """Show how good the model is, what runs, lag, rates, budget, and what is wrong.

    Exits with 0 where all is well, 3 where the pipeline does not run, 4 where something is wrong, and 1 where it can't
    be looked at.
    """
    with told():
        loaded = load(pipeline)
        settings = Settings.from_environment()
        try:
            settings = settings.at(resolve_bootstrap(settings))
        except BrokerError:  # none is named and the embedded one does not run: so nothing of the pipeline does
            without = _without_kafka(loaded, pipeline, settings)
            _show(without, as_json=as_json, figures=figures)
            sys.exit(EXIT[without.state])
        from tidemark.observe import Observer  # a Kafka client

        log = settings.state_dir / "pipelines" / loaded.name / "tidemark.log"
        observer = Observer(loaded, settings, file=str(pipeline), log=log)
        try:
            found = _look(loaded, pipeline, settings, observer)
            if watch is None:
                _show(found, as_json=as_json, figures=figures)
                sys.exit(EXIT[found.state])
            with Live(console=out, auto_refresh=False) as live:
                while True:
                    if as_json:
                        _show(found, as_json=True, figures=figures)
                    else:
                        live.update(rendered(found, figures=figures), refresh=True)
                    time.sleep(watch)
                    found = _look(loaded, pipeline, settings, observer)
        except KeyboardInterrupt:
            return
        finally:
            observer.close()


def _show(found: Status, *, as_json: bool, figures: bool) -> None:
    if as_json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        sys.stdout.flush()
    else:
        printed(out, found, figures=figures)


def _not_started(pipeline: Pipeline, file: Path) -> Status:
    note = f"not started yet: tidemark up {file}"
    return Status(pipeline=pipeline.name, file=str(file), at=time.time(), state="not started", notes=[note])


def _without_kafka(pipeline: Pipeline, file: Path, settings: Settings) -> Status:
    process = supervised_by(settings.state_dir / "pipelines" / pipeline.name)
    if process is None:
        return _not_started(pipeline, file)
    note = f"`tidemark up` (process {process}) is starting Kafka"
    return Status(pipeline=pipeline.name, file=str(file), at=time.time(), state="starting", notes=[note])


def _look(pipeline: Pipeline, file: Path, settings: Settings, observer: Observer) -> Status:
    from tidemark.observe.status import shown_topics, status_of

    snapshot = observer.look()
    if not snapshot.begun:
        return _not_started(pipeline, file)
    sample = observer.sample(snapshot, shown_topics(pipeline))
    labeling = labeling_status(settings, pipeline.name, snapshot.ranked_by)
    return status_of(pipeline, str(file), snapshot, sample, labeling, _bridge(pipeline, settings))


def _bridge(pipeline: Pipeline, settings: Settings) -> LabelStudioStatus | None:
    if pipeline.label_studio is None:
        return None
    from labeling_grpc.label_studio.status import bridge_status  # SQLite, and what few pipelines have

    return bridge_status(pipeline, settings, time.time())
