"""`tidemark models` on a real Kafka: a champion put back, pinned, and left alone by retraining."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from feeding import feeder
from models import batch_of, label_values, pipeline_text, small_model
from typer.testing import CliRunner

from tidemark.cli.app import app
from tidemark.kafka import ensure_topics
from tidemark.pipeline import Pipeline, load
from tidemark.records import Metric, decode
from tidemark.records.topics import TopicSpec
from tidemark.registry.codec import publish
from tidemark.registry.reading import read_registry
from tidemark.registry.schema import ModelSchema
from tidemark.registry.writing import write_models
from tidemark.runtime.processor import Output, Partition
from tidemark.runtime.settings import Settings
from tidemark.training import RetrainProcessor

EXTRA = (
    "[training]\nlearner = 'boosted'\n"
    "every = 40\nmin_labels = 20\nparams = { num_iterations = 5 }\n[gates]\nmin_holdout = 20"
)
VERSIONS = ["v000001-0000000a", "v000002-0000000b"]


@pytest.fixture
def file(kafka: Settings, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipeline's file; its topic of models holds two champions, the second the child of the first."""
    monkeypatch.setenv("TIDEMARK_BOOTSTRAP_SERVERS", kafka.bootstrap_servers or "")
    path = tmp_path / "p.toml"
    path.write_text(pipeline_text(unique, extra=EXTRA), encoding="utf-8")
    pipeline = load(path)
    outputs: list[Output] = []
    for seed, version in enumerate(VERSIONS):
        model, manifest = small_model(ModelSchema.of(pipeline), version=version, seed=seed, trees=6)
        manifest = msgspec.structs.replace(manifest, parent=VERSIONS[0] if seed else None, created_at=seed + 1)
        outputs += publish(manifest, model.text, topic=pipeline.topics.models)
    write_models(kafka, pipeline, lambda _: (outputs, None))
    return path


def run(*arguments: object) -> str:
    found = CliRunner().invoke(app, ["models", *map(str, arguments)])
    assert found.exit_code == 0, found.output
    return found.output


def refused(*arguments: object) -> str:
    found = CliRunner().invoke(app, ["models", *map(str, arguments)])
    assert found.exit_code == 1, found.output
    return found.output


def trained(kafka: Settings, pipeline: Pipeline) -> list[Output]:
    """What the retrain flow says to 45 labels."""
    processor = RetrainProcessor(pipeline, read_registry=lambda: read_registry(kafka, pipeline.topics.models))
    partition = Partition(pipeline.topics.labels, 0, "0a1b2c3d")
    processor.open(partition, "")
    batch = batch_of(label_values(45, topic=pipeline.raw_topics[0]))
    batch.partition = partition
    return processor.process(batch)


def test_a_champion_is_rolled_back_pinned_and_left_alone_by_retraining(file: Path, kafka: Settings) -> None:
    pipeline = load(file)
    before = read_registry(kafka, pipeline.topics.models, settled=True)
    assert f"{VERSIONS[0]} is champion again, as v000003-0000000a" in run("rollback", file, "--dry-run")
    assert read_registry(kafka, pipeline.topics.models, settled=True).manifests == before.manifests

    assert "retrain compares a new model with it after" in run("rollback", file)
    listed = json.loads(run("list", file, "--json"))
    assert [(model["version"], model["state"], model["copy_of"]) for model in listed] == [
        ("v000003-0000000a", "champion", VERSIONS[0]),
        (VERSIONS[1], "earlier", None),
        (VERSIONS[0], "earlier", None),
    ]
    assert "is champion already" in refused("promote", file, "v000001")

    assert "no model replaces it until" in run("pin", file)
    assert "is pinned already" in refused("pin", file)
    assert "champion, pinned" in run("list", file)
    outputs = trained(kafka, pipeline)
    assert {output.topic for output in outputs} == {pipeline.topics.metrics}
    metrics = [decode(Metric, output.value) for output in outputs]
    assert any("pinned the champion" in str(metric) for metric in metrics)

    assert "the pin is lifted" in run("unpin", file)
    assert "no champion is pinned" in refused("unpin", file)
    metrics = [decode(Metric, each.value) for each in trained(kafka, pipeline) if each.topic == pipeline.topics.metrics]
    compared = [metric for metric in metrics if metric.name.startswith("gate_")]
    assert [metric.n > 0 for metric in compared] == [True]


def test_a_model_is_shown_and_compared_with_another(file: Path) -> None:
    shown = run("show", file, "v000002")
    assert "6 trees" in shown
    assert "120 labels" in shown
    compared = run("diff", file, "v000001", "v000002")
    assert "the same likeliest class for" in compared
    assert "too few to tell: none is new to both models, and 10 are needed" in " ".join(compared.split())
    assert json.loads(run("diff", file, "v000001", "v000002", "--json"))["agreement"]["rows"] > 0
    assert "there is no model 'v000009'" in refused("show", file, "v000009")


def test_models_are_compared_on_the_labels_that_neither_has_learnt_from(file: Path, kafka: Settings) -> None:
    pipeline = load(file)
    ensure_topics(kafka, [TopicSpec(pipeline.topics.labels, 1, {})])
    producer = feeder(kafka)
    for value in label_values(80, topic=pipeline.raw_topics[0])[1:]:  # the first was known when they were made
        producer.produce(pipeline.topics.labels, value)
    assert producer.flush(30) == 0
    told = " ".join(run("diff", file, "v000001", "v000002").split())
    assert "79 answers that neither has learnt from" in told
    assert "average precision" in told
    assert "log loss" in told
    measured = json.loads(run("diff", file, "v000001", "v000002", "--json"))["on_unseen_labels"]
    assert measured["n"] == 79
    assert all(figure["low"] <= figure["value"] <= figure["high"] for figure in measured["first"]["figures"])
    assert sum(each["n"] for each in measured["second"]["reliability"]) == 79
