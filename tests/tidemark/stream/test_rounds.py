"""Batches of several partitions together: the same as one after the other, but for the order of what is handed on."""

from __future__ import annotations

import json
import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from streaming import NOW_MS, START, MemoryEngine, features_as_offline, load_rows, purchases, shop

from tidemark.runtime.processor import UNKNOWN_TIME, Batch, Partition
from tidemark.selection.proposals import decode_proposals
from tidemark.stream import StreamProcessor
from tidemark.stream.hops import decode_hop

SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=12, deadline=None)


def told(engine: MemoryEngine) -> list[str]:
    """What each output says, sorted: Arrow records as their rows."""
    said = []
    for _, output in engine.outputs:
        if output.topic == "shop.proposals":
            proposals = decode_proposals(output.value, list(output.headers))
            said.append(repr((proposals.meta, proposals.rows.to_dicts())))
        elif output.topic == "shop.deadletter":
            said.append(repr((output.value, [header for header in output.headers if header[0] != "at"])))
        else:
            said.append(repr(output))
    return sorted(said)


@FEW
@given(SEEDS, st.integers(1, 40))
def test_partitions_together_give_what_they_give_one_after_the_other(seed: int, rows: int) -> None:
    apart, joined = MemoryEngine(shop(keys=1)), MemoryEngine(shop(keys=1))
    for engine in (apart, joined):
        load_rows(engine, purchases(seed, 150))
        for i, partition in enumerate(engine.logs):
            engine.produce(partition, b"{" + str(i).encode())
    apart.drain(lambda: rows)
    while joined.round(dict.fromkeys(joined.logs, rows)):
        pass
    assert told(joined) == told(apart)
    assert len(list(joined.of_topic("shop.deadletter"))) == len(joined.logs)
    assert joined.committed == apart.committed


@FEW
@given(SEEDS)
def test_features_of_rounds_with_crashes_equal_the_offline_computation(seed: int) -> None:
    pipeline = shop(keys=2, features_topic=True)
    engine = MemoryEngine(pipeline)
    load_rows(engine, purchases(seed, 150))
    chance = random.Random(seed)
    partitions = list(engine.logs)
    while any(engine.waiting(partition) for partition in partitions):
        some = chance.sample(partitions, chance.randint(1, len(partitions)))
        engine.round({partition: chance.randint(1, 30) for partition in some}, crash=chance.random() < 0.2)
    features_as_offline(engine)
    assert engine.replayed > 0 or engine.committed


@FEW
@given(SEEDS)
def test_rows_are_handed_on_in_the_order_of_their_event_times(seed: int) -> None:
    engine = MemoryEngine(shop(keys=2))
    load_rows(engine, purchases(seed, 90))
    raw = [partition for partition in engine.logs if partition.topic == "shop.raw"]
    assert engine.round(dict.fromkeys(raw, 1_000))
    hops = [decode_hop(r.value, r.headers) for p, log in engine.logs.items() if p not in raw for r in log]
    assert sum(len(hop.rows) for hop in hops) == 90
    assert all(hop.rows["_time"].is_sorted() for hop in hops)
    assert max(len(set(hop.rows["_origin"])) for hop in hops) > 1


def test_each_partition_of_a_round_makes_its_own_proposals() -> None:
    engine = MemoryEngine(shop(keys=1))
    load_rows(engine, purchases(5, 60))
    assert engine.round(dict.fromkeys(engine.logs, 1_000))
    metas = [decode_proposals(o.value, list(o.headers)).meta for _, o in engine.of_topic("shop.proposals")]
    counted = {meta.partition: (meta.last_offset, sum(meta.tiles.values())) for meta in metas}
    assert counted == {p.index: (log[-1].offset, len(log)) for p, log in engine.logs.items()}


def test_event_times_are_told_before_rows_are_processed() -> None:
    engine = MemoryEngine(shop(keys=2))
    raw = Partition("shop.raw", 0, "0000aaaa")
    values = [
        json.dumps({"id": "P", "at": START + 7, "who": "w", "place": 1}).encode(),
        b"{",
        None,
        json.dumps({"at": -5}).encode(),
        json.dumps({"at": START * 3}).encode(),
        json.dumps({"at": START, "who": 3}).encode(),
    ]
    n = len(values)
    batch = Batch(raw, np.arange(n), np.full(n, NOW_MS), [b"w"] * n, values, [None] * n)
    times = [START + 7, UNKNOWN_TIME, UNKNOWN_TIME, UNKNOWN_TIME, UNKNOWN_TIME, START]
    assert engine.processor.event_times(batch) == times
    load_rows(engine, purchases(2, 30))
    assert engine.round({p: 1_000 for p in engine.logs if p.topic == "shop.raw"})
    for partition, log in engine.logs.items():
        if log and partition.topic == "shop.by-place":
            batch = engine.batch(partition, log)
            processor = StreamProcessor(engine.pipeline, engine.models)
            processor.open(partition, "")
            processor.process(batch)
            assert max(processor.event_times(batch)) == processor.event_time(batch)
    strange = Batch(partition, np.arange(1), np.zeros(1, np.int64), [None], [b""], [[("latest", b"soon")]])
    assert engine.processor.event_times(strange) == [UNKNOWN_TIME]
