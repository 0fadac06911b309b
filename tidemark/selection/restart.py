"""Where selection goes on when its committed state is lost or wrong: told by what it has asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from tidemark.errors import RecordError
from tidemark.pipeline.model import Pipeline
from tidemark.records import Candidate, Metric, decode
from tidemark.runtime.broker_time import wall_clock
from tidemark.runtime.processor import Batch, Headers, Partition
from tidemark.selection.checkpoint import LONG_AGO, Checkpoint
from tidemark.selection.clock import Watermarks
from tidemark.selection.cost import cost_of
from tidemark.selection.ledger import Ledger
from tidemark.selection.processor import SelectProcessor
from tidemark.selection.reading import Lanes

_FARTHEST: Final = 2**62
"""What a tile's number and a sum of cases are below; records of others may hold anything."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A record of Kafka's. timestamp: ms since 1970."""

    offset: int
    timestamp: int
    value: bytes | None
    headers: Headers | None


@dataclass(frozen=True, slots=True)
class Known:
    """What was asked, and the first tile of which nothing was."""

    ledger: Ledger
    undecided: int


def ledger(pipeline: Pipeline, candidates: Iterable[Stored], metrics: Iterable[Stored]) -> Known:
    """The ledger by `P.candidates` and `P.metrics`.

    A tile that lies beyond what its record's Kafka timestamp allows (an earlier version let such times through) does
    not count: nothing that is asked from now on is of it.
    """
    selection, time = pipeline.selection, pipeline.time
    asked, spent, undecided = 0, 0, LONG_AGO
    latest, now, followed = Ledger(), wall_clock(), (0, 0)

    def decided(tile: int, timestamp: int) -> int:
        allowed = abs(tile) < _FARTHEST and (
            timestamp < 0 or tile * selection.tile <= timestamp * 1_000 + 2 * time.max_ahead
        )
        return max(undecided, tile + 1) if allowed else undecided

    for record in candidates:
        try:
            candidate = decode(Candidate, record.value)
        except RecordError:
            continue  # somebody else's: it cost nothing
        if candidate.reason != "imported":
            cost = cost_of(selection, candidate.context)
            asked += cost
            latest = latest.at(min(record.timestamp * 1_000, now)).spent(cost)
            undecided = decided(candidate.tile, record.timestamp)
    for record in metrics:
        try:
            metric = decode(Metric, record.value)
        except RecordError:
            continue
        tile, whole = metric.detail.get("tile"), metric.detail.get("spent_in_all")
        alarm, extra = metric.detail.get("alarm"), metric.detail.get("extra")
        if isinstance(alarm, int) and isinstance(extra, int) and 0 <= extra < _FARTHEST and 0 < alarm < _FARTHEST:
            followed = max(followed, (alarm, extra))
        if metric.source == "budget" and isinstance(tile, int) and isinstance(whole, int):
            spent = max(spent, whole if whole < _FARTHEST else 0)
            undecided = decided(tile, record.timestamp)
    alarm, extra = followed if pipeline.drift.reaction is not None else (0, 0)
    return Known(replace(latest, in_all=max(asked, spent), alarm=alarm, extra=extra), undecided)


def anew(pipeline: Pipeline, known: Known) -> str:
    """Metadata with which selection begins at an offset, all tiles open that nothing was asked of."""
    unknown = Watermarks.unknown(len(Lanes(pipeline)))
    selection, spent = pipeline.selection, known.ledger
    if selection.per_hour is None and selection.per_day is None:
        spent = Ledger(spent.in_all, alarm=spent.alarm, extra=spent.extra)
    return Checkpoint(
        selection.tile, None, unknown, first_open=LONG_AGO, settled=known.undecided, ledger=spent
    ).encode()


def resume(pipeline: Pipeline, partition: Partition, log: Iterable[Stored], end: int, known: Known) -> tuple[int, str]:
    """The offset from which on proposals have not been decided, and the metadata that holds there.

    Args:
        pipeline: whose selection it is.
        partition: of `P.proposals`.
        log: its records, oldest first.
        end: offset behind them.
        known: what was asked.

    Returns:
        The offset of the record that closes the first undecided tile, or `end`; and the metadata before that record.

    """
    processor = SelectProcessor(pipeline)
    before = anew(pipeline, known)
    processor.open(partition, before)
    for record in log:
        if record.offset >= end:
            break
        batch = Batch(
            partition,
            np.array([record.offset], np.int64),
            np.array([record.timestamp], np.int64),
            [None],
            [record.value],
            [record.headers],
            replay=True,
        )
        processor.process(batch)
        after = processor.metadata(partition)
        if Checkpoint.decode(after).settled > known.undecided:
            return record.offset, before
        before = after
    return end, before


def again(pipeline: Pipeline, known: Known) -> str:
    """Metadata with which everything from an offset on is selected from once more; what was spent stays spent."""
    return anew(pipeline, replace(known, undecided=LONG_AGO))
