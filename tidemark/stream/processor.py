"""The stream flow's domain logic: raw records in; hops, predictions, proposals and dead letters out.

One stage for each key of the pipeline, kept by the partitions of one topic: the raw topics' for the first key, a hop's
for each other. A stage adds the windows over its key; all but the last hand rows on, the last predicts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kernels import WindowState
from tidemark.errors import ModelError
from tidemark.features.rows import DerivedFeatures
from tidemark.features.windows import NO_WATERMARK, KeyWindows, Rewind, key_hashes, running_watermarks
from tidemark.formats.json_records import BadRow
from tidemark.pipeline import Pipeline
from tidemark.records import NO_MODEL, encode
from tidemark.records.dead_letter import dead_letter
from tidemark.runtime.broker_time import wall_clock
from tidemark.runtime.processor import EARLIEST, Batch, Output, Partition
from tidemark.stream.checkpoint import Position, pack, unpack
from tidemark.stream.hops import encode_hops, event_ids, latest_time
from tidemark.stream.lateness import Punctuality
from tidemark.stream.models import ActiveModel, ModelSource
from tidemark.stream.outputs import Meta, Offers, Scored, score
from tidemark.stream.rows import Arrival, Layout, RawReader, Rows, read_hops

_SECOND: Final = 1_000_000
_NO_KEY: Final = ""
"""In place of a key: rows that are keyed by something else have no windows before they were repartitioned."""


@dataclass(slots=True)
class _State:
    """What is kept of one partition.

    metadata: as it was opened with, committed again until the replay is over.  latest: of the batch last processed.
    reached: watermark at the end of the replay, until that is over; None: as far as the replayed rows move it.
    clock: of the process that read the rows first, µs, while they are replayed; None: not known, or none are.
    touched: rows have come since the last tick.  quiet_since: wall time, s, of the first tick without rows.
    """

    partition: Partition
    metadata: str
    watermark: int
    windows: WindowState | None
    rewind: Rewind
    reached: int | None = None
    clock: int | None = None
    replayed: bool = False
    latest: int | None = None
    touched: bool = True
    quiet_since: float = 0.0
    idle: bool = False

    def begin_anew(self, windows: KeyWindows) -> None:
        """Forget the watermark as well: all that the topic still holds is read again."""
        self.watermark = NO_WATERMARK
        self.windows = windows.state(NO_WATERMARK)

    def end_replay(self) -> None:
        """Rows that nobody has processed come now: the watermark is what it was when the last one was processed.

        What is in the windows follows from the rows and this watermark alone, whatever way it came there.
        """
        reached, self.reached = self.reached, None
        if reached is not None and reached > self.watermark:
            self.watermark = reached
            if self.windows is not None:
                self.windows.watermark = reached

    def moved_to(self, bounded: NDArray[np.int64]) -> NDArray[np.int64]:
        """How far rows move the watermark: not beyond where it was when they were first processed."""
        return bounded if self.reached is None else np.minimum(bounded, self.reached)


@dataclass(frozen=True, slots=True)
class _Hop:
    """The way to the next stage, whose windows are kept by the pipeline's key number `key`."""

    topic: str
    key: int
    layout: Layout


@dataclass(frozen=True, slots=True)
class _Stage:
    """Windows over one key. `arriving` is None where raw records arrive, `leaving` where rows are predicted.

    key: number of the pipeline's key.
    """

    index: int
    key: int
    windows: KeyWindows
    arriving: _Hop | None
    leaving: _Hop | None


@dataclass(frozen=True, slots=True)
class _Ready:
    """Rows with the windows of a stage, the watermark before each of them, and where their parts come from.

    metas: for each part, the rows it begins and ends at.
    """

    rows: Rows
    watermarks: NDArray[np.int64]
    metas: list[tuple[int, int, Meta]]


def _stages(pipeline: Pipeline, reader: RawReader) -> list[_Stage]:
    keys = [_NO_KEY, *pipeline.keys] if pipeline.repartitions else pipeline.keys
    windows = [KeyWindows(pipeline, key) for key in keys]
    numbers = [max(i - pipeline.repartitions, 0) for i in range(len(keys))]
    known = [feature.name for feature in pipeline.features]
    hops: list[_Hop | None] = [None]
    for topic, before, key in zip(pipeline.hop_topics, windows, numbers[1:], strict=False):
        known += before.names
        hops.append(_Hop(topic, key, Layout(pipeline, reader.schema, known)))
    leaving = [*hops[1:], None]
    return [_Stage(i, numbers[i], w, hops[i], leaving[i]) for i, w in enumerate(windows)]


class StreamProcessor:
    """`tidemark.runtime.processor.Processor` of the stream flow.

    models: where the model in force comes from; asked once a batch, so that a batch is scored by one model.
    clock: this machine's, µs since 1970: no record came later, whatever its timestamp says.
    """

    def __init__(self, pipeline: Pipeline, models: ModelSource, clock: Callable[[], int] = wall_clock) -> None:
        self._pipeline = pipeline
        self._clock = clock
        self._now = 0
        self._models = models
        self._reader = RawReader(pipeline)
        self._derived = DerivedFeatures(pipeline)
        stages = _stages(pipeline, self._reader)
        self._stage_of = dict.fromkeys(pipeline.raw_topics, stages[0])
        self._stage_of |= {stage.arriving.topic: stage for stage in stages if stage.arriving is not None}
        self._computed = pipeline.feature_names[: len(pipeline.features) + len(pipeline.windows)]
        self._offers = Offers(pipeline, self._reader.schema)
        self._states: dict[Partition, _State] = {}
        self._model: ActiveModel | None = None
        self._punctuality = Punctuality()
        self._rebuilding = False

    @property
    def topics(self) -> Sequence[str]:
        """The raw topics and the hops."""
        return list(self._stage_of)

    def open(self, partition: Partition, metadata: str) -> int | None:
        """Begin with a partition: empty windows, and the watermark that held at the offset to rewind to.

        Raises:
            TopicError: the metadata is not of this flow.

        """
        position = unpack(partition, metadata)
        watermark = NO_WATERMARK if position.watermark is None else position.watermark
        windows = self._stage_of[partition.topic].windows
        self._states[partition] = _State(
            partition,
            metadata,
            watermark,
            windows.state(watermark),
            Rewind(windows.reach),
            reached=position.reached,
            clock=position.clock,
        )
        if position.rebuild or (position.reach is not None and windows.reach > position.reach):
            # The pipeline file was edited since, and what was kept to rebuild shorter windows is too little; or the
            # operator has reset the flow.
            self._states[partition].begin_anew(windows)
            return EARLIEST
        return position.rewind

    def close(self, partition: Partition) -> None:
        """Drop the state of a partition."""
        self._states.pop(partition, None)

    def process(self, batch: Batch) -> list[Output]:
        """Take in the rows of a batch.

        Raises:
            ModelError: the model gives probabilities of the wrong shape.

        """
        return self.process_round([batch])

    def process_round(self, batches: Sequence[Batch]) -> list[Output]:
        """Take in the rows of batches of different partitions; those of one stage are handled together.

        Raises:
            ModelError: the model gives probabilities of the wrong shape.

        """
        outputs: list[Output] = []
        self._now = self._clock()
        alike: dict[tuple[int, bool], list[Batch]] = {}
        for batch in batches:
            alike.setdefault((self._stage_of[batch.partition.topic].index, batch.replay), []).append(batch)
            state = self._states[batch.partition]
            state.latest = None
            if not batch.replay:
                state.touched = state.replayed = True
                state.clock = None
                state.end_replay()
        if any(batch.replay for batch in batches):
            self._touch_all()
            self._rebuilding = True
        if not all(batch.replay for batch in batches):
            self._model = self._models.current()
        for group in alike.values():
            outputs += self._process_alike(self._stage_of[group[0].partition.topic], group)
        return outputs

    def _process_alike(self, stage: _Stage, batches: Sequence[Batch]) -> list[Output]:
        """Batches of one stage, either all to replay or none."""
        arrivals, bad = self._arrivals(stage, batches)
        replay, topic = batches[0].replay, self._pipeline.topics.deadletter
        outputs = [
            dead_letter(topic, batch, row.row, row.step, row.reason)
            for batch, rows in zip(batches, bad, strict=True)
            for row in rows
            if not replay
        ]
        for arrival in arrivals:
            ready = self._add_windows(stage, [self._states[batch.partition] for batch in batches], arrival)
            if replay:
                continue
            outputs += self._predict(ready) if stage.leaving is None else self._hand_on(stage.leaving, ready.rows)
        return outputs

    def _arrivals(self, stage: _Stage, batches: Sequence[Batch]) -> tuple[list[Arrival], list[list[BadRow]]]:
        clocks = [self._states[batch.partition].clock for batch in batches]
        now = [self._now if clock is None else clock for clock in clocks]
        if stage.arriving is not None:
            return read_hops(stage.arriving.layout, batches, now, self._pipeline.time.most_skew)
        arrival, bad = self._reader.read(batches, now)
        return ([] if arrival is None else [arrival]), bad

    def metadata(self, partition: Partition) -> str:
        """Where the state can be rebuilt from, the watermark there, and the model in force."""
        state = self._states[partition]
        if not state.replayed:
            return state.metadata
        state.end_replay()
        rewind, watermark = state.rewind.position(state.watermark)
        reached, clock = (None, None) if rewind is None else (_known(state.watermark), self._now)
        return pack(
            Position(
                rewind=rewind,
                watermark=_known(watermark),
                reached=reached,
                clock=clock,
                model=self._version,
                reach=self._stage_of[partition.topic].windows.reach,
            )
        )

    def tick(self, now: float) -> list[Output]:
        """Say once of each partition of the last stage that nothing has come for the idle time-out, and who is late."""
        outputs = []
        for state in self._states.values():
            state.end_replay()
            if self._stage_of[state.partition.topic].leaving is not None:
                continue
            if state.touched:
                state.touched, state.idle, state.quiet_since = False, False, now
            elif not state.idle and (now - state.quiet_since) * _SECOND >= self._pipeline.selection.idle_timeout:
                state.idle = True
                meta = Meta(state.partition, None, None, _known(state.watermark))
                outputs.append(self._offers.idle(meta, self._version))
        rebuilding, self._rebuilding = self._rebuilding, False
        told = self._punctuality.tell(now, self._version, rebuilding=rebuilding)
        topic = self._pipeline.topics.metrics
        return outputs + [Output(topic, encode(metric), metric.name.encode()) for metric in told]

    def event_time(self, batch: Batch) -> int | None:
        """How far the batch last processed of the partition moved event time; None if it had no good row."""
        return self._states[batch.partition].latest

    def event_times(self, batch: Batch) -> list[int]:
        """How far each raw record or hop may move event time (µs); `UNKNOWN_TIME` where it tells none."""
        if self._stage_of[batch.partition.topic].arriving is None:
            return self._reader.event_times(batch)
        return [latest_time(headers) for headers in batch.headers]

    @property
    def _version(self) -> str:
        return NO_MODEL if self._model is None else self._model.version

    def _touch_all(self) -> None:
        """While a partition rebuilds its windows, what feeds the others is not idle but late."""
        for state in self._states.values():
            state.touched = True

    def _add_windows(self, stage: _Stage, states: Sequence[_State], arrival: Arrival) -> _Ready:
        """The rows with their windows' features; the states of the partitions of the batches, after them."""
        rows = arrival.rows
        windows = stage.windows
        before = np.empty(len(rows), np.int64)
        added = np.empty((len(rows), len(windows.names)))
        hashes = key_hashes(rows.keys[stage.key]) if windows.names else None
        values = windows.values(rows.features, rows.columns)
        metas = []
        for part in arrival.parts:
            state, own = states[part.batch], slice(part.begin, part.end)
            times, bounded = rows.times[own], state.moved_to(rows.bounded[own])
            latest = int(bounded.max())
            before[own] = running_watermarks(state.watermark, bounded)
            if state.windows is not None and hashes is not None:
                added[own] = state.windows.update(hashes[own], times, values[own], bounded)
                # A hop of an older version may hold a time that is refused today: it must not be kept for ever.
                kept = int(np.minimum(times, rows.bounded[own] + self._pipeline.time.max_ahead).max())
                state.rewind.add(part.first_offset, state.watermark, kept, len(times))
            state.watermark = max(state.watermark, latest)
            state.latest = latest if state.latest is None else max(state.latest, latest)
            meta = Meta(state.partition, part.first_offset, part.last_offset, state.watermark)
            metas.append((part.begin, part.end, meta))
        if not windows.names:
            return _Ready(rows, before, metas)
        features = pl.DataFrame(added, schema=windows.names)
        if rows.features.width:  # a frame of no columns has no height either
            features = rows.features.hstack(features)
        late = rows.late | (rows.times + windows.lateness < before)
        return _Ready(replace(rows, features=features, late=late), before, metas)

    def _hand_on(self, hop: _Hop, rows: Rows) -> list[Output]:
        """Records for each target partition: hash64 of the next key's text modulo the number of partitions.

        In the order of event times, so that rows from one partition do not come late behind those from another.
        """
        target = key_hashes(rows.keys[hop.key]) % np.uint64(self._pipeline.partitions)
        order = np.lexsort((rows.times, target))
        frame = hop.layout.pack(rows)[order]
        partitions, begins = np.unique(target[order], return_index=True)
        ends = [*begins[1:].tolist(), len(order)]
        outputs = []
        for partition, begin, end in zip(partitions.tolist(), begins.tolist(), ends, strict=True):
            for value, headers in encode_hops(rows.origins, frame[begin:end]):
                told = (*headers, hop.layout.fitting.header)
                outputs.append(Output(hop.topic, value, partition=partition, headers=told))
        return outputs

    def _predict(self, ready: _Ready) -> list[Output]:
        """Predictions, proposals and, if wanted, the features of rows that have been through all stages."""
        rows = ready.rows
        self._punctuality.add(rows)
        features = self._derived(rows.features[self._computed])
        scores = score(self._pipeline.selection, *self._probabilities(features), len(rows))
        tiles = np.maximum(ready.watermarks, rows.bounded) // self._pipeline.selection.tile
        ids = event_ids(rows.origins, rows.origin, rows.offsets)
        scored = Scored(rows, self._offers.identity(rows, ids), scores, features)
        outputs = self._offers.predictions(scored)
        for begin, end, meta in ready.metas:
            part = scored if len(ready.metas) == 1 else scored.part(begin, end)
            outputs += self._offers.proposals(part, tiles[begin:end], meta)
            if self._pipeline.features_topic:
                outputs += self._offers.features(part, meta.partition.index)
        return outputs

    def _probabilities(self, features: pl.DataFrame) -> tuple[str, NDArray[np.float64] | None]:
        if self._model is None:
            return NO_MODEL, None
        given = self._model.probabilities(features.to_numpy(order="c"))
        expected = (len(features), len(self._pipeline.label.classes))
        if given.shape != expected:
            raise ModelError(
                f"model {self._model.version} gives probabilities of shape {given.shape}, expected {expected}: "
                "it was trained for other classes; retrain it"
            )
        return self._model.version, given


def _known(watermark: int) -> int | None:
    return None if watermark == NO_WATERMARK else watermark
