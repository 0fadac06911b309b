"""Logs and folders on a real Kafka, whose process is killed at seeded moments: each line is there once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from models import pipeline_text
from sourcing import headers, pipeline_of, raw, toml

from support import wait_until
from tidemark.kafka import ensure_topics
from tidemark.pipeline import Pipeline
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings


def _row(number: int) -> str:
    return json.dumps({"key": f"k{number % 5}", "time": "2025-01-01T00:00:00Z", "a": number, "b": 1, "c": 1}) + "\n"


def _numbers(settings: Settings, pipeline: Pipeline) -> Counter[int]:
    return Counter(json.loads(message.value() or b"")["a"] for message in raw(settings, pipeline))


@pytest.mark.timeout(175)
@pytest.mark.parametrize("kind", ["log", "folder"])
def test_each_line_is_there_once_though_the_process_is_killed_while_files_grow_and_rotate(
    kafka: Settings, unique: str, tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    options: dict[str, object] = {"paths": [str(folder / "app.log")]} if kind == "log" else {"path": str(folder)}
    options["interval"] = "20ms"
    pipeline = pipeline_of(kind, options, unique)
    ensure_topics(kafka, [TopicSpec(pipeline.raw_topics[0], 2, {}), TopicSpec(pipeline.topics.deadletter, 1, {})])
    file = tmp_path / "p.toml"
    extra = f'[[sources]]\nname = "s"\nkind = "{kind}"\noptions = {toml(options)}\n'
    file.write_text(pipeline_text(unique, extra=extra))
    environment = {**os.environ, **kafka.model_copy(update={"state_dir": tmp_path / "home"}).environment()}

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "dataflows.sources", str(file), "s"], env=environment)

    chance = random.Random(11)
    written, number = 0, 0
    current = folder / ("app.log" if kind == "log" else "rows.ndjson")
    process = start()
    try:
        for _ in range(2):
            for _ in range(chance.randrange(3, 6)):
                with current.open("a") as stream:
                    stream.writelines(_row(n) for n in range(written, written + 2_000))
                written += 2_000
                if chance.random() < 0.6:
                    number += 1
                    rotated = f"app.log.{number}" if kind == "log" else f"rows-{number}.ndjson"
                    current.rename(folder / rotated)
            _reads(kafka, pipeline)
            time.sleep(chance.uniform(0, 0.3))  # the moment is what is tried
            process.send_signal(signal.SIGKILL)
            process.wait(60)
            process = start()
        wait_until(lambda: sum(_numbers(kafka, pipeline).values()) >= written, "lines are missing", 60, poll=0.5)
    finally:
        process.terminate()
        process.wait(60)
    assert process.returncode == 0
    assert _numbers(kafka, pipeline) == Counter(range(written))
    assert {headers(message)["tidemark-source"] for message in raw(kafka, pipeline)} == {b"s"}


def _reads(settings: Settings, pipeline: Pipeline) -> None:
    before = len(raw(settings, pipeline))
    wait_until(lambda: len(raw(settings, pipeline)) > before, "nothing is read", 60, poll=0.05)
