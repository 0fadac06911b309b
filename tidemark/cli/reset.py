"""`tidemark reset PIPELINE FLOW --to WHERE`: set a stopped flow's offsets rightly."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from typing import Annotated, Final

import typer

from dataflows.engine.offset_reset import Move, Place, StoppedGroup
from tidemark.cli.console import DryRun, PipelineFile, connected, out, told
from tidemark.cli.pipeline_file import load
from tidemark.cli.restarting import again_metadata, restarted_select, restarted_stream
from tidemark.errors import ConfigError
from tidemark.flows import FLOWS, FlowSpec
from tidemark.pipeline import Pipeline
from tidemark.runtime.processor import Partition
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings
from tidemark.times.places import read_place

app = typer.Typer(add_completion=False)
_AGAIN: Final = "--publish-again"


@app.command()
def reset(
    pipeline: PipelineFile,
    flow: Annotated[str, typer.Argument(metavar="FLOW", help="The flow whose offsets are set. It must be stopped.")],
    to: Annotated[
        str, typer.Option("--to", metavar="TIME|earliest|latest|OFFSET", help="Where to go on; a time is ISO 8601.")
    ],
    publish_again: Annotated[
        bool, typer.Option(_AGAIN, help="Publish once more what was published already; event ids are the same.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Set the offsets of a flow that is stopped, with what its start needs to rebuild windows and open tiles.

    What was published already is read again silently and not published twice, unless you ask for it. Records that are
    skipped (`--to latest`) are in the windows, and get no output.
    """
    with told():
        spec = FLOWS.get(flow)
        loaded, settings = load(pipeline), connected()
        group = StoppedGroup(settings, f"{loaded.name}.{spec.name}")
        if spec.moves is None:
            moves = _from_the_beginning(loaded, group, spec, to, publish_again=publish_again)
        else:
            moves = _moves_of(spec)(loaded, settings, group, to, publish_again=publish_again)
        if not dry_run:
            group.commit(moves)
        goes = "would go on" if dry_run else "goes on"
        for move in moves:
            out.print(safe(f"{move.partition.topic} [{move.partition.index}]: {goes} at offset {move.offset}"))


def _moves_of(spec: FlowSpec) -> Callable[..., list[Move]]:
    try:
        moves: Callable[..., list[Move]] = pkgutil.resolve_name(spec.moves or "")
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"flow '{spec.name}': {spec.moves} can't be imported ({error}); mend its FlowSpec") from error
    return moves


def _from_the_beginning(
    pipeline: Pipeline, group: StoppedGroup, spec: FlowSpec, to: str, *, publish_again: bool
) -> list[Move]:
    """What to commit for a flow that begins anew: that it does, for without an offset it would refuse to start."""
    if to != "earliest" or not publish_again:
        raise ConfigError(
            f"the {spec.name} flow reads its topics from the beginning at each start, so it can only begin anew: use "
            f"--to earliest {_AGAIN}. Its metrics and dead letters come once more; models are not trained again"
        )
    return [Move(place.partition, place.low, "") for place in group.places(group.present(spec.reads(pipeline)))]


def stream_moves(
    pipeline: Pipeline, settings: Settings, group: StoppedGroup, to: str, *, publish_again: bool
) -> list[Move]:
    """What to commit for the stream flow's partitions.

    Published again is the last stage alone: rows that went through a hop once more would count twice in its windows.
    """
    stages = [pipeline.raw_topics, *([topic] for topic in pipeline.hop_topics)]
    places = group.places([topic for stage in stages for topic in stage])
    done = restarted_stream(pipeline, settings, places)
    asked = _targets(group, [place for place in places if place.partition.topic in stages[0]], to)
    offsets = dict(done)
    for partition, target in asked.items():
        offsets[partition] = max(done[partition], target)
    if publish_again:
        last = [place for place in places if place.partition.topic in stages[-1]]
        if len(stages) > 1 and to.isdecimal():
            raise ConfigError(f"{_AGAIN} with several keys needs a time or 'earliest': offsets are of the raw topics")
        for partition, target in _targets(group, last, to).items():
            offsets[partition] = min(done[partition], target) if len(stages) > 1 else target
    return [Move(place.partition, offsets[place.partition], again_metadata()) for place in places]


def select_moves(
    pipeline: Pipeline, settings: Settings, group: StoppedGroup, to: str, *, publish_again: bool
) -> list[Move]:
    """What to commit for the select flow's partition."""
    (place,) = group.places([pipeline.topics.proposals])
    (target,) = _targets(group, [place], to).values()
    offset, metadata, anew, again = restarted_select(pipeline, settings, place)
    if publish_again:
        return [Move(place.partition, target, again)]
    if target > offset:
        return [Move(place.partition, target, anew)]
    return [Move(place.partition, offset, metadata)]


def publish_moves(
    pipeline: Pipeline,
    settings: Settings,  # noqa: ARG001 - as every flow's
    group: StoppedGroup,
    to: str,
    *,
    publish_again: bool,
) -> list[Move]:
    """What to commit for the publish flow's partitions, which keeps no state."""
    places = group.places(group.present(FLOWS.get("publish").reads(pipeline)))
    targets = _targets(group, places, to)
    done = {place.partition: place.low if place.committed is None else place.committed for place in places}
    return [
        Move(place.partition, target if publish_again else max(done[place.partition], target), "")
        for place in places
        for target in [targets[place.partition]]
    ]


def decide_moves(
    pipeline: Pipeline,
    settings: Settings,  # noqa: ARG001 - as every flow's
    group: StoppedGroup,
    to: str,
    *,
    publish_again: bool,
) -> list[Move]:
    """What to commit for the decide flow's partitions. It knows what it has decided, wherever it goes on."""
    if publish_again:
        raise ConfigError(f"decisions are made once, so there is no {_AGAIN} of them; leave it out")
    places = group.places(group.present(FLOWS.get("decide").reads(pipeline)))
    targets = _targets(group, [place for place in places if place.partition.topic != pipeline.topics.metrics], to)
    return [Move(place.partition, targets.get(place.partition, place.low), "") for place in places]


def _targets(group: StoppedGroup, places: Sequence[Place], to: str) -> dict[Partition, int]:
    """Where `--to` is in each partition.

    Raises:
        ConfigError: it is nowhere.

    """
    wanted = read_place(to, "--to")
    if wanted.kind == "earliest":
        return {place.partition: place.low for place in places}
    if wanted.kind == "latest":
        return {place.partition: place.end for place in places}
    if wanted.kind == "time":
        return group.at_time(places, wanted.number // 1_000)
    offset = wanted.number
    wrong = next((place for place in places if not place.low <= offset <= place.end), None)
    if wrong is not None:
        raise ConfigError(
            f"--to {offset}: {wrong.partition.topic} partition {wrong.partition.index} has offsets {wrong.low} to "
            f"{wrong.end}; name one of them, or a time"
        )
    return {place.partition: offset for place in places}
