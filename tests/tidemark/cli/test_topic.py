"""A newcomer makes a topic and fills it without Kafka's own tools."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from support import wait_until
from tidemark.cli.app import app
from tidemark.cli.raw_topics import empty_topics
from tidemark.kafka import read_all
from tidemark.kafka.existing import existing_topics
from tidemark.pipeline.loading import parse
from tidemark.runtime.settings import Settings
from tidemark.sources.sending import paced

FRAUD = Path(__file__).parents[3] / "pipelines" / "fraud.toml"


@pytest.fixture(autouse=True)
def _settings(kafka: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in kafka.environment().items():
        monkeypatch.setenv(name, value)


def _run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.output


def test_a_topic_is_made_filled_and_listed_and_only_said_with_dry_run(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.ndjson"
    rows.write_text('{"id": 7, "a": "x"}\n{"id": null, "a": "y"}\n')
    assert _run("topic", "create", unique, "--dry-run") == (0, f"topic '{unique}' would be made, of 4 partitions\n")
    status, said = _run("topic", "produce", unique, str(rows))
    assert status == 1
    assert f"tidemark topic create {unique}" in " ".join(said.split())

    assert _run("topic", "create", unique, "--partitions", "2")[0] == 0
    assert "would be produced" in _run("topic", "produce", unique, str(rows), "--dry-run")[1]
    status, said = _run("topic", "produce", unique, str(rows), "--key", "id")

    assert (status, "1 of them have no key" in said) == (0, True)
    assert {(m.key(), json.loads(m.value() or b"")["a"]) for m in read_all(kafka, unique)} == {(b"7", "x"), (None, "y")}
    assert f"{unique}" in _run("topic", "list")[1]
    assert "already, of 2 partitions" in _run("topic", "create", unique)[1]


def test_of_a_file_with_a_line_that_is_wrong_nothing_is_produced_and_of_a_pipe_it_is_told_what_was(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.ndjson"
    rows.write_text('{"id": 7}\n' * 30_000 + '{"id":\n')
    _run("topic", "create", unique, "--partitions", "1")
    assert "rows.ndjson:30001: is no JSON object" in _run("topic", "produce", unique, str(rows))[1]
    assert read_all(kafka, unique) == []
    said = CliRunner().invoke(app, ["topic", "produce", unique, "-"], input=rows.read_bytes()).output
    assert f"the 30,000 records before it are in '{unique}'" in " ".join(said.split())
    assert len(read_all(kafka, unique)) == 30_000


def test_amounts_that_stay_texts_for_their_comma_are_named_with_what_reads_them(unique: str, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("id;amount\n7;12,5\n8;3,25\n")
    _run("topic", "create", unique, "--partitions", "1")
    said = _run("topic", "produce", unique, str(rows), "--separator", ";", "--dry-run")[1]
    assert "texts, and numbers with --decimal ',': 'amount'" in said
    assert "texts, and" not in _run("topic", "produce", unique, str(rows), "--separator", ";", "--decimal", ",")[1]


def test_settings_of_a_topic_are_changed_the_others_stay_and_dry_run_changes_nothing(
    kafka: Settings, unique: str
) -> None:
    _run("topic", "create", unique, "--partitions", "1")

    def told() -> dict[str, str]:
        return dict(existing_topics(kafka, [unique])[unique].config)

    before = told()
    values = ("retention.ms=7200000", "cleanup.policy=compact,delete")
    status, said = _run("topic", "set", unique, *values, "--dry-run")
    assert (status, said) == (0, f"topic '{unique}': could be set: {', '.join(values)}\n")
    assert told() == before
    assert _run("topic", "set", unique, *values)[0] == 0
    wait_until(
        lambda: told() == before | {"retention.ms": "7200000", "cleanup.policy": "compact,delete"}, "what was set"
    )


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (("retention.ms",), "is no setting; write NAME=VALUE"),
        (("=5",), "is no setting; write NAME=VALUE"),
        (("retention.ms=soon",), "Kafka takes no such setting"),
        (("retention.sm=5",), "Kafka takes no such setting"),
    ],
)
def test_a_setting_that_is_none_is_refused_with_the_reason(values: tuple[str, ...], reason: str, unique: str) -> None:
    _run("topic", "create", unique, "--partitions", "1")
    status, said = _run("topic", "set", unique, *values)
    assert status == 1
    assert reason in " ".join(said.split())


def test_a_topic_that_is_not_there_can_not_be_set(unique: str) -> None:
    status, said = _run("topic", "set", unique, "retention.ms=5")
    assert (status, f"there is no topic '{unique}'" in " ".join(said.split())) == (1, True)


def test_a_raw_topic_that_is_empty_is_named_with_the_one_that_may_have_been_meant(kafka: Settings, unique: str) -> None:
    text = FRAUD.read_text(encoding="utf-8").replace('name = "fraud"', f'name = "{unique[-8:]}"')
    misspelt = parse(text.replace('topic = "fraud.raw"', f'topic = "{unique}-paymnets"'), "p.toml")
    assert [line.partition(":")[0] for line in empty_topics(misspelt, kafka)] == [
        f"topic '{unique}-paymnets' does not exist yet"
    ]

    _run("topic", "create", f"{unique}-payments", "--partitions", "1")
    _run("topic", "create", f"{unique}-paymnets", "--partitions", "1")

    assert list(empty_topics(misspelt, kafka, [f"{unique}-paymnets"])) == [
        f"topic '{unique}-paymnets' is empty, made now: did you mean '{unique}-payments'? Then correct raw[0].topic"
    ]


def test_the_simulated_events_of_a_pipeline_are_sent_to_its_raw_topic(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    file = tmp_path / "p.toml"
    text = FRAUD.read_text(encoding="utf-8").replace('name = "fraud"', f'name = "{unique[-8:]}"')
    file.write_text(text.replace('topic = "fraud.raw"', f'topic = "{unique}"'))
    status, said = _run("feed", str(file))
    assert status == 1
    assert "--simulator fraud|maintenance" in " ".join(said.split())

    status, said = _run("feed", str(file), "--simulator", "fraud", "--events", "40", "--rate", "0")

    assert (status, len(read_all(kafka, unique))) == (0, 40)
    assert "40 events sent" in said


def test_a_feed_keeps_its_rate_and_ends_when_it_is_stopped() -> None:
    class Stop:
        """Waiting moves the clock; the stop comes at 3 s."""

        now = 0.0

        def is_set(self) -> bool:
            return self.now >= 3

        def wait(self, seconds: float) -> bool:
            self.now += seconds
            return self.is_set()

    stop, sent = Stop(), list[tuple[int, float]]()

    paced(range(100), lambda each: sent.append((each, stop.now)), rate=4, stop=stop, clock=lambda: stop.now)  # type: ignore[arg-type]  # any records

    assert sent == [(number, number / 4) for number in range(12)]
