from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from feeding import feeder
from labeling import PIPELINE, SOURCE, arrivals, candidate, pipeline
from typer.testing import CliRunner

from benchmarks.support.postgres import PostgresServer
from labeling_grpc.client import LabelingClient, Stats
from labeling_grpc.commands.labeling import Answer, LeaseCases, LeasedCase, SubmitAnswers, TakeIn
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.database import open_store, open_tokens
from labeling_grpc.files.export import export
from labeling_grpc.files.formulas import armed
from labeling_grpc.options import queue_database
from labeling_grpc.security.roles import Role
from labeling_grpc.server import serve
from support import wait_until
from tidemark.cli.app import app
from tidemark.errors import ConfigError
from tidemark.kafka import ensure_topics
from tidemark.records import Label, decode, encode
from tidemark.records.topics import Topics, TopicSpec
from tidemark.runtime.settings import Settings

ATTACK = '=HYPERLINK("http://example.org","look")'


def label(number: int, annotator: str = "ada", **over: object) -> Label:
    asked = candidate(number)
    values = {name: getattr(asked, name) for name in Label.__struct_fields__ if hasattr(asked, name)}
    values |= {"status": "answered", "label": "fraud", "annotator": annotator, "known_at": 5, "answered_at": 6}
    return Label(**values | {"annotation_id": f"{annotator}{number}"} | over)


@pytest.fixture
def file(kafka: Settings, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipeline's file, with its topics, and an environment that names the tests' Kafka and a home of its own."""
    for name, value in (kafka.environment() | {"TIDEMARK_HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    topics = Topics(unique)
    ensure_topics(kafka, [TopicSpec(name, 1, {}) for name in (topics.candidates, topics.labels, topics.deadletter)])
    path = tmp_path / f"{unique}.toml"
    path.write_text(PIPELINE.replace("NAME", unique))
    return path


def send(kafka: Settings, topic: str, records: list[bytes]) -> None:
    producer = feeder(kafka)
    for record in records:
        producer.produce(topic, record)
    assert producer.flush(60) == 0


def run(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, ["queue", *arguments])
    assert result.exit_code == exit_code, result.output
    return " ".join((result.output + result.stderr).split())


@pytest.mark.parametrize("attack", [ATTACK, "+1", "-1+1", "@SUM(A1)", "\tx", "\uff1d1", "\n=1"])
def test_a_cell_of_a_csv_never_begins_a_formula(tmp_path: Path, attack: str) -> None:
    export([label(1, annotator=attack, comment=attack), label(2, comment="a=b")], tmp_path / "l.csv")
    with (tmp_path / "l.csv").open(newline="") as opened:
        first, second = csv.DictReader(opened)
    assert (first["comment"], first["annotator"]) == (armed(attack), armed(attack))
    assert armed(attack).startswith("'")
    assert (second["comment"], second["f_amount"], second["probabilities"]) == ("a=b", "2.0", "0.4 0.6")


def test_parquet_and_ndjson_hold_what_was_said(tmp_path: Path) -> None:
    labels = [label(1, comment=ATTACK, confidence=0.5), label(2, status="skipped", label=None)]
    export(labels, tmp_path / "l.ndjson")
    assert [decode(Label, line) for line in (tmp_path / "l.ndjson").read_bytes().splitlines()] == labels
    export(labels, tmp_path / "l.parquet")
    read = pl.read_parquet(tmp_path / "l.parquet")
    assert read["comment"].to_list() == [ATTACK, None]
    assert read["probabilities"].to_list() == [[0.4, 0.6], [0.4, 0.6]]
    assert read["f_count_1d"].to_list() == [None, None]
    export([], tmp_path / "none.parquet")
    assert pl.read_parquet(tmp_path / "none.parquet").height == 0


def test_label_studio_gets_a_task_for_each_event_and_no_answer_as_the_truth(tmp_path: Path) -> None:
    labels = [label(1), label(2), label(1, annotator="ben", status="skipped", label=None)]
    export(labels, tmp_path / "l.json")
    first, second = json.loads((tmp_path / "l.json").read_text())
    assert (first["data"]["event_id"], second["data"]["event_id"]) == (labels[0].event_id, labels[1].event_id)
    answered, skipped = first["annotations"]
    assert answered["result"][0]["value"] == {"choices": ["fraud"]}
    assert (answered["was_cancelled"], skipped["was_cancelled"], skipped["result"]) == (False, True, [])
    assert not any(annotation["ground_truth"] for annotation in first["annotations"])


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.csv, \.parquet, \.ndjson, \.json"):
        export([], tmp_path / "l.xlsx")


def test_the_command_exports_all_annotations_or_what_they_come_to(
    kafka: Settings, unique: str, file: Path, tmp_path: Path
) -> None:
    corrected = label(1, annotator="ben", label="genuine", supersedes="ada1")
    send(kafka, Topics(unique).labels, [encode(record) for record in (label(1), label(2), corrected)])
    assert "3 written" in run("export", str(file), "--to", str(tmp_path / "all.csv"))
    assert "is there already" in run("export", str(file), "--to", str(tmp_path / "all.csv"), exit_code=1)
    assert "2 written" in run("export", str(file), "--to", str(tmp_path / "all.csv"), "--force", "--verdicts")
    read = pl.read_csv(tmp_path / "all.csv")
    assert sorted(read["label"].to_list()) == ["fraud", "genuine"]


@pytest.mark.parametrize(
    ("store", "running_says"), [("sqlite", "is in use by the labeling service"), ("postgresql", "stop every replica")]
)
def test_a_queue_that_is_rebuilt_is_what_it_was(
    kafka: Settings,
    unique: str,
    file: Path,
    store: str,
    running_says: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = ""
    if store == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.url
        monkeypatch.setenv("TIDEMARK_LABELING_DATABASE", url)
    settings = Settings.from_environment()
    database = queue_database(settings, unique, url)
    send(kafka, Topics(unique).candidates, [encode(candidate(i, explore=i % 3 == 0)) for i in range(20)])
    tokens = open_tokens(database, unique)
    secret = tokens.create(Role.ADMIN, "ada", 10**12).secret
    tokens.close()

    def served() -> tuple[Stats, list[str]]:
        with serve(pipeline(unique), settings, database=database) as running:
            assert running_says in run("rebuild", str(file), exit_code=1)
            with LabelingClient(running.address, "ada") as client:
                wait_until(lambda: client.stats().waiting == 13, lambda: f"13 should wait: {client.stats()}", 60)
                wait_until(lambda: client.stats().unpublished == 0, "the outbox is not emptied")
                tasks = client.lease(20)
                client.release(tasks)
                return client.stats(), [task.event_id for task in tasks]

    with serve(pipeline(unique), settings, database=database) as running, LabelingClient(running.address, "ben") as ben:
        for number in range(7):
            (task,) = ben.lease(1, wait=20.0)
            if number == 3:
                ben.skip(task)
            else:
                ben.submit(task, "fraud")
    before, order = served()
    assert "20 cases would be read from Kafka anew; 0 records" in run("rebuild", str(file), "--dry-run")
    assert "is empty" in run("rebuild", str(file))
    after, order_after = served()
    assert order_after == order
    assert (after.waiting_explore, after.waiting_active) == (before.waiting_explore, before.waiting_active)
    assert (after.answered, after.skipped, after.event_clock) == (before.answered, before.skipped, before.event_clock)
    tokens = open_tokens(database, unique)
    assert tokens.find(secret) is not None
    tokens.close()


def test_with_dry_run_cases_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(state_dir=tmp_path).at("127.0.0.1:9")
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "pay.toml"
    file.write_text(PIPELINE.replace("NAME", "pay"))
    asked = [candidate(number, priority=1 - number / 10) for number in range(3)]
    labels = tmp_path / "labels.ndjson"
    labels.write_text(f'{{"event_id": "{asked[2].event_id}", "label": "fraud"}}\n')
    with serve(pipeline("pay"), settings) as running, LabelingClient(running.address, "ada") as client:
        running._writer.call(TakeIn(SOURCE, None, len(asked), arrivals(asked)))
        (task,) = client.lease()
        client.submit(task, "fraud")
        ids = [case.event_id for case in asked] + ["unknown-0-0-0a1b2c3d"]
        before = client.stats()
        told = run("expire", str(file), *ids, "--why", "a test", "--dry-run")
        assert "2 would be closed, 2 left as they are" in told
        assert f"{asked[0].event_id}: answered" in told
        told = run("requeue", str(file), *ids, "--why", "a test", "--dry-run")
        assert "1 would be put back, 3 left as they are" in told
        assert "unknown-0-0-0a1b2c3d: unknown" in told
        assert "1 labels would be sent: 1 fraud" in run("import", str(file), str(labels), "--dry-run")
        of_kafka: dict[str, Any] = {"now": 0, "intake_problem": "", "publishing_problem": ""}
        assert replace(client.stats(), **of_kafka) == replace(before, **of_kafka)
        assert [record.state for record in client.cases()] == ["answered", "waiting", "waiting"]


def test_features_that_the_pipeline_has_not_are_named_before_labels_are_sent(tmp_path: Path) -> None:
    own = pipeline("pay").feature_names[0]
    path, labels = tmp_path / "pay.toml", tmp_path / "labels.ndjson"
    path.write_text(PIPELINE.replace("NAME", "pay"))
    row = {"event_id": "e1", "label": "fraud", "known_at": 2, "time": 1}
    labels.write_text(json.dumps(row | {"features": {own: 1.5, f"{own}s": 2.5, "z9": 1, "gone": None}}) + "\n")
    told = CliRunner().invoke(app, ["queue", "import", str(path), str(labels), "--dry-run"])
    assert f"no model learns from them: '{own}s' (did you mean '{own}'?), 'z9'\n" in told.output
    labels.write_text(json.dumps(row | {"features": {own: 1.5}}) + "\n")
    assert "learns" not in CliRunner().invoke(app, ["queue", "import", str(path), str(labels), "--dry-run"]).output


def test_cases_are_assigned_and_people_are_absent_by_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path))
    path = tmp_path / "pay.toml"
    path.write_text(PIPELINE.replace("NAME", "pay"))
    with serve(pipeline("pay"), Settings(state_dir=tmp_path).at("127.0.0.1:9")) as server:
        server._writer.call(TakeIn(SOURCE, None, 2, arrivals([candidate(1), candidate(2, explore=True)])))
        here = [str(path), "--address", server.address]
        events = [candidate(number).event_id for number in (1, 2)]
        told = run("assign", *here, *events, "--to", "ada", "--why", "knows the customer")
        assert "1 assigned to ada, 1 left as they are" in told
        with LabelingClient(server.address, "ada", pipeline="pay") as client:
            assert [record.assignee for record in client.cases(assigned=True)] == ["ada"]
        assert "1 taken back" in run("assign", *here, events[0], "--nobody", "--why", "at capacity")
        assert "say to whom" in run("assign", *here, events[0], "--why", "x", exit_code=1)
        told = run(
            "annotator", *here, "ada", "--skills", "cards,loans", "--quota", "20", "--absent-until", "2999-12-07"
        )
        assert "ada: active, skilled in cards, loans, 20 cases a day, absent until 2999-12-07 00:00 UTC" in told
        told = run("annotator", *here, "ada", "--back", "--skills", "any", "--quota", "0")
        assert "ada: active, every skill, no bound a day" in told
        assert "is past" in run("annotator", *here, "ada", "--absent-until", "1999-01-01", exit_code=1)
        for until in ("9999-12-31", "9999-12-31T23:59-12:00"):  # whose year not every zone can write
            assert "absent_until_us" in run("annotator", *here, "ada", "--absent-until", until, exit_code=1)


def test_what_is_not_in_kafka_yet_is_not_thrown_away_unasked(unique: str, file: Path) -> None:
    database = queue_database(Settings.from_environment(), unique, "")
    store = open_store(database, Topics(unique), QueueRules(classes=("genuine", "fraud")))
    store.transact([TakeIn(SOURCE, None, 1, arrivals([candidate(1)]))])
    (given,) = store.transact([LeaseCases("ada", 1, 10**12)]).results
    assert isinstance(given, list)
    (case,) = (task for task in given if isinstance(task, LeasedCase))
    store.transact([SubmitAnswers((Answer(case.event_id, case.token, "answered", "fraud"),))])
    assert "in use" in run("rebuild", str(file), exit_code=1)
    store.close()
    assert "1 records of the queue are not in Kafka yet" in run("rebuild", str(file), exit_code=1)
    assert "1 records that were not in Kafka are lost" in run("rebuild", str(file), "--discard-unpublished")
