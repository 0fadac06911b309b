from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from tidemark.cli.app import app
from tidemark.cli.topics_compared import topics_lack
from tidemark.cli.up import prepare
from tidemark.kafka import ensure_topics, producer_config
from tidemark.pipeline import load
from tidemark.publishing.avro_schema import schema_of
from tidemark.records import Candidate
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings

FRAUD = Path(__file__).parents[3] / "pipelines" / "fraud.toml"


def test_check_shows_what_a_right_file_says() -> None:
    done = CliRunner().invoke(app, ["check", str(FRAUD)])
    assert done.exit_code == 0
    for shown in (
        "ok fraud",
        "customer_id → terminal_id",
        "23 features",
        "mean of amount",
        "amount / customer_mean_7d",
    ):
        assert shown in done.output


def test_check_names_everything_that_is_wrong_and_exits_with_1(tmp_path: Path) -> None:
    wrong = (
        FRAUD.read_text().replace('positive = "fraud"', 'positive = "x"').replace('"LOG1P(amount)"', '"AVG(amount)"')
    )
    path = tmp_path / "wrong.toml"
    path.write_text(wrong)
    done = CliRunner().invoke(app, ["check", str(path)])
    assert done.exit_code == 1
    assert "label.positive: 'x' is no class" in done.output
    assert (
        "features[1].sql: 'AVG(amount)': it looks at other rows than its own; across rows only [[windows]]"
        in done.output
    )


def test_schema_prints_json() -> None:
    done = CliRunner().invoke(app, ["schema"])
    assert done.exit_code == 0
    assert "selection" in json.loads(done.output)["properties"]
    done = CliRunner().invoke(app, ["schema", "--avro", "candidates"])
    assert json.loads(done.output) == schema_of(Candidate)


@pytest.fixture
def kafka_of_commands(kafka: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("TIDEMARK_BOOTSTRAP_SERVERS", str(kafka.bootstrap_servers))
    return kafka


def test_check_tells_which_topics_are_short_of_what_the_pipeline_needs_and_its_command_mends_them(
    kafka_of_commands: Settings, unique: str, tmp_path: Path
) -> None:
    text = FRAUD.read_text(encoding="utf-8").replace('name = "fraud"', f'name = "{unique}"')
    path = tmp_path / "short.toml"
    path.write_text(text.replace(load(FRAUD).raw_topics[0], f"{unique}.raw"), encoding="utf-8")
    pipeline = load(path)
    short = {"retention.ms": "3600000", "cleanup.policy": "compact,delete"}
    raw = TopicSpec(f"{unique}.raw", pipeline.partitions, short)
    models = TopicSpec(pipeline.topics.models, 1, {"retention.ms": "3600000"})
    ensure_topics(kafka_of_commands, [raw, models])
    shown = CliRunner().invoke(app, ["check", str(path)])
    assert shown.exit_code == 0, shown.output
    commands = [line.split("To mend it: tidemark ")[1] for line in shown.output.splitlines() if "To mend it" in line]
    assert [command.split()[2] for command in commands] == [raw.name, models.name]
    for command in commands:
        mended = CliRunner().invoke(app, command.split())
        assert mended.exit_code == 0, mended.output
    again = CliRunner().invoke(app, ["check", str(path)])
    assert "its topics that exist are as it needs them" in again.output, again.output


def test_topics_as_up_makes_them_lack_nothing(kafka_of_commands: Settings, unique: str, tmp_path: Path) -> None:
    path = tmp_path / "whole.toml"
    text = FRAUD.read_text(encoding="utf-8").replace('name = "fraud"', f'name = "{unique}"')
    path.write_text(text.replace(load(FRAUD).raw_topics[0], f"{unique}.raw"), encoding="utf-8")
    prepare(load(path), kafka_of_commands)
    assert topics_lack(load(path), kafka_of_commands) == []


def test_check_says_that_topics_were_not_compared_where_no_kafka_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    done = CliRunner().invoke(app, ["check", str(FRAUD)])
    assert done.exit_code == 0
    assert "not compared with what runs, nor with the topics that exist" in done.output


def test_init_drafts_a_file_that_passes_the_check(kafka_of_commands: Settings, unique: str, tmp_path: Path) -> None:
    topic, path = f"{unique}.raw", tmp_path / "drafted.toml"
    ensure_topics(kafka_of_commands, [TopicSpec(topic, 3, {})])
    producer = Producer(producer_config(kafka_of_commands, transactional_id=unique))
    producer.init_transactions(60)
    producer.begin_transaction()
    for i in range(90):
        record = {"id": f"T{i}", "at": 1_735_689_600_000 + i, "card": f"C{i % 4}", "amount": i / 4}
        producer.produce(topic, json.dumps(record), key=f"C{i % 4}")
    producer.commit_transaction(60)
    done = CliRunner().invoke(app, ["init", "--topic", topic, "--output", str(path)])
    assert done.exit_code == 0, done.output
    pipeline = load(path)
    assert (pipeline.keys, pipeline.time.format, pipeline.partitions) == (["card"], "epoch_ms", 3)
    assert "from 90 records" in path.read_text()
    again = CliRunner().invoke(app, ["init", "--topic", topic, "--output", str(path)])
    assert again.exit_code == 1
    assert "is there already" in again.output
    printed = CliRunner().invoke(app, ["init", "--topic", topic, "--key", "id"])
    assert 'keys = ["id"]' in printed.output


def test_init_tells_of_a_topic_that_is_empty_or_not_there(kafka_of_commands: Settings, unique: str) -> None:
    ensure_topics(kafka_of_commands, [TopicSpec(unique, 1, {})])
    empty = CliRunner().invoke(app, ["init", "--topic", unique])
    assert empty.exit_code == 1
    assert f"topic '{unique}' is empty" in empty.output
    absent = CliRunner().invoke(app, ["init", "--topic", f"{unique}-no"])
    assert absent.exit_code == 1
    assert f"there is no topic '{unique}-no'" in absent.output


def test_check_names_a_schema_that_is_not_there(tmp_path: Path) -> None:
    text = FRAUD.read_text(encoding="utf-8")
    file = tmp_path / "fraud.toml"
    file.write_text(text.replace("[[raw]]", '[[raw]]\nformat = "avro"\nschema_file = "payment.avsc"', 1))
    done = CliRunner().invoke(app, ["check", str(file)])
    assert done.exit_code == 1
    assert f"raw[0].schema_file: {tmp_path / 'payment.avsc'} can't be read" in " ".join(done.output.split())
    (tmp_path / "payment.avsc").write_text('"string"')
    done = CliRunner().invoke(app, ["check", str(file)])
    assert "it is no schema of a record" in " ".join(done.output.split())
