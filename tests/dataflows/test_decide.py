"""The decide flow as a process on a real Kafka: each decision once, whatever is killed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from feeding import feeder
from models import number_text, pipeline_text
from typer.testing import CliRunner

from benchmarks.support.flow_process import FlowProcess
from support import wait_until
from tidemark.cli.app import app
from tidemark.cli.topics_compared import made
from tidemark.kafka import ensure_topics, read_all
from tidemark.pipeline import parse
from tidemark.records import Decision, Prediction, decode, encode
from tidemark.runtime.settings import Settings

HOUR = 3_600_000_000
START = 1_750_000_000_000_000
PER_DAY = 40
Said = Callable[[float], dict[str, Any]]
RULE = f"""
    [[decisions]]
    name = "tell"
    {{bound}}
    suppress = "1h"
    per_day = {PER_DAY}
"""


def predictions(count: int, said: Said) -> list[Prediction]:
    """Of 30 keys, over two days."""
    random_ = random.Random(7)
    return [
        Prediction(
            event_id=f"e{number}",
            business_id=None,
            key=f"k{random_.randrange(30)}",
            time=START + number * 48 * HOUR // count,
            uncertainty=None,
            model="m",
            **said(p),
        )
        for number in range(count)
        for p in [random_.randrange(1_000) / 1_000]
    ]


def likely(p: float) -> dict[str, Any]:
    return {"probabilities": [1 - p, p]}


def few_hours(p: float) -> dict[str, Any]:
    """The fewer hours are left, the likelier `likely` would be: 0 h where it is 5 at least."""
    hours = 10 - 20 * p
    return {"probabilities": None, "value": hours, "low": max(hours - 3, -10), "high": min(hours + 3, 10)}


def is_likely(one: Prediction) -> bool:
    return (one.probabilities or [0, 0])[1] >= 0.5


def check(decisions: list[Decision]) -> None:
    """The rule, by the decisions in their order alone."""
    told: list[Decision] = []
    days: Counter[str] = Counter()
    for each in decisions:
        day = datetime.fromtimestamp(each.time // 1_000_000, UTC).date().isoformat()
        lately = [other for other in told if other.key == each.key and abs(other.time - each.time) < HOUR]
        assert (each.decided == "suppressed") == bool(lately), each
        if each.decided == "alert":
            told.append(each)
            days[day] += 1
            assert days[day] <= PER_DAY
    assert max(days.values()) == PER_DAY


@pytest.mark.parametrize("label", ["class", "number"])
def test_each_event_is_decided_once_by_what_was_told_before_though_the_process_is_killed(
    kafka: Settings, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str
) -> None:
    monkeypatch.setenv("TIDEMARK_BOOTSTRAP_SERVERS", str(kafka.bootstrap_servers))
    monkeypatch.setenv("COLUMNS", "120")
    said: Said
    if label == "number":
        said, text = few_hours, number_text(unique, extra=RULE.format(bound="at_most = 0"))
    else:
        said, text = likely, pipeline_text(unique, extra=RULE.format(bound="threshold = 0.5"))
    pipeline = parse(text, "p.toml")
    file = tmp_path / "p.toml"
    file.write_text(text)
    settings = kafka.model_copy(update={"state_dir": tmp_path})
    ensure_topics(settings, made(pipeline))
    producer = feeder(settings)
    log = predictions(3_000, said)
    wanted = {each.event_id for each, one in zip(log, predictions(3_000, likely), strict=True) if is_likely(one)}

    def feed(first: int, last: int) -> None:
        for record in log[first:last]:
            producer.produce(pipeline.topics.predictions, encode(record), (record.key or "").encode())
        assert producer.flush(30) == 0

    def found() -> list[Decision]:
        return [decode(Decision, each.value()) for each in read_all(settings, pipeline.topics.decisions, settled=True)]

    def more_than(before: int) -> bool:
        return len(found()) > before

    output = tmp_path / "decide.log"
    with FlowProcess(settings, "p", "dataflows.run", "decide", str(file), log=output) as process:
        for part in range(3):
            before = len(found())
            feed(1_000 * part, 1_000 * (part + 1))
            wait_until(partial(more_than, before), lambda: process.output, 60)
            process.kill()
            process.start()
        wait_until(lambda: len(found()) >= len(wanted), lambda: process.output, 60)
        assert process.terminate(60) == 0, process.output
        reset = ["reset", str(file), "decide", "--to", "earliest"]
        # The group counts those that were killed for some seconds more.
        wait_until(lambda: CliRunner().invoke(app, reset).exit_code == 0, "it is not reset", 60)
        asked = CliRunner().invoke(app, [*reset, "--publish-again"])
        assert "decisions are made once" in asked.output
        process.start()
        new = predictions(1, said)[0]
        extra = msgspec.structs.replace(new, event_id="new", key="new", time=START + 90 * HOUR, **said(1.0))
        producer.produce(pipeline.topics.predictions, encode(extra), b"new")
        assert producer.flush(30) == 0
        wait_until(lambda: any(each.event_id == "new" for each in found()), lambda: process.output, 60)
        assert process.terminate(60) == 0, process.output
    wanted.add("new")
    decisions = found()
    assert Counter(each.event_id for each in decisions) == Counter(wanted)
    check(decisions)
    played = CliRunner().invoke(app, ["decisions", str(file), "--last", "9000d"])
    assert played.exit_code == 0, played.output
    assert "3,001 predictions, 3,001 of them by a model" in played.output
    assert "No outcome of these events is known" in played.output
    wrong = CliRunner().invoke(app, ["decisions", str(file), "--last", "soon"])
    assert "--last: 'soon'" in wrong.output
