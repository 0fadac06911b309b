"""The watch over answers: every so many it looks whose seem to be guesses, and sets those annotators aside."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import sqlalchemy as sa

from labeling_grpc.commands.events import CaseEvent
from labeling_grpc.commands.labeling import (
    Counts,
    Quarantine,
)
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.quality.annotator_metrics import suspects
from labeling_grpc.storage.base import StoreError
from labeling_grpc.storage.group_commit import Stopping, Writer

EVERY: Final = 100
"""Answers after which it looks again."""

_REST: Final = 10.0
"""Rest after a look, in times of what it took: however many answers come, most of the time is theirs."""

_STOP_SECONDS: Final = 3.0
"""A thread that waits for the database longer than so ends with the process."""

log = logging.getLogger(__name__)


class Screener:
    """A thread beside the writer's.

    Each replica counts the answers that it took itself. That two find the same is no harm: only who is active is set
    aside.
    """

    def __init__(
        self, writer: Writer, rules: QueueRules, fatal: Callable[[Exception], None], every: int = EVERY
    ) -> None:
        """fatal: called with a bug that ended it."""
        self._writer = writer
        self._rules = rules
        self._fatal = fatal
        self._every = every
        self._taken = 0
        self._due = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="labeling-screener", daemon=True)

    def start(self) -> None:
        """Begin to watch, where a case has several answers or a known one; there is nothing to compare elsewhere."""
        if self._rules.several or self._rules.gold_every:
            self._writer.listen(self._changed)
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._due.set()
        if self._thread.ident is not None:
            self._thread.join(_STOP_SECONDS)

    def look(self) -> list[str]:
        """Set aside whom the answers tell to; their names.

        Raises:
            StoreError: the database fails.
            Stopping: the writer ends.

        """
        try:
            with self._writer.store.engine.connect() as connection:
                doubts = suspects(connection, self._rules)
        except sa.exc.DBAPIError as error:
            raise StoreError(f"the queue's database fails ({error.orig})") from error
        for suspect in doubts:
            self._writer.call(Quarantine(suspect.annotator, suspect.why))
        return [suspect.annotator for suspect in doubts]

    def _changed(self, events: list[CaseEvent], _counts: Counts) -> None:
        """Called by the writer's thread."""
        self._taken += sum(event.kind in {"voted", "answered"} for event in events)
        if self._taken >= self._every:
            self._taken = 0
            self._due.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._due.wait()
            self._due.clear()
            if self._stop.is_set():
                return
            started = time.monotonic()
            try:
                self.look()
            except (StoreError, TimeoutError) as error:
                log.warning("answers are compared again after the next %d: %s", self._every, error)
            except Stopping:
                return
            except Exception as error:  # noqa: BLE001 - the end of the thread, told to who can end the process
                self._fatal(error)
                return
            self._stop.wait(_REST * (time.monotonic() - started))
