"""Records that are sent more than once count once, whatever crashes and however batches are cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import pipeline_text
from streaming import START, MemoryEngine, shop

from tidemark.errors import ConfigError
from tidemark.features.duplicates import Seen, without_duplicates
from tidemark.features.windows import NO_WATERMARK
from tidemark.pipeline import Pipeline, parse, schema_hash
from tidemark.pipeline.definitions import feature_ids
from tidemark.pipeline.model import Deduplicate
from tidemark.runtime.processor import Partition
from tidemark.sources.history import read_history

SECOND: Final = 1_000_000
RAW: Final = Partition("shop.raw", 0, "0000aaaa")


def deduplicated(within: int = 30) -> Pipeline:
    pipeline = shop(keys=1)
    return pipeline.model_copy(
        update={"deduplicate": Deduplicate.model_validate({"key": "id", "within": f"{within}s"})}
    )


def row(name: str | None, at: int, who: str = "w", amount: float = 1.0) -> bytes:
    return msgspec.json.encode(
        {"id": name, "at": START + at * SECOND, "who": who, "place": 1, "amount": amount, "kind": "a"}
    )


def predictions(engine: MemoryEngine) -> list[dict[str, Any]]:
    return [
        msgspec.json.decode(output.value or b"") for _, output in engine.outputs if output.topic == "shop.predictions"
    ]


def naive(rows: list[tuple[str, int]], within: int) -> list[int]:
    """Numbers of the rows that no earlier one of the same key lies near to."""
    return [
        i
        for i, (name, at) in enumerate(rows)
        if not any(name == other and abs(at - then) <= within for other, then in rows[:i])
    ]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), max_size=30), st.integers(1, 30))
def test_in_order_the_first_of_each_key_within_the_time_is_kept(rows: list[tuple[str, int]], cut: int) -> None:
    rows = sorted(rows, key=lambda each: each[1])
    seen = Seen(deduplicated(5))
    hashes = np.array([ord(name) for name, _ in rows], np.uint64)
    times = np.array([at * SECOND for _, at in rows], np.int64)
    kept: list[int] = []
    watermark = NO_WATERMARK
    for begin in range(0, len(rows), cut):
        own = slice(begin, begin + cut)
        first = seen.first(hashes[own], times[own], times[own], watermark)
        kept += (begin + np.flatnonzero(first)).tolist()
        watermark = max([watermark, *times[own][first].tolist()])
    assert kept == naive(rows, 5)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 80)), max_size=40), st.integers(1, 40))
@settings(max_examples=300)
def test_out_of_order_a_row_is_dropped_that_lies_near_to_any_earlier_one_that_still_counts(
    rows: list[tuple[str, int]], cut: int
) -> None:
    seen = Seen(deduplicated(5))
    kept: list[int] = []
    wanted: list[int] = []
    watermark = NO_WATERMARK
    for begin in range(0, len(rows), cut):
        part = rows[begin : begin + cut]
        times = np.array([at * SECOND for _, at in part], np.int64)
        first = seen.first(np.array([ord(name) for name, _ in part], np.uint64), times, times, watermark)
        kept += (begin + np.flatnonzero(first)).tolist()
        watermark = max([watermark, *times[first].tolist()])
    highest = -1_000
    for i, (name, at) in enumerate(rows):
        counts = highest - 5 - 10  # within and lateness
        near = [then for other, then in rows[:i] if other == name and abs(at - then) <= 5 and then > counts]
        if at <= counts or not near:
            wanted.append(i)
            highest = max(highest, at)
    assert kept == wanted


def test_what_is_sent_late_and_sent_again_is_dropped_too() -> None:
    times = np.array([100, 92, 92, 100, 60, 60], np.int64) * SECOND
    first = Seen(deduplicated(5)).first(np.full(6, 7, np.uint64), times, times, NO_WATERMARK)
    assert first.tolist() == [True, True, False, False, True, True], "60 is too late to be looked at"


def test_a_key_that_every_row_has_takes_bounded_memory() -> None:
    seen = Seen(deduplicated(5))
    times = np.random.default_rng(0).permuted(np.arange(1_000_000, 6_000_000, 1_000, dtype=np.int64))
    seen.first(np.ones(len(times), np.uint64), times, np.zeros(len(times), np.int64), 0)
    assert len(seen._times[1]) <= 4


class _Counted(int):
    """A time that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: int) -> bool:
        _Counted.compared += 1
        return super().__lt__(other)

    def __gt__(self, other: int) -> bool:
        _Counted.compared += 1
        return super().__gt__(other)


def test_a_key_of_which_many_times_still_count_is_looked_up_in_few_steps() -> None:
    time = shop().time.model_copy(update={"lateness": 86_400_000_000})
    seen = Seen(deduplicated(1).model_copy(update={"time": time}))
    many = np.arange(2_000, dtype=np.int64) * 2 * SECOND
    assert seen.first(np.ones(len(many), np.uint64), many, many, NO_WATERMARK).all()
    seen._times[1] = [_Counted(at) for at in seen._times[1]]
    assert len(seen._times[1]) == len(many), "some do not count any more"
    seen.first(np.ones(1, np.uint64), np.array([SECOND + 1]), np.zeros(1, np.int64), 0)
    assert _Counted.compared < 100


@given(
    st.lists(st.tuples(st.sampled_from("uvwxyz"), st.sampled_from("abc"), st.integers(0, 60)), min_size=1, max_size=40),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_a_stream_of_several_partitions_and_a_history_drop_the_same_rows(
    rows: list[tuple[str, str, int]], by_hop: bool
) -> None:
    """Keyed by the first key, or by anything, so that rows meet by their first key in a topic of the pipeline."""
    rows = sorted(rows, key=lambda each: each[2])
    pipeline = deduplicated(10)
    if by_hop:
        pipeline = pipeline.model_copy(update={"raw": [pipeline.raw[0].model_copy(update={"key": "other"})]})
    engine = MemoryEngine(pipeline)
    number: dict[tuple[str, str], int] = {}
    for i, (who, name, at) in enumerate(rows):
        partition = Partition("shop.raw", (i if by_hop else ord(who)) % pipeline.partitions, "0000aaaa")
        offset = engine.produce(partition, row(name, at, who))
        number[str(partition.index), str(offset)] = i
        while engine.waiting(partition):
            engine.step(partition, 10)
    engine.drain()
    kept = sorted(
        number[each["event_id"].split("-")[1], each["event_id"].split("-")[2]] for each in predictions(engine)
    )
    times = np.array([START + at * SECOND for _, _, at in rows], np.int64)
    columns = {"who": [who for who, _, _ in rows], "id": [name for _, name, _ in rows]}
    assert kept == np.flatnonzero(without_duplicates(pipeline, pl.DataFrame(columns), times)).tolist()


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 90), st.integers(1, 3)), min_size=1, max_size=25),
    st.lists(st.tuples(st.integers(1, 9), st.booleans(), st.booleans()), min_size=3, max_size=30),
)
@settings(max_examples=40, deadline=None)
def test_a_crash_changes_nothing_of_what_is_dropped_and_of_what_windows_hold(
    sent: list[tuple[str, int, int]], turns: list[tuple[int, bool, bool]]
) -> None:
    whole, broken = MemoryEngine(deduplicated()), MemoryEngine(deduplicated())
    for engine in (whole, broken):
        for i, (name, at, times) in enumerate(sent):
            for _ in range(times):
                engine.produce(RAW, row(f"{name}{at // 40}", at, amount=float(i)), b"w")
    while whole.waiting(RAW):
        whole.round({RAW: 1_000})
    for rows, crash, restart in turns:
        broken.round({RAW: rows}, crash=crash)
        if restart:
            broken.start()
    while broken.waiting(RAW):
        broken.round({RAW: 7})
    assert predictions(broken) == predictions(whole)


def test_a_record_that_is_sent_again_is_neither_predicted_nor_counted_in_windows_but_counted_as_dropped() -> None:
    engine = MemoryEngine(deduplicated())
    engine.processor.tick(1_000.0)
    for value in (row("x", 0), row("x", 0), row("y", 1), row("x", 5), row("x", 60), row(None, 61), row(None, 61)):
        engine.produce(RAW, value, b"w")
    while engine.waiting(RAW):
        engine.round({RAW: 3})
    letters = [output for _, output in engine.outputs if output.topic == "shop.deadletter"]
    assert len(letters) == 2, "the id is required in this pipeline"
    told = predictions(engine)
    assert [each["event_id"].split("-")[2] for each in told] == [
        str(offset) for offset in offsets_of(engine, (0, 2, 4))
    ]
    (metric,) = [output for output in engine.processor.tick(1_020.0) if output.key == b"duplicate_share"]
    assert msgspec.json.decode(metric.value or b"")["detail"] == {"duplicates": 2}


def test_records_with_an_empty_key_have_none_and_are_all_kept(tmp_path: Path) -> None:
    engine = MemoryEngine(deduplicated())
    values = [row("", 0, amount=1.0), row("", 0, amount=2.0), row(" ", 1), row("", 2), row(" ", 3)]
    for value in values:
        engine.produce(RAW, value, b"w")
    while engine.waiting(RAW):
        engine.round({RAW: 3})
    assert len(predictions(engine)) == 4, "a space is a key"
    path = tmp_path / "rows.ndjson"
    path.write_bytes(b"\n".join(values) + b"\n")
    assert len(read_history(deduplicated(), path)) == 4


def offsets_of(engine: MemoryEngine, numbers: tuple[int, ...]) -> list[int]:
    return [engine.logs[RAW][number].offset for number in numbers]


def test_a_history_lacks_the_rows_that_the_stream_drops(tmp_path: Path) -> None:
    rows = [("x", 60), ("x", 0), ("y", 1), ("x", 20), ("x", 0), ("y", 90)]
    path = tmp_path / "rows.ndjson"
    path.write_bytes(b"\n".join(row(name, at, amount=float(i)) for i, (name, at) in enumerate(rows)) + b"\n")
    assert read_history(deduplicated(), path)["amount"].to_list() == [0.0, 1.0, 2.0, 5.0]
    assert len(read_history(shop(keys=1), path)) == len(rows)


def test_dropping_is_part_of_what_a_window_means_and_of_nothing_else() -> None:
    plain, own = shop(keys=1), deduplicated()
    assert schema_hash(plain) != schema_hash(own)
    assert feature_ids(plain)["who_count"] != feature_ids(own)["who_count"]
    assert feature_ids(plain)["amount"] == feature_ids(own)["amount"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('key = "nothing"\nwithin = "1m"', "deduplicate.key"),
        ('key = "a"\nwithin = "1m"', "deduplicate.key: column 'a' is a float; a key is a string or an int"),
        ('key = "id"\nwithin = "1m"', "deduplicate.key: column 'id' has a default, so all records without a key"),
    ],
)
def test_a_key_that_can_not_tell_records_apart_is_refused(text: str, says: str) -> None:
    columns = '[columns]\nid = { type = "string", required = false, default = "none" }'
    with pytest.raises(ConfigError) as refused:
        parse(pipeline_text("p", extra=f"[deduplicate]\n{text}").replace("[columns]", columns), "p.toml")
    assert says in str(refused.value)
