"""A process that is asked to stop before it has begun ends with status 0, whenever that is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tidemark.runtime.signals import held

_ROOT = Path(__file__).parents[3]
_COMMANDS = {
    "flow": ["-m", "dataflows.run", "stream", "pipelines/fraud.toml"],
    "ingest": ["-m", "dataflows.ingest", "pipelines/fraud.toml", "x.csv"],
    "labeling": ["-m", "labeling_grpc", "pipelines/fraud.toml"],
    "up": ["-c", "from tidemark.cli import main; main()", "up", "pipelines/fraud.toml"],
    "supervised": [
        "-m",
        "tidemark.supervisor.tied",
        str(os.getpid()),
        "dataflows.run",
        "stream",
        "pipelines/fraud.toml",
    ],
}


@pytest.mark.parametrize("command", _COMMANDS)
def test_a_stop_that_comes_while_a_process_imports_ends_it_cleanly(command: str, tmp_path: Path) -> None:
    """The process sends itself the signal in the midst of its imports, so that no clock takes part."""
    for module in ("polars", "pydantic", "confluent_kafka", "numpy"):
        text = "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nimport time\ntime.sleep(60)\n"
        (tmp_path / f"{module}.py").write_text(text)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{_ROOT}"}
    environment.pop("COVERAGE_PROCESS_START", None)
    done = subprocess.run(
        [sys.executable, "-P", *_COMMANDS[command]],
        env=environment,
        cwd=_ROOT,
        check=False,
        timeout=50,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()[-2_000:]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_that_comes_before_the_interpreter_runs_waits_for_the_handler(number: signal.Signals) -> None:
    """Sent as soon as the process is there: the parent held it."""
    with held():
        process = subprocess.Popen([sys.executable, "-P", *_COMMANDS["labeling"]], cwd=_ROOT)
    process.send_signal(number)
    assert process.wait(50) == 0


def test_the_parents_own_signals_are_let_in_again() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with held():
        assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
