"""Keeps a pipeline's processes running: starts them, starts them again when they end, stops them, one log for all."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from tidemark.runtime.safe_text import safe
from tidemark.runtime.signals import held
from tidemark.supervisor.backoff import Backoff
from tidemark.supervisor.repeats import Repeats

STOP_SECONDS = 4.0
"""How long a process may take over its clean stop before it is killed."""
NEEDS_A_PERSON = 78
"""Exit status (EX_CONFIG of sysexits.h) of a process that says a person must mend something: restarted slowly."""
_LINE_LIMIT = 1 << 20


class Writable(Protocol):
    """What lines are written to."""

    def write(self, line: str, /) -> object:
        """Append a line, its end included."""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A process to keep running: `python -P -m MODULE ARGUMENTS` with more environment."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class ProcessState:
    """What is known of one supervised process."""

    spec: ProcessSpec
    process: asyncio.subprocess.Process | None = None
    started: float = 0.0
    starts: int = 0
    last_exit: int | None = None
    last_line: str = ""
    repeats: Repeats = field(default_factory=Repeats)

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        if self.process is None or self.process.returncode is not None:
            return None
        return self.process.pid


class Supervisor:
    """Runs the processes until `stop` is called.

    log: where the lines go that a process prints, with time and name before each; of lines that a process repeats, few.
    echo: called with each such line too (a live view, a terminal).
    patience: seconds that a process has to stop before it is killed.
    """

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        log: Writable,
        *,
        echo: Callable[[str], None] | None = None,
        backoff: Callable[[], Backoff] = Backoff,
        patience: float = STOP_SECONDS,
    ) -> None:
        self.states = {spec.name: ProcessState(spec) for spec in specs}
        self._log = log
        self._echo = echo
        self._backoff = backoff
        self._patience = patience
        self._stopping = asyncio.Event()
        self._starting = asyncio.Lock()  # signals are held and let go by one start at a time

    async def run(self) -> None:
        """Keep all processes running until `stop`; returns when the last has ended."""
        async with asyncio.TaskGroup() as group:
            for state in self.states.values():
                group.create_task(self._keep(state), name=state.spec.name)

    def stop(self) -> None:
        """Ask every process to stop; those that take longer than `patience` are killed."""
        self._stopping.set()

    async def _keep(self, state: ProcessState) -> None:
        backoff = self._backoff()
        while not self._stopping.is_set():
            await self._run_once(state)
            if self._stopping.is_set():
                return
            uptime = time.monotonic() - state.started
            wait = backoff.wait_after(uptime)
            if state.last_exit == NEEDS_A_PERSON:
                wait = backoff.most
            self.say(
                "supervisor",
                f"{state.spec.name} ended with {_status(state.last_exit)}; starting it again in {wait:g} s",
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)

    async def _run_once(self, state: ProcessState) -> None:
        spec = state.spec
        async with self._starting:
            with held():
                process = await self._start(spec)
        state.process, state.started, state.starts = process, time.monotonic(), state.starts + 1
        self.say("supervisor", f"{spec.name} started, process {process.pid}")
        reader = asyncio.create_task(self._copy(state, process))
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            await self._end(state, process, ended)
        state.last_exit = await ended
        await reader

    async def _start(self, spec: ProcessSpec) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # a module of the working folder must not be taken for one that is installed
            "-m",
            "tidemark.supervisor.tied",
            str(os.getpid()),
            spec.module,
            *spec.arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1", **spec.environment},
            limit=_LINE_LIMIT,
            start_new_session=True,  # the terminal's Ctrl-C reaches the supervisor alone, which stops the rest in order
        )

    async def _end(self, state: ProcessState, process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> None:
        process.send_signal(signal.SIGTERM)
        done, _ = await asyncio.wait({ended}, timeout=self._patience)
        if not done:
            self.say("supervisor", f"{state.spec.name} did not stop within {self._patience:g} s and is killed")
            process.kill()

    async def _copy(self, state: ProcessState, process: asyncio.subprocess.Process) -> None:
        output = process.stdout
        if output is None:
            raise RuntimeError("a supervised process was started without a pipe for its output")
        while line := await _line(output):
            text = safe(line.decode(errors="replace").rstrip())
            state.last_line = text or state.last_line
            shown = state.repeats.line(text, time.monotonic())
            if shown is not None:
                self.say(state.spec.name, shown)

    def say(self, name: str, text: str) -> None:
        """Write a line of a process, or of another voice, to the log."""
        line = f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {name:<10} {text}"
        self._log.write(f"{line}\n")
        if self._echo is not None:
            self._echo(line)


async def _line(output: asyncio.StreamReader) -> bytes:
    """The next line; one that is longer than a log can use is left out, and its process goes on."""
    try:
        return await output.readline()
    except ValueError:  # the reader has thrown away what it held of it
        return b"(a line of more than 1 MiB was left out)\n"


def _status(code: int | None) -> str:
    """An exit status as a person says it."""
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"status {code}"
