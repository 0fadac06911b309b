"""Raw records that are keyed by something else than the pipeline's first key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from feeding import feeder
from hypothesis import given
from hypothesis import strategies as st
from streaming import MemoryEngine, features_as_offline, purchases, shop

from dataflows.engine.warmup import rehearse
from tidemark.cli.check import keys_of
from tidemark.features.raw_records import Records
from tidemark.kafka import ensure_topics
from tidemark.kafka.partitioning import partition_of
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import AskSpec
from tidemark.pipeline.record_keys import KeyForm, form_of, record_keys
from tidemark.records.topics import TopicSpec
from tidemark.runtime.processor import Partition
from tidemark.runtime.settings import Settings
from tidemark.sources.files import open_file
from tidemark.stream.key_sample import compare_keys, compare_places
from tidemark.stream.models import NoModel
from tidemark.stream.processor import StreamProcessor

FORMS: tuple[KeyForm, ...] = ("text", "json", "int32", "int64")


def keyed(pipeline: Pipeline, form: KeyForm) -> Pipeline:
    return pipeline.model_copy(update={"raw": [pipeline.raw[0].model_copy(update={"key": form})]})


def scatter(engine: MemoryEngine, rows: list[dict[str, object]], seed: int) -> None:
    """Append rows to any partition, under any key or none."""
    rng = np.random.default_rng(seed)
    for row in rows:
        key = [None, b"", b"anything", str(row["who"]).encode()][rng.integers(4)]
        partition = Partition(engine.pipeline.raw_topics[0], int(rng.integers(engine.pipeline.partitions)), "0000aaaa")
        engine.produce(partition, json.dumps(row, ensure_ascii=False).encode(), key)


@pytest.mark.parametrize("keys", [1, 2])
def test_windows_are_right_whatever_the_records_are_keyed_by(keys: int) -> None:
    engine = MemoryEngine(keyed(shop(keys=keys), "other").model_copy(update={"features_topic": True}))
    assert engine.pipeline.hop_topics == ["shop.by-who", "shop.by-place"][:keys]
    scatter(engine, purchases(5, 300), 1)
    rng = np.random.default_rng(2)
    lanes = list(engine.logs)
    for _ in range(300):
        engine.step(lanes[rng.integers(len(lanes))], int(rng.integers(1, 12)), crash=bool(rng.random() < 0.03))
    engine.drain()
    features = features_as_offline(engine)
    assert len(features) == 300
    assert not list(engine.of_topic(engine.pipeline.topics.deadletter))
    counts = features[:, engine.pipeline.feature_names.index("who_count")]
    assert counts.max() > 2, "rows of one customer meet"


def test_a_record_whose_key_is_not_its_column_is_a_dead_letter_that_says_what_to_write() -> None:
    engine = MemoryEngine(shop(keys=1))
    partition = Partition("shop.raw", 0, "0000aaaa")
    row = {"id": "P1", "at": 1_735_689_600_000_000, "who": "w", "place": 3, "amount": 2.5, "kind": "a"}
    value = json.dumps(row).encode()
    for key in (b"w", b"3", b'"w"', b"w"):
        engine.produce(partition, value, key)
    outputs = engine.processor.process(engine.batch(partition, engine.waiting(partition)))
    letters = [output for output in outputs if output.topic == "shop.deadletter"]
    reasons = [dict(letter.headers)["reason"].decode() for letter in letters]
    assert [letter.key for letter in letters] == [b"3", b'"w"']
    assert all(letter.value == value for letter in letters)
    assert "'who' is 'w'" in reasons[0]
    assert 'key = "other" at [[raw]]' in reasons[0]
    assert 'key = "json" at [[raw]]' in reasons[1]
    assert len([output for output in outputs if output.topic == "shop.predictions"]) == 2


@given(st.lists(st.text(max_size=5), min_size=1), st.sampled_from(FORMS))
def test_of_each_form_a_value_has_one_key_and_different_values_have_different_ones(
    texts: list[str], form: KeyForm
) -> None:
    if form.startswith("int"):
        texts = [str(hash(text) % 2**31) for text in texts]
    keys = record_keys(form, texts, numbers=False)
    assert None not in keys
    assert len(set(keys)) == len(set(texts))
    assert form_of(zip(keys, texts, strict=True), numbers=False) == form


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1), st.sampled_from(FORMS))
def test_the_form_of_numbers_is_found(numbers: list[int], form: KeyForm) -> None:
    if form == "int32":
        numbers = [number % 2**31 for number in numbers]
    texts = list(map(str, numbers))
    found = form_of(zip(record_keys(form, texts, numbers=True), texts, strict=True), numbers=True)
    assert found == ("text" if form == "json" else form), "a number in JSON is its digits"


def test_no_key_is_no_form_of_a_text_that_is_no_number() -> None:
    assert form_of([(None, "a")], numbers=False) == "other"


@pytest.mark.parametrize("key", [None, b"", b"007", b"7.0", b"+7", b"7 ", b"\x00\x00\x00\x00\x01\x07", b'{"who":7}'])
def test_what_is_no_form_of_a_number_is_something_else(key: bytes | None) -> None:
    assert form_of([(key, "7")], numbers=True) == "other"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("type_", ["string", "int"])
def test_a_file_becomes_records_with_the_keys_that_the_stream_wants(
    form: KeyForm, type_: Literal["string", "int"], tmp_path: Path
) -> None:
    pipeline = keyed(shop(keys=1), form)
    column = pipeline.columns["who"].model_copy(update={"type": type_})
    pipeline = pipeline.model_copy(update={"columns": pipeline.columns | {"who": column}})
    numbers = [0, 7, -7, 2**31 - 1]
    whos = numbers if type_ == "int" else list(map(str, numbers))
    rows = [row | {"who": whos[i % 4]} for i, row in enumerate(purchases(1, 30))]
    path = tmp_path / "rows.ndjson"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    records = open_file(path, pipeline, "shop.raw").read(len(rows)) or []
    said = compare_keys(pipeline, "shop.raw", [(record.key, record.value) for record in records])
    assert said == f"topic 'shop.raw': the keys of {len(rows)} sampled records are 'who'"
    assert rehearse(StreamProcessor(pipeline, NoModel()), pipeline)["shop.deadletter"] == 0


def test_a_number_that_the_keys_form_does_not_hold_is_sent_without_a_key() -> None:
    values = [b'{"who": %s}' % who for who in (b"2147483648", b'"a"', b"null")]
    assert [record.key for record in Records(keyed(shop(keys=1), "int32")).records(values)] == [None, None, None]


def test_a_sample_of_records_says_what_to_write() -> None:
    pipeline = shop(keys=1)
    values = [json.dumps(row, ensure_ascii=False).encode() for row in purchases(1, 30)]
    whos = [str(json.loads(value)["who"]) for value in values]
    right = compare_keys(pipeline, "shop.raw", [(who.encode(), v) for who, v in zip(whos, values, strict=True)])
    quoted = [(json.dumps(who, ensure_ascii=False).encode(), v) for who, v in zip(whos, values, strict=True)]
    assert right == "topic 'shop.raw': the keys of 30 sampled records are 'who'"
    assert 'write key = "json" at [[raw]]' in (compare_keys(pipeline, "shop.raw", quoted) or "")
    assert compare_keys(keyed(pipeline, "json"), "shop.raw", quoted) == right
    scattered = compare_keys(pipeline, "shop.raw", [(None, value) for value in values])
    assert scattered is not None
    assert scattered.startswith("topic 'shop.raw': 30 of 30 sampled records are not keyed by 'who'")
    assert 'write key = "other"' in scattered
    assert "none of 2 sampled records" in (compare_keys(pipeline, "shop.raw", [(b"k", b"{"), (None, None)]) or "")


def asked(pipeline: Pipeline) -> Pipeline:
    return pipeline.model_copy(update={"ask": AskSpec.model_validate({"address": "127.0.0.1:0"})})


def test_a_sample_of_records_says_whether_they_lie_where_who_asks_looks_for_their_keys() -> None:
    pipeline = asked(shop(keys=1))
    keys = [f"k{number}".encode() for number in range(40)]
    right = [(key, partition_of(key, 3)) for key in keys]
    said = compare_places(pipeline, "shop.raw", [*right, (None, 1)], 3)
    assert said == "topic 'shop.raw': 40 sampled records lie where [ask] looks for their keys"
    elsewhere = compare_places(pipeline, "shop.raw", [*right, *((key, (place + 1) % 3) for key, place in right[:5])], 3)
    assert elsewhere is not None
    assert elsewhere.startswith("topic 'shop.raw': 5 of 45 sampled records lie in another partition")
    assert compare_places(pipeline, "shop.raw", [(None, 0)], 3) is None
    assert compare_places(shop(keys=1), "shop.raw", right, 3) is None, "nobody asks"
    assert compare_places(keyed(pipeline, "other"), "shop.raw", right, 3) is None, "rows go by a hop"


def test_check_tells_that_the_producers_of_a_topic_use_another_partitioner(kafka: Settings, unique: str) -> None:
    shop_ = asked(shop(keys=1))
    pipeline = shop_.model_copy(update={"raw": [shop_.raw[0].model_copy(update={"topic": unique})]})
    ensure_topics(kafka, [TopicSpec(unique, 3, {})])
    for row in purchases(3, 30):
        key = str(row["who"]).encode()
        feeder(kafka).produce(unique, json.dumps(row).encode(), key, partition=(partition_of(key, 3) + 1) % 3)
    assert feeder(kafka).flush(60) == 0
    keys, places = keys_of(pipeline, kafka, unique)
    assert keys.endswith("the keys of 30 sampled records are 'who'")
    assert "30 of 30 sampled records lie in another partition" in places
