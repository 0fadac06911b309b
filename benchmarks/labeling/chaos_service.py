"""A labeling service in a process of its own that is up in a tenth of the time: forked from one that has imported it.

The import of what it is made of takes most of a start, and would take most of a thousand runs with kills.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
from collections.abc import Mapping
from functools import cache
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import TracebackType
from typing import Self

from labeling_grpc.server import main


class ForkedService:
    """As `python -m labeling_grpc FILE` with this environment. Ended with the block."""

    def __init__(self, file: Path, log: Path, environment: Mapping[str, str]) -> None:
        self._file = file
        self._log = log
        self._environment = dict(environment)
        self._lock = threading.Lock()
        self._process = self._started()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._end()

    @property
    def output(self) -> str:
        """All that it has printed, over all its starts."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    def restart(self) -> None:
        """SIGKILL, so that nothing of it gets to clean up, and start it again."""
        with self._lock:
            self._end()
            self._process = self._started()

    def keep(self) -> None:
        """Start it again if it has ended by itself, as one does whose database can't be reached."""
        with self._lock:
            if self._process.exitcode is not None:
                self._process = self._started()

    def _started(self) -> ForkServerProcess:
        process = _context().Process(target=_serve, args=(self._file, self._log, self._environment), daemon=True)
        process.start()
        return process

    def _end(self) -> None:
        self._process.kill()
        self._process.join()


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    # Each child imports the main module again, which is quick when what that imports is there.
    context.set_forkserver_preload(
        ["benchmarks.labeling.chaos_lane", "benchmarks.loop.fraud_loop", "benchmarks.support.report"]
    )
    return context


def _serve(file: Path, log: Path, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    printed = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(printed, stream.fileno())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.exit(main(file))
