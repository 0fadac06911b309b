"""The background sample: whom it draws, that a crash changes nothing, and how large it gets."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from streaming import DAY, MemoryEngine, load_rows, purchases, shop

from tidemark.pipeline.definitions import feature_ids
from tidemark.pipeline.model import Sample
from tidemark.records import Prediction, decode
from tidemark.records.background import Sampled, sampled
from tidemark.runtime.processor import Output
from tidemark.stream.chances import Counted, halvings
from tidemark.stream.outputs import Scored
from tidemark.stream.steps import SampleStep

SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True, scope="module")
def _few_rows_are_many() -> Iterator[None]:
    """A few hundred rows are enough to be drawn with chances below one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tidemark.stream.chances._FEW", 16)
        yield


def engine_of(size: int, keys: int = 1) -> MemoryEngine:
    pipeline = shop(keys=keys)
    return MemoryEngine(pipeline.model_copy(update={"sample": Sample(size=size)}))


def drawn(engine: MemoryEngine) -> list[Output]:
    return [output for _, output in engine.outputs if output.topic == engine.pipeline.topics.sample]


def read(engine: MemoryEngine, output: Output) -> Sampled:
    ids = list(feature_ids(engine.pipeline).values())
    event = sampled(output.key, output.value, output.headers, ids, engine.pipeline.sample.size)
    assert event is not None
    return event


@settings(max_examples=8, deadline=None)
@given(SEEDS, st.sampled_from([1, 2]))
def test_the_sample_is_the_same_after_crashes_and_however_batches_are_cut(seed: int, keys: int) -> None:
    rows = purchases(seed, 200)
    whole, cut = engine_of(32, keys), engine_of(32, keys)
    for engine in (whole, cut):
        load_rows(engine, rows)
    whole.drain(lambda: 10_000)
    portions = random.Random(seed)
    if keys == 1:
        while busy := [p for p in cut.logs if cut.waiting(p)]:
            partition = portions.choice(busy)
            while portions.random() < 0.25:
                cut.step(partition, portions.randint(1, 60), crash=True)
            cut.step(partition, portions.randint(1, 40))
        assert sorted(drawn(cut), key=repr) == sorted(drawn(whole), key=repr)
    events = [read(whole, output) for output in drawn(whole)]
    assert len({event.event_id for event in events}) == len(events) > 20


def test_an_event_is_told_as_it_was_scored() -> None:
    engine = engine_of(1_000)
    load_rows(engine, purchases(5, 30))
    engine.drain(lambda: 10_000)
    predictions = {
        one.event_id: one for log in engine.predictions().values() for one in (decode(Prediction, each) for each in log)
    }
    events = [read(engine, output) for output in drawn(engine)]
    assert events
    for event in events:
        prediction = predictions[event.event_id]
        assert (event.time, event.model, event.probabilities) == (
            prediction.time,
            prediction.model,
            prediction.probabilities,
        )


def test_no_sample_is_drawn_where_its_size_is_none() -> None:
    engine = engine_of(0)
    load_rows(engine, purchases(1, 60))
    engine.drain(lambda: 10_000)
    assert drawn(engine) == []


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (100, 100),
        (512, 512),
        (5_000, 625),
        (10_000, 625),
        (65_536, 2_048),
        (131_072, 4_096),
        (1_000_000, 7_812),
        (864_000_000, 6_591),
    ],
)
def test_a_day_of_few_events_is_drawn_whole_and_one_of_many_gives_one_to_two_samples(
    events: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemark.stream.chances._FEW", 512)
    (halved,) = halvings(np.array([events], np.int64), 4_096).tolist()
    assert events // 2**halved == expected


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 400)), min_size=1, max_size=6), SEEDS)
def test_the_chance_of_a_row_does_not_depend_on_how_batches_are_cut(days: list[tuple[int, int]], seed: int) -> None:
    times = np.concatenate([np.full(rows, DAY * day) for day, rows in days]).astype(np.int64)
    whole = Counted(0).take(times, 4, 64)
    counted, cut = Counted(0), []
    places = sorted(random.Random(seed).sample(range(len(times) + 1), k=min(4, len(times))))
    for begin, end in zip([0, *places], [*places, len(times)], strict=True):
        if begin < end:
            counted = Counted(counted.day, counted.so_far, counted.before)  # as committed
            cut.append(counted.take(times[begin:end], 4, 64))
    assert np.concatenate(cut).tolist() == whole.tolist()


def test_the_chance_falls_as_a_day_fills_and_keeps_to_it_on_the_next() -> None:
    counted = Counted(0)
    first = counted.take(np.zeros(1_000, np.int64), 1, 64)
    second = counted.take(np.full(1_000, DAY, np.int64), 1, 64)
    assert first[0] == 0
    assert (np.diff(first) >= 0).all()
    assert set(second.tolist()) == {int(first[-1])}


def test_events_are_drawn_with_the_chance_that_they_tell_and_spread_over_all_places() -> None:
    engine = engine_of(64)
    load_rows(engine, purchases(11, 3_000))
    engine.drain(lambda: 10_000)
    events = [read(engine, output) for output in drawn(engine)]
    total = sum(1 / event.chance for event in events)
    rows = sum(map(len, engine.predictions().values()))
    spread = np.sqrt(sum((1 - event.chance) / event.chance**2 for event in events))
    assert abs(total - rows) < 4 * spread
    assert len({event.place for event in events}) > 48
    assert min(event.chance for event in events) < 0.2


def test_what_is_missing_or_infinite_of_an_event_is_null_in_the_sample() -> None:
    engine = engine_of(1_000)
    named = engine.pipeline.feature_names
    values = [float("nan"), float("inf"), float("-inf"), *range(len(named) - 3)]

    class Told(SampleStep):
        def _lines(self, scored: Scored, own: NDArray[np.int64], chances: NDArray[np.float64]) -> list[bytes]:
            features = pl.DataFrame([values] * len(scored.features), schema=list(named), orient="row")
            return super()._lines(replace(scored, features=features.cast(pl.Float64)), own, chances)

    engine.processor._sample = Told(engine.pipeline)
    load_rows(engine, purchases(5, 30))
    engine.drain(lambda: 10_000)
    lines = [json.loads(output.value or b"") for output in drawn(engine)]
    assert lines
    for line in lines:
        assert list(line["features"].values()) == [None, None, None, *map(float, range(len(named) - 3))]
