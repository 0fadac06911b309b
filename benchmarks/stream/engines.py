"""The engines that are compared: how each is started on a source and a target topic."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from benchmarks.loop.fraud_loop import PIPELINE_FILE
from tidemark.runtime.settings import Settings

_ROOT: Final = Path(__file__).parents[2]
_GRACE: Final = 15.0
TIDEMARK: Final = "tidemark"
BESIDE: Final = "pass-through"


@dataclass(frozen=True, slots=True)
class Run:
    """What an engine is given. folder: of its own.  model_file: LightGBM's text.  version: of the model."""

    settings: Settings
    source: str
    target: str
    folder: Path
    model_file: Path
    version: str


@dataclass(frozen=True, slots=True)
class Engine:
    """One that is compared.

    command: makes what is run.
    environment: more variables.
    prepare: installs it; called once, before the first run.
    share: of the events that it is given, for it is so much slower than others.
    """

    name: str
    guarantee: str
    command: Callable[[Run], Sequence[str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] = lambda: None
    share: float = 1.0


class EngineProcess:
    """An engine at work, for the block."""

    def __init__(self, engine: Engine, run: Run) -> None:
        self.name = engine.name
        self._log = run.folder / "log"
        environment = {
            **os.environ,
            **run.settings.environment(),
            "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'tests' / 'lib'}",
            "TIDEMARK_SLOT": "bench",
            "PEER_BOOTSTRAP": run.settings.bootstrap_servers or "",
            "PEER_SOURCE": run.source,
            "PEER_TARGET": run.target,
            "PEER_MODEL": str(run.model_file),
            "PEER_VERSION": run.version,
            "PEER_STATE": str(run.folder / "state"),
            **engine.environment,
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                list(engine.command(run)), env=environment, stdout=log, stderr=log, cwd=run.folder
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def check(self) -> None:
        """Raise what it said if it has ended by itself."""
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.name} ended by itself ({self._process.returncode}):\n{self.output[-3_000:]}")

    @property
    def output(self) -> str:
        """All that it has printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")


def _python(*arguments: str) -> Callable[[Run], Sequence[str]]:
    return lambda _: [sys.executable, "-P", *arguments]


def _passing(run: Run) -> Sequence[str]:
    return [sys.executable, "-P", "-m", "benchmarks.stream.pass_through", run.source, run.target]


OURS: Final = (
    Engine(TIDEMARK, "exactly once", _python("-m", "dataflows.run", "stream", str(PIPELINE_FILE))),
    Engine(BESIDE, "exactly once", _passing),
)
"""Tidemark, and what only consumes and produces the same bytes through Tidemark's client."""
