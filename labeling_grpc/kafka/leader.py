"""Intake and publishing, in the one replica that was elected to speak with Kafka."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from labeling_grpc.kafka.candidate_consumer import Intake, Ranking
from labeling_grpc.kafka.outbox_publisher import Hook, Publisher
from labeling_grpc.kafka.partitions import always
from labeling_grpc.storage.base import Change, Election, StoreError
from labeling_grpc.storage.group_commit import Writer
from tidemark.records.topics import Topics
from tidemark.runtime.settings import Settings

_ASK_SECONDS: Final = 1.5

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Problems:
    """What keeps the parts around the service from working; "" when nothing does."""

    intake: str = ""
    publishing: str = ""


class Bridge:
    """Runs intake and publisher for as long as this replica is the one to do so."""

    def __init__(
        self,
        settings: Settings,
        topics: Topics,
        writer: Writer,
        problems: Problems,
        fatal: Callable[[Exception], None],
        hook: Hook,
        ranker: Ranking | None = None,
    ) -> None:
        """problems: kept up to date.  fatal: called with what ended one of them.  hook: see `Publisher`.

        ranker: None where no model ranks cases.
        """
        self._settings = settings
        self._topics = topics
        self._writer = writer
        self._problems = problems
        self._own = Problems(intake="starting", publishing="starting")
        self._fatal = fatal
        self._hook = hook
        self._ranker = ranker
        self._election: Election | None = writer.store.election
        self._until = 0.0
        self._term = 0
        self._stop = threading.Event()
        self._intake: Intake | None = None
        self._publisher: Publisher | None = None
        self._thread = threading.Thread(target=self._run, name="labeling-election", daemon=True)

    def start(self) -> None:
        """Begin to take in and publish, now or when this replica is elected."""
        if self._election is None:
            self._begin(always)
        else:
            self._writer.store.subscribe(self._changed)
            self._thread.start()

    def ask_to_stop(self) -> None:
        """Take in no more."""
        self._stop.set()
        if self._intake is not None:
            self._intake.ask_to_stop()

    def stop(self) -> None:
        """Publish what is in the outbox, and let another replica be elected."""
        self.ask_to_stop()
        if self._thread.ident is not None:
            self._thread.join()
        if self._intake is not None:
            self._intake.stop()
        if self._publisher is not None:
            self._publisher.stop()
        if self._election is not None:
            try:
                self._election.give_up()
            except StoreError as error:
                log.info("another replica takes over when this one's term ends: %s", error)

    def _changed(self, change: Change) -> None:
        """Called by a thread of the store's."""
        if change == "cases":
            self._writer.look()
        elif self._publisher is not None:
            self._publisher.wake()

    def _begin(self, leads: Callable[[], bool]) -> None:
        parts = (self._settings, self._topics, self._writer)
        self._publisher = Publisher(*parts, self._publishing_problem, self._fatal, self._hook, leads)
        caught_up = self._publisher.caught_up
        self._intake = Intake(
            *parts, self._intake_problem, self._fatal, leads=leads, caught_up=caught_up, ranker=self._ranker
        )
        self._intake.start()
        self._publisher.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._ask()
            except StoreError as error:
                self._problems.intake = self._problems.publishing = str(error)
            except Exception as error:  # noqa: BLE001 - the end of the thread, told to who can end the process
                self._fatal(error)
                return
            self._stop.wait(_ASK_SECONDS)

    def _ask(self) -> None:
        if self._election is None:
            return
        until, self._problems.intake, self._problems.publishing = self._election.hold(
            self._own.intake, self._own.publishing
        )
        before, self._until = self._until, until
        # One of the two may have seen the end of the term before, and have ended, and the other not: both begin anew.
        if until and time.monotonic() >= before:
            log.info("this replica speaks with Kafka from now on")
            self._term += 1
        if until and not self._running():
            self._begin(partial(self._leads, self._term))

    def _leads(self, term: int) -> bool:
        return term == self._term and time.monotonic() < self._until

    def _running(self) -> bool:
        """Whether threads of this term, or the one before, have not ended."""
        return any(part is not None and part.running for part in (self._intake, self._publisher))

    def _intake_problem(self, problem: str) -> None:
        self._own.intake = self._problems.intake = problem

    def _publishing_problem(self, problem: str) -> None:
        self._own.publishing = self._problems.publishing = problem
