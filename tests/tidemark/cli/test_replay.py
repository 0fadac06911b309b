"""`tidemark replay` as a person calls it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from lineage_world import LineageWorld, run_shop
from typer.testing import CliRunner, Result

from tidemark.cli.replay import app
from tidemark.parity.report import ReplayReport
from tidemark.records import Prediction, decode, encode
from tidemark.runtime.processor import Output
from tidemark.runtime.settings import Settings


@pytest.fixture(scope="module")
def ran(kafka: Settings, tmp_path_factory: pytest.TempPathFactory) -> LineageWorld:
    return run_shop(kafka, f"cli-{tmp_path_factory.mktemp('cli').name}", 120)


@pytest.fixture
def file(ran: LineageWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    from streaming import PIPELINE, SECOND_KEY  # noqa: PLC0415 - the text of the pipeline that ran

    monkeypatch.setenv("TIDEMARK_BOOTSTRAP_SERVERS", ran.settings.bootstrap_servers or "")
    monkeypatch.setenv("COLUMNS", "80")
    name, path = ran.pipeline.name, tmp_path / "shop.toml"
    text = PIPELINE.format(keys='["who", "place"]', second=SECOND_KEY)
    text = text.replace('name = "shop"', f'name = "{name}"').replace('"shop.raw"', f'"{name}.raw"')
    path.write_text("features_topic = true\n" + text, encoding="utf-8")
    return str(path)


def told(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def test_a_replay_is_told_listed_and_removed_and_differences_by_the_exit_code(ran: LineageWorld, file: str) -> None:
    whole = told(file, "--name", "first")
    assert whole.exit_code == 0, whole.output
    count = len(ran.values(ran.pipeline.topics.predictions))
    assert f"{count:,} equal, 0 differing" in " ".join(whole.output.split())
    assert ran.pipeline.topics.shadow("first") in whole.output
    again = told(file, "--name", "first")
    assert again.exit_code == 1
    as_json = told(file, "--no-topic", "--json", "--from", "0", "--to", "20")
    report = msgspec.json.decode(as_json.output, type=ReplayReport)
    assert report.equal == report.events > 0
    assert report.topic is None
    listed = told(file, "--list")
    assert "first" in listed.output
    assert told(file, "--remove", "first").exit_code == 0
    assert told(file, "--list").output.strip() == "there is no replay"
    assert told(file, "--remove", "first").exit_code == 1
    assert told(file, "--from", "yesterday").exit_code == 1

    prediction = next(
        each
        for value in ran.values(ran.pipeline.topics.predictions)
        if (each := decode(Prediction, value)).probabilities is not None
    )
    false = msgspec.structs.replace(prediction, probabilities=[0.5, 0.5], late=not prediction.late)
    ran.produce([Output(ran.pipeline.topics.predictions, encode(false), str(false.key).encode())])
    differs = told(file, "--no-topic")
    assert differs.exit_code == 2
    flat = " ".join(differs.output.split())
    assert "1 differing" in flat
    assert "probability of bad differs for 1 events, by up to" in flat
    assert f"late differs for 1 events: {prediction.event_id} has" in flat
