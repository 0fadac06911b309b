"""Ends the process when a call into Kafka's client does not come back.

`send_offsets_to_transaction` can block past its time-out (librdkafka issue 5456). A process that hangs keeps its
partitions for ever, for its heartbeats go on; one that has ended is replaced.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

HUNG: Final = 75
"""Exit status (EX_TEMPFAIL of sysexits.h) of a process that its watchdog ended."""


def _end_process(message: str) -> None:
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
    os._exit(HUNG)


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
        self._guarded: tuple[str, float, float] | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name=f"watchdog {name}")
        self._thread.start()

    @contextmanager
    def guard(self, what: str, seconds: float) -> Iterator[None]:
        """The body must end within `seconds`."""
        self._guarded = (what, seconds, self._clock() + seconds)
        try:
            yield
        finally:
            self._guarded = None

    def check(self) -> bool:
        """Whether the guarded body has overrun; tells `expired` if so."""
        guarded = self._guarded
        if guarded is None or self._clock() < guarded[2]:
            return False
        self._expired(
            f"{self._name}: {guarded[0]} has not come back for {guarded[1]:g} s (librdkafka issue 5456); this process "
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
