from __future__ import annotations

import json
from pathlib import Path

import pytest
from hooking import SECRET, hooked_text, verified
from receiving import receiving
from typer.testing import CliRunner

from tidemark.cli.app import app
from tidemark.cli.up import processes
from tidemark.runtime.settings import Settings
from tidemark.webhooks.messages import TYPES
from tidemark.webhooks.signing import keys_of


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setenv("COLUMNS", "300")


def asked(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["webhook", *words])
    return done.exit_code, done.output


def written(folder: Path, url: str) -> str:
    file = folder / "p.toml"
    file.write_text(hooked_text("p", ("w", url, ["label.completed", "drift.detected"])))
    return str(file)


def test_a_secret_is_one_that_a_webhook_takes() -> None:
    status, shown = asked("secret")
    assert status == 0
    assert len(keys_of(shown)) == 1


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_the_schema_of_each_type_is_printed(kind: str) -> None:
    status, shown = asked("schema", kind)
    assert status == 0
    assert json.loads(shown)["$schema"].startswith("https://json-schema.org/")


def test_a_made_up_event_is_sent_signed_and_says_that_it_is_one(tmp_path: Path) -> None:
    with receiving() as receiver:
        file = written(tmp_path, receiver.url)
        for kind in ("label.completed", *sorted(TYPES)):
            more = [] if kind == "label.completed" else ["--event", kind]
            status, shown = asked("test", file, "w", *more)
            assert status == 0, shown
            body = verified(receiver.requests[-1])
            assert (body["type"], body["test"]) == (kind, True)
            assert shown.startswith(f"http://127.0.0.1:{receiver.port} has taken a made-up {kind}: 204, in ")
            assert "/hook" not in shown


def test_a_receiver_that_does_not_take_it_is_told_and_the_status_is_1(tmp_path: Path) -> None:
    with receiving(lambda _request: (401, {}, b"bad signature")) as receiver:
        status, shown = asked("test", written(tmp_path, receiver.url), "w")
    assert status == 1
    assert "answered 401 Unauthorized: bad signature" in shown


def test_what_is_wrong_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, "http://127.0.0.1:1/")
    assert "has no webhook 'v'" in asked("test", file, "v")[1]
    monkeypatch.setenv("HOOK_SECRET", "hunter2")
    status, shown = asked("test", file, "w")
    assert status == 1
    assert "webhook 'w': secret_env HOOK_SECRET is no secret of a webhook, which begins with whsec_" in shown
    assert "hunter2" not in shown
    monkeypatch.delenv("HOOK_SECRET")
    assert "secret_env HOOK_SECRET is empty or not set; put the secret there" in asked("test", file, "w")[1]


def test_each_webhook_of_a_pipeline_has_a_process_of_its_own(tmp_path: Path) -> None:
    settings = Settings.from_environment({"TIDEMARK_HOME": str(tmp_path)}).at("kafka:9092")
    specs = {spec.name: spec for spec in processes(tmp_path / "p.toml", settings, webhooks=["a", "b"])}
    assert specs["webhook-a"].module == "dataflows.webhooks"
    assert specs["webhook-a"].arguments == (str(tmp_path / "p.toml"), "a")
    assert "webhook-b" in specs
