"""The bridge as a process of its own: it is killed with SIGKILL at seeded moments, and ended with SIGTERM."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bridging import Bridged, bridged
from labeling import PIPELINE
from studio import ADA

from labeling_grpc.label_studio.declared import ledger_path
from labeling_grpc.label_studio.ledger import look
from support import wait_until

TABLE = """
[label_studio]
url = "URL"
project = NUMBER
token_env = "LABEL_STUDIO_TOKEN"
private_host = "127.0.0.1"
offered = 5
poll = "1s"
[label_studio.users]
"ada@bank.example" = "ada"
"""


@pytest.fixture
def its(tmp_path: Path) -> Iterator[Bridged]:
    with bridged(tmp_path) as built:
        yield built


@contextmanager
def running(its: Bridged, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The bridge's process, killed at the end of the block if it still runs."""
    file = its.folder / "pay.toml"
    table = TABLE.replace("URL", its.studio.url).replace("NUMBER", str(its.project))
    file.write_text(PIPELINE.replace("NAME", "pay") + table)
    environment = os.environ | {"TIDEMARK_HOME": str(its.folder)}
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "labeling_grpc.label_studio", str(file)], env=environment, stdout=out, stderr=out
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_bridge_that_is_killed_at_any_moment_loses_no_answer_and_doubles_none(its: Bridged, tmp_path: Path) -> None:
    draw, log = random.Random(5), tmp_path / "log"
    events = [its.world.fresh() for _ in range(12)]
    said: dict[str, str] = {}
    for _ in range(6):
        with running(its, log) as process:
            wait_until(
                lambda: its.studio.open_tasks() or process.poll() is not None or len(said) == len(events),
                log.read_text,
                timeout=120,
            )
            assert process.poll() is None, log.read_text()
            for task in its.studio.open_tasks()[:3]:
                label = draw.choice(["fraud", "genuine"])
                its.studio.annotate(task["id"], ADA, label)
                said[task["data"]["event_id"]] = label
            time.sleep(draw.uniform(0, 1.5))  # the moment of the kill, drawn; nothing waits for it
            process.kill()
            process.wait()
    started, ledger = time.time(), ledger_path(its.settings, "pay")
    with running(its, log) as process:
        wait_until(
            lambda: all((its.label(event) or ("",))[0] == "answered" for event in said),
            lambda: f"{[(event, its.label(event)) for event in said]} {log.read_text()}",
            timeout=120,
        )
        # Not before it has looked itself: what was killed left word that it runs.
        wait_until(lambda: (look(ledger, 0).at or 0.0) > started, log.read_text, timeout=120)
        assert look(ledger, 0).runs
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
    assert not look(ledger, 0).runs
    assert len(said) >= 5
    assert {event: its.label(event) for event in said} == {event: ("answered", said[event], "ada") for event in said}
    assert len(its.labels()) == len(said)


def test_a_project_that_does_not_serve_ends_the_bridge_with_what_to_do(its: Bridged, tmp_path: Path) -> None:
    its.studio.projects[its.project]["label_config"] = "<View/>"
    with running(its, tmp_path / "log") as process:
        assert process.wait(120) == 1
    told = (tmp_path / "log").read_text()
    assert 'has no control <Choices name="label">' in told
    assert "tidemark label-studio project" in told
    assert "Traceback" not in told
    seen = look(ledger_path(its.settings, "pay"), 0)
    assert not seen.runs
    assert 'has no control <Choices name="label">' in seen.problem
