"""Clocks that are wrong: devices', producers', this machine's. What they may do to others, and what they may not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streaming import DAY, PIPELINE, START, MemoryEngine, Stored, shop

from tidemark.errors import ConfigError
from tidemark.pipeline import Pipeline, parse
from tidemark.records import Metric, Prediction, decode
from tidemark.runtime.processor import Batch, Partition
from tidemark.selection.proposals import decode_proposals
from tidemark.stream import StreamProcessor

MINUTE: Final = 60_000_000
HOUR: Final = 60 * MINUTE
YEAR_9998: Final = 253_339_228_800_000_000


def day_pipeline(keys: int = 1) -> Pipeline:
    """The shop with a lateness of a minute and the default limits of clocks."""
    pipeline = shop(keys=keys)
    time = pipeline.time.model_copy(update={"lateness": MINUTE, "max_ahead": DAY})
    return pipeline.model_copy(update={"time": time, "partitions": 1})


@dataclass
class Timed(MemoryEngine):
    """The engine in memory, each raw record with a timestamp of its own, read at a clock that the test moves."""

    now: int = START
    stamps: dict[tuple[Partition, int], int] = field(default_factory=dict)

    def __init__(self, pipeline: Pipeline) -> None:
        self.now = START
        self.stamps = {}
        super().__init__(pipeline, gap=0)

    def make(self) -> StreamProcessor:
        return StreamProcessor(self.pipeline, self.models, clock=lambda: self.now)

    def batch(self, partition: Partition, records: list[Stored], *, replay: bool = False) -> Batch:
        batch = super().batch(partition, records, replay=replay)
        stamps = [self.stamps.get((partition, record.offset), self.now // 1_000) for record in records]
        return Batch(
            partition, batch.offsets, np.array(stamps, np.int64), batch.keys, batch.values, batch.headers, replay
        )

    def send(self, at: int, who: str, stamp: int, *, partition: int = 0) -> None:
        """A record of an event time, with a timestamp in ms."""
        row = {"id": f"{who}-{at}", "at": at, "who": who, "place": 1, "amount": 2.0, "kind": "a"}
        place = Partition("shop.raw", partition, "0000aaaa")
        offset = self.produce(place, json.dumps(row).encode(), who.encode())
        self.stamps[place, offset] = stamp

    def told(self) -> list[Prediction]:
        return [decode(Prediction, output.value) for _, output in self.of_topic("shop.predictions")]


def a_day_with(engine: Timed, ahead: int, stamp: str) -> None:
    """288 rows in a day of which every twelfth is of a device whose clock is ahead; processed as they come."""
    for i in range(288):
        engine.now = START + i * 5 * MINUTE
        wrong = i % 12 == 3
        at = engine.now + (ahead if wrong else -20_000_000)
        produced = {"create": at if wrong else engine.now, "append": engine.now, "none": -1_000}[stamp] // 1_000
        engine.send(at, "ahead" if wrong else f"w{i % 4}", produced)
        engine.drain()


@pytest.mark.parametrize("keys", [1, 2])
@pytest.mark.parametrize("stamp", ["append", "create", "none"])
@pytest.mark.parametrize("ahead", [2 * HOUR, 23 * HOUR])
def test_one_device_whose_clock_runs_ahead_makes_no_row_of_another_late(ahead: int, stamp: str, keys: int) -> None:
    engine = Timed(day_pipeline(keys))
    a_day_with(engine, ahead, stamp)
    told = engine.told()
    assert len(told) == 288, "those of the device are predicted too"
    assert sum(prediction.late for prediction in told) == 0
    tile = engine.pipeline.selection.tile
    watermarks = []
    for _, output in engine.of_topic("shop.proposals"):
        meta = decode_proposals(output.value, list(output.headers)).meta
        assert meta.watermark is not None
        assert max(meta.tiles) <= meta.watermark // tile, "no tile lies ahead of the watermark"
        watermarks.append(meta.watermark)
    assert max(watermarks) <= engine.now + engine.pipeline.time.most_skew


@pytest.mark.parametrize("stamp", [-1, YEAR_9998 // 1_000, 2**62, -(2**62)])
def test_no_timestamp_of_a_producer_lets_the_year_9998_through(stamp: int) -> None:
    engine = Timed(day_pipeline())
    engine.send(START, "w", stamp)
    engine.send(YEAR_9998, "w", stamp)
    engine.send(START + 1, "w", stamp)
    engine.drain()
    assert [prediction.time for prediction in engine.told()] == [START, START + 1]
    assert not any(prediction.late for prediction in engine.told())
    (letter,) = [dict(output.headers) for _, output in engine.of_topic("shop.deadletter")]
    assert b"after the record was read" in letter["reason"]


def test_a_history_that_is_replayed_moves_time_by_its_events() -> None:
    engine = Timed(day_pipeline())
    engine.now = START + 300 * DAY
    for i in range(50):
        engine.send(START + i * MINUTE, f"w{i % 3}", engine.now // 1_000)
    engine.send(START, "w0", engine.now // 1_000)
    engine.drain()
    assert [prediction.late for prediction in engine.told()] == [False] * 50 + [True]
    meta = [decode_proposals(o.value, list(o.headers)).meta for _, o in engine.of_topic("shop.proposals")]
    assert meta[-1].watermark == START + 49 * MINUTE


rows = st.lists(
    st.tuples(
        st.integers(0, 40),  # seconds since the row before
        st.sampled_from([0, 0, 0, 0, -5, 15, 600, 40_000, 90_000]),  # how far the device's clock is off, seconds
        st.sampled_from(["right", "right", "right", "none", "wrong"]),  # the producer's timestamp
        st.booleans(),  # whether the process crashes before the commit
        st.booleans(),  # whether it starts again after the commit
    ),
    min_size=1,
    max_size=40,
)


@given(rows=rows, later=st.sampled_from([0, HOUR]))
def test_a_restart_at_any_moment_predicts_what_a_run_without_one_does(
    rows: Sequence[tuple[int, int, str, bool, bool]], later: int
) -> None:
    """`later`: how long it takes to start again, so that timestamps ahead of the clock are believed meanwhile."""
    whole, broken = Timed(day_pipeline()), Timed(day_pipeline())
    now = START
    for passed, off, stamp, crashes, restarts in rows:
        now += passed * 1_000_000
        at = now + off * 1_000_000
        produced = {"right": now // 1_000, "none": -1, "wrong": at // 1_000}[stamp]
        for engine in (whole, broken):
            engine.now = now
            engine.send(at, f"w{passed % 3}", produced)
        whole.drain()
        if crashes:
            broken.step(Partition("shop.raw", 0, "0000aaaa"), 1, crash=True)
        broken.drain()
        if restarts:
            broken.now += later
            broken.start()
            broken.now = now
    assert broken.predictions() == whole.predictions()
    raw = Partition("shop.raw", 0, "0000aaaa")
    watermarks = [json.loads(engine.committed[raw][1]) if raw in engine.committed else {} for engine in (whole, broken)]
    assert watermarks[0].get("reached") == watermarks[1].get("reached")


def test_who_is_late_and_whose_clock_runs_ahead_is_in_the_metrics() -> None:
    engine = Timed(day_pipeline())
    engine.processor.tick(START / 1e6)
    a_day_with(engine, 2 * HOUR, "append")
    outputs = engine.processor.tick(engine.now / 1e6)
    told = {o.key: decode(Metric, o.value) for o in outputs if o.topic == "shop.metrics"}
    late, ahead = told[b"late_share"], told[b"ahead_share"]
    assert late.value == 0.0
    assert (ahead.value, ahead.n) == (24 / 288, 288)
    assert ahead.detail["key_1"] == "ahead"
    assert ahead.detail["rows_1"] == 24
    assert ahead.detail["ahead_s_1"] == pytest.approx(2 * 3_600 - engine.pipeline.time.most_skew / 1e6)
    assert not [o for o in engine.processor.tick(engine.now / 1e6 + 60) if o.topic == "shop.metrics"]


def test_a_skew_by_which_one_clock_makes_others_late_is_refused() -> None:
    text = shop_text('skew = "11s"')
    with pytest.raises(ConfigError, match=r"time.skew: '11s' is more than time.lateness"):
        parse(text, "shop.toml")
    assert parse(shop_text('skew = "10s"'), "shop.toml").time.most_skew == 10_000_000
    assert parse(shop_text(""), "shop.toml").time.most_skew == 5_000_000


def shop_text(line: str) -> str:
    return PIPELINE.format(keys='["who"]', second="").replace('lateness = "10s"', f'lateness = "10s"\n{line}')
