"""The supervisor keeps processes running, and leaves none behind."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tidemark.supervisor import NEEDS_A_PERSON, ProcessSpec, Supervisor
from tidemark.supervisor.backoff import Backoff

SLEEPER = "import time\nprint('up', flush=True)\ntime.sleep(600)\n"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPER


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], ProcessSpec]:
    """A function that makes a module of some text, to be supervised under a name."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(name: str, text: str) -> ProcessSpec:
        (tmp_path / f"{name}_program.py").write_text(text)
        return ProcessSpec(name=name, module=f"{name}_program")

    return make


async def until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Wait for a condition, politely."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s for {what}")
        await asyncio.sleep(0.02)


def quick() -> Backoff:
    """A back-off that does not keep a test waiting."""
    return Backoff(first=0.05, most=0.1)


def test_a_killed_process_is_started_again(module: Callable[[str, str], ProcessSpec]) -> None:
    """kill -9 brings another process id, and the log says so."""
    log = io.StringIO()

    async def scenario() -> None:
        supervisor = Supervisor([module("worker", SLEEPER)], log, backoff=quick)
        task = asyncio.create_task(supervisor.run())
        state = supervisor.states["worker"]
        await until(lambda: state.last_line == "up", "the first start")
        first = state.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: state.starts == 2 and state.pid not in {None, first}, "the second start")
        supervisor.stop()
        await task
        assert state.pid is None

    asyncio.run(scenario())
    assert "worker ended with signal SIGKILL; starting it again" in log.getvalue()


def test_a_process_that_ignores_sigterm_is_killed(module: Callable[[str, str], ProcessSpec]) -> None:
    """The clean stop has a bound."""
    log = io.StringIO()

    async def scenario() -> None:
        supervisor = Supervisor([module("stubborn", STUBBORN)], log, patience=0.3)
        task = asyncio.create_task(supervisor.run())
        await until(lambda: supervisor.states["stubborn"].last_line == "up", "the start")
        supervisor.stop()
        await asyncio.wait_for(task, 10)

    asyncio.run(scenario())
    assert "did not stop within 0.3 s and is killed" in log.getvalue()


def test_a_process_that_needs_a_person_is_not_restarted_in_a_hurry(
    module: Callable[[str, str], ProcessSpec],
) -> None:
    """A configuration error is said once in a while, not twenty times a second."""
    log = io.StringIO()

    async def scenario() -> None:
        spec = module("misled", f"import sys\nprint('mend the file')\nsys.exit({NEEDS_A_PERSON})\n")
        supervisor = Supervisor([spec], log, backoff=lambda: Backoff(first=0.01, most=300))
        task = asyncio.create_task(supervisor.run())
        await until(lambda: "starting it again in 300 s" in log.getvalue(), "the notice")
        assert supervisor.states["misled"].starts == 1
        supervisor.stop()
        await asyncio.wait_for(task, 10)

    asyncio.run(scenario())
    assert "mend the file" in log.getvalue()


def test_waits_double_up_to_a_bound_and_begin_anew_after_a_good_run() -> None:
    """The back-off."""
    backoff = Backoff(first=1, most=5, settled=60)
    assert [backoff.wait_after(0.1) for _ in range(4)] == [1, 2, 4, 5]
    assert backoff.wait_after(61) == 1


def test_no_process_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL to the supervisor ends what it supervised."""
    (tmp_path / "child_program.py").write_text(SLEEPER)
    (tmp_path / "parent_program.py").write_text(
        textwrap.dedent("""
            import asyncio, sys
            from tidemark.supervisor import ProcessSpec, Supervisor
            supervisor = Supervisor([ProcessSpec(name="child", module="child_program")], sys.stdout)
            asyncio.run(supervisor.run())
        """)
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-m", "parent_program"], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        lines = iter(parent.stdout.readline, "")
        assert any(line.rstrip().endswith(" up") for line in lines)
        children = psutil.Process(parent.pid).children()
        parent.kill()
        _, alive = psutil.wait_procs(children, timeout=10)
    assert children
    assert not alive


def test_no_child_runs_a_module_of_the_working_folder(
    module: Callable[[str, str], ProcessSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a supervised process nor one that it starts."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    for name in ("bytewax", "runpy", "asyncio", "tidemark", "json"):
        (folder / f"{name}.py").write_text("print('EXECUTED', flush=True)\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path(__file__).parents[3]}")
    text = (
        "import bytewax, json, subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'import json, bytewax'], check=True)\n"
        "print('imported', bytewax.__name__, flush=True)\n"
    )
    log = io.StringIO()

    async def scenario() -> None:
        supervisor = Supervisor([module("importer", text)], log, backoff=quick)
        task = asyncio.create_task(supervisor.run())
        await until(lambda: "imported bytewax" in log.getvalue() or "EXECUTED" in log.getvalue(), "the import", 50)
        supervisor.stop()
        await asyncio.wait_for(task, 20)

    asyncio.run(scenario())
    assert "EXECUTED" not in log.getvalue()


def test_a_process_that_prints_a_line_without_an_end_is_logged_on(module: Callable[[str, str], ProcessSpec]) -> None:
    log = io.StringIO()
    text = "import sys, time\nsys.stdout.write('x' * 3_000_000 + '\\n')\n" + SLEEPER

    async def scenario() -> None:
        supervisor = Supervisor([module("endless", text)], log, backoff=quick)
        task = asyncio.create_task(supervisor.run())
        await until(lambda: supervisor.states["endless"].last_line == "up", "the line after it")
        supervisor.stop()
        await asyncio.wait_for(task, 20)

    asyncio.run(scenario())
    assert "left out" in log.getvalue()


def test_a_process_that_is_stopped_as_it_starts_ends_cleanly(module: Callable[[str, str], ProcessSpec]) -> None:
    """However early: the signal waits until it is taken."""
    log = io.StringIO()

    async def scenario() -> None:
        supervisor = Supervisor([module("early", SLEEPER)], log, patience=60)
        task = asyncio.create_task(supervisor.run())
        state = supervisor.states["early"]
        await until(lambda: state.pid is not None, "the process")
        supervisor.stop()
        await asyncio.wait_for(task, 60)
        assert state.last_exit == 0

    asyncio.run(scenario())
