"""Uses each thing of `additions.py`, in the copy that has it. The names of things are in the tests' names."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path
from typing import Any, Final

import grpc
import msgspec
import numpy as np
import polars as pl
import pytest
from google.protobuf.message_factory import GetMessageClass
from labeling import SOURCE, arrivals, candidate
from labeling import pipeline as queue_pipeline
from models import pipeline_text
from sourcing import pipeline_of, source_of

import tidemark
from dataflows.engine.shutdown import Stop
from dataflows.run import built
from labeling_grpc.commands.labeling import TakeIn
from labeling_grpc.server import serve
from labeling_grpc.v1 import labeling_pb2
from tidemark.cli.up import processes
from tidemark.flows import FLOWS, flows_of
from tidemark.formats.declared import Declared
from tidemark.formats.reading import Standpoint, open_rows
from tidemark.monitoring.figures import from_outcomes
from tidemark.monitoring.joined import prediction_dtype
from tidemark.observe.catalog import metrics
from tidemark.pipeline import load, parse
from tidemark.pipeline.expressions import compile_expression, evaluate
from tidemark.runtime.settings import Settings
from tidemark.sources.source import Positions, SourceRecord
from tools.reference import GENERATED

COPY: Final = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _in_the_copy() -> None:
    assert Path(tidemark.__file__).is_relative_to(COPY)


def test_the_strategy_richest_may_be_named_in_a_pipeline_file() -> None:
    pipeline = parse(pipeline_text(extra='policy = "richest"\n[selection.options]\nfeature = "a"'), "p.toml")
    assert pipeline.selection.policy == "richest"


def test_the_learner_stumps_may_be_named_in_a_pipeline_file() -> None:
    pipeline = parse(pipeline_text(extra='[training]\nlearner = "stumps"'), "p.toml")
    assert str(pipeline.training.learner) == "stumps"


def test_the_format_packed_may_be_named_in_a_pipeline_file() -> None:
    text = pipeline_text().replace('topic = "p.raw"', 'topic = "p.raw"\nformat = "packed"')
    assert parse(text, "p.toml").raw[0].format == "packed"


def test_the_source_sqlrows_may_be_named_in_a_pipeline_file(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("CREATE TABLE payments (key, a)")
        database.executemany("INSERT INTO payments VALUES (?, ?)", [("k1", 1), ("k2", 2)])
    database.close()
    options = {"file": str(tmp_path / "shop.db"), "table": "payments"}
    source = source_of(pipeline_of("sqlrows", options))
    source.open(Positions({"rowid": "1"}))
    assert source.read(10, 0) == [SourceRecord(b'{"key": "k2", "a": 2}', "row 2")]


def test_the_time_format_epoch_ds_may_be_named_in_a_pipeline_file() -> None:
    text = pipeline_text().replace('time = { type = "string" }', 'time = { type = "int" }')
    text = text.replace('column = "time"', 'column = "time"\nformat = "epoch_ds"')
    assert parse(text, "p.toml").time.format == "epoch_ds"


def test_rows_are_read_from_a_file_whose_name_ends_in_tabbed(tmp_path: Path) -> None:
    path = tmp_path / "rows.tabbed"
    path.write_text("id\tamount\na\t1.5\n")
    declared = Declared(lambda name: "float" if name == "amount" else "string", ("id",))
    values = [msgspec.json.decode(row.value) for row in open_rows(path, declared).rows(Standpoint())]
    assert values == [{"id": "a", "amount": 1.5}]


def test_expm1_of_aggregate_and_function_gives_numbers() -> None:
    expression = compile_expression("e", "EXPM1(x)", None, {"x": pl.Float64()})
    assert evaluate([expression], pl.DataFrame({"x": [1.0]}))["e"].to_list() == [pytest.approx(math.expm1(1.0))]


def test_the_metric_entropy_is_measured_listed_and_described() -> None:
    rows = np.zeros(8, prediction_dtype(2))
    rows["p"], rows["truth"] = 0.5, [0, 1] * 4
    found = {each.name: each.value for each in from_outcomes(rows, ["v"], positive=1, at=0, threshold=0.5)}
    assert found["entropy"] == pytest.approx(math.log(2))
    assert "entropy" in metrics().own
    assert "`entropy`" in GENERATED["reference/metrics.md"]()


def test_the_flow_census_is_built_run_by_up_and_drawn(tmp_path: Path) -> None:
    pipeline, settings = load(COPY / "pipelines" / "fraud.toml"), Settings.from_environment({})
    flow, _ = built(FLOWS.get("census"), pipeline, settings, Stop())
    assert [step.step_name for step in flow.substeps] == ["read", "count", "commit"]
    there = settings.model_copy(update={"state_dir": tmp_path}).at("kafka:9092")
    assert "census" in [each.name for each in processes(tmp_path / "p.toml", there, flows=flows_of(pipeline))]
    assert "## `census`" in GENERATED["reference/flows.md"]()


def test_the_call_countcases_is_answered(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path).at("127.0.0.1:9")
    asked = [candidate(number) for number in range(3)]
    method = labeling_pb2.DESCRIPTOR.services_by_name["LabelingService"].methods_by_name["CountCases"]
    kinds: tuple[Any, Any] = (GetMessageClass(method.input_type), GetMessageClass(method.output_type))
    with serve(queue_pipeline("counted"), settings) as running, grpc.insecure_channel(running.address) as channel:
        running._writer.call(TakeIn(SOURCE, None, len(asked), arrivals(asked)))
        path = f"/{method.containing_service.full_name}/{method.name}"
        call = channel.unary_unary(path, kinds[0].SerializeToString, kinds[1].FromString)
        assert call(kinds[0](), timeout=30).cases == 3
