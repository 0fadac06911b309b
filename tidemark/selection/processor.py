"""The select flow: proposals of all partitions to candidates, tile by tile, under a hard budget.

Everything is a function of `P.proposals` (its order, and Kafka's timestamps: no partition moves time far beyond them)
and the pipeline file. A tile closes when every partition's watermark has passed its end, idle
partitions left out; events that come for a closed tile count in the first open one. What is committed with an offset is
enough to rebuild the open tiles from the records after the rewind offset, so that a replay makes the very choices that
a run without a crash would have made (see `checkpoint`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tidemark.errors import ConfigError, RecordError, TopicError
from tidemark.evaluation.focus import MARK
from tidemark.pipeline.model import Pipeline
from tidemark.records import Candidate, Metric, Record, encode
from tidemark.records.dead_letter import dead_letter
from tidemark.records.metric_kind import MetricKind
from tidemark.runtime.broker_time import wall_clock
from tidemark.runtime.processor import Batch, Output, Partition
from tidemark.selection.checkpoint import LONG_AGO, Checkpoint, check_fits
from tidemark.selection.choice import Pick, choose
from tidemark.selection.clock import Watermarks
from tidemark.selection.ledger import Ledger
from tidemark.selection.proposals import Proposals, active_rows, decode_proposals, explore_rows
from tidemark.selection.reading import Lanes, parts
from tidemark.selection.tiles import Bars, OpenTile, Part

METRICS: Final = (
    MetricKind("budget_spent", "cases", "select", "budget", "Cases asked in a tile; the detail has the sum over all."),
    MetricKind(
        "budget_offered", "cases", "select", "budget", "Cases that a tile might have asked, with what was carried."
    ),
    MetricKind("tile_events", "events", "select", "budget", "Events of a tile."),
)


@dataclass(slots=True)
class _State:
    """Of the one partition of `P.proposals`. Tiles below `settled` were decided before this process took over."""

    watermarks: Watermarks
    first_open: int = LONG_AGO
    settled: int = LONG_AGO
    ledger: Ledger = field(default_factory=Ledger)
    tiles: dict[int, OpenTile] = field(default_factory=dict)

    def bars(self, number: int) -> Bars:
        """What a row of tile `number` must reach to be kept where it would count."""
        tile = self.tiles.get(max(number, self.first_open))
        return Bars() if tile is None else tile.bars()


class SelectProcessor:
    """Chooses the events that people are asked about (a `tidemark.runtime.processor.Processor`).

    Raises ConfigError where the pipeline has more partitions than the committed state has room for.
    """

    def __init__(self, pipeline: Pipeline, wall: Callable[[], int] = wall_clock) -> None:
        """`wall`: this machine's clock, µs, up to which Kafka's timestamps are believed where hours are counted."""
        self._pipeline = pipeline
        self._wall = wall
        self._selection = pipeline.selection
        self._lanes = Lanes(pipeline)
        self._windows = self._selection.per_hour is not None or self._selection.per_day is not None
        check_fits(len(self._lanes), windows=self._windows)
        self._state: _State | None = None

    @property
    def topics(self) -> Sequence[str]:
        """`P.proposals`."""
        return [self._pipeline.topics.proposals]

    def open(self, partition: Partition, metadata: str) -> int | None:
        """Take up the committed state; the offset to rewind to, None where no tile was open.

        Raises:
            TopicError: the topic has several partitions, whose order would not be one.
            ConfigError: the tile length has changed, or there are fewer partitions than before.

        """
        if partition.index != 0:
            raise TopicError(
                f"topic {partition.topic!r} has more than one partition, so its order is not one; recreate it with one"
            )
        if not metadata:
            self._state = _State(Watermarks.unknown(len(self._lanes)))
            return None
        checkpoint = Checkpoint.decode(metadata)
        self._check(checkpoint)
        self._state = _State(
            checkpoint.watermarks.extended(len(self._lanes)),
            checkpoint.first_open,
            checkpoint.settled,
            checkpoint.ledger,
        )
        return checkpoint.rewind

    def close(self, partition: Partition) -> None:  # noqa: ARG002 - there is one
        """Drop the state."""
        self._state = None

    def process(self, batch: Batch) -> list[Output]:
        """Merge proposals; candidates and budget metrics of the tiles that close."""
        state = self._opened()
        if not batch.replay:
            state.first_open = max(state.first_open, state.settled)  # partitions added since hold no decided tile open
        outputs: list[Output] = []
        for row in range(len(batch)):
            try:
                record = decode_proposals(batch.values[row], batch.headers[row])
                lane = self._lanes.number(record.meta.topic, record.meta.partition)
                latest = self._latest(state, record, int(batch.timestamps[row]))
                found = self._bounded(state, record, latest)
            except RecordError as error:
                outputs.append(dead_letter(self._pipeline.topics.deadletter, batch, row, error.step, error.reason))
                continue
            self._merge(state, int(batch.offsets[row]), found, record.meta.model)
            watermark = record.meta.watermark if latest is None else None
            state.watermarks = state.watermarks.advanced(lane, watermark, idle=record.meta.idle)
            for tile in self._closing(state):
                outputs += self._close_tile(state, tile, int(batch.timestamps[row]) * 1_000)
        return [] if batch.replay else outputs

    def metadata(self, partition: Partition) -> str:  # noqa: ARG002 - there is one
        """Checkpoint after the batch last processed."""
        state = self._opened()
        oldest = min(state.tiles.values(), key=lambda tile: tile.first_offset, default=None)
        return Checkpoint(
            self._selection.tile,
            None if oldest is None else oldest.first_offset,
            state.watermarks if oldest is None else oldest.watermarks,
            state.first_open if oldest is None else oldest.first_open,
            max(state.first_open, state.settled),
            state.ledger if self._windows else Ledger(state.ledger.in_all),
        ).encode()

    def tick(self, now: float) -> list[Output]:  # noqa: ARG002 - time closes no tile, records do
        """Nothing: silence is told by idle records."""
        return []

    def event_time(self, batch: Batch) -> int | None:  # noqa: ARG002 - one partition
        """None: there is nothing to align with."""
        return None

    def _latest(self, state: _State, record: Proposals, timestamp: int) -> int | None:
        """Event time (µs) up to which tiles of an impossible record of this Kafka timestamp (ms) are believed.

        None: the record is believed. `stream` lets no time further ahead than `time.max_ahead`. One that lies twice as
        far ahead was let through by an earlier version: it would hold its tile open for ever, and all that come after.
        """
        time = self._pipeline.time
        last = max([record.meta.watermark or 0, *(tile * self._selection.tile for tile in record.meta.tiles)])
        came = timestamp * 1_000
        if timestamp < 0 or last <= came + 2 * time.max_ahead:
            return None
        return max((known for known in state.watermarks.times if known is not None), default=came + time.most_skew)

    def _bounded(self, state: _State, record: Proposals, latest: int | None) -> list[Part]:
        """Parts of a record, none of a tile that lies beyond what its Kafka timestamp allows."""
        if latest is None:
            return parts(record, state.bars)
        newest = latest // self._selection.tile
        found = parts(record, lambda number: state.bars(min(number, newest)))
        return [part if part.tile <= newest else replace(part, tile=newest) for part in found]

    def _merge(self, state: _State, offset: int, found: list[Part], model: str) -> None:
        before = state.watermarks
        for part in found:
            number = max(part.tile, state.first_open)
            tile = state.tiles.get(number)
            if tile is None:
                tile = state.tiles[number] = OpenTile(
                    number=number,
                    first_offset=offset,
                    watermarks=before,
                    first_open=state.first_open,
                    explore=explore_rows(self._selection) - 1,
                    active=active_rows(self._selection),
                )
            tile.merge(part, model)

    def _closing(self, state: _State) -> list[OpenTile]:
        """Tiles that the watermarks have passed, oldest first, taken off the open ones."""
        passed = state.watermarks.passed()
        if passed is None or passed // self._selection.tile <= state.first_open:
            return []
        state.first_open = passed // self._selection.tile
        return [state.tiles.pop(number) for number in sorted(state.tiles) if number < state.first_open]

    def _close_tile(self, state: _State, tile: OpenTile, at: int) -> Iterator[Output]:
        """Candidates of a tile and what they cost; nothing for one that was decided before the replay."""
        if tile.number < state.settled:
            return
        ledger = state.ledger.at(min(at, self._wall()))
        left = ledger.left(self._selection)
        allowed = ledger.allowance(self._selection)
        picks = list(choose(tile, self._selection, allowed if left is None else min(allowed, left)))
        state.ledger = ledger.spent(len(picks))
        topics = self._pipeline.topics
        for pick in picks:
            yield _output(topics.candidates, pick.proposal.event_id, self._candidate(tile, pick, at))
        for metric in self._metrics(tile, picks, state.ledger, at):
            yield _output(topics.metrics, metric.name, metric)

    def _candidate(self, tile: OpenTile, pick: Pick, at: int) -> Candidate:
        row, expires_after = pick.proposal, self._selection.expires_after
        return Candidate(
            event_id=row.event_id,
            business_id=row.business_id,
            key=row.key,
            time=row.time,
            tile=tile.number,
            tile_count=tile.events,
            reason=pick.reason,
            priority=pick.priority,
            inclusion_probability=pick.inclusion_probability,
            policy=self._selection.version + (MARK if self._selection.focused else ""),
            features=row.features,
            context=row.context,
            probabilities=row.probabilities,
            uncertainty=row.uncertainty,
            model=row.model,
            expires_at=None if expires_after is None else at + expires_after,
            definitions=row.definitions,
        )

    def _metrics(self, tile: OpenTile, picks: list[Pick], ledger: Ledger, at: int) -> Iterator[Metric]:
        """What a tile cost, was offered, and held."""
        explored = sum(pick.reason == "explore" for pick in picks)
        detail: dict[str, str | float | int | None] = {
            "tile": tile.number,
            "explore": explored,
            "active": len(picks) - explored,
            "budget": self._selection.budget,
            "spent_in_all": ledger.in_all,
            "total": self._selection.total,
            "policy": self._selection.version,
        }
        if self._windows:
            detail |= {
                "hour": ledger.hour,
                "spent_in_hour": ledger.in_hour,
                "per_hour": self._selection.per_hour,
                "day": ledger.day,
                "spent_in_day": ledger.in_day,
                "per_day": self._selection.per_day,
            }
        figures = {"budget_spent": len(picks), "budget_offered": tile.offered, "tile_events": tile.events}
        for name, value in figures.items():
            yield Metric(
                name=name,
                value=float(value),
                low=None,
                high=None,
                n=tile.events,
                at=at,
                model=tile.model,
                source="budget",
                detail=detail,
            )

    def _check(self, checkpoint: Checkpoint) -> None:
        name = self._pipeline.name
        if checkpoint.tile_length != self._selection.tile:
            raise ConfigError(
                f"pipeline {name}: selection.tile is {self._selection.tile} µs now and was {checkpoint.tile_length} µs "
                "when the last tile was decided, and tiles are numbered by it; set it back, or run under another name"
            )
        if len(checkpoint.watermarks.times) > len(self._lanes):
            raise ConfigError(
                f"pipeline {name}: partitions (times raw topics) is {len(self._lanes)} now and was "
                f"{len(checkpoint.watermarks.times)}; Kafka topics never shrink, so set it back"
            )

    def _opened(self) -> _State:
        if self._state is None:
            raise RuntimeError(f"{self._pipeline.topics.proposals} is processed before it was opened")
        return self._state


def _output(topic: str, key: str, record: Record) -> Output:
    return Output(topic=topic, value=encode(record), key=key.encode())
