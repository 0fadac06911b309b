"""The flow of docs/how-to/own-flow.md, as the page has it: on a real Kafka, killed and started again."""

from __future__ import annotations

import os
import random
import re
from collections import defaultdict
from pathlib import Path

import polars as pl
from feeding import feeder
from offsets import read_settled

from benchmarks.support.flow_process import FlowProcess
from support import wait_until
from tidemark.cli.up import prepare
from tidemark.kafka import ensure_topics, read_all
from tidemark.pipeline import load
from tidemark.records import Prediction, decode
from tidemark.records.event_id import parse_event_id
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings

_ROOT = Path(__file__).parents[3]
_PAGE = _ROOT / "docs" / "how-to" / "own-flow.md"
_HOUR = 3_600_000
_START = 1_735_689_600_000
_ROWS = 2_000
_RATES = {"EUR": 1.0, "CHF": 1.05, "USD": 0.92}
_BAD = {7: b"no bars", 100: b"P|today|C1|1|EUR", 700: b"P|1735689600000|C1|1|XXX", 1_500: b"\xff|||"}
"""Records that can't be processed, by their numbers."""


def _files(folder: Path, name: str) -> Path:
    """The page's pipeline, under another name, and its flow beside it; the pipeline's file."""
    (pipeline,) = re.findall(r"^```toml[^\n]*\n(.*?)^```", _PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (flow,) = re.findall(r"^```python[^\n]*\n(.*?)^```", _PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    folder.joinpath("payments.py").write_text(flow, encoding="utf-8")
    file = folder / "payments.toml"
    head = f'name = "{name}"\npartitions = 2\n'
    text = pipeline.replace('name = "payments"\n', head, 1).replace("payments.raw", f"{name}.raw")
    file.write_text(text, encoding="utf-8")
    return file


def _payments() -> list[tuple[str, int, str, float, str]]:
    """Payments two minutes apart: id, time (ms), customer, amount, currency."""
    generator = random.Random(5)
    return [
        (f"P{i}", _START + i * 120_000, f"C{generator.randrange(9)}", generator.randrange(1, 200) / 4, currency)
        for i, currency in enumerate(generator.choices(list(_RATES), k=_ROWS))
    ]


def _send(settings: Settings, topic: str, rows: range) -> None:
    producer = feeder(settings)
    for i, payment in enumerate(_payments()):
        if i in rows:
            value = _BAD.get(i, "|".join(map(str, payment)).encode())
            producer.produce(topic, value, payment[2].encode(), int(payment[2][1:]) % 2)
    assert producer.flush(60) == 0


def _expected() -> dict[str, tuple[float, float, float, float]]:
    """Of each payment its euros, its number in its partition, its customer's payments and euros in an hour."""
    expected = {}
    number = [0, 0]
    seen: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for i, (name, at, customer, amount, currency) in enumerate(_payments()):
        partition = int(customer[1:]) % 2
        if i in _BAD:
            number[partition] += i == 700  # this one is decoded and numbered before its currency is looked up
            continue
        number[partition] += 1
        euros = amount * _RATES[currency]
        before = [value for time, value in seen[customer] if time > at - _HOUR]
        seen[customer].append((at, euros))
        expected[name] = (euros, float(number[partition]), float(len(before)), sum(before) + euros)
    return expected


def test_a_users_own_flow_gives_each_output_once_though_it_is_killed(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    file = _files(tmp_path, unique)
    pipeline = load(file)
    topics = pipeline.topics
    settings = kafka.model_copy(update={"state_dir": tmp_path})
    ensure_topics(kafka, [TopicSpec(pipeline.raw_topics[0], 2, {})])
    prepare(pipeline, settings)
    _send(settings, pipeline.raw_topics[0], range(_ROWS // 2))
    log = tmp_path / "flow.log"
    flow = FlowProcess(settings, "own", "payments", str(file), log=log, PYTHONPATH=f"{tmp_path}{os.pathsep}{_ROOT}")
    expected = _expected()
    with flow:
        wait_until(lambda: read_all(kafka, topics.predictions), lambda: f"nothing came:\n{flow.output}", timeout=90)
        flow.kill()
        flow.start()
        _send(settings, pipeline.raw_topics[0], range(_ROWS // 2, _ROWS))
        wait_until(
            lambda: len(read_all(kafka, topics.predictions)) >= len(expected),
            lambda: f"not all was predicted:\n{flow.output[-3_000:]}",
            timeout=90,
        )
        assert flow.terminate() == 0

    predicted = [decode(Prediction, message.value()) for message in read_settled(kafka, topics.predictions)]
    assert sorted(one.business_id or "" for one in predicted) == sorted(expected)
    assert len({parse_event_id(one.event_id) for one in predicted}) == len(expected)
    told = pl.concat(pl.read_ipc_stream(message.value() or b"") for message in read_settled(kafka, topics.features))
    assert sorted(told["business_id"]) == sorted(expected), "the features of each payment, once"
    names = ["euros", "number", "payments_1h", "euros_1h"]
    for row in told.select("business_id", *names).iter_rows():
        assert all(abs(a - b) < 1e-6 for a, b in zip(row[1:], expected[row[0]], strict=True)), row
    letters = [dict(message.headers() or ()) for message in read_settled(kafka, topics.deadletter)]
    assert len(letters) == len(_BAD)
    assert {letter["step"] for letter in letters} == {b"decode", b"columns"}
    assert sum(b"not enough values to unpack" in str(letter["reason"]).encode() for letter in letters) == 1
