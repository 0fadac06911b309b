"""The publish flow as a process on a real Kafka: each record in each output once, whatever is killed."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import fastavro
import polars as pl
from feeding import feeder
from models import pipeline_text
from schemas import registry_running

from benchmarks.support.flow_process import FlowProcess
from support import wait_until
from tidemark.cli.topics_compared import made
from tidemark.kafka import ensure_topics, read_all
from tidemark.pipeline import parse
from tidemark.publishing.avro_schema import schema_of
from tidemark.records import Prediction, encode
from tidemark.runtime.settings import Settings


def prediction(number: int) -> Prediction:
    return Prediction(
        event_id=f"e{number}",
        business_id=None,
        key=f"k{number % 7}",
        time=1_750_000_000_000_000 + number,
        probabilities=[0.25, 0.75],
        uncertainty=None,
        model="m",
    )


def test_every_prediction_is_in_each_output_once_though_the_process_is_killed(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    with registry_running() as registry:
        extra = "".join(
            f'[[outputs]]\ntopic = "{unique}.{form}"\nof = "predictions"\nformat = "{form}"\n{more}'
            for form, more in (("json", ""), ("avro", f'registry = "{registry.address}"\n'), ("arrow", ""))
        )
        text = pipeline_text(unique, extra=extra)
        pipeline = parse(text, "p.toml")
        file = tmp_path / "p.toml"
        file.write_text(text)
        settings = kafka.model_copy(update={"state_dir": tmp_path})
        ensure_topics(settings, made(pipeline))
        producer = feeder(settings)

        def feed(first: int, last: int) -> None:
            for number in range(first, last):
                record = prediction(number)
                producer.produce(pipeline.topics.predictions, encode(record), (record.key or "").encode())
            assert producer.flush(30) == 0

        def found(form: str) -> list[bytes]:
            return [message.value() or b"" for message in read_all(settings, f"{unique}.{form}", settled=True)]

        def rows() -> pl.DataFrame:
            return pl.concat([pl.read_ipc_stream(value) for value in found("arrow")] or [pl.DataFrame()])

        log = tmp_path / "publish.log"
        with FlowProcess(settings, "p", "dataflows.run", "publish", str(file), log=log) as process:
            feed(0, 700)
            wait_until(lambda: len(found("json")) >= 100, lambda: process.output, 60)
            process.kill()
            feed(700, 1_400)
            process.start()
            wait_until(lambda: len(found("json")) >= 1_400, lambda: process.output, 60)
            wait_until(lambda: len(rows()) >= 1_400, lambda: process.output, 60)
        wanted = {f"e{number}": json.loads(encode(prediction(number))) for number in range(1_400)}
        told = [json.loads(value) for value in found("json")]
        assert Counter(each["event_id"] for each in told) == Counter(list(wanted))
        assert {each["event_id"]: each for each in told} == wanted
        number = registry.subjects[f"{unique}.avro-value"]
        values = found("avro")
        assert {value[:5] for value in values} == {b"\x00" + number.to_bytes(4, "big")}
        schema = fastavro.parse_schema(schema_of(Prediction))
        read: list[Any] = [fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None) for value in values]
        assert Counter(each["event_id"] for each in read) == Counter(list(wanted))
        assert Counter(rows()["event_id"].to_list()) == Counter(list(wanted))
        assert json.loads(registry.schemas[number]["schema"]) == schema_of(Prediction)
