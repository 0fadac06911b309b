"""Proposals merged tile by tile, until the watermarks of all partitions have passed a tile's end.

Idle partitions are left out. Events that come for a closed tile count in the first open one. No clock takes part: a
replay closes the very tiles that a run without a crash would have closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tidemark.errors import RecordError
from tidemark.pipeline.model import Pipeline
from tidemark.runtime.steps import Outcome, Refused, RoundContext
from tidemark.selection.checkpoint import LONG_AGO, Checkpoint
from tidemark.selection.clock import Watermarks
from tidemark.selection.ledger import Ledger
from tidemark.selection.proposals import Proposals, active_rows, rows_to_keep
from tidemark.selection.reaction import widest
from tidemark.selection.reading import Lanes, parts
from tidemark.selection.steps.decode_proposals import DecodedProposals, DecodedRecord
from tidemark.selection.tiles import Bars, OpenTile, Part


@dataclass(frozen=True, slots=True)
class ClosedTile:
    """A tile that has closed. at: Kafka's timestamp of the record that closed it, µs."""

    tile: OpenTile
    at: int


@dataclass(slots=True)
class _State:
    """Of the one partition of `P.proposals`. Tiles below `settled` were decided before this process took over."""

    watermarks: Watermarks
    first_open: int = LONG_AGO
    settled: int = LONG_AGO
    tiles: dict[int, OpenTile] = field(default_factory=dict)

    def bars(self, number: int) -> Bars:
        """What a row of tile `number` must reach to be kept where it would count."""
        tile = self.tiles.get(max(number, self.first_open))
        return Bars() if tile is None else tile.bars()


class CloseTilesStep:
    """Merges proposals into open tiles, and gives those that close."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._selection = widest(pipeline)
        self._start = pipeline.start
        self._segments = None if self._selection.segments is None else self._selection.segments.column
        self._time = pipeline.time
        self._topic = pipeline.topics.proposals
        self._lanes = len(Lanes(pipeline))
        self._state: _State | None = None

    def open(self, checkpoint: Checkpoint | None) -> None:
        """Take up the committed tiles; None where nothing was committed."""
        if checkpoint is None:
            self._state = _State(Watermarks.unknown(self._lanes))
        else:
            watermarks = checkpoint.watermarks.extended(self._lanes)
            self._state = _State(watermarks, checkpoint.first_open, checkpoint.settled)

    def close(self) -> None:
        """Drop the tiles."""
        self._state = None

    def checkpoint(self, ledger: Ledger) -> Checkpoint:
        """What to commit after the records merged so far. ledger: cases asked for."""
        state = self._opened()
        oldest = min(state.tiles.values(), key=lambda tile: tile.first_offset, default=None)
        return Checkpoint(
            self._selection.tile,
            None if oldest is None else oldest.first_offset,
            state.watermarks if oldest is None else oldest.watermarks,
            state.first_open if oldest is None else oldest.first_open,
            max(state.first_open, state.settled),
            ledger,
        )

    def process(self, decoded: list[DecodedProposals], context: RoundContext) -> Outcome[list[ClosedTile]]:
        """The tiles that close, those left out that were decided before; and records that contradict themselves."""
        closed: list[ClosedTile] = []
        refused = []
        for each in decoded:
            state, batch = self._opened(), each.batch
            if not context.replay:  # partitions added since hold no decided tile open
                state.first_open = max(state.first_open, state.settled)
            for record in each.records:
                timestamp = int(batch.timestamps[record.row])
                try:
                    tiles = self._merged(state, record, int(batch.offsets[record.row]), timestamp)
                except RecordError as error:
                    refused.append(Refused(batch, record.row, error.step, error.reason))
                    continue
                closed += (ClosedTile(tile, timestamp * 1_000) for tile in tiles if tile.number >= state.settled)
        return Outcome(closed, refused)

    def _merged(self, state: _State, record: DecodedRecord, offset: int, timestamp: int) -> Iterator[OpenTile]:
        """Tiles that a record closes, oldest first.

        Raises:
            RecordError: its rows and counts contradict each other.

        """
        proposals = record.proposals
        latest = self._latest(state, proposals, timestamp)
        self._merge(state, offset, self._bounded(state, proposals, latest), proposals.meta.model)
        watermark = proposals.meta.watermark if latest is None else None
        state.watermarks = state.watermarks.advanced(record.lane, watermark, idle=proposals.meta.idle)
        return self._closing(state)

    def _latest(self, state: _State, record: Proposals, timestamp: int) -> int | None:
        """Event time (µs) up to which tiles of an impossible record of this Kafka timestamp (ms) are believed.

        None: the record is believed. `stream` lets no time further ahead than `time.max_ahead`. One that lies twice as
        far ahead was let through by an earlier version: it would hold its tile open for ever, and all that come after.
        """
        last = max([record.meta.watermark or 0, *(tile * self._selection.tile for tile in record.meta.tiles)])
        came = timestamp * 1_000
        if timestamp < 0 or last <= came + 2 * self._time.max_ahead:
            return None
        return max(
            (known for known in state.watermarks.times if known is not None), default=came + self._time.most_skew
        )

    def _bounded(self, state: _State, record: Proposals, latest: int | None) -> list[Part]:
        """Parts of a record, none of a tile that lies beyond what its Kafka timestamp allows."""
        if latest is None:
            return parts(record, state.bars, self._segments)
        newest = latest // self._selection.tile
        found = parts(record, lambda number: state.bars(min(number, newest)), self._segments)
        return [part if part.tile <= newest else replace(part, tile=newest) for part in found]

    def _merge(self, state: _State, offset: int, found: list[Part], model: str) -> None:
        before = state.watermarks
        for part in found:
            number = max(part.tile, state.first_open)
            tile = state.tiles.get(number)
            if tile is None:
                explore, cold = rows_to_keep(self._selection, self._start)
                tile = state.tiles[number] = OpenTile(
                    number=number,
                    first_offset=offset,
                    watermarks=before,
                    first_open=state.first_open,
                    explore=explore - 1,
                    active=active_rows(self._selection),
                    cold=cold,
                )
            tile.merge(part, model)

    def _closing(self, state: _State) -> Iterator[OpenTile]:
        """Tiles that the watermarks have passed, oldest first, taken off the open ones."""
        passed = state.watermarks.passed()
        if passed is None or passed // self._selection.tile <= state.first_open:
            return iter(())
        state.first_open = passed // self._selection.tile
        return iter([state.tiles.pop(number) for number in sorted(state.tiles) if number < state.first_open])

    def _opened(self) -> _State:
        if self._state is None:
            raise RuntimeError(f"{self._topic} is processed before it was opened")
        return self._state
