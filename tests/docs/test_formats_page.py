"""What docs/how-to/formats.md shows is what is read: each pipeline of the page, over the records that it shows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import grpc_tools
import pytest
from arrow_bodies import batch
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_tools import protoc
from schemas import avro_record, batch_of, registry_running

from tidemark.features.raw_records import Records
from tidemark.formats.decoder import Decoded, Decoder
from tidemark.pipeline import Pipeline, parse
from tidemark.replay.corrections import corrections
from tidemark.sources.batches import Batches
from tidemark.sources.source import SourceRecord

PAGE: Final = (Path(__file__).parents[2] / "docs" / "how-to" / "formats.md").read_text(encoding="utf-8")
BLOCKS: Final = dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```', PAGE, re.MULTILINE | re.DOTALL))
READ: Final = {"machine": "pump 7", "temperature": 70.5, "city": "Ulm"}
MILLIS: Final = 1_735_689_601_000
FEATURES: Final = 'features = [{ name = "temperature" }]'
REST: Final = f"""
name = "plant"
keys = ["machine"]
{FEATURES}
[time]
column = "at"
format = "epoch_ms"
[label]
classes = ["good", "bad"]
positive = "bad"
delay = "1d"
[selection]
tile = "1h"
budget = 10
explore = 2
"""


def pipeline_of(name: str, folder: Path, **other: str) -> Pipeline:
    text = BLOCKS[name]
    for old, new in other.items():
        text = text.replace(old, new)
    head, _, tables = REST.partition("[time]")
    if "[[features]]" in text:
        head = head.replace(FEATURES, "")
    return parse(f"{head}{text}\n[time]{tables}", str(folder / "plant.toml"))


def checked(decoded: Decoded) -> None:
    assert not decoded.bad
    assert {name: decoded.frame[name][0] for name in READ} == READ
    assert decoded.times.tolist() == [MILLIS * 1_000]


def row() -> dict[str, Any]:
    return {"machine": "pump 7", "at": MILLIS, "temperature": 70.5, "place": {"city": "Ulm"}}


def test_the_avro_of_the_page_is_read_from_a_file_and_by_a_registry(tmp_path: Path) -> None:
    (tmp_path / "reading.avsc").write_text(BLOCKS["reading.avsc"])
    schema = json.loads(BLOCKS["reading.avsc"])
    pipeline = pipeline_of("avro", tmp_path)
    checked(Decoder(pipeline).decode(batch_of([avro_record(schema, row())])))
    (sent,) = Records(pipeline).records([json.dumps(row()).encode()])
    checked(Decoder(pipeline).decode(batch_of([sent.value])))
    with registry_running() as registry:
        registry.add_avro(7, schema)
        named = pipeline_of("registry", tmp_path, **{"http://127.0.0.1:8081": registry.address})
        checked(Decoder(named).decode(batch_of([avro_record(schema, row(), 7)])))


def test_the_protobuf_of_the_page_is_read_as_protoc_describes_it(tmp_path: Path) -> None:
    (tmp_path / "reading.proto").write_text(BLOCKS["reading.proto"])
    assert "protoc --include_imports --descriptor_set_out=reading.desc reading.proto" in PAGE
    known = Path(grpc_tools.__file__).parent / "_proto"
    arguments = ["--include_imports", f"--descriptor_set_out={tmp_path}/reading.desc", f"-I{tmp_path}", f"-I{known}"]
    assert protoc.main(["protoc", *arguments, str(tmp_path / "reading.proto")]) == 0
    files = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "reading.desc").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.AddSerializedFile(file.SerializeToString())
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("plant.Reading"))
    message = json_format.ParseDict(row() | {"at": "2025-01-01T00:00:01Z"}, kind())
    checked(Decoder(pipeline_of("protobuf", tmp_path)).decode(batch_of([message.SerializeToString()])))


@pytest.mark.parametrize("name", ["csv", "cloudevents"])
def test_a_record_that_the_page_shows_is_read_by_the_pipeline_above_it(name: str, tmp_path: Path) -> None:
    record = BLOCKS[f"{name} record"].rstrip("\n").encode()
    checked(Decoder(pipeline_of(name, tmp_path)).decode(batch_of([record])))


def test_names_defaults_and_rules_do_what_the_page_says(tmp_path: Path) -> None:
    evolved = Decoder(pipeline_of("evolved", tmp_path))
    record = json.dumps({"device": "pump 7", "at": MILLIS, "temp": 70.5}).encode()
    assert evolved.decode(batch_of([record])).frame.drop("at").row(0) == ("pump 7", 70.5, "unknown")
    cleaned = Decoder(pipeline_of("cleaned", tmp_path))
    told: list[dict[str, object]] = [
        {"temperature": 212, "city": "Ulm"},
        {"temperature": -999, "city": "Rom"},
        {"city": "Bonn"},
    ]
    told.append({"temperature": 400, "city": "Bonn"})
    records = [json.dumps({"machine": "m", "at": MILLIS} | each).encode() for each in told]
    frame = cleaned.decode(batch_of(records)).frame
    assert frame["temperature"].to_list() == [pytest.approx(100), None, pytest.approx(20), None]
    assert frame["city"].to_list() == ["Ulm", "elsewhere", "Bonn", "Bonn"]


def test_duplicates_are_dropped_by_the_key_that_the_page_names(tmp_path: Path) -> None:
    columns, _, settings = BLOCKS["deduplicated"].partition("\n\n")
    text = f"{BLOCKS['csv'].replace('[columns]', columns)}\n{settings}"
    head, _, tables = REST.partition("[time]")
    pipeline = parse(f"{head}{text}\n[time]{tables}", str(tmp_path / "plant.toml"))
    assert pipeline.deduplicate is not None
    assert (pipeline.deduplicate.key, pipeline.deduplicate.within) == ("reading_id", 600_000_000)


def test_the_corrections_of_the_page_are_corrections(tmp_path: Path) -> None:
    path = tmp_path / "corrections.ndjson"
    path.write_text(BLOCKS["corrections.ndjson"])
    lines = corrections(path)
    assert set(lines) == {(0, 3), (0, 4)}
    assert json.loads(bytes(lines[0, 3].value)) == row()  # type: ignore[arg-type]  # it is set


def test_the_arrow_batches_of_the_page_are_taken_apart_and_each_row_is_read(tmp_path: Path) -> None:
    pipeline = pipeline_of("arrow", tmp_path)
    assert pipeline.sources[0].body == "arrow"
    batches = Batches(pipeline, pipeline.sources[0])
    whole = SourceRecord(batch([row(), row()]), "plant.batches[0] 17")
    (records,) = batches.rows(whole)
    assert [record.position for record in records] == ["plant.batches[0] 17 row 1", "plant.batches[0] 17 row 2"]
    for record in records:
        checked(Decoder(pipeline).decode(batch_of([record.value])))


def test_the_scale_of_the_page_is_of_the_feature(tmp_path: Path) -> None:
    assert pipeline_of("scaled", tmp_path).scales == {"warmth": "robust"}
