"""The worked example of docs/how-to/own-source.md, installed as a package of somebody else."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from models import pipeline_text
from outside import OWN_SOURCE, entry_points_of, examples, in_path, install
from sourcing import pipeline_of, raw, toml

from support import wait_until
from tidemark.errors import ConfigError
from tidemark.kafka import ensure_topics
from tidemark.records.source_kinds import SOURCE_KINDS
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    files = examples("sqltail", OWN_SOURCE)
    points = entry_points_of(files.pop("pyproject.toml"))
    installed = install(tmp_path / "site", "sqltail", files, points)
    with in_path(installed):
        yield installed


def _add(path: Path, begin: int, end: int) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE IF NOT EXISTS payments (key, time, a, b, c)")
        rows = [(f"k{n % 5}", "2025-01-01T00:00:00Z", n, 1, 1) for n in range(begin, end)]
        database.executemany("INSERT INTO payments VALUES (?, ?, ?, ?, ?)", rows)
    database.close()


def test_a_kind_of_another_package_is_checked_with_the_file_and_listed_with_ours(site: Path) -> None:
    assert site.is_dir()
    assert "sqlite" in SOURCE_KINDS.names()
    assert pipeline_of("sqlite", {"file": "shop.db", "table": "payments"}).sources[0].kind == "sqlite"
    with pytest.raises(ConfigError, match=r"options.tabel: is no option of kind sqlite; did you mean 'table'"):
        pipeline_of("sqlite", {"file": "shop.db", "tabel": "payments"})


@pytest.mark.timeout(170)
def test_each_row_of_the_example_is_there_once_though_its_process_is_killed(
    kafka: Settings, unique: str, tmp_path: Path, site: Path
) -> None:
    options = {"file": "shop.db", "table": "payments"}
    pipeline = pipeline_of("sqlite", options, unique)
    ensure_topics(kafka, [TopicSpec(pipeline.raw_topics[0], 2, {}), TopicSpec(pipeline.topics.deadletter, 1, {})])
    file = tmp_path / "p.toml"
    extra = f'[[sources]]\nname = "s"\nkind = "sqlite"\noptions = {toml(options)}\n'
    file.write_text(pipeline_text(unique, extra=extra))
    _add(tmp_path / "shop.db", 0, 10)
    settings = kafka.model_copy(update={"state_dir": tmp_path / "home"}).environment()
    environment = {**os.environ, **settings, "PYTHONPATH": str(site)}

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "dataflows.sources", str(file), "s"], env=environment)

    def numbers() -> Counter[int]:
        return Counter(json.loads(message.value() or b"")["a"] for message in raw(kafka, pipeline))

    process, written, chance = start(), 10, random.Random(2)
    try:
        for _ in range(2):
            _add(tmp_path / "shop.db", written, written + 15_000)
            written += 15_000
            _reads(numbers)
            time.sleep(chance.uniform(0, 0.2))  # the moment is what is tried
            process.send_signal(signal.SIGKILL)
            process.wait(60)
            process = start()
        wait_until(lambda: sum(numbers().values()) >= written, "rows are missing", 60, poll=0.5)
    finally:
        process.terminate()
        process.wait(60)
    assert process.returncode == 0
    assert numbers() == Counter(range(written))


def _reads(numbers: object) -> None:
    assert callable(numbers)
    before = len(numbers())
    wait_until(lambda: len(numbers()) > before, "nothing is read", 60, poll=0.05)
