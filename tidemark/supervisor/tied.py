"""`python -m tidemark.supervisor.tied MODULE ARGS…`: run a module that ends when its parent does.

A supervisor that is killed outright can't stop its children; Linux can (prctl PR_SET_PDEATHSIG). The signal is
SIGTERM, so that a flow commits and leaves its group. Elsewhere a thread watches the parent's process id.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import threading

from tidemark.runtime.signals import take_signals

_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.5


def tie_to_parent(parent: int) -> None:
    """Have this process receive SIGTERM when process `parent`, its parent, ends."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True, name="parent-watch").start()
    if os.getppid() != parent:  # it died before the call
        sys.exit("the supervisor ended before this process began")


def _watch(parent: int) -> None:
    """Send SIGTERM to this process once its parent is another one."""
    gone = threading.Event()
    while os.getppid() == parent:
        gone.wait(_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def main(argv: list[str]) -> None:
    """Tie this process to the parent given first, and run the module given second with the rest as its arguments."""
    parent, module, *arguments = argv
    take_signals()
    tie_to_parent(int(parent))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
