from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from bytewax.run import cli_main
from confluent_kafka import Consumer, TopicPartition
from offsets import read_settled

from dataflows.engine.config import EngineConfig
from dataflows.engine.file_task import Ingest, Pace
from dataflows.engine.shutdown import Stop
from dataflows.engine.start_offsets import pack
from dataflows.ingest import over
from tidemark.errors import ConfigError, TopicError
from tidemark.kafka import consumer_config, ensure_topics, topic_incarnation
from tidemark.pipeline import Pipeline, load
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings
from tidemark.simulators.fraud import simulate
from tidemark.sources.files import open_file

FRAUD = Path(__file__).parents[2] / "pipelines" / "fraud.toml"


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    return simulate(7, 2_000).events


@pytest.fixture
def pipeline(unique: str) -> Pipeline:
    fraud = load(FRAUD)
    raw = fraud.raw[0].model_copy(update={"topic": f"{unique}.raw"})
    return fraud.model_copy(update={"name": unique, "raw": [raw]})


@pytest.fixture
def settings(kafka: Settings, pipeline: Pipeline, tmp_path: Path) -> Settings:
    ensure_topics(kafka, [TopicSpec(pipeline.raw_topics[0], 4, {})])
    return kafka.model_copy(update={"state_dir": tmp_path / "home"})


@pytest.fixture
def parquet(events: pl.DataFrame, tmp_path: Path) -> Path:
    path = tmp_path / "events.parquet"
    events.write_parquet(path)
    return path


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ingests() -> Iterator[list[Ingest]]:
    made: list[Ingest] = []
    yield made
    for ingest in made:
        ingest.close()


def _values(settings: Settings, pipeline: Pipeline) -> list[dict[str, object]]:
    return [json.loads(m.value() or b"") for m in read_settled(settings, pipeline.raw_topics[0])]


def _ingest(
    made: list[Ingest],
    settings: Settings,
    pipeline: Pipeline,
    path: Path,
    pace: Pace | None = None,
    clock: Clock | None = None,
) -> Ingest:
    config = EngineConfig(group=f"{pipeline.name}.ingest", settings=settings, commit_interval=3_600)
    ingest = Ingest(
        config,
        pipeline,
        [open_file(path, pipeline)],
        Stop(),
        topic=pipeline.raw_topics[0],
        pace=pace,
        clock=clock or time.monotonic,
    )
    made.append(ingest)
    return ingest


def test_a_file_is_in_the_topic_once_and_a_second_run_adds_nothing(
    settings: Settings, pipeline: Pipeline, parquet: Path, events: pl.DataFrame
) -> None:
    for _ in range(2):
        flow, ingest = over(pipeline, settings, [parquet], Stop())
        cli_main(flow)
        assert ingest.done == len(events)
    rows = sorted(_values(settings, pipeline), key=lambda row: str(row["transaction_id"]))
    assert rows == events.sort("transaction_id").to_dicts()
    for message in read_settled(settings, pipeline.raw_topics[0]):
        assert json.loads(message.value() or b"")["customer_id"].encode() == message.key()


def test_rows_of_an_ingest_that_died_are_not_seen_and_the_next_goes_on_where_it_had_committed(
    settings: Settings, pipeline: Pipeline, parquet: Path, events: pl.DataFrame, ingests: list[Ingest]
) -> None:
    first = _ingest(ingests, settings, pipeline, parquet)
    first.start()
    for _ in range(2):
        rows = first.read()
        assert rows is not None
        first.write(rows, first.outputs(rows))
    first._commit()
    third = first.read()
    assert third is not None
    first.write(third, first.outputs(third))  # sent, never committed
    assert first.done == 1_500
    first._slot.release()  # as the kernel does when a process dies; its transaction stays open
    second = _ingest(ingests, settings, pipeline, parquet)
    second.start()
    assert second.done == 1_000
    while True:
        try:
            rows = second.read()
        except StopIteration:
            break
        assert rows is not None
        second.write(rows, second.outputs(rows))
    second._commit()
    assert len(_values(settings, pipeline)) == len(events)
    first.write(third, first.outputs(third))  # a zombie
    with pytest.raises(Exception, match="fenced"):
        first._commit()
    assert len(_values(settings, pipeline)) == len(events)


def test_lines_are_handed_on_as_they_are_and_malformed_ones_have_no_key(
    settings: Settings, pipeline: Pipeline, tmp_path: Path
) -> None:
    path = tmp_path / "events.ndjson"
    lines = [b'{"customer_id": "C1", "amount": 1}', b"{broken", b"", b'{"customer_id": null}', b'{"customer_id": 7}']
    path.write_bytes(b"\n".join(lines) + b"\n")
    flow, _ = over(pipeline, settings, [path], Stop())
    cli_main(flow)
    found = {(m.key(), m.value()) for m in read_settled(settings, pipeline.raw_topics[0])}
    assert found == {(b"C1", lines[0]), (None, lines[1]), (None, lines[3]), (b"7", lines[4])}


def _run(settings: Settings, pipeline: Pipeline, *paths: Path, again: bool = False) -> Ingest:
    _, ingest = over(pipeline, settings, list(paths), Stop(), again=again)
    try:
        ingest.start()
        with suppress(StopIteration):
            while True:
                if (rows := ingest.read()) is not None:
                    ingest.write(rows, ingest.outputs(rows))
        ingest.finish()
    finally:
        ingest.close()
    return ingest


def test_a_file_that_grew_was_rotated_or_has_the_name_and_size_of_another_is_read_exactly_once(
    settings: Settings, pipeline: Pipeline, tmp_path: Path
) -> None:
    def ids() -> list[str]:
        return sorted(str(row["id"]) for row in _values(settings, pipeline))

    def line(name: str) -> str:
        return json.dumps({"customer_id": "C1", "id": name}) + "\n"

    log, old = tmp_path / "events.ndjson", tmp_path / "events.1.ndjson"
    log.write_text(line("a") + line("b") + '{"customer_id": "C1", "id":')
    held = _run(settings, pipeline, log).held
    assert ids() == ["a", "b"]
    assert "row 3: the last line is no whole JSON object" in held[0]
    with log.open("a") as file:
        file.write(' "c"}\n')
    _run(settings, pipeline, log)
    assert ids() == ["a", "b", "c"], "it grew"
    with log.open("a") as file:
        file.write(line("d"))
    log.rename(old)
    log.write_text(line("e"))
    _run(settings, pipeline, old, log)
    assert ids() == ["a", "b", "c", "d", "e"], "it was renamed, and another one begun"
    size = log.stat().st_size
    log.write_text(line("f"))
    assert log.stat().st_size == size
    for _ in range(2):
        assert _run(settings, pipeline, old, log).done == 5
    assert ids() == ["a", "b", "c", "d", "e", "f"], "another one of its name and size"
    old.write_text(line("a") + line("b"))
    with pytest.raises(ConfigError, match=r"has been changed since: it has \d+ bytes now, fewer than were read"):
        _run(settings, pipeline, old)
    old.write_text(line("a") + line("b") + line("x") + line("d"))
    with pytest.raises(ConfigError, match="is not what stood there"):
        _run(settings, pipeline, old)
    _run(settings, pipeline, old, again=True)
    assert ids() == ["a", "a", "b", "b", "c", "d", "d", "e", "f", "x"]


def test_progress_of_older_versions_is_understood(settings: Settings, pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_text("".join(f'{{"customer_id": "C{i}"}}\n' for i in range(5)))
    group = f"{pipeline.name}.ingest"
    topic = pipeline.raw_topics[0]
    old = json.dumps({hashlib.sha256(f"{path.name}:{path.stat().st_size}".encode()).hexdigest()[:16]: 3})
    metadata = pack(topic_incarnation(settings, topic), old)
    consumer = Consumer(consumer_config(settings, group=group))
    consumer.commit(offsets=[TopicPartition(topic, 0, 3, metadata)], asynchronous=False)
    consumer.close()
    for _ in range(2):
        assert _run(settings, pipeline, path).done == 5
    assert sorted(str(row["customer_id"]) for row in _values(settings, pipeline)) == ["C3", "C4"]


def test_a_record_that_kafka_does_not_take_is_named_by_its_row(
    settings: Settings, pipeline: Pipeline, tmp_path: Path
) -> None:
    path = tmp_path / "events.ndjson"
    path.write_text('{"customer_id": "C1"}\n{"customer_id": "' + "x" * 1_100_000 + '"}\n')
    with pytest.raises(ConfigError, match=r"events.ndjson, row 2 of 1,1\d\d,\d\d\d bytes"):
        _run(settings, pipeline, path)


def test_a_row_that_is_not_of_its_columns_types_is_sent_for_the_stream_to_refuse_it(
    settings: Settings, pipeline: Pipeline, tmp_path: Path
) -> None:
    path = tmp_path / "events.csv"
    path.write_text(
        "transaction_id,time,customer_id,terminal_id,amount,secret\n"
        "007,2025-01-02T00:00:00Z,00123,0742,5.75,s\n"
        "8,2025-01-02T00:00:00Z,c,t,much,s\n"
        "9,2025-01-02T00:00:00Z,c\n"
    )
    assert _run(settings, pipeline, path).done == 3
    messages = read_settled(settings, pipeline.raw_topics[0])
    by_key = {m.key(): json.loads(m.value() or b"") for m in messages}
    assert by_key[b"00123"] == {
        "transaction_id": "007",
        "time": "2025-01-02T00:00:00Z",
        "customer_id": "00123",
        "terminal_id": "0742",
        "amount": 5.75,
    }
    assert by_key[b"c"]["amount"] == "much"
    assert by_key[None] == "events.csv, row 3: it has 3 cells, and the header names 6: 9,2025-01-02T00:00:00Z,c"


def test_the_rate_is_kept_and_what_is_waited_for_the_flow_is_not_made_up_for(
    settings: Settings, pipeline: Pipeline, parquet: Path, ingests: list[Ingest]
) -> None:
    clock = Clock()
    ingest = _ingest(ingests, settings, pipeline, parquet, Pace(rate=100, lead=150), clock)
    ingest.start()
    assert ingest.read() is None
    clock.now += 2
    rows = ingest.read()
    assert rows is not None
    assert len(rows.records) == 200
    ingest.write(rows, ingest.outputs(rows))
    ingest._commit()
    clock.now += 2
    assert ingest.read() is None, "the stream flow is 200 rows behind"
    clock.now += 10
    assert ingest.read() is None


def test_a_timestamp_column_is_written_as_the_pipeline_reads_it(pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    row = {"transaction_id": "a", "customer_id": "c", "terminal_id": "t", "amount": 1.0}
    pl.DataFrame([{**row, "time": datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)}]).write_parquet(path)
    (record,) = open_file(path, pipeline).read(10) or []
    assert json.loads(record.value)["time"].startswith("2025-01-02T03:04:05")
    seconds = pipeline.model_copy(update={"time": pipeline.time.model_copy(update={"format": "epoch_ms"})})
    (record,) = open_file(path, seconds).read(10) or []
    assert json.loads(record.value)["time"] == 1_735_787_045_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", b"no parquet", "can't be read"),
        ("a.csv", b"transaction_id,time\n1,2\n", "has no column 'amount', 'customer_id', 'terminal_id'"),
        ("a.xlsx", b"", "use one of .parquet, .csv, .ndjson"),
    ],
)
def test_a_file_that_cannot_be_ingested_is_refused_with_what_to_do(
    pipeline: Pipeline, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        open_file(tmp_path / name, pipeline)
    with pytest.raises(ConfigError, match="there is no such file"):
        open_file(tmp_path / "missing.csv", pipeline)


def test_an_unknown_topic_is_named(
    kafka: Settings, pipeline: Pipeline, parquet: Path, tmp_path: Path, ingests: list[Ingest]
) -> None:
    ingest = _ingest(ingests, kafka.model_copy(update={"state_dir": tmp_path}), pipeline, parquet)
    with pytest.raises(TopicError, match=pipeline.raw_topics[0]):
        ingest.start()
