"""`tidemark why` as a person calls it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from lineage_world import LineageWorld, run_shop
from streaming import shop
from typer.testing import CliRunner

from tidemark.cli.why import app
from tidemark.lineage import Lineage
from tidemark.records import encode
from tidemark.runtime.processor import Output
from tidemark.runtime.settings import Settings


@pytest.fixture(scope="module")
def ran(kafka: Settings, tmp_path_factory: pytest.TempPathFactory) -> LineageWorld:
    return run_shop(kafka, f"cli-{tmp_path_factory.mktemp('cli').name}", 120)


def test_an_event_is_told_in_words_and_as_json_and_differences_by_the_exit_code(
    ran: LineageWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streaming import PIPELINE, SECOND_KEY  # noqa: PLC0415 - the text of the pipeline that ran

    monkeypatch.setenv("TIDEMARK_BOOTSTRAP_SERVERS", ran.settings.bootstrap_servers or "")
    name, file = ran.pipeline.name, tmp_path / "shop.toml"
    text = PIPELINE.format(keys='["who", "place"]', second=SECOND_KEY)
    text = text.replace('name = "shop"', f'name = "{name}"').replace('"shop.raw"', f'"{name}.raw"')
    file.write_text("features_topic = true\n" + text, encoding="utf-8")
    assert shop().feature_names == ran.pipeline.feature_names
    first = ran.candidates[0]

    told = CliRunner().invoke(app, [str(file), first.event_id])
    assert told.exit_code == 0, told.output
    assert "all are equal" in told.output
    assert "who_count = " in told.output
    as_json = CliRunner().invoke(app, [str(file), str(first.business_id), "--json"])
    assert msgspec.json.decode(as_json.output, type=Lineage).event_id == first.event_id
    unknown = CliRunner().invoke(app, [str(file), "nobody"])
    assert unknown.exit_code == 1

    false = msgspec.structs.replace(first, features={**first.features, "who_count": 77.0})
    ran.produce([Output(ran.pipeline.topics.candidates, encode(false))])
    differs = CliRunner().invoke(app, [str(file), first.event_id])
    assert differs.exit_code == 2
    assert "feature who_count" in differs.output
