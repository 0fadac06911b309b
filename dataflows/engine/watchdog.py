"""Ends the process when a call into Kafka's client does not come back.

`send_offsets_to_transaction` can block past its time-out (librdkafka issue 5456). A process that hangs keeps its
partitions for ever, for its heartbeats go on; one that has ended is replaced.

Some calls (`incremental_unassign`) wait with the interpreter's lock in their hands, so that no thread of Python's goes
on, the watching one neither. Behind it stands `faulthandler`, whose thread needs no lock.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

HUNG: Final = 75
"""Exit status (EX_TEMPFAIL of sysexits.h) of a process that its watchdog ended; 1 where `faulthandler` did."""

LAST_RESORT: Final = 10.0
"""Seconds that `faulthandler` leaves the watching thread to speak first."""

_STDERR: Final = 2


def _end_process(message: str) -> None:
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
    os._exit(HUNG)


class _LastResort:
    """`faulthandler`'s timer, of which a process has one, set to the first of many deadlines (monotonic, seconds)."""

    def __init__(self) -> None:
        self._deadlines: list[float] = []
        self._lock = threading.Lock()

    def arm(self, deadline: float) -> None:
        """End the process at `deadline`, with the stacks of its threads on stderr."""
        with self._lock:
            self._deadlines.append(deadline)
            self._set()

    def disarm(self, deadline: float) -> None:
        """Take an `arm` back."""
        with self._lock:
            self._deadlines.remove(deadline)
            self._set()

    def _set(self) -> None:
        if self._deadlines:
            left = max(min(self._deadlines) - time.monotonic(), 0.001)
            faulthandler.dump_traceback_later(left, exit=True, file=_STDERR)
        else:
            faulthandler.cancel_dump_traceback_later()


_last_resort: Final = _LastResort()


class Watchdog:
    """Watches one thread's blocking calls. `expired` is called, from another thread, with a message for a person."""

    def __init__(
        self,
        name: str,
        *,
        expired: Callable[[str], None] = _end_process,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._expired = expired
        self._clock = clock
        self._guards: list[tuple[str, float, float]] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name=f"watchdog {name}")
        self._thread.start()

    @contextmanager
    def guard(self, what: str, seconds: float) -> Iterator[None]:
        """The body must end within `seconds`. Guards nest: each holds until its own body ends."""
        last = time.monotonic() + seconds + LAST_RESORT
        self._guards = [*self._guards, (what, seconds, self._clock() + seconds)]
        _last_resort.arm(last)
        try:
            yield
        finally:
            _last_resort.disarm(last)
            self._guards = self._guards[:-1]

    def check(self) -> bool:
        """Whether a guarded body has overrun; tells `expired` if so."""
        now = self._clock()
        over = next((guard for guard in self._guards if now >= guard[2]), None)
        if over is None:
            return False
        self._expired(
            f"{self._name}: {over[0]} has not come back for {over[1]:g} s (librdkafka issue 5456); this process "
            "ends, its transaction is aborted by the next one of its slot, and nothing is lost"
        )
        return True

    def close(self) -> None:
        """End the watching thread."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(0.25):
            if self.check():
                return
