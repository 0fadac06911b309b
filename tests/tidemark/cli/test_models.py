"""`tidemark models` on a real Kafka: a champion put back, pinned, and left alone by retraining."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from feeding import feeder
from models import batch_of, label_values, number_text, number_values, pipeline_text, small_model
from typer.testing import CliRunner

from tidemark.cli.app import app
from tidemark.kafka import ensure_topics
from tidemark.pipeline import Pipeline, load
from tidemark.records import Metric, decode
from tidemark.records.topics import TopicSpec
from tidemark.registry.codec import publish
from tidemark.registry.follower import ModelWatcher
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
    return with_models(kafka, tmp_path, pipeline_text(unique, extra=EXTRA))


@pytest.fixture
def of_numbers(kafka: Settings, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As `file`, of a pipeline whose label is a number."""
    monkeypatch.setenv("TIDEMARK_BOOTSTRAP_SERVERS", kafka.bootstrap_servers or "")
    return with_models(kafka, tmp_path, number_text(unique, extra=EXTRA))


def with_models(kafka: Settings, folder: Path, text: str) -> Path:
    path = folder / "p.toml"
    path.write_text(text, encoding="utf-8")
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


def told(kafka: Settings, pipeline: Pipeline, values: list[bytes]) -> None:
    """People answer."""
    ensure_topics(kafka, [TopicSpec(pipeline.topics.labels, 1, {})])
    producer = feeder(kafka)
    for value in values[1:]:  # the first was known when the models were made
        producer.produce(pipeline.topics.labels, value)
    assert producer.flush(30) == 0


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
    told(kafka, pipeline, label_values(80, topic=pipeline.raw_topics[0]))
    words = " ".join(run("diff", file, "v000001", "v000002").split())
    assert "79 answers that neither has learnt from" in words
    assert "average precision" in words
    assert "log loss" in words
    measured = json.loads(run("diff", file, "v000001", "v000002", "--json"))["on_unseen_labels"]
    assert measured["n"] == 79
    assert all(figure["low"] <= figure["value"] <= figure["high"] for figure in measured["first"]["figures"])
    assert sum(each["n"] for each in measured["second"]["reliability"]) == 79


def test_models_of_a_number_are_listed_compared_rolled_back_and_pinned(of_numbers: Path, kafka: Settings) -> None:
    pipeline = load(of_numbers)
    told(kafka, pipeline, number_values(80, topic=pipeline.raw_topics[0]))
    assert "none: it foretells a number" in run("show", of_numbers, "v000002")
    words = " ".join(run("diff", of_numbers, "v000001", "v000002").split())
    assert "79 answers that neither has learnt from; none was drawn at random" in words
    assert re.search(r"answers rank correlation 0\.\d\d of \d+ rows", words)
    assert re.search(r"better: the second's RMSE less the first's is .\d\.\d+ h \(95 %: ", words), words
    assert "likeliest" not in words
    measured = json.loads(run("diff", of_numbers, "v000001", "v000002", "--json"))["on_unseen_labels"]
    assert [figure["unit"] for figure in measured["first"]["figures"]] == [None, "h", "h", None]
    assert all(figure["low"] <= figure["value"] <= figure["high"] for figure in measured["first"]["figures"])

    assert f"{VERSIONS[0]} is champion again, as v000003-0000000a" in run("rollback", of_numbers)
    assert f"{VERSIONS[1]} is champion again, as v000004-0000000b" in run("promote", of_numbers, "v000002", "--pin")
    assert "champion, pinned" in run("list", of_numbers)
    with ModelWatcher(kafka, pipeline) as watcher:
        watcher.wait_ready()
        model = watcher.current()
        assert model is not None
        assert model.version == "v000004-0000000b"
        assert model.says(np.zeros((1, 3))).shape == (1, 3)
