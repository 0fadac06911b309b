"""`tidemark watermark reset PIPELINE`: let event time follow from the log once more."""

from __future__ import annotations

import typer

from dataflows.engine.offset_reset import Move, StoppedGroup
from tidemark.cli.console import DryRun, PipelineFile, connected, out, told
from tidemark.cli.pipeline_file import load
from tidemark.cli.restarting import again_metadata, committed_everywhere, restarted_select
from tidemark.pipeline import Pipeline
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings

app = typer.Typer(
    help="Event time of a pipeline, where a wrong clock has moved it ahead.", no_args_is_help=True, add_completion=False
)


@app.callback()
def _group() -> None:
    """Event time of a pipeline, where a wrong clock has moved it ahead."""


@app.command()
def reset(pipeline: PipelineFile, dry_run: DryRun = False) -> None:
    """Forget how far event time has come, while stream and select are stopped; their next start reads it from the log.

    Windows are rebuilt from all that the topics hold. What was predicted is not predicted again, and what was asked is
    not asked again; selection goes on with the first tile of which nothing was asked.
    """
    with told():
        loaded, settings = load(pipeline), connected()
        for move in reset_watermarks(loaded, settings, dry_run=dry_run):
            verb = "would be" if dry_run else "is"
            place = f"{move.partition.topic} [{move.partition.index}]"
            out.print(
                safe(f"{place}: read from the oldest record on, its output {verb} taken up at offset {move.offset}")
            )
        if not dry_run:
            out.print("event time follows from the log at the next start of stream and select")


def reset_watermarks(pipeline: Pipeline, settings: Settings, *, dry_run: bool = False) -> list[Move]:
    """The same for other callers; what is committed, or would be.

    Raises:
        BrokerError: Kafka does not answer, or a process of one of the flows runs.
        ConfigError: something else than the flows has committed offsets.

    """
    stream, select = (StoppedGroup(settings, f"{pipeline.name}.{flow}") for flow in ("stream", "select"))
    places = stream.places([*pipeline.raw_topics, *pipeline.hop_topics])
    (proposals,) = select.places([pipeline.topics.proposals])
    committed_everywhere(places, f"{pipeline.name}.stream")
    committed_everywhere([proposals], f"{pipeline.name}.select")
    moves = [
        Move(place.partition, place.committed, again_metadata()) for place in places if place.committed is not None
    ]
    if moves and not dry_run:
        stream.commit(moves)
    if proposals.committed is not None:
        offset, metadata, _, _ = restarted_select(pipeline, settings, proposals, trusted=False)
        selected = Move(proposals.partition, offset, metadata)
        if not dry_run:
            select.commit([selected])
        moves = [*moves, selected]
    return moves
