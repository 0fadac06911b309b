"""Seeded streams of proposals, and runs of the select flow over them that crash and take up again, without a broker.

What the stream flow proposes is made here from all events of each batch, so that a test knows the events that were not
proposed too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kernels import coin, hash64
from tidemark.evaluation.focus import stretched
from tidemark.pipeline.model import Pipeline
from tidemark.records import NO_MODEL, Candidate, decode
from tidemark.runtime.processor import Batch, Headers, Output, Partition
from tidemark.selection import SelectProcessor
from tidemark.selection.proposals import ProposalMeta, active_rows, encode_proposals, explore_rows, schema
from tidemark.selection.reaction import widest

INCARNATION = "0badcafe"


def pipeline(**selection: object) -> Pipeline:
    """A small pipeline with one raw topic; tiles of 1 ms; `selection` as in a pipeline file, and `partitions`.

    People see the column `kind` (`left` where `x` is below 0, else `right`) if what cases cost depends on it.
    """
    partitions, cost = selection.pop("partitions", 3), selection.get("cost")
    kind = isinstance(cost, dict) and "column" in cost
    context = ["x", "kind"] if kind else ["x"]
    columns = {"k": "string", "x": "float", "y": "float", **({"kind": "string"} if kind else {})}
    return Pipeline.model_validate(
        {
            "name": "p",
            "partitions": partitions,
            "raw": [{"topic": "p.raw"}],
            "keys": ["k"],
            "time": {"column": "t"},
            "columns": {name: {"type": each} for name, each in columns.items()},
            "features": [{"name": "x"}, {"name": "y"}],
            "label": {"classes": ["good", "bad"], "positive": "bad", "delay": "1s", "context": context},
            "selection": {"tile": "1ms", **selection},
        }
    )


@dataclass(frozen=True, slots=True)
class Events:
    """All events of one batch of one partition, in order.

    offset: (n,) in the raw topic.  time: (n,) µs.  positive: (n,) probability of class 1, NaN without a model.
    x: (n, 2) features.
    """

    partition: int
    offset: NDArray[np.int64]
    time: NDArray[np.int64]
    positive: NDArray[np.float64]
    x: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Record:
    """A record of `P.proposals` and all the events behind it: ids, tiles by the partition's watermark, coins."""

    value: bytes
    headers: Headers
    lane: int
    watermark: int | None
    event_id: list[str] = field(default_factory=list)
    tile: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    coin: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))


def event_id(partition: int, offset: int) -> str:
    """Id of an event of these streams."""
    return f"p.raw-{partition}-{offset}-{INCARNATION}"


def propose(pipe: Pipeline, events: Events, watermark: int | None) -> Record:
    """The record that a batch gives; `watermark` held before it."""
    selection, n = widest(pipe), events.time.shape[0]
    highest = np.maximum.accumulate(events.time)
    reached = highest if watermark is None else np.maximum(highest, watermark)
    tile = reached // selection.tile
    stream = hash64(f"p.raw@{INCARNATION}".encode())
    coins = coin(stream, events.partition, events.offset, hash64(selection.version.encode()))
    draws = coin(stream, events.partition, events.offset, hash64(b"draw/" + selection.version.encode()))
    scored = ~np.isnan(events.positive)
    if selection.focused and scored.any():
        coins = stretched(coins, np.column_stack([1 - events.positive, events.positive]))
    elif selection.focused:
        coins = stretched(coins, None)
    score = np.full(n, np.nan) if selection.policy == "random" else 1 - np.abs(2 * events.positive - 1)
    explore, active = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    for number in np.unique(tile):
        mine = np.flatnonzero(tile == number)
        explore[mine[np.argsort(coins[mine], kind="stable")][: explore_rows(selection)]] = True
        order = np.lexsort((draws[mine], -np.nan_to_num(score[mine], nan=-np.inf)))
        active[mine[order][: active_rows(selection)]] = True
    ids = [event_id(events.partition, offset) for offset in events.offset.tolist()]
    keep = np.flatnonzero(explore | active)
    positive = events.positive[keep]
    rows = pl.DataFrame(
        {
            "event_id": [ids[i] for i in keep],
            "business_id": pl.Series([None] * len(keep), dtype=pl.String),
            "key": pl.Series(["k"] * len(keep), dtype=pl.String),
            "time": events.time[keep],
            "tile": tile[keep],
            "coin": coins[keep],
            "explore": explore[keep],
            "score": score[keep],
            "draw": draws[keep],
            "active": active[keep],
            "probabilities": pl.Series(np.column_stack([1 - positive, positive])).cast(pl.List(pl.Float64)),
            "uncertainty": score[keep],
            "model": pl.Series(["m1" if s else NO_MODEL for s in scored[keep].tolist()], dtype=pl.String),
            "f_x": events.x[keep, 0],
            "f_y": events.x[keep, 1],
            "c_x": events.x[keep, 0],
        }
    )
    if "kind" in pipe.label.context:
        side = pl.when(pl.col("f_x") < 0).then(pl.lit("left")).otherwise(pl.lit("right"))
        rows = rows.with_columns(side.alias("c_kind"))
    if not scored.all():
        rows = rows.with_columns(pl.when(pl.col("model") != NO_MODEL).then("probabilities").alias("probabilities"))
    numbers, counts = np.unique(tile, return_counts=True)
    meta = ProposalMeta(
        topic="p.raw",
        partition=events.partition,
        first_offset=int(events.offset[0]),
        last_offset=int(events.offset[-1]),
        watermark=int(reached[-1]),
        tiles=dict(zip(numbers.tolist(), counts.tolist(), strict=True)),
        idle=False,
        policy=selection.version,
        model="m1" if scored.any() else NO_MODEL,
    )
    value, headers = encode_proposals(meta, rows)
    return Record(value, list(headers), events.partition, int(reached[-1]), ids, tile, coins)


def silence(pipe: Pipeline, partition: int, watermark: int | None) -> Record:
    """An idle record."""
    meta = ProposalMeta(
        topic="p.raw",
        partition=partition,
        first_offset=None,
        last_offset=None,
        watermark=watermark,
        tiles={},
        idle=True,
        policy=pipe.selection.version,
        model=NO_MODEL,
    )
    types = {"x": pl.Float64(), "kind": pl.String()}
    types = {name: types[name] for name in pipe.label.context}
    value, headers = encode_proposals(meta, pl.DataFrame(schema=schema(pipe, types)))
    return Record(value, list(headers), partition, watermark)


def stream(
    pipe: Pipeline, rng: np.random.Generator, *, records: int, rows: int, pace: float, cold: int = 0, quiet: float = 0.1
) -> list[Record]:
    """Records of all partitions in a random order, with rows out of order, pauses and partitions that fall idle.

    rows: at most so many a record.  pace: mean event time between a partition's rows, µs.  cold: records before there
    is a model.  quiet: chance of an idle record.
    """
    clock = np.zeros(pipe.partitions)
    offset = np.zeros(pipe.partitions, np.int64)
    watermark: list[int | None] = [None] * pipe.partitions
    log = []
    for number in range(records):
        lane = int(rng.integers(pipe.partitions))
        if rng.random() < quiet:
            log.append(silence(pipe, lane, watermark[lane]))
            continue
        n = int(rng.integers(1, rows + 1))
        times = clock[lane] + np.cumsum(rng.exponential(pace, n))
        clock[lane] = times[-1] + (rng.random() < 0.1) * rng.exponential(pace * rows * 5)
        offsets = offset[lane] + np.cumsum(rng.integers(1, 3, n))
        offset[lane] = offsets[-1] + 1
        late = np.where(rng.random(n) < 0.1, rng.exponential(pace * rows, n), 0)
        positive = np.full(n, np.nan) if number < cold else np.round(rng.random(n), 2)
        times = np.maximum(times - late, 0).astype(np.int64)
        record = propose(pipe, Events(lane, offsets, times, positive, rng.normal(size=(n, 2))), watermark[lane])
        watermark[lane] = record.watermark
        log.append(record)
    return log


@dataclass(slots=True)
class Run:
    """A select flow over a log, as the engine runs it: what is committed is outputs, offset and metadata together."""

    pipe: Pipeline
    log: Sequence[Record]
    step: int = 3
    committed: list[Output] = field(default_factory=list)
    metadata: str = ""
    position: int = 0
    apart: int = 1
    """Milliseconds of Kafka's clock between two records."""
    alarms: Sequence[int] = ()
    """Records at whose time (Kafka's) an alarm of drift was noticed."""

    def to(self, end: int, *, processor: SelectProcessor | None = None) -> None:
        """Start a process that takes up what is committed, and commit up to record `end`. Offsets have gaps: 2i + 7."""
        processor = processor or SelectProcessor(self.pipe, read_asked=self._asked, alarmed=self._alarmed)
        partition = Partition(self.pipe.topics.proposals, 0, INCARNATION)
        rewind = processor.open(partition, self.metadata)
        start = self.position if rewind is None else (rewind - 7) // 2
        for replay, first, last in ((True, start, self.position), (False, self.position, end)):
            for at in range(first, last, self.step):
                until = min(at + self.step, last)
                outputs = processor.process(self._batch(partition, range(at, until), replay=replay))
                if replay:
                    continue
                self.committed += outputs
                self.metadata, self.position = processor.metadata(partition), until

    def crashing_at(self, points: Iterable[int]) -> list[Output]:
        """Everything committed when the process dies after each of these numbers of records, and then runs on."""
        for point in sorted(points):
            self.to(min(max(point, self.position), len(self.log)))
        self.to(len(self.log))
        return self.committed

    def came(self, record: int) -> int:
        """Kafka's timestamp of a record, ms."""
        return 1_700_000_000_000 + self.apart * record

    def _alarmed(self) -> int | None:
        """The newest alarm that is known while the records after the committed ones are processed."""
        return max((self.came(at) * 1_000 for at in self.alarms if at <= self.position), default=None)

    def _asked(self) -> list[Candidate]:
        topic = self.pipe.topics.candidates
        return [decode(Candidate, each.value) for each in self.committed if each.topic == topic]

    def _batch(self, partition: Partition, rows: range, *, replay: bool) -> Batch:
        return Batch(
            partition=partition,
            offsets=np.array([2 * i + 7 for i in rows], np.int64),
            timestamps=np.array([self.came(i) for i in rows], np.int64),
            keys=[None] * len(rows),
            values=[self.log[i].value for i in rows],
            headers=[self.log[i].headers for i in rows],
            replay=replay,
        )
