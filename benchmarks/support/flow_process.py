"""Processes of a flow that benchmarks and tests of faults start, kill and stop: real ones, by their ids."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from tidemark.runtime.settings import Settings
from tidemark.runtime.signals import held

_ROOT = Path(__file__).parents[2]


class FlowProcess:
    """`python -m MODULE ARGUMENTS` in a slot of its own, with the settings in its environment. Ended with the block."""

    def __init__(self, settings: Settings, slot: str, *command: str, log: Path, **environment: str) -> None:
        self._settings = settings
        self.slot = slot
        self._command = command
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.runs:
            self.kill()

    @property
    def runs(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> str:
        """All that it has printed, over all its starts."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Start it, or start it again in its slot."""
        if self.runs:
            raise RuntimeError(f"{self.slot} runs already")
        environment = {
            **os.environ,
            **self._settings.environment(),
            "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'tests' / 'lib'}",
            "TIDEMARK_SLOT": self.slot,
            **self._environment,
        }
        with self._log.open("ab") as log, held():
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", *self._command], env=environment, stdout=log, stderr=log, cwd=_ROOT
            )
        self.starts += 1

    def kill(self) -> None:
        """SIGKILL: nothing of it gets to clean up."""
        process = self._started()
        process.send_signal(signal.SIGKILL)
        process.wait()

    def terminate(self, timeout: float = 20) -> int:
        """SIGTERM; the exit status."""
        process = self._started()
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._started().pid

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs."""
        return self._started().poll()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.slot} was never started")
        return self._process


def told(processes: Iterable[FlowProcess]) -> str:
    """The last that each process has printed."""
    return "\n".join(f"--- {process.slot}\n{process.output[-3_000:]}" for process in processes)


def wait_for(
    condition: Callable[[], bool], what: str, processes: Iterable[FlowProcess], *, patience: float, poll: float = 0.05
) -> None:
    """Return when the condition holds. what: that it does not, as an error says it; patience, poll: seconds.

    Raises:
        RuntimeError: it does not for so long, or a process that nobody killed has failed; tells what all have printed.

    """
    watched = list(processes)
    deadline = time.monotonic() + patience
    while not condition():
        if dead := [p.slot for p in watched if not p.runs and p.status not in {0, -signal.SIGKILL}]:
            raise RuntimeError(f"{dead} ended by themselves:\n{told(watched)}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} within {patience:g} s:\n{told(watched)}")
        time.sleep(poll)
