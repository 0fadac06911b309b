"""A key may be called whatever a column may: rows reach its windows all the same."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from flow_rounds import FlowProcessor, opened
from hypothesis import given
from hypothesis import strategies as st
from running import Constant, Even

import dataflows.stream
from tidemark.pipeline import Pipeline, parse
from tidemark.records.topics import Topics
from tidemark.runtime.processor import Batch, Output, Partition

_BEGAN = 1_735_689_600


def _pipeline(first: str, second: str) -> Pipeline:
    one, other = json.dumps(first), json.dumps(second)
    return parse(
        f"""
        name = "wards"
        partitions = 1
        keys = [{one}, {other}]

        [[raw]]
        topic = "wards.raw"

        [time]
        column = "at"
        format = "epoch_s"
        lateness = "1m"

        [columns]
        {one} = {{ type = "string" }}
        {other} = {{ type = "int" }}
        at = {{ type = "int" }}
        pulse = {{ type = "float" }}

        [[features]]
        name = "pulse"

        [[windows]]
        name = "of_first"
        key = {one}
        aggregate = "count"
        size = "1h"

        [[windows]]
        name = "of_second"
        key = {other}
        aggregate = "sum"
        column = "pulse"
        size = "1h"

        [label]
        classes = ["no", "yes"]
        positive = "yes"
        delay = "1d"
        question = "Ill?"
        context = ["pulse", {one}, {other}]

        [selection]
        tile = "1h"
        budget = 4
        explore = 1
        """,
        "wards.toml",
    )


def _batch(partition: Partition, records: list[Output]) -> Batch:
    n, keys, values = len(records), [each.key for each in records], [each.value for each in records]
    return Batch(
        partition, np.arange(n), np.full(n, _BEGAN * 1_000), keys, values, [list(each.headers) for each in records]
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [("Patient ID", "Bett №"), ("patient.id", "bed.number"), ("a b", "a_b"), ("a%2Eb", "a.b"), ("名", "a/b (c)")],
)
def test_windows_over_keys_of_any_name_are_filled(first: str, second: str) -> None:
    pipeline = _pipeline(first, second)
    (hop,) = pipeline.hop_topics
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,249}", hop)
    raw, hops = Partition("wards.raw", 0, "0a0b0c0d"), Partition(hop, 0, "0a0b0c0d")
    flow = FlowProcessor(
        lambda source, sink: dataflows.stream.build(source, sink, pipeline, Constant(Even(2))),
        clock=lambda: (_BEGAN + 60) * 1_000_000,
    )
    opened(flow, raw, hops)
    rows = [{first: f"p{i % 2}", second: i % 3, "at": _BEGAN + i, "pulse": 60.0 + i} for i in range(6)]
    given = [Output("wards.raw", json.dumps(row).encode(), str(row[first]).encode()) for row in rows]
    handed_on = [each for each in flow.process_round([_batch(raw, given)]) if each.topic == hop]
    predictions = [
        json.loads(each.value or b"")
        for each in flow.process_round([_batch(hops, handed_on)])
        if each.topic == "wards.predictions"
    ]
    assert len(predictions) == len(rows)
    assert {each["key"] for each in predictions} == {"p0", "p1"}


@given(st.lists(st.text(min_size=1, max_size=30), min_size=2, max_size=6, unique=True))
def test_each_key_has_a_topic_of_its_own_whose_name_kafka_takes(keys: list[str]) -> None:
    names = [Topics("p").hop(key) for key in keys]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,249}", name) for name in names)


def test_a_key_whose_name_a_topic_can_have_keeps_the_topic_that_it_always_had() -> None:
    assert Topics("fraud").hop("terminal_id") == "fraud.by-terminal_id"
    assert Topics("p").hop("user.id-2") == "p.by-user.id-2"
