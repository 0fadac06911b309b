"""The bridge's turns: what came is taken, leases are kept, what ended is marked, and cases are offered.

Label Studio's webhooks only say that something changed. What it is, the bridge reads: so a webhook that is lost, late,
doubled or forged changes nothing but how soon it looks. Polling finds what changed, and now and then it looks at all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from labeling_grpc.label_studio.api import AwayError, DeniedError, LabelStudioApi
from labeling_grpc.label_studio.hints import Hints
from labeling_grpc.label_studio.ledger import Ledger
from labeling_grpc.label_studio.messages import Task
from labeling_grpc.label_studio.offering import Offering
from labeling_grpc.label_studio.settling import Settler
from labeling_grpc.label_studio.statements import changed_at
from tidemark.errors import LabelingError
from tidemark.runtime.safe_text import safe

log = logging.getLogger(__name__)

_SLACK: Final = 60_000_000
"""µs by which polls overlap: what Label Studio was writing while it answered has an earlier time."""
_SWEEP: Final = 900.0
"""Seconds after which every task is looked at."""
_DOUBT: Final = 60.0
_PAUSES: Final = (1.0, 60.0)
_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, s. poll: tasks that changed are asked for.  renew: leases are renewed.  lease: their length."""

    poll: float
    renew: float
    lease: float


class Bridge:
    """One pipeline's cases and one project of Label Studio. `turn` is all that it does; `run` repeats it."""

    def __init__(
        self,
        project: int,
        pace: Pace,
        api: LabelStudioApi,
        ledger: Ledger,
        settler: Settler,
        offering: Offering,
        hints: Hints,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            project: of Label Studio.
            pace: how often it looks.
            api: of Label Studio.
            ledger: what it remembers.
            settler: takes what people say.
            offering: offers cases.
            hints: of Label Studio's webhooks.
            clock: seconds.

        """
        self._project, self._pace, self._api, self._ledger = project, pace, api, ledger
        self._settler, self._offering, self._hints, self._clock = settler, offering, hints, clock
        self._newest = 0
        self._swept = self._polled = self._renewed = self._doubted = -float("inf")
        self._reached = clock()
        self._pause, self._problem = _PAUSES[0], ""

    def run(self, stopped: Callable[[], bool]) -> None:
        """Take turns until it is asked to stop; what fails is tried again, after growing pauses."""
        while not stopped():
            try:
                self.turn()
            except (AwayError, DeniedError, LabelingError) as error:
                self._failed(error)
                if stopped():
                    break
                self._keep()
                self._hints.wait(self._pause)
                self._pause = min(2 * self._pause, _PAUSES[1])
            else:
                if self._problem:
                    log.info("the bridge to Label Studio goes on")
                self._pause, self._problem = _PAUSES[0], ""
                self._ledger.fared(time.time())
                self._hints.wait(min(self._pace.poll, self._pace.renew))

    def turn(self) -> None:
        """Look once at all that is due.

        Raises:
            AwayError: Label Studio can't be reached.
            DeniedError: it refuses a call.
            LabelingError: the labeling service can't be reached, or refuses.

        """
        if self._is_due(self._doubted, _DOUBT):
            self._settler.doubt()
            self._doubted = self._clock()
        self._look()
        self._reached = self._clock()
        if self._is_due(self._renewed, self._pace.renew):
            self._offering.renew()
            self._renewed = self._clock()
        self._offering.close()
        self._offering.show_again()
        if not self._offering.unsure:
            self._offering.offer()

    def _look(self) -> None:
        """Take what is new: of the tasks that webhooks named, of those that changed, or of all."""
        hinted = self._hints.take()
        if self._offering.unsure or self._is_due(self._swept, _SWEEP):
            self._sweep()
            return
        if hinted.all or self._is_due(self._polled, self._pace.poll):
            self._poll()
            return
        for number in sorted(hinted.tasks):
            task = self._api.task(number)
            if task is not None:
                self._take([task])

    def _sweep(self) -> None:
        begun = self._clock()
        seen: set[int] = set()
        unanswered: set[str] = set()
        newest = 0
        batch: list[Task] = []
        for task in self._api.tasks(self._project):
            seen.add(task.id)
            newest = max(newest, changed_at(task))
            if not task.annotations and self._settler.is_ours(task):
                unanswered.add(task.event_id)
            batch.append(task)
            if len(batch) == _BATCH:
                self._take(batch)
                batch = []
        self._take(batch)
        self._newest = max(newest, self._newest)
        held = {lease.event_id for lease in self._ledger.held()}
        for event_id in held:
            for number in self._ledger.tasks(event_id):
                if number not in seen:
                    self._look_for(number)
        self._ledger.end(sorted(unanswered - held))  # nobody is to answer them here
        self._swept = self._polled = begun
        self._offering.unsure = False

    def _look_for(self, number: int) -> None:
        """Whether a task is there that no page had: pages are counted, and shift where a task is deleted meanwhile."""
        task = self._api.task(number)
        if task is None:
            self._ledger.gone(number)  # somebody has deleted it
        else:
            self._take([task])

    def _poll(self) -> None:
        begun = self._clock()
        since = self._newest - _SLACK
        changed: list[Task] = []
        for task in self._api.tasks(self._project, "-tasks:updated_at"):
            if changed_at(task) < since:
                break
            changed.append(task)
        for task in reversed(changed):  # so that a failure leaves none behind that is older than what was taken
            self._take([task])
            self._newest = max(self._newest, changed_at(task))
        self._polled = begun

    def _take(self, tasks: Sequence[Task]) -> None:
        self._ledger.found([(task.id, task.event_id) for task in tasks if self._settler.is_ours(task)])
        for task in tasks:
            self._settler.settle(task)

    def _keep(self) -> None:
        """Keep leases while Label Studio is away for less than one: people may be at work in it."""
        if self._is_due(self._renewed, self._pace.renew) and self._clock() - self._reached < self._pace.lease:
            try:
                self._offering.renew()
            except LabelingError:
                return  # the next turn tells
            self._renewed = self._clock()

    def _is_due(self, last: float, every: float) -> bool:
        return self._clock() - last >= every

    def _failed(self, error: Exception) -> None:
        text = safe(str(error))
        self._ledger.fared(time.time(), text)
        if text != self._problem:
            log.warning("%s; what was said is not lost: it is tried again, after up to a minute", text)
        self._problem = text
