"""Dead letters can be listed, looked at, and sent again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from tidemark.cli import console
from tidemark.cli.app import app
from tidemark.deadletter import dead_letter
from tidemark.kafka import ensure_topics, producer_config, read_all
from tidemark.processor import Batch, Partition
from tidemark.settings import Settings
from tidemark.topics import Topics, TopicSpec

PIPELINES = Path(__file__).parents[3] / "pipelines"


@pytest.fixture
def pipeline_file(kafka: Settings, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A pipeline of its own on the tests' Kafka: its file and its name."""
    for name, value in kafka.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(console.out, "_width", 200)  # COLUMNS counts only if it was not set as the console was made
    text = (PIPELINES / "fraud.toml").read_text(encoding="utf-8")
    path = tmp_path / "pipeline.toml"
    path.write_text(text.replace('name = "fraud"', f'name = "{unique}"', 1).replace("fraud.raw", f"{unique}.raw"))
    topics = Topics(unique)
    ensure_topics(kafka, [TopicSpec(name, 1, {}) for name in (f"{unique}.raw", topics.deadletter)])
    return path, unique


def _write_letters(kafka: Settings, name: str, values: list[bytes]) -> None:
    producer = Producer(producer_config(kafka))
    count = len(values)
    batch = Batch(
        partition=Partition(f"{name}.raw", 0, "0a1b2c3d"),
        offsets=np.arange(7, 7 + count),
        timestamps=np.zeros(count, dtype="int64"),
        keys=[b"C1"] * count,
        values=list(values),
    )
    for row in range(count):
        output = dead_letter(Topics(name).deadletter, batch, row, "decode", f"amount: {row} is no number")
        producer.produce(output.topic, output.value, output.key, headers=list(output.headers))
    assert producer.flush(10) == 0


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["deadletter", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_dead_letter_is_listed_with_its_source_and_reason(kafka: Settings, pipeline_file: tuple[Path, str]) -> None:
    """Where from, at which step, why."""
    path, name = pipeline_file
    assert "no dead letters" in _run("list", str(path))
    _write_letters(kafka, name, [b'{"amount": "x"}', b"{"])
    listed = _run("list", str(path))
    assert f"{name}.raw[0] 7" in listed
    assert "amount: 0 is no number" in listed
    assert "2 in all" in listed
    assert "amount: 0" not in _run("list", str(path), "--reason", "1 is no")


def test_a_dead_letter_is_shown_as_it_came(kafka: Settings, pipeline_file: tuple[Path, str]) -> None:
    """Headers and value."""
    path, name = pipeline_file
    _write_letters(kafka, name, [b'{"amount": "x"}'])
    shown = _run("show", str(path), "0")
    assert '{"amount": "x"}' in shown
    assert "source_offset 7" in shown


def test_a_replayed_dead_letter_is_in_its_source_topic_again(kafka: Settings, pipeline_file: tuple[Path, str]) -> None:
    """The value and the key as they came; a header tells where from."""
    path, name = pipeline_file
    _write_letters(kafka, name, [b'{"amount": "x"}', b"{"])
    assert "1 replayed" in _run("replay", str(path), "--reason", "1 is no number")
    (message,) = read_all(kafka, f"{name}.raw")
    assert (message.key(), message.value()) == (b"C1", b"{")
    assert dict(message.headers() or [])["replayed_from"] == b"1"


def test_a_truncated_dead_letter_is_not_replayed(kafka: Settings, pipeline_file: tuple[Path, str]) -> None:
    """Half a record is worse than none."""
    path, name = pipeline_file
    _write_letters(kafka, name, [b"x" * 950_000])
    result = CliRunner().invoke(app, ["deadletter", "replay", str(path), "--offset", "0"])
    assert result.exit_code == 1
    assert read_all(kafka, f"{name}.raw") == []


def test_an_offset_without_a_dead_letter_is_an_error_that_says_so(pipeline_file: tuple[Path, str]) -> None:
    """A sentence, no traceback."""
    result = CliRunner().invoke(app, ["deadletter", "show", str(pipeline_file[0]), "5"])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
