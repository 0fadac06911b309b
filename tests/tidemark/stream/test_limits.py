"""Whatever a row carries, no record that is made of it is larger than a topic takes."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streaming import START, MemoryEngine, Models, load_rows, purchases, shop

from tidemark.records import Candidate, decode
from tidemark.runtime.processor import Batch, Output, Partition
from tidemark.selection import SelectProcessor
from tidemark.stream import outputs as offers
from tidemark.stream.hops import decode_hop
from tidemark.stream.pieces import RECORD_BYTES, in_pieces

RAW = Partition("shop.raw", 0, "0000aaaa")
MEGABYTE = 1_048_588
"""What a topic takes by default, of a batch of records."""


def produce(engine: MemoryEngine, **fields: object) -> None:
    row = {"id": "P1", "at": START, "who": "w", "place": 3, "amount": 2.5, "kind": "a"} | fields
    engine.produce(RAW, json.dumps(row).encode())


def size(output: Output) -> int:
    headers = sum(len(name) + len(content or b"") + 10 for name, content in output.headers)
    return len(output.key or b"") + len(output.value or b"") + headers


def test_a_text_beyond_its_limit_is_a_dead_letter_that_names_the_limit() -> None:
    engine = MemoryEngine(shop(keys=2))
    produce(engine, id="x" * 600_000)
    produce(engine, who="é" * 513)
    produce(engine, who="é" * 512)
    produce(engine, kind="x" * 65_537)
    produce(engine, kind="x" * 65_536)
    outputs = engine.processor.process(engine.batch(RAW, engine.waiting(RAW)))
    letters = [output for output in outputs if output.topic == "shop.deadletter"]
    reasons = [dict(letter.headers)["reason"].decode() for letter in letters]
    assert ["id: 600,000 bytes, over limits.key = 1,024" in reasons[0], "who: 1,026" in reasons[1]] == [True, True]
    assert "kind: 65,537 bytes, over limits.text = 65,536" in reasons[2]
    assert len(letters) == 3
    assert all(size(output) < MEGABYTE for output in outputs)
    assert sum(len(decode_hop(o.value, list(o.headers)).rows) for o in outputs if o.topic == "shop.by-place") == 2


@pytest.mark.parametrize("keys", [1, 2])
def test_rows_with_large_texts_give_records_that_fit_and_none_is_lost(keys: int) -> None:
    pipeline = shop(keys=keys)
    limits = pipeline.limits.model_copy(update={"key": 16_384})
    engine = MemoryEngine(pipeline.model_copy(update={"limits": limits, "features_topic": True}), Models())
    rng = np.random.default_rng(3)
    for i in range(300):
        long = int(rng.integers(1, 8_000)) if i % 3 else 8_000
        produce(engine, id=f"{i}-" + "\x01" * long, kind="k" * int(rng.integers(60_000)), at=START + i * 1_000_000)
    for partition in engine.logs:
        while waiting := engine.waiting(partition):
            outputs = engine.processor.process(engine.batch(partition, waiting))
            assert max(map(size, outputs)) < MEGABYTE
            engine.step(partition, len(waiting))
    predicted = [output for _, output in engine.of_topic("shop.predictions")]
    assert len({output.value for output in predicted}) == len(predicted) == 300


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=60), st.integers(0, 10**6), st.integers(500, 5_000))
def test_pieces_hold_every_row_once_and_only_single_rows_are_larger(sizes: list[int], estimate: int, most: int) -> None:
    def encode(begin: int, end: int) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
        return b"x" * sum(sizes[begin:end]), (("h", b"123"),)

    pieces = list(in_pieces(len(sizes), estimate, encode, most))
    assert [row for begin, end, _, _ in pieces for row in range(begin, end)] == list(range(len(sizes)))
    for begin, end, value, _ in pieces:
        assert len(value) + 4 <= most or end - begin == 1


def selected(engine: MemoryEngine, proposals: list[Output]) -> list[Output]:
    """What selection makes of proposals in their order."""
    n = len(proposals)
    processor = SelectProcessor(engine.pipeline)
    partition = Partition("shop.proposals", 0, "0000cccc")
    processor.open(partition, "")
    batch = Batch(
        partition,
        np.arange(n, dtype=np.int64),
        np.full(n, START // 1_000, np.int64),
        [output.key for output in proposals],
        [output.value for output in proposals],
        [list(output.headers) for output in proposals],
    )
    return processor.process(batch)


@pytest.mark.parametrize("policy", ["margin", "random"])
def test_proposals_in_many_records_lead_to_the_very_candidates_of_one_record(
    policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def candidates(most: int) -> tuple[int, list[Candidate]]:
        monkeypatch.setattr(offers, "in_pieces", partial(in_pieces, most=most))
        engine = MemoryEngine(shop(keys=1, policy=policy))
        load_rows(engine, purchases(6, 400, keys=20))
        engine.drain(lambda: 60)
        proposals = [output for _, output in engine.of_topic("shop.proposals")]
        found = selected(engine, proposals)
        return len(proposals), [decode(Candidate, o.value) for o in found if o.topic == "shop.candidates"]

    few, whole = candidates(RECORD_BYTES)
    many, split = candidates(4_000)
    assert many > 2 * few
    assert split == whole
    assert len(whole) > 3
