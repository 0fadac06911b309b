"""Starts a node's JVM and, unless it is detached, sees to it that the JVM ends with the process that wanted it.

Run as a script with the standard library alone: `launcher.py PARENT_PID|0 OUTPUT_FILE COMMAND...`. It prints the
JVM's process id. With 0 it ends at once and leaves the JVM running. Otherwise it stays beside the JVM:
- the parent is gone, even by SIGKILL: the JVM gets SIGTERM, and SIGKILL after a while;
- the launcher itself is killed: Linux kills the JVM (PR_SET_PDEATHSIG).

PR_SET_PDEATHSIG alone would not do: it fires when the *thread* that started the child ends, and a broker may be
started from any thread.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_POLL_SECONDS: Final = 0.2
_GRACE_SECONDS: Final = 5.0


def _die_with_launcher() -> None:
    """Runs in the child before the JVM replaces it; the launcher has one thread, so this is safe."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def main(argv: list[str]) -> int:
    """Start the JVM, report its process id, and stay with it if there is a parent to watch."""
    parent, output, *command = argv
    watched = int(parent)
    with Path(output).open("wb") as stream:
        jvm = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_launcher if watched else None,  # noqa: PLW1509 one thread: nothing can be locked
        )
    print(jvm.pid, flush=True)  # noqa: T201 the protocol
    if not watched:
        os._exit(0)  # no waiting, no warning about a child that is meant to live on
    sys.stdout.close()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the JVM is stopped by its owner; this process follows it
    ends = _ends_of(jvm.pid, watched)
    while (status := jvm.poll()) is None:
        if os.getppid() != watched:
            return _end(jvm)
        if ends:
            select.select(ends, [], [])
        else:
            time.sleep(_POLL_SECONDS)
    return abs(status)


def _ends_of(*processes: int) -> list[int]:
    """File descriptors of which one can be read once its process has ended; none where the system has no such thing."""
    try:
        return [os.pidfd_open(process) for process in processes] if sys.platform == "linux" else []
    except OSError:  # an old kernel; or the parent has ended, which its child finds by asking
        return []


def _end(jvm: subprocess.Popen[bytes]) -> int:
    jvm.terminate()
    try:
        return abs(jvm.wait(_GRACE_SECONDS))
    except subprocess.TimeoutExpired:
        jvm.kill()
        return abs(jvm.wait())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
