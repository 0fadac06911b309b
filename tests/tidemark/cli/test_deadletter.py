"""Dead letters can be listed, looked at, and sent again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from feeding import feeder
from offsets import read_settled
from typer.testing import CliRunner

from tidemark.cli import console
from tidemark.cli.app import app
from tidemark.kafka import ensure_topics
from tidemark.records.dead_letter import dead_letter
from tidemark.records.topics import Topics, TopicSpec
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.settings import Settings

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
    producer = feeder(kafka)
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
    assert producer.flush(60) == 0


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
    (message,) = read_settled(kafka, f"{name}.raw")
    assert (message.key(), message.value()) == (b"C1", b"{")
    assert dict(message.headers() or [])["replayed_from"] == b"1"


def test_a_truncated_dead_letter_is_not_replayed(kafka: Settings, pipeline_file: tuple[Path, str]) -> None:
    """Half a record is worse than none."""
    path, name = pipeline_file
    _write_letters(kafka, name, [b"x" * 950_000])
    result = CliRunner().invoke(app, ["deadletter", "replay", str(path), "--offset", "0"])
    assert result.exit_code == 1
    assert read_settled(kafka, f"{name}.raw") == []


GOOD = (
    '{"transaction_id": "t1", "customer_id": "C1", "terminal_id": "T1", "time": "2020-09-13T12:00:00Z", "amount": %s}'
)


def test_a_replayed_dead_letter_is_told_from_open_ones_and_not_sent_again(
    kafka: Settings, pipeline_file: tuple[Path, str]
) -> None:
    """Also by the command, also when it comes back as a new dead letter."""
    path, name = pipeline_file
    _write_letters(kafka, name, [b"{", b"}", b"["])
    assert "1 replayed" in _run("replay", str(path), "--offset", "1")
    assert "0 replayed" in _run("replay", str(path), "--offset", "1")
    assert "1 resolved" in _run("resolve", str(path), "--offset", "2", "--why", "a [bold]test[/]")
    listed = _run("list", str(path))
    assert "3 in all: 1 open, 1 replayed, 1 resolved" in listed
    assert "amount: 0" in _run("list", str(path), "--state", "open")
    assert "amount: 1" not in _run("list", str(path), "--state", "open")
    assert "a [bold]test[/]" in _run("show", str(path), "2")
    assert "1 replayed" in _run("replay", str(path), "--all")
    assert [message.value() for message in read_settled(kafka, f"{name}.raw")] == [b"}", b"{"]


def test_a_repair_shows_what_changes_and_is_sent_once(kafka: Settings, pipeline_file: tuple[Path, str]) -> None:
    path, name = pipeline_file
    _write_letters(kafka, name, [(GOOD % '"12,50"').encode(), (GOOD % "1").encode()])
    sql = "amount=CAST(REPLACE(amount, ',', '.') AS DOUBLE)"
    told = _run("edit", str(path), "--set", sql, "--offset", "0", "--yes")
    assert '- amount: "12,50"' in told
    assert "+ amount: 12.5" in told
    assert "1 repaired and replayed" in told
    assert "none of them is open" in _run("edit", str(path), "--set", sql, "--offset", "0", "--yes")
    (message,) = read_settled(kafka, f"{name}.raw")
    assert json.loads(message.value() or b"")["amount"] == 12.5
    assert "repaired before" in _run("show", str(path), "0")


def test_dead_letters_are_counted_by_reason_and_repaired_in_a_file(
    kafka: Settings, pipeline_file: tuple[Path, str], tmp_path: Path
) -> None:
    path, name = pipeline_file
    assert "no dead letters" in _run("reasons", str(path))
    _write_letters(kafka, name, [(GOOD % '"12,50"').encode(), (GOOD % "1").encode(), b"\xff", b"{"])
    assert "1 resolved" in _run("resolve", str(path), "--offset", "3", "--why", "a test")
    (line,) = [line for line in _run("reasons", str(path)).splitlines() if "is no number" in line]
    assert line.split()[:2] == ["3", "4"]
    assert "amount: … is no number" in line
    file = tmp_path / "letters.ndjson"
    assert "3 open dead letters written" in _run("export", str(path), "--to", str(file))
    assert "is there already" in CliRunner().invoke(app, ["deadletter", "export", str(path), "--to", str(file)]).output
    assert "0 of 3 change" in _run("edit", str(path), "--corrections", str(file), "--yes")
    file.write_text(file.read_text().replace('"amount": "12,50"', '"amount": 12.5'))
    assert "nothing is sent" in _run("edit", str(path), "--corrections", str(file), "--dry-run")
    assert read_settled(kafka, f"{name}.raw") == []
    assert "1 repaired and replayed" in _run("edit", str(path), "--corrections", str(file), "--yes")
    (message,) = read_settled(kafka, f"{name}.raw")
    assert json.loads(message.value() or b"")["amount"] == 12.5


def test_with_dry_run_it_is_said_what_would_be_done_and_nothing_is(
    kafka: Settings, pipeline_file: tuple[Path, str]
) -> None:
    path, name = pipeline_file
    _write_letters(kafka, name, [b"{", b"}", b"["])
    _run("resolve", str(path), "--offset", "2", "--why", "a test")
    told = _run("replay", str(path), "--all", "--dry-run")
    assert "2 would be replayed; 1 were dealt with before" in told
    assert "amount: 1 is no number" in told
    assert "1 would be resolved" in _run("resolve", str(path), "--offset", "0", "--why", "a test", "--dry-run")
    assert read_settled(kafka, f"{name}.raw") == []
    assert "3 in all: 2 open, 0 replayed, 1 resolved" in _run("list", str(path))


def test_a_repair_that_would_come_back_is_not_sent(
    kafka: Settings, pipeline_file: tuple[Path, str], tmp_path: Path
) -> None:
    """Whether by SQL or by a file: what the decoder refuses is told before."""
    path, name = pipeline_file
    _write_letters(kafka, name, [(GOOD % '"x"').encode()])
    file = tmp_path / "corrections.ndjson"
    file.write_text('{"offset": 0, "set": {"amount": "y"}}')
    result = CliRunner().invoke(app, ["deadletter", "edit", str(path), "--corrections", str(file), "--yes"])
    assert result.exit_code == 1
    assert "0 is still wrong: amount: expected a number" in result.output
    assert read_settled(kafka, f"{name}.raw") == []
    file.write_text('{"offset": 0, "set": {"amount": 3}}')
    declined = CliRunner().invoke(app, ["deadletter", "edit", str(path), "--corrections", str(file)], input="n\n")
    assert "nothing is sent" in declined.output
    assert "1 repaired" in _run("edit", str(path), "--corrections", str(file), "--yes")


@pytest.mark.parametrize("command", ["list", "show", "reasons", "replay", "edit", "resolve"])
def test_nothing_of_a_record_reaches_the_terminal_but_text(
    kafka: Settings, pipeline_file: tuple[Path, str], command: str
) -> None:
    """Its value, key, headers and reason; markup, ESC, C1, direction overrides, zero width, line ends."""
    path, name = pipeline_file
    evil = "[/] [bold]x[/bold] \x1b[2J \x9b31m \u202eresu \u200b \r\nforged :smile:"
    producer = feeder(kafka)
    batch = Batch(
        Partition(f"{name}.raw{evil}", 0, evil),
        np.array([7]),
        np.array([0]),
        [evil.encode()],
        [b'{"a": "' + evil.encode() + b'\xff"}'],
        [[(evil, evil.encode()), (evil, None), ("b", b"\xff\x1b")]],
    )
    output = dead_letter(Topics(name).deadletter, batch, 0, evil, evil)
    producer.produce(output.topic, output.value, output.key, headers=list(output.headers))
    assert producer.flush(60) == 0
    more = {"show": ["0"], "replay": ["--all"], "edit": ["--all", "--set", "a='b'", "--yes"], "resolve": ["--all"]}
    why = ["--why", evil] if command == "resolve" else []
    result = CliRunner().invoke(app, ["deadletter", command, str(path), *more.get(command, []), *why])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    assert not [c for c in result.output if c != "\n" and not c.isprintable()]
    assert not [line for line in result.output.splitlines() if line.startswith("forged")]
    if command in {"list", "show", "reasons"}:
        assert "[/] [bold]x[/bold] \\x1b[2J" in result.output
        assert ":smile:" in result.output


def test_an_offset_without_a_dead_letter_is_an_error_that_says_so(pipeline_file: tuple[Path, str]) -> None:
    """A sentence, no traceback."""
    result = CliRunner().invoke(app, ["deadletter", "show", str(pipeline_file[0]), "5"])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
