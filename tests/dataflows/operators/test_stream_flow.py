"""The stream flow's picture and the same steps in one piece (`StreamProcessor`) give the same records."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from flow_rounds import FlowProcessor
from streaming import NOW_MS, START, MemoryEngine, load_rows, purchases, shop

import dataflows.stream
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import Deduplicate
from tidemark.runtime.processor import Output, Partition


class _Flow(MemoryEngine):
    def make(self) -> Any:  # noqa: ANN401 stands in for the processor
        return FlowProcessor(
            lambda source, sink: dataflows.stream.build(source, sink, self.pipeline, self.models),
            clock=lambda: NOW_MS * 1_000,
        )


def _run(engine: MemoryEngine, seed: int) -> list[tuple[Partition, tuple[int, str]]]:
    """Rows, records that can't be read and ticks through an engine that crashes now and then; all that it committed."""
    load_rows(engine, purchases(seed, 400))
    raws = [partition for partition in engine.logs if partition.topic == "shop.raw"]
    for partition in raws:
        far = json.dumps({"id": "far", "at": START + 2**50, "who": "é1", "place": 1, "amount": 1}).encode()
        wrong = json.dumps({"id": "wrong", "at": START, "who": "z", "place": 1, "amount": 1}).encode()
        for value in (b"{", None, far, wrong):
            engine.produce(partition, value, b"k")
    load_rows(engine, purchases(seed + 10, 100))
    for partition in engine.logs:
        if partition not in raws:
            engine.produce(partition, b"junk", None)
    generator = np.random.default_rng(seed)
    committed = []
    for turn in range(200):
        chosen = {p: int(generator.integers(1, 90)) for p in engine.logs if generator.random() < 0.6}
        crash = bool(generator.random() < 0.15)
        if generator.random() < 0.2:
            engine.outputs += [(raws[0], output) for output in engine.processor.tick(1_000.0 + turn * 0.3)]
        for topic in sorted({partition.topic for partition in chosen}):
            engine.round({p: rows for p, rows in chosen.items() if p.topic == topic}, crash=crash)
            committed += list(engine.committed.items())
        if not any(engine.waiting(partition) for partition in engine.logs):
            break
    for turn in range(2):
        engine.outputs += [(raws[0], output) for output in engine.processor.tick(1e6 + turn * 100)]
    return committed


def _by_topic(engine: MemoryEngine) -> dict[str, list[Output]]:
    """Records of each topic in order; dead letters without the time at which they were written."""
    given: dict[str, list[Output]] = defaultdict(list)
    for _, output in engine.outputs:
        headers = tuple(header for header in output.headers if header[0] != "at")
        given[output.topic].append(output._replace(headers=headers))
    return given


def _pipeline(keys: int) -> Pipeline:
    pipeline = shop(keys=min(keys, 2), features_topic=True)
    if keys == 4:
        amount = pipeline.columns["amount"].model_copy(update={"range": [10.0, 40.0], "outside": "clip"})
        kind = pipeline.columns["kind"].model_copy(update={"vocabulary": ["a"], "other": "b"})
        columns = {**pipeline.columns, "amount": amount, "kind": kind}
        return pipeline.model_copy(
            update={"columns": columns, "deduplicate": Deduplicate.model_validate({"key": "kind", "within": "3s"})}
        )
    if keys < 3:
        return pipeline
    return pipeline.model_copy(update={"raw": [raw.model_copy(update={"key": "other"}) for raw in pipeline.raw]})


@pytest.mark.parametrize(
    "keys", [1, 2, 3, 4], ids=["one key", "two keys", "two keys, neither of the records", "rules of columns"]
)
def test_the_flow_gives_the_records_of_the_steps_in_one_piece_and_commits_the_same(keys: int) -> None:
    flow, whole = _Flow(_pipeline(keys)), MemoryEngine(_pipeline(keys))
    assert _run(flow, keys) == _run(whole, keys)
    expected = _by_topic(whole)
    assert _by_topic(flow) == expected
    assert {"shop.predictions", "shop.proposals", "shop.features", "shop.deadletter", "shop.metrics"} <= set(expected)
    assert [log for _, log in sorted(flow.logs.items(), key=str)] == [
        log for _, log in sorted(whole.logs.items(), key=str)
    ], "hops are the same"


def test_rounds_of_all_stages_and_a_replay_may_be_under_way_together() -> None:
    engine = _Flow(shop(keys=2))
    load_rows(engine, purchases(3, 60))
    raw = [partition for partition in engine.logs if partition.topic == "shop.raw"]
    processor: Any = engine.processor
    hops = Partition("shop.by-place", 0, "0000bbbb")
    engine.produce(hops, b"junk", None)
    rounds = [
        [engine.batch(raw[0], engine.waiting(raw[0])[:5], replay=True)],
        [engine.batch(p, engine.waiting(p)[:9]) for p in raw[1:] if engine.waiting(p)],
        [engine.batch(hops, engine.waiting(hops))],
    ]
    replay, live, letters = processor.process_rounds(rounds)
    assert [output.topic for output in replay.outputs] == []
    assert {output.topic for output in live.outputs} == {"shop.by-place"}
    assert [output.topic for output in letters.outputs] == ["shop.deadletter"]
