"""The steps of one worker as one: opened, closed and checkpointed together.

One position is committed for a partition, whatever steps have state of it: the offset from which all of them can be
rebuilt. The product's own steps tell it themselves (`PositionedStep`). Of a user's step (`StatefulStep`) only snapshots
are known, each of the moment of a commit; so a few are kept, and the last one that is not younger than what the others
need is committed with its offset.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

from tidemark.errors import ConfigError, TopicError
from tidemark.runtime.by_topic import ByTopicStep
from tidemark.runtime.processor import EARLIEST, UNKNOWN_TIME, Batch, Partition
from tidemark.runtime.steps import StatefulStep
from tidemark.stream.checkpoint import Position, pack, unpack

_KEPT: Final = 64
"""Snapshots of a partition. Of more, every second one is forgotten: a replay begins a little earlier."""
_MOST_METADATA: Final = 4_000


@runtime_checkable
class PositionedStep(Protocol):
    """A step that tells by itself where its state of a partition can be rebuilt from.

    `open` gives the offset to rewind to (None: the committed one); `fields` what it adds to the committed `Position`.
    Of a step without windows nothing is rebuilt: `open` finds in the position all that it needs.
    """

    def open(self, partition: Partition, position: Position) -> int | None:
        """Begin with a partition."""
        ...

    def close(self, partition: Partition) -> None:
        """Drop the state of a partition."""
        ...

    def fields(self, partition: Partition) -> dict[str, Any]:
        """Fields of the `Position` after the rows processed so far."""
        ...


@runtime_checkable
class _TellsFields(Protocol):
    def fields(self, partition: Partition) -> dict[str, Any]: ...


@runtime_checkable
class _TellsTimes(Protocol):
    reads: frozenset[str]

    def event_times(self, batch: Batch) -> list[int]: ...


@runtime_checkable
class _KeepsWindows(PositionedStep, Protocol):
    keeps: frozenset[str]

    def latest(self, partition: Partition) -> int | None: ...


@dataclass(slots=True)
class _Snapshot:
    """State of the users' steps before the record at `offset`."""

    offset: int
    states: Mapping[str, bytes]


@dataclass(slots=True)
class _Opened:
    """What is known of a partition.

    metadata: as it was opened with, committed again until the replay is over.  states: of the users' steps, as well.
    """

    metadata: str
    states: Mapping[str, bytes]
    snapshots: list[_Snapshot] = field(default_factory=list)


class StepGroup:
    """Keeps the steps of a worker together (`tidemark.runtime.processor.Processor`, without the processing).

    steps: by name; a user's stateful step finds its state again by it.
    """

    def __init__(self, steps: Mapping[str, object]) -> None:
        self._sources: dict[str, ByTopicStep] = {}
        for step in steps.values():
            if isinstance(step, ByTopicStep):
                self._sources |= dict.fromkeys(step.topics, step)
        self._timed = [step for step in steps.values() if isinstance(step, _TellsTimes)]
        self._windows = [step for step in steps.values() if isinstance(step, _KeepsWindows)]
        self._telling = [
            step
            for step in steps.values()
            if isinstance(step, _TellsFields) and not isinstance(step, ByTopicStep | _KeepsWindows)
        ]
        self._counting = [
            step
            for step in steps.values()
            if isinstance(step, PositionedStep) and not isinstance(step, ByTopicStep | _KeepsWindows)
        ]
        self._own = {name: step for name, step in steps.items() if isinstance(step, StatefulStep)}
        self._opened: dict[Partition, _Opened] = {}
        if self._own:
            for source in self._sources.values():
                source.before_replayed = self._keep

    @property
    def topics(self) -> Sequence[str]:
        """Topics to subscribe to."""
        return list(self._sources)

    def open(self, partition: Partition, metadata: str) -> int | None:
        """Begin with a partition; the offset to rewind to, None for the committed one.

        Raises:
            TopicError: the metadata is not of such a flow.

        """
        position = unpack(partition, metadata)
        self._sources[partition.topic].open(partition, position.clock)
        rewind = position.rewind
        for windows in self._windows_of(partition):
            wanted = windows.open(partition, position)
            rewind = EARLIEST if EARLIEST in {rewind, wanted} else wanted
        for counting in self._counting:
            counting.open(partition, position)
        states = {} if rewind == EARLIEST else _states(partition, position)
        for name, step in self._own.items():
            step.open(partition, states.get(name))
        self._opened[partition] = _Opened(metadata, states)
        return rewind

    def close(self, partition: Partition) -> None:
        """Drop the state of a partition."""
        if self._opened.pop(partition, None) is None:
            return
        self._sources[partition.topic].close(partition)
        for windows in self._windows_of(partition):
            windows.close(partition)
        for counting in self._counting:
            counting.close(partition)
        for step in self._own.values():
            step.close(partition)

    def metadata(self, partition: Partition) -> str:
        """What to commit with the offset after the rows processed so far.

        Raises:
            ConfigError: a user's step has more state than Kafka keeps with an offset.

        """
        opened, source = self._opened[partition], self._sources[partition.topic]
        if not source.has_processed(partition):
            return opened.metadata
        fields: dict[str, Any] = {}
        telling: list[_TellsFields] = [source, *self._windows_of(partition), *self._telling]
        for step in telling:
            fields |= step.fields(partition)
        if self._own:
            fields |= self._with_snapshots(partition, fields.get("rewind"))
        if fields.get("rewind") is None:
            fields |= {"reached": None, "clock": None}
        packed = pack(Position(**fields))
        if self._own and len(packed) > _MOST_METADATA:
            sizes = {name: len(text) for name, text in fields["steps"].items()}
            largest = max(sizes, key=lambda name: sizes[name])
            raise ConfigError(
                f"step '{largest}': its state of {partition.topic}[{partition.index}] makes {len(packed):,} bytes of "
                f"metadata, and Kafka keeps {_MOST_METADATA:,}; keep less in `snapshot`"
            )
        return packed

    def event_time(self, batch: Batch) -> int | None:
        """How far the batch last processed of the partition moved event time; None if nothing tells."""
        latest = [step.latest(batch.partition) for step in self._windows_of(batch.partition)]
        return max((time for time in latest if time is not None), default=None)

    def event_times(self, batch: Batch) -> list[int]:
        """How far each record may move event time (µs); `UNKNOWN_TIME` where it tells none."""
        for step in self._timed:
            if batch.partition.topic in step.reads:
                return step.event_times(batch)
        return [UNKNOWN_TIME] * len(batch)

    def _windows_of(self, partition: Partition) -> list[_KeepsWindows]:
        return [step for step in self._windows if partition.topic in step.keeps]

    def _with_snapshots(self, partition: Partition, needed: int | None) -> dict[str, Any]:
        """Rewind offset and states of the users' steps. needed: offset that the others rewind to; None: they do not."""
        kept = self._opened[partition].snapshots
        _, following = self._sources[partition.topic].span(partition)
        self._keep(partition, following)
        if needed is None:
            del kept[:-1]
        while len(kept) > 1 and needed is not None and kept[1].offset <= needed:
            kept.pop(0)
        chosen = kept[0]
        steps = {name: base64.b64encode(state).decode() for name, state in chosen.states.items()}
        return {"steps": steps} if needed is None else {"steps": steps, "rewind": chosen.offset}

    def _keep(self, partition: Partition, offset: int) -> None:
        """Keep the state of the users' steps before the record at an offset.

        While rows are replayed too: else one that restarts more often than windows are long would never forget the
        first snapshot, and replay more each time.
        """
        opened = self._opened[partition]
        if not opened.snapshots:
            first, _ = self._sources[partition.topic].span(partition)
            opened.snapshots.append(_Snapshot(first, opened.states))
        kept = opened.snapshots
        kept.append(_Snapshot(offset, {name: step.snapshot(partition) for name, step in self._own.items()}))
        if len(kept) > _KEPT:
            kept[:] = [*kept[:-1:2], kept[-1]]


def _states(partition: Partition, position: Position) -> dict[str, bytes]:
    try:
        return {name: base64.b64decode(text, validate=True) for name, text in position.steps.items()}
    except binascii.Error as error:
        raise TopicError(
            f"{partition.topic}[{partition.index}]: the committed metadata has the state of a step that can't be read "
            f"({error}); another program commits under its group, or the group must be reset"
        ) from error
