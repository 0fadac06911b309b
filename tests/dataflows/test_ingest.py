from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from bytewax.run import cli_main

from dataflows.config import EngineConfig
from dataflows.ingest import Ingest, Pace, over
from dataflows.stop import Stop
from tidemark.errors import ConfigError, TopicError
from tidemark.ingest import open_file
from tidemark.kafka import ensure_topics, read_all
from tidemark.pipeline import Pipeline, load
from tidemark.settings import Settings
from tidemark.simulators.fraud import simulate
from tidemark.topics import TopicSpec

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
    return [json.loads(m.value() or b"") for m in read_all(settings, pipeline.raw_topics[0])]


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
        **({} if clock is None else {"clock": clock}),
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
    for message in read_all(settings, pipeline.raw_topics[0]):
        assert json.loads(message.value() or b"")["customer_id"].encode() == message.key()


def test_rows_of_an_ingest_that_died_are_not_seen_and_the_next_goes_on_where_it_had_committed(
    settings: Settings, pipeline: Pipeline, parquet: Path, events: pl.DataFrame, ingests: list[Ingest]
) -> None:
    first = _ingest(ingests, settings, pipeline, parquet)
    first.start()
    for _ in range(2):
        rows = first.read()
        assert rows is not None
        first.write(rows)
    first._commit()
    third = first.read()
    assert third is not None
    first.write(third)  # sent, never committed
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
        second.write(rows)
    second._commit()
    assert len(_values(settings, pipeline)) == len(events)
    first.write(third)  # a zombie
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
    found = {(m.key(), m.value()) for m in read_all(settings, pipeline.raw_topics[0])}
    assert found == {(b"C1", lines[0]), (None, lines[1]), (None, lines[3]), (b"7", lines[4])}


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
    ingest.write(rows)
    ingest._commit()
    clock.now += 2
    assert ingest.read() is None, "the stream flow is 200 rows behind"
    clock.now += 10
    assert ingest.read() is None


def test_a_timestamp_column_is_written_as_the_pipeline_reads_it(pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    row = {"transaction_id": "a", "customer_id": "c", "terminal_id": "t", "amount": 1.0}
    pl.DataFrame([{**row, "time": datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)}]).write_parquet(path)
    (record,) = open_file(path, pipeline).read(0, 10)
    assert json.loads(record.value)["time"].startswith("2025-01-02T03:04:05")
    seconds = pipeline.model_copy(update={"time": pipeline.time.model_copy(update={"format": "epoch_ms"})})
    (record,) = open_file(path, seconds).read(0, 10)
    assert json.loads(record.value)["time"] == 1_735_787_045_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", b"no parquet", "can't be read"),
        ("a.csv", b"transaction_id,time\n1,2\n", "has no column 'amount', 'customer_id', 'terminal_id'"),
        ("a.xlsx", b"", "use .parquet, .csv or .ndjson"),
    ],
)
def test_a_file_that_cannot_be_ingested_is_refused_with_what_to_do(
    pipeline: Pipeline, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        open_file(tmp_path / name, pipeline)
    with pytest.raises(ConfigError, match="is no file"):
        open_file(tmp_path / "missing.csv", pipeline)


def test_an_unknown_topic_is_named(
    kafka: Settings, pipeline: Pipeline, parquet: Path, tmp_path: Path, ingests: list[Ingest]
) -> None:
    ingest = _ingest(ingests, kafka.model_copy(update={"state_dir": tmp_path}), pipeline, parquet)
    with pytest.raises(TopicError, match=pipeline.raw_topics[0]):
        ingest.start()
