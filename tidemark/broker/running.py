"""Who runs the cluster of a data folder: the lock, and what is left of one whose owner died."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from tidemark.broker.layout import write_atomically
from tidemark.errors import BrokerError

_log = logging.getLogger(__name__)
_TERM_SECONDS: Final = 10.0
_AFTER_CLOSING_SECONDS: Final = 0.3
_POLL_SECONDS: Final = 0.02


class Process(msgspec.Struct, frozen=True):
    """A process, told apart from a later one with its number by when it began (seconds since 1970)."""

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this number now."""
        import psutil  # noqa: PLC0415 - commands that only look for the file of one start without it

        return cls(pid, psutil.Process(pid).create_time())

    def runs(self) -> bool:
        """Whether it still runs; one that has ended and only waits to be noticed does not."""
        import psutil  # noqa: PLC0415 - as above

        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.created and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.runs():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Running(msgspec.Struct, frozen=True):
    """Content of `running.json`. `owner` ends with its nodes; None means they are detached and live on."""

    owner: Process | None
    command: str
    nodes: dict[int, Process]

    def alive(self) -> dict[int, Process]:
        """The nodes that run now."""
        return {node: process for node, process in self.nodes.items() if process.runs()}


def read_running(data_dir: Path) -> Running | None:
    """Who runs the cluster by its lock, which may be stale; None without a lock or with a damaged one."""
    try:
        return msgspec.json.decode((data_dir / "running.json").read_bytes(), type=Running)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        _log.warning("%s is damaged and counts as stale", data_dir / "running.json")
        return None


def write_running(data_dir: Path, running: Running) -> None:
    """Write the lock."""
    write_atomically(data_dir / "running.json", msgspec.json.encode(running))


def remove_running(data_dir: Path) -> None:
    """Remove the lock."""
    (data_dir / "running.json").unlink(missing_ok=True)


def claim(data_dir: Path) -> None:
    """Take the lock of `data_dir` for this process; one that is stale is explained in the log and cleaned.

    Raises:
        BrokerError: another live process has it; says which, and how to stop it.

    """
    with _exclusive(data_dir):
        held = read_running(data_dir)
        if held is not None:
            _refuse_if_live(data_dir, held)
            _clean_stale(data_dir, held)
        write_running(data_dir, Running(Process.of(os.getpid()), " ".join(sys.orig_argv), {}))


def release_detached(data_dir: Path) -> list[int]:
    """Stop a detached cluster and remove its lock; returns the process ids of the nodes that were stopped.

    Raises:
        BrokerError: the cluster belongs to a live process, which must stop it itself.

    """
    with _exclusive(data_dir):
        held = read_running(data_dir)
        if held is None:
            return []
        if held.owner is not None:
            _refuse_if_live(data_dir, held)
        nodes = held.alive()
        end_nodes(data_dir, nodes)
        remove_running(data_dir)
        return [process.pid for process in nodes.values()]


def end_nodes(data_dir: Path, nodes: Mapping[int, Process]) -> None:
    """Stop nodes cleanly; returns when their processes are gone.

    SIGTERM to all. A node that has closed its logs and only waits for another controller to be elected (5 s, in vain
    when all are stopped) is killed: Raft's log is safe with that by design. So is one that hangs for 10 s.
    """
    for process in nodes.values():
        process.signal(signal.SIGTERM)
    began = time.monotonic()
    while left := {node: process for node, process in nodes.items() if process.runs()}:
        late = time.monotonic() - began > _TERM_SECONDS
        for node, process in left.items():
            if late:
                _log.warning("node %d did not end within %g s and is killed", node, _TERM_SECONDS)
            if late or (len(nodes) > 1 and _closed(data_dir, node)):
                process.signal(signal.SIGKILL)
        if time.monotonic() - began > 2 * _TERM_SECONDS:
            raise BrokerError(f"nodes {sorted(left)} do not end, not even by SIGKILL; see `ps` for what holds them")
        time.sleep(_POLL_SECONDS)


def _closed(data_dir: Path, node: int) -> bool:
    """Whether the node has flushed and closed its logs, some time ago."""
    try:
        written = (data_dir / f"node-{node}" / "log" / ".kafka_cleanshutdown").stat().st_mtime
    except FileNotFoundError:
        return False
    return time.time() - written > _AFTER_CLOSING_SECONDS


def _refuse_if_live(data_dir: Path, held: Running) -> None:
    if held.owner is not None and held.owner.runs():
        raise BrokerError(
            f"the Kafka in {data_dir} is run by process {held.owner.pid} ({held.command}); stop that, or use "
            "another folder (TIDEMARK_HOME)"
        )
    alive = held.alive()
    if held.owner is None and alive:
        pids = ", ".join(str(process.pid) for process in alive.values())
        raise BrokerError(
            f"the Kafka in {data_dir} is running detached (process {pids}); `tidemark broker status` shows it, "
            "`tidemark broker down` stops it"
        )


def _clean_stale(data_dir: Path, held: Running) -> None:
    orphans = held.alive()
    ended = "its processes" if held.owner is None else f"process {held.owner.pid}, which ran it,"
    _log.warning(
        "the lock of the Kafka in %s is stale: %s ended without stopping it (%s); cleaned",
        data_dir,
        ended,
        f"{len(orphans)} node(s) left behind are stopped" if orphans else "no node was left behind",
    )
    end_nodes(data_dir, orphans)
    remove_running(data_dir)


@contextmanager
def _exclusive(data_dir: Path) -> Iterator[None]:
    """One process at a time looks at the lock and takes it."""
    with (data_dir / ".claim").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
