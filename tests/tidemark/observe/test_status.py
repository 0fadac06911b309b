"""`tidemark status`: what it counts, what it says, how it fits a terminal, and what it exits with."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Producer
from dead_letter_desk import write_letters
from feeding import feeder
from models import pipeline_text, small_pipeline
from rich.console import Console
from typer.testing import CliRunner

from support import wait_until
from tidemark.cli.app import app
from tidemark.cli.console import SafeConsole
from tidemark.cli.status_view import printed, rendered
from tidemark.errors import RecordError
from tidemark.kafka import admin, ensure_topics, producer_config
from tidemark.observe import Observer, sampling, status_record
from tidemark.observe.handled import HandledLetters
from tidemark.observe.sampling import WHOLE, latency_since, sample
from tidemark.observe.starting import running
from tidemark.observe.status import decisions_of, shown_topics, status_of
from tidemark.observe.status_record import (
    AlertsStatus,
    AnnotatorStatus,
    BudgetStatus,
    ChampionStatus,
    FigureStatus,
    FlowStatus,
    LabelingStatus,
    LabelStudioStatus,
    LatencyStatus,
    QualityStatus,
    SourceStatus,
    Status,
    TopicStatus,
    WebhookStatus,
)
from tidemark.observe.words import (
    alert_words,
    budget_words,
    decision_words,
    gain_words,
    label_words,
    quality_words,
)
from tidemark.records import Metric
from tidemark.records.topics import TopicSpec
from tidemark.replay import Replay, letters
from tidemark.replay.marks import Mark, packed
from tidemark.runtime.settings import Settings
from tidemark.supervisor.folder import alone, pipeline_folder

DOCUMENTED = (Path(__file__).parents[3] / "docs" / "reference" / "status.md").read_text(encoding="utf-8")
QUALITY = QualityStatus(
    model="v000012-89abcdef",
    metric="average_precision",
    value=0.612,
    low=0.44,
    high=0.76,
    n=212,
    of_class="fraud",
    base_rate=0.0123,
    chance=0.0123,
    more=90,
    at=1.0,
)
STATUS = Status(
    pipeline="fraud\x1b[2J",
    file="pipelines/fraud.toml",
    at=1.0,
    state="wrong",
    problems=["the stream flow is 123,456 records behind; add processes, or see its log\x1b]0;x\x07"],
    notes=["7 dead letters are open; see `tidemark deadletter reasons pipelines/fraud.toml`"],
    quality=QUALITY,
    champion=ChampionStatus(version="v000012-89abcdef", parent=None, labels=448, decision="replaces: " + "why " * 30),
    budget=BudgetStatus(in_all=1_456, total=2_000, tile=8, tile_budget=8),
    latency=LatencyStatus(p50=0.085, p99=12.3, n=300),
    labeling=LabelingStatus(
        reachable=True,
        address="127.0.0.1:1",
        waiting_random=3,
        waiting_active=9,
        annotators=[AnnotatorStatus(name=f"ann\u202e{n}" * 9, answered=n, skipped=1) for n in range(12)],
    ),
    flows=[FlowStatus(name="stream", processes=1, behind=123_456, model="v000012-89abcdef", last_rows=["none"])],
    sources=[
        SourceStatus(name="s" * 30, kind="http", processes=2, records=1_234_567, refused=3, per_second=5_120.0, at=1.0),
        SourceStatus(name="hall", kind="mqtt\x1b[2J", processes=0, records=0, refused=0, per_second=0.0, at=None),
    ],
    webhooks=[
        WebhookStatus(
            name="siem",
            receiver="https://" + "h" * 90,
            runs=True,
            delivered=1_234,
            given_up=2,
            waiting=12,
            failing_since=1.0,
            reason="answered 503\x1b[2J",
            at=1.0,
        ),
    ],
    label_studio=LabelStudioStatus(
        address="https://" + "s" * 90,
        project=3,
        runs=True,
        most=1_000,
        offered=1_000,
        taken=123_456,
        refused=3,
        reached=1.0,
        failing_since=2.0,
        problem="away\x1b[2J",
        at=3.0,
    ),
    topics=[TopicStatus(name="fraud." + "x" * 90, records=1_234_567, exact=False, per_second=2.5)],
    figures=[
        FigureStatus(
            name="prediction_rate", value=1.5, low=None, high=None, n=9, source="stream", model="v000012", at=1.0
        )
    ],
)


def test_a_budget_is_told_in_the_unit_that_cases_cost() -> None:
    plain = BudgetStatus(in_all=1_456, total=2_000, tile=8, tile_budget=8)
    assert budget_words(plain) == "1,456 of 2,000 cases asked in all; 8 of 8 cases in the last tile"
    costly = BudgetStatus(
        in_all=9_000, total=None, tile=3, tile_budget=8, in_day=1_200, per_day=14_400, unit="seconds", tile_cost=420
    )
    assert budget_words(costly) == (
        "9,000 seconds spent on cases in all; 3 of 8 cases in the last tile for 420 seconds, 1,200 of 14,400 on its day"
    )


def test_whose_word_the_labels_are_is_told_where_there_are_several() -> None:
    champion = ChampionStatus(version="v1", parent=None, labels=120, decision="", sources={"person": 120})
    assert label_words(champion.sources, champion.conflicts) == ""
    mixed = {"outcome": 40, "person": 79, "review": 1}
    told = ChampionStatus(version="v1", parent=None, labels=120, decision="", sources=mixed, conflicts=3)
    assert (
        label_words(told.sources, told.conflicts)
        == ", 40 of outcomes, 79 of people and 1 of reviewers (3 of them contradicted)"
    )


def test_a_command_that_is_longer_than_a_line_is_printed_in_one_piece() -> None:
    command = f"tidemark up /{'a_long_folder/' * 9}p.toml"
    found = msgspec.structs.replace(STATUS, state="not started", problems=[], notes=[f"not started yet: {command}"])
    console = SafeConsole(file=io.StringIO(), width=80)
    printed(console, found, figures=False)
    assert f"· not started yet: {command}\n" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_view_fits_the_terminal_and_obeys_no_stranger(width: int) -> None:
    console = SafeConsole(file=io.StringIO(), width=width)
    console.print(rendered(STATUS, figures=True))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(len(line) for line in shown.splitlines()) <= width
    assert "\x1b" not in shown.replace("\x1b[", "") or "\x1b[2J" not in shown
    assert "\u202e" not in shown
    for fact in (
        "1,456 of 2,000",
        "12 cases wait (3 random)",
        "85 ms median, 12.3 s p99",
        "and 4 more",
        "about 1,234,567",
        "v000012-89abcdef",
        "(last rows: none)",
    ):
        assert fact in " ".join(shown.split())


def test_the_headline_is_one_sentence_with_what_it_rests_on() -> None:
    assert quality_words(QUALITY) == (
        "average precision of fraud 0.61 (95 %: 0.44 to 0.76) on 212 random answers it had not learnt from; "
        "a guess reaches 0.012; about 90 more random answers tell"
    )
    newest = quality_words(msgspec.structs.replace(QUALITY, way="forward validation"))
    assert "had not learnt from, the newest, as older ones no longer tell; a guess" in newest
    nothing = msgspec.structs.replace(QUALITY, metric="accuracy", value=None, low=0.0, high=1.0, n=0, more=100)
    assert quality_words(nothing) == (
        "accuracy: cannot be told yet, no random answer yet; about 100 more random answers tell"
    )


def test_the_threshold_of_alerts_is_told_with_what_it_finds_and_makes() -> None:
    found = AlertsStatus(
        model="v000012-89abcdef",
        of_class="fraud",
        recall=0.8,
        threshold=0.3121,
        positives=61,
        more_positives=0,
        alerts_per_day=41.2,
        alerts_low=30.0,
        alerts_high=62.4,
        most_per_day=100.0,
        fits=True,
    )
    assert alert_words(found) == (
        "flag from 0.312 on, which finds at least 80 % of fraud (95 % sure); about 41 alerts a day (30 to 62), within "
        "the 100 that people can see"
    )
    assert "perhaps more than the 50" in alert_words(msgspec.structs.replace(found, most_per_day=50.0, fits=False))
    none = msgspec.structs.replace(found, threshold=None, more_positives=12)
    assert alert_words(none) == (
        "no threshold is known to find 80 % of fraud yet; about 12 more random answers of it tell"
    )


def test_what_a_hundred_more_labels_bring_is_told_in_a_sentence() -> None:
    assert gain_words(QUALITY) == ""
    told = msgspec.structs.replace(QUALITY, next_hundred=0.0123, next_hundred_most=0.021)
    assert gain_words(told) == "a hundred more bring about 1.2 points, at most 2.1"
    enough = msgspec.structs.replace(QUALITY, next_hundred=0.001, next_hundred_most=0.004, enough=True)
    assert (
        gain_words(enough) == "enough: a hundred more labels bring about 0.1 points, less than half a point in any case"
    )


def test_r_squared_is_told_as_it_is_and_without_an_interval_where_none_is_known() -> None:
    found = msgspec.structs.replace(
        QUALITY, metric="r_squared", of_class="", value=-0.5, low=None, high=None, rmse=3.0, mae=2.0, unit="h"
    )
    assert quality_words(found).startswith("R² -0.50 on ")
    assert "95 %: -1.20 to 0.30)" in quality_words(msgspec.structs.replace(found, low=-1.2, high=0.3))
    more = msgspec.structs.replace(found, next_hundred=0.0123, next_hundred_most=0.021)
    assert gain_words(more) == "a hundred more bring R² up by about 0.012, at most 0.021"
    enough = msgspec.structs.replace(found, next_hundred=0.001, next_hundred_most=0.004, enough=True)
    assert gain_words(enough) == "enough: a hundred more labels bring R² up by about 0.001, less than 0.005 in any case"


def test_what_rules_decided_on_the_latest_day_is_told_in_a_sentence() -> None:
    pipeline = small_pipeline(
        extra="""
        [[decisions]]
        name = "tell"
        threshold = 0.5
        per_day = 100
        [[decisions]]
        name = "cost"
        costs = { missed = 1.0, false_alarm = 1.0 }
        """
    )
    detail: dict[str, str | float | int | None] = {
        "day": "2026-11-30",
        "tell.alert": 12,
        "tell.suppressed": 3,
        "tell.over_budget": 4_000,
        "cost.alert": 7,
    }
    metric = Metric(
        name="decisions_of_day", value=19, low=None, high=None, n=22, at=0, model="", source="stream", detail=detail
    )
    found = decisions_of(metric, pipeline)
    assert decision_words(found) == "alerts on 2026-11-30: tell 12 of 100 (3 suppressed, 4,000 over budget); cost 7"
    assert decisions_of(None, pipeline) == []
    assert decision_words([]) == ""
    strange = msgspec.structs.replace(metric, detail={"day": "x" * 900, "tell.alert": "many"})
    assert [(len(each.day), each.alert) for each in decisions_of(strange, pipeline)] == [(10, 0), (10, 0)]


def test_every_field_of_the_json_is_documented() -> None:
    kinds = [
        each for each in vars(status_record).values() if isinstance(each, type) and issubclass(each, msgspec.Struct)
    ]
    names = {field.name for kind in kinds for field in msgspec.structs.fields(kind)}
    assert len(kinds) == 16
    assert {name for name in names if f"`{name}`" not in DOCUMENTED} == set()
    assert f"`{status_record.SCHEMA}`" in DOCUMENTED
    for state, code in status_record.EXIT.items():
        assert any(line.startswith(f"| {code} |") and f"`{state}`" in line for line in DOCUMENTED.splitlines())


def test_before_the_first_start_it_says_so_at_once_and_exits_with_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path))
    monkeypatch.delenv("TIDEMARK_BOOTSTRAP_SERVERS", raising=False)
    file = tmp_path / "p.toml"
    file.write_text(pipeline_text())
    done = CliRunner().invoke(app, ["status", str(file)])
    assert done.exit_code == 3
    assert f"not started yet: tidemark up {file}" in "".join(done.output.splitlines())
    told = json.loads(CliRunner().invoke(app, ["status", "--json", str(file)]).output)
    assert (told["schema"], told["state"], told["flows"]) == ("tidemark.status.v1", "not started", [])


def test_while_up_starts_its_kafka_nobody_is_told_to_start_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path))
    monkeypatch.delenv("TIDEMARK_BOOTSTRAP_SERVERS", raising=False)
    file = tmp_path / "p.toml"
    file.write_text(pipeline_text())
    folder = pipeline_folder(Settings.from_environment(), "p")
    with alone(folder, "p"):
        done = CliRunner().invoke(app, ["status", "--json", str(file)])
    told = json.loads(done.output)
    assert (done.exit_code, told["state"]) == (0, "starting")
    assert told["notes"] == [f"`tidemark up` (process {os.getpid()}) is starting Kafka"]


def test_while_up_compiles_its_flows_are_said_to_be_starting(tmp_path: Path, kafka: Settings, unique: str) -> None:
    pipeline = small_pipeline(unique)
    observer = Observer(pipeline, kafka, file="p.toml", log=tmp_path / "tidemark.log")
    try:
        with alone(tmp_path, pipeline.name):
            meanwhile = observer.look()
        afterwards = observer.look()
    finally:
        observer.close()
    assert meanwhile.problems == []
    assert "stream, select, retrain, monitor are starting" in meanwhile.notes[0]
    assert "no flow is running" in afterwards.problems[0]


def test_a_pipeline_that_was_never_started_on_a_running_kafka_is_told_apart_from_one_that_stopped(
    tmp_path: Path, kafka: Settings
) -> None:
    file = tmp_path / "p.toml"
    file.write_text(pipeline_text("neverbegun"))
    own = {"TIDEMARK_HOME": str(tmp_path), "TIDEMARK_BOOTSTRAP_SERVERS": str(kafka.bootstrap_servers)}

    def status() -> tuple[int, dict[str, object]]:
        done = subprocess.run(
            [sys.executable, "-c", "from tidemark.cli import main; main()", "status", "--json", str(file)],
            env=os.environ | own | {"PYTHONFAULTHANDLER": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stdout, (done.returncode, done.stderr)
        return done.returncode, json.loads(done.stdout)

    code, told = status()
    assert (code, told["state"], told["notes"]) == (3, "not started", [f"not started yet: tidemark up {file}"])
    ensure_topics(kafka, [TopicSpec("neverbegun.models", 1, {}), TopicSpec("neverbegun.metrics", 1, {})])
    code, told = status()
    assert (code, told["state"]) == (3, "stopped")
    assert told["problems"] == [f"no flow is running: `tidemark up {file}` starts them all, and the labeling service"]


def test_records_are_counted_without_transactions_markers_and_predictions_are_timed(kafka: Settings) -> None:
    ensure_topics(kafka, [TopicSpec("counted.raw", 2, {}), TopicSpec("counted.predictions", 2, {})])
    raw = feeder(kafka)
    for number in range(40):
        raw.produce("counted.raw", b"{}", partition=number % 2)
    assert raw.flush(60) == 0
    producer = Producer(producer_config(kafka, transactional_id="counted"))
    producer.init_transactions(60)
    for number in range(40):
        producer.begin_transaction()
        event = f"counted.raw-{number % 2}-{number // 2}-0a1b2c3d"
        producer.produce("counted.predictions", json.dumps({"event_id": event}).encode(), partition=number % 2)
        producer.produce("counted.predictions", b'{"event_id": "no event"}', partition=number % 2)
        producer.commit_transaction(60)
    ends = {"counted.raw": {0: 20, 1: 20}, "counted.predictions": {0: 60, 1: 60}}
    found = sample(kafka, admin(kafka), ends, predictions="counted.predictions", now=time.time())
    assert {topic: (count.records, count.exact) for topic, count in found.counts.items()} == {
        "counted.raw": (40, True),
        "counted.predictions": (80, True),
    }
    assert found.counts["counted.predictions"].a_second == pytest.approx(80 / 60, rel=0.01)
    assert found.latency is not None
    assert found.latency.n == 40
    assert 0 <= found.latency.p50 <= found.latency.p99 < 60
    now = round(time.time() * 1_000)
    asked = {f"counted.raw-{number % 2}-{number // 2}-0a1b2c3d": now + 90_000 for number in range(40)}
    strangers = {"no event": now, "other.raw-0-0-0a1b2c3d": now, "counted.raw-9-0-0a1b2c3d": now}
    since = latency_since(kafka, ["counted.raw"], asked | strangers)
    assert since is not None
    assert since.n == 40
    assert 90 <= since.p50 <= since.p99 < 150
    assert latency_since(kafka, ["no.such.topic"], asked) is None


def test_where_kafkas_times_are_the_events_own_no_latency_is_made_up(kafka: Settings) -> None:
    kept = {"retention.ms": "-1"}  # its record is of 2015
    ensure_topics(kafka, [TopicSpec("replayed.raw", 1, kept), TopicSpec("replayed.predictions", 1, {})])
    producer = feeder(kafka)
    producer.produce("replayed.raw", b"{}", timestamp=1_420_070_400_000)
    producer.produce("replayed.predictions", b'{"event_id": "replayed.raw-0-0-0a1b2c3d"}')
    assert producer.flush(60) == 0
    ends = {"replayed.raw": {0: 1}, "replayed.predictions": {0: 1}}
    found = sample(kafka, admin(kafka), ends, predictions="replayed.predictions", now=time.time())
    assert (found.latency, found.event_times) == (None, True)


def test_a_long_topic_is_counted_about_from_its_last_records(kafka: Settings) -> None:
    ensure_topics(kafka, [TopicSpec("long.raw", 1, {})])
    producer = feeder(kafka)
    for _ in range(WHOLE + 500):
        producer.produce("long.raw", b"{}")
        producer.poll(0)
    assert producer.flush(60) == 0
    found = sample(kafka, admin(kafka), {"long.raw": {0: WHOLE + 500}}, predictions="none", now=time.time())
    assert (found.counts["long.raw"].records, found.counts["long.raw"].exact) == (WHOLE + 500, False)


def test_a_topic_that_could_not_be_read_to_its_end_is_counted_about(
    kafka: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_topics(kafka, [TopicSpec("slow.raw", 1, {})])
    producer = feeder(kafka)
    for _ in range(40):
        producer.produce("slow.raw", b"{}")
    assert producer.flush(60) == 0
    monkeypatch.setattr(sampling, "_PATIENCE", -1.0)
    found = sample(kafka, admin(kafka), {"slow.raw": {0: 40}}, predictions="none", now=time.time())
    assert (found.counts["slow.raw"].records, found.counts["slow.raw"].exact) == (40, False)


def test_dead_letters_that_somebody_has_dealt_with_are_not_told_as_open(kafka: Settings, unique: str) -> None:
    pipeline = small_pipeline(unique)
    write_letters(kafka, pipeline, [b"{", b"[", b"x", b"y", b"z"], "no JSON")
    found = list(letters(kafka, pipeline.topics.deadletter))
    observer = Observer(pipeline, kafka, file="p.toml")

    def told() -> tuple[TopicStatus, list[str]]:
        snapshot = observer.look()
        counted = observer.sample(snapshot, shown_topics(pipeline))
        status = status_of(pipeline, "p.toml", snapshot, counted, LabelingStatus(reachable=False))
        (topic,) = [topic for topic in status.topics if topic.name == pipeline.topics.deadletter]
        return topic, [note for note in status.notes if "dead letter" in note]

    try:
        topic, notes = told()
        assert (topic.records, topic.open, topic.exact) == (5, 5, True)
        assert notes == ["5 dead letters are open; see `tidemark deadletter reasons p.toml`"]
        with Replay(kafka, pipeline.topics, "ada") as replay:
            replay.resolve(found[:4], "test data")
        wait_until(lambda: told()[0].open == 1, lambda: f"{told()}")
        topic, notes = told()
        assert (topic.records, topic.exact) == (5, True)
        assert notes == ["1 dead letter is open; see `tidemark deadletter reasons p.toml`"]
        with Replay(kafka, pipeline.topics, "ada") as replay:
            replay.resolve(found[4:], "test data")
        wait_until(lambda: told()[0].open == 0, lambda: f"{told()}")
        assert told()[1] == []
    finally:
        observer.close()


def test_a_mark_that_names_no_dead_letter_of_the_topic_counts_none() -> None:
    handled, mark = HandledLetters(), packed(Mark(state="resolved", at=0, by="ada"))
    for key in (b"", b"0a1b2c3d/0", b"0a1b2c3d/x/1", b"0a1b2c3d/0/-1", b"\xff/0/1", b"0a1b2c3d/0/" + b"9" * 400):
        handled.take(key, mark)
    for offset in (3, 4, 5, 9, 10):
        handled.take(f"0a1b2c3d/0/{offset}".encode(), mark)
    handled.take(b"0a1b2c3d/0/5", None)
    handled.take(b"ffffffff/0/6", mark)
    with pytest.raises(RecordError):
        handled.take(b"0a1b2c3d/0/7", b"no mark")
    assert handled.count("0a1b2c3d", {0: (4, 10), 1: (0, 99)}) == 2, "4 and 9: the others are gone, or not there yet"
    assert handled.count("00000000", {0: (0, 99)}) == 0


def test_the_log_of_up_tells_which_processes_live(tmp_path: Path) -> None:
    log = tmp_path / "tidemark.log"
    assert running(log) == frozenset()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    log.write_text(
        f"2026-11-29T09:09:04.363+00:00 supervisor stream started, process {os.getpid()}\n"
        f"2026-11-29T09:09:04.363+00:00 supervisor select started, process {ended.pid}\n"
        f"2026-11-29T09:09:04.363+00:00 supervisor retrain started, process {os.getpid()}\n"
        "2026-11-29T09:09:05.363+00:00 supervisor retrain ended with exit status 1; starting it again in 1 s\n"
        "2026-11-29T09:09:05.363+00:00 stream     a line says: supervisor monitor started, process 1 or so\n"
    )
    assert running(log) == {"stream"}


def test_the_plain_console_of_status_is_wide_enough_for_json() -> None:
    """JSON goes to stdout as it is, never through the console, which would wrap it."""
    assert Console(width=20).width == 20
    assert "\n" not in msgspec.json.encode(STATUS).decode()
