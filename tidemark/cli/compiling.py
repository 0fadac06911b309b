"""Kernels compiled before the flows start, where this machine has not compiled this version yet, and shown meanwhile.

Flows would compile what each needs by themselves, several the same at once, and without a word for most of a minute.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings

_ROOT: Final = Path(__file__).parents[2]
_SOURCES: Final = (
    "kernels",
    "tidemark/warmup.py",
    "tidemark/formats/avro_scan.py",
    "tidemark/formats/csv_fields.py",
    "tidemark/formats/json_fields.py",
    "tidemark/formats/json_scan.py",
    "tidemark/formats/protobuf_scan.py",
    "tidemark/times/iso8601_scan.py",
)
_LIBRARIES: Final = ("llvmlite", "numba", "numpy")
_MOST_PROCESSES: Final = 4
_END_SECONDS: Final = 2.0
_NAME: Final = 36


class Told(msgspec.Struct):
    """How far a process is.

    kernel: the one that it compiles.  part: the function of it.  done, of: kernels.  weight, all: the same, each
    counted by how long it takes.
    """

    kernel: str
    done: int
    of: int
    part: str = ""
    weight: float = 0
    all: float = 0


class Compiling:
    """Compiles the kernels in processes beside, and shows it: a bar in a terminal, else a line now and then.

    What fails here fails nobody: a flow that finds a kernel uncompiled compiles it.
    """

    def __init__(
        self, settings: Settings, console: Console, module: str = "tidemark.warmup", *, line_seconds: float = 5.0
    ) -> None:
        """Prepare; nothing is started before it is entered.

        Args:
            settings: that name the cache.
            console: what it is shown on.
            module: what compiles; its arguments are the number of a share, and how many there are.
            line_seconds: between two lines where there is no terminal.

        """
        self._settings, self._console, self._module, self._line_seconds = settings, console, module, line_seconds
        self._mark = _mark(settings)
        self._processes: list[subprocess.Popen[str]] = []
        self._readers: list[threading.Thread] = []
        self._told: dict[int, Told] = {}
        self._telling = threading.Lock()
        self._began = self._last_line = time.monotonic()
        self._reason = ""
        self._bar: Progress | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start, unless all was compiled before."""
        if self._mark.is_file():
            return self
        if self._console.is_terminal:
            self._bar = self._stack.enter_context(_bar(self._console))
        shares = min(os.cpu_count() or 1, _MOST_PROCESSES)
        for number in range(shares):
            process = self._start(number, shares)
            reader = threading.Thread(target=self._read, args=(number, process), daemon=True, name="compiling")
            self._processes.append(process)
            self._readers.append(reader)
            reader.start()
        return self

    def wait(self) -> None:
        """Return when all is compiled, or can't be."""
        if not self._processes:
            return
        for reader in self._readers:
            reader.join()
        failed = [status for process in self._processes if (status := process.wait()) != 0]
        self._stack.close()
        if failed:
            reason = safe(self._reason) or f"status {failed[0]}"
            self._say(f"kernels were not compiled beforehand ({reason}); each flow compiles what it needs")
            return
        if self._told:
            total = sum(told.of for told in self._told.values())
            self._say(f"{total} kernels are compiled, {time.monotonic() - self._began:.0f} s")
        with contextlib.suppress(OSError):
            self._mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._mark.touch()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the processes that have not ended."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for process, reader in zip(self._processes, self._readers, strict=True):
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            process.wait()
            reader.join()
            if process.stdout is not None:
                process.stdout.close()
        self._stack.close()

    def _start(self, number: int, shares: int) -> subprocess.Popen[str]:
        words = [str(os.getpid()), self._module, str(number), str(shares)]
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "tidemark.supervisor.tied", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **self._settings.environment(), "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"},
            start_new_session=True,  # Ctrl-C reaches this process alone, which ends that one
            text=True,
            errors="replace",
        )

    def _read(self, number: int, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            try:
                told = msgspec.json.decode(line, type=Told)
            except msgspec.MsgspecError:
                self._reason = line.strip()[:200] or self._reason
                continue
            with self._telling:
                if not self._told:
                    self._say("compiling kernels, once for each version: less than a minute")
                self._told[number] = told
                self._show(told)

    def _show(self, newest: Told) -> None:
        told = self._told.values()
        done, of = sum(each.done for each in told), sum(each.of for each in told)
        if self._bar is not None:
            name = f"{newest.kernel}: {newest.part}" if newest.part else newest.kernel
            self._bar.update(
                self._bar.task_ids[0],
                completed=sum(each.weight for each in told),
                total=sum(each.all for each in told) or None,
                description=safe(name)[:_NAME].ljust(_NAME),
                left=f"{of - done} left",
            )
        elif time.monotonic() - self._last_line >= self._line_seconds:
            self._last_line = time.monotonic()
            self._say(f"kernels: {done} of {of} compiled")

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, highlight=False)


def all_compiled(settings: Settings) -> bool:
    """Whether all kernels of this version are known to be compiled on this machine."""
    return _mark(settings).is_file()


def _mark(settings: Settings) -> Path:
    return settings.cache_dir / "kernels" / f"compiled-{_of_this_version()}"


def _bar(console: Console) -> Progress:
    left = TextColumn("{task.fields[left]}")
    bar = Progress(
        BarColumn(20), TaskProgressColumn(), left, TimeElapsedColumn(), TextColumn("{task.description}"),
        console=console, transient=True,
    )  # fmt: skip
    bar.add_task("kernels", total=None, left="")
    return bar


def _of_this_version() -> str:
    """What decides whether all is compiled: this machine, the compiler, and the sources."""
    machine = (platform.node(), platform.machine(), platform.python_version())
    options = sorted((name, value) for name, value in os.environ.items() if name.startswith("NUMBA_"))
    digest = hashlib.sha256(repr((machine, options, [version(name) for name in _LIBRARIES])).encode())
    for place in _SOURCES:
        path = _ROOT / place
        for file in [path] if path.suffix else sorted(path.rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
