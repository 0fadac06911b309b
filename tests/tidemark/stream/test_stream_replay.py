"""Whatever a stream is cut into and wherever it is cut off: the same outputs, bit for bit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streaming import MemoryEngine, Models, features_as_offline, load_rows, purchases, shop

from tidemark.pipeline import load
from tidemark.records import Prediction, decode
from tidemark.selection.proposals import decode_proposals
from tidemark.simulators.fraud import simulate


@pytest.fixture(autouse=True, scope="module")
def _tight_rewinds() -> Iterator[None]:
    """A rewind to the very batch that is needed: one that begins earlier would hide a rewind that begins too late."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tidemark.features.windows._ROWS_A_SEGMENT", 1)
        yield


FRAUD = Path(__file__).parents[3] / "pipelines" / "fraud.toml"
SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=12, deadline=None)


def run(pipeline_keys: int, rows: list[dict[str, object]], seed: int, *, crashes: float) -> MemoryEngine:
    """Process rows in random portions of random partitions, crashing now and then."""
    engine = MemoryEngine(shop(keys=pipeline_keys))
    load_rows(engine, rows)
    portions, faults = random.Random(seed), random.Random(seed + 1)
    partitions = list(engine.logs)
    while True:
        busy = [p for p in partitions if engine.waiting(p)]
        if not busy:
            return engine
        partition, size = portions.choice(busy), portions.randint(1, 40)
        while faults.random() < crashes:
            engine.step(partition, faults.randint(1, 60), crash=True)
        engine.step(partition, size)


@FEW
@given(SEEDS)
def test_one_key_gives_the_same_predictions_for_any_portions_and_crashes(seed: int) -> None:
    rows = purchases(seed, 220)
    whole = MemoryEngine(shop(keys=1))
    load_rows(whole, rows)
    whole.drain(lambda: 10_000)
    cut = run(1, rows, seed, crashes=0.25)
    assert cut.predictions() == whole.predictions()
    assert sum(map(len, whole.predictions().values())) == len(rows)


@FEW
@given(SEEDS)
def test_two_keys_give_the_same_outputs_when_processes_crash_on_the_way(seed: int) -> None:
    rows = purchases(seed, 200)
    calm, stormy = run(2, rows, seed, crashes=0), run(2, rows, seed, crashes=0.3)
    assert stormy.outputs == calm.outputs
    assert {p: [r.value for r in log] for p, log in stormy.logs.items()} == {
        p: [r.value for r in log] for p, log in calm.logs.items()
    }
    assert stormy.replayed > 0


@FEW
@given(SEEDS)
def test_hops_of_any_portions_give_the_same_predictions(seed: int) -> None:
    rows = purchases(seed, 200)
    portions = random.Random(seed)
    engines = []
    for most in (10_000, 3):
        engine = MemoryEngine(shop(keys=2))
        load_rows(engine, rows)
        for partition in engine.logs:
            while engine.step(partition, portions.randint(1, most) if partition.topic.endswith("place") else 25):
                pass
        engines.append(engine)
    assert engines[0].predictions() == engines[1].predictions()


@FEW
@given(SEEDS, st.sampled_from([1, 2]))
def test_features_equal_the_offline_computation(seed: int, keys: int) -> None:
    pipeline = shop(keys=keys, features_topic=True)
    engine = MemoryEngine(pipeline)
    load_rows(engine, purchases(seed, 150))
    portions = random.Random(seed)
    engine.drain(lambda: portions.randint(1, 30))
    features_as_offline(engine)


@FEW
@given(SEEDS)
def test_three_keys_give_the_features_of_the_offline_computation(seed: int) -> None:
    two = shop(keys=2, features_topic=True)
    window = two.windows[0].model_copy(update={"name": "id_sum", "key": "id", "aggregate": "sum", "column": "place"})
    pipeline = two.model_copy(update={"keys": [*two.keys, "id"], "windows": [*two.windows, window]})
    engine = MemoryEngine(pipeline)
    load_rows(engine, [row | {"id": f"P{i % 5}"} for i, row in enumerate(purchases(seed, 80))])
    portions = random.Random(seed)
    while busy := [p for p in engine.logs if engine.waiting(p)]:
        engine.step(portions.choice(busy), portions.randint(1, 20), crash=portions.random() < 0.2)
    features_as_offline(engine)


def test_the_fraud_pipelines_features_equal_the_offline_computation() -> None:
    pipeline = load(FRAUD).model_copy(update={"features_topic": True})
    engine = MemoryEngine(pipeline)
    load_rows(engine, simulate(3, 600).events.to_dicts())
    engine.drain(lambda: 40)
    numbers = features_as_offline(engine)
    assert np.isnan(numbers).mean() < 0.5


def test_rows_within_the_lateness_are_not_late_and_those_beyond_are() -> None:
    engine = MemoryEngine(shop(keys=1))
    row = purchases(1, 1)[0] | {"who": "x"}
    load_rows(engine, [row | {"at": int(str(row["at"])) + shift} for shift in (0, 20_000_000, 10_000_000, 9_999_999)])
    engine.drain()
    (values,) = engine.predictions().values()
    assert [decode(Prediction, value).late for value in values] == [False, False, False, True]


@FEW
@given(SEEDS)
def test_proposals_hold_each_tiles_smallest_coins_and_best_scores_for_any_portions(seed: int) -> None:
    engine = run(2, purchases(seed, 250), seed, crashes=0.1)
    selection = engine.pipeline.selection
    proposals = [decode_proposals(o.value, list(o.headers)) for _, o in engine.of_topic("shop.proposals")]
    rows = pl.concat(p.rows for p in proposals)
    counts: dict[int, int] = {}
    for p in proposals:
        for tile, count in p.meta.tiles.items():
            counts[tile] = counts.get(tile, 0) + count
    assert sum(counts.values()) == 250
    small = MemoryEngine(engine.pipeline.model_copy(update={"selection": selection.model_copy(update={"budget": 500})}))
    small.logs = engine.logs
    everything = pl.concat(
        decode_proposals(o.value, list(o.headers)).rows
        for partition, log in small.logs.items()
        if partition.topic == "shop.by-place" and log
        for o in small.processor.process(small.batch(partition, log))
        if o.topic == "shop.proposals"
    )
    assert len(everything) == 250
    for tile, count in counts.items():
        whole = everything.filter(tile=tile)
        assert len(whole) == count
        wanted = set(whole.sort("coin").head(selection.explore + 1)["event_id"])
        assert wanted <= set(rows.filter(pl.col("explore"), tile=tile)["event_id"])
        best = whole.sort(["score", "draw"], descending=[True, False]).head(4)["event_id"]
        assert set(best) <= set(rows.filter(pl.col("active"), tile=tile)["event_id"])


@pytest.mark.parametrize("keys", [1, 2])
def test_the_rewind_follows_the_stream(keys: int) -> None:
    engine = MemoryEngine(shop(keys=keys))
    load_rows(engine, purchases(5, 3_000, disorder=5))
    engine.drain(lambda: 100)
    for partition, log in engine.logs.items():
        if log:
            rewind = engine.processor.open(partition, engine.committed[partition][1])
            assert rewind is not None
            assert 0 < log[-1].offset - rewind < log[-1].offset // 2 or partition.topic != "shop.raw"


def test_without_windows_nothing_is_replayed_and_the_watermark_is_kept() -> None:
    pipeline = shop(keys=1)
    bare = pipeline.model_copy(update={"windows": [], "derived": []})
    engine = MemoryEngine(bare, Models(None))
    load_rows(engine, purchases(3, 40))
    engine.drain(lambda: 4)
    whole = engine.outputs
    again = MemoryEngine(bare, Models(None))
    load_rows(again, purchases(3, 40))
    for partition in again.logs:
        while again.step(partition, 4):
            again.start()
    assert again.replayed == 0
    assert again.outputs == whole


@FEW
@given(SEEDS)
def test_the_tile_of_an_event_never_goes_back_in_its_partition(seed: int) -> None:
    engine = run(1, purchases(seed, 150), seed, crashes=0.1)
    length = engine.pipeline.selection.tile
    expected = {}
    for values in engine.predictions().values():
        watermark = 0
        for prediction in (decode(Prediction, value) for value in values):
            watermark = max(watermark, prediction.time)
            expected[prediction.event_id] = watermark // length
    proposals = [decode_proposals(o.value, list(o.headers)) for _, o in engine.of_topic("shop.proposals")]
    found = {event: tile for p in proposals for event, tile in p.rows.select("event_id", "tile").iter_rows()}
    assert found == {event: expected[event] for event in found}
    assert sum(count for p in proposals for count in p.meta.tiles.values()) == 150
    assert len(found) > 40
