"""`tidemark doctor`: each line says what is and, where it is wrong, what to do."""

from __future__ import annotations

import json
import re
import resource
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tidemark.cli import examination
from tidemark.cli.app import app
from tidemark.cli.examination import KNOWN, clock, numbers

ROOT = Path(__file__).parents[3]
Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil has it


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("BOOTSTRAP_SERVERS", "LABELING_ADDRESS", "DATA"):
        monkeypatch.delenv(f"TIDEMARK_{variable}", raising=False)
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path / "home"))


def looked_at() -> tuple[int, dict[str, dict[str, str]]]:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    findings = {finding["name"]: finding for finding in json.loads(result.stdout)}
    for finding in findings.values():
        assert finding["state"] == "ok" or finding["remedy"], finding
    return result.exit_code, findings


def test_a_machine_that_is_ready_has_no_wrong_line_and_the_exit_code_0() -> None:
    status, findings = looked_at()
    assert status == 0
    assert {"python", "packages", "java", "kafka", "home", "disk", "ports", "clock", "kernels"} <= findings.keys()
    assert "wrong" not in {finding["state"] for finding in findings.values()}
    shown = CliRunner().invoke(app, ["doctor"])
    assert shown.exit_code == 0
    assert "confluent-kafka" in shown.output


def test_a_misspelt_variable_is_told_with_the_one_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_BOOTSTRAP_SERVER", "127.0.0.1:1")
    status, findings = looked_at()
    assert status == 1
    assert "did you mean TIDEMARK_BOOTSTRAP_SERVERS" in findings["environment"]["text"]


def test_a_kafka_that_does_not_answer_is_wrong_and_hides_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr(examination, "_ASK_SECONDS", 0.5)
    status, findings = looked_at()
    assert status == 1
    assert findings["kafka"]["state"] == "wrong"
    assert "127.0.0.1:1" in findings["kafka"]["text"]
    assert findings["java"]["text"].startswith("not needed")
    assert findings["clock"]["state"] != "wrong"


def test_a_variable_that_is_wrong_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_BOOTSTRAP_SERVERS", "kafka")
    status, findings = looked_at()
    assert status == 1
    assert "is not host:port" in findings["settings"]["text"]


def test_a_home_that_can_t_be_written_to_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("TIDEMARK_HOME", str(file / "home"))
    status, findings = looked_at()
    assert status == 1
    assert "can't be written to" in findings["home"]["text"]
    assert "TIDEMARK_HOME" in findings["home"]["remedy"]


def test_a_home_that_others_may_read_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home").chmod(0o755)
    status, findings = looked_at()
    assert (status, findings["home"]["state"]) == (0, "note")
    assert "chmod o-rwx" in findings["home"]["remedy"]
    (tmp_path / "home").chmod(0o700)
    assert looked_at()[1]["home"]["state"] == "ok"


@pytest.mark.parametrize(("free", "state"), [(10**8, "wrong"), (10**9, "note"), (10**10, "ok")])
def test_a_disk_that_is_nearly_full_is_told(free: int, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**12, 10**12 - free, free))
    assert looked_at()[1]["disk"]["state"] == state


def test_a_low_bound_of_open_files_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (256, 256))
    status, findings = looked_at()
    assert status == 1
    assert "ulimit -n" in findings["open files"]["remedy"]


def test_a_check_that_fails_itself_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: Any) -> None:  # noqa: ANN401 - of any check
        raise OSError("no such device")

    monkeypatch.setattr(examination, "_disk", broken)
    status, findings = looked_at()
    assert (status, findings["disk"]["state"]) == (1, "wrong")
    assert "no such device" in findings["disk"]["text"]


@pytest.mark.parametrize(
    ("now", "synchronised", "state"),
    [(0.0, True, "wrong"), (2e9, True, "ok"), (2e9, None, "ok"), (2e9, False, "note")],
)
def test_a_clock_that_can_t_be_right_is_wrong(now: float, synchronised: bool | None, state: str) -> None:
    assert clock(now, synchronised).state == state


@given(st.lists(st.integers(0, 9_999), min_size=1, max_size=4), st.sampled_from(["", "rc1", ".dev3", "+local.7", "b2"]))
def test_versions_are_compared_as_numbers(parts: list[int], suffix: str) -> None:
    assert numbers(".".join(map(str, parts)) + suffix)[: len(parts)] == tuple(parts)


def test_every_variable_that_is_read_is_known() -> None:
    named = re.compile(r"(?<!_)TIDEMARK_([A-Z_]*[A-Z])\b")
    read = {
        name
        for folder in ("tidemark", "dataflows", "labeling_grpc")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "examination.py"
        for name in named.findall(path.read_text(encoding="utf-8"))
        if not name.startswith("KAFKA") and name not in {"LABELING", "LABELING_TLS"}
    }
    assert read - set(KNOWN) == set()
