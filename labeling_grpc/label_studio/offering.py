"""Offers cases in Label Studio: leases them, makes tasks of them, keeps the leases, marks what is not to be answered.

A task is there as long as the bridge has the lease of its case. Nothing that anybody said is ever deleted: a task whose
case is closed, or went back to the queue, gets an annotation of the bridge, and so nobody is given it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from labeling_grpc.client import Case, Held, LabelingClient, RefusedError
from labeling_grpc.contract.errors import Reason
from labeling_grpc.label_studio import messages
from labeling_grpc.label_studio.api import LabelStudioApi
from labeling_grpc.label_studio.ledger import Ledger
from labeling_grpc.label_studio.messages import MARK, choice
from labeling_grpc.label_studio.tasks import TaskMaker

log = logging.getLogger(__name__)

_MOST: Final = 100
"""Cases of a call."""
_BRINGS_WITHIN: Final = 60.0
"""Seconds that Label Studio may take to bring tasks: its Enterprise edition does so in the background."""
_NONE_FOR_NOW: Final = frozenset(
    {Reason.QUEUE_PAUSED, Reason.ANNOTATOR_STOPPED, Reason.QUOTA_REACHED, Reason.ANNOTATOR_ABSENT}
)
_ENDED: Final = frozenset({Reason.STALE_LEASE, Reason.CASE_CLOSED, Reason.UNKNOWN_CASE})


@dataclass(frozen=True, slots=True)
class Terms:
    """What is offered. project: in which tasks are made.  most: cases at a time.  lease: length of leases, s."""

    project: int
    most: int
    lease: float


class Offering:
    """What is offered now."""

    def __init__(
        self,
        terms: Terms,
        api: LabelStudioApi,
        queue: LabelingClient,
        ledger: Ledger,
        make: TaskMaker,
        settle: Callable[[messages.Task], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            terms: what is offered, and where.
            api: of Label Studio.
            queue: the bridge's client.
            ledger: what it remembers.
            make: makes a task of a case.
            settle: takes what was said of a task.
            clock: seconds.

        """
        self._terms, self._api, self._queue, self._ledger = terms, api, queue, ledger
        self._make, self._settle, self._clock = make, settle, clock
        self._asked: dict[str, float] = {}
        self._refused = ""
        self.unsure = True
        """Whether Label Studio may have tasks that the ledger does not know: then every task is looked at first."""

    def renew(self) -> None:
        """Keep the leases; cases whose lease has ended, or that others have closed, are not offered any more."""
        held = self._ledger.held()
        for start in range(0, len(held), _MOST):
            part = held[start : start + _MOST]
            for lease, outcome in zip(part, self._queue.renew(part, self._terms.lease), strict=True):
                if not isinstance(outcome, RefusedError):
                    continue
                if outcome.reason not in _ENDED:
                    raise outcome
                self._ledger.state(lease.event_id, "ended")

    def offer(self) -> int:
        """Offer as many more cases as there is room for; how many it offered. Not while `unsure`."""
        room = min(self._terms.most - len(self._ledger.held()), _MOST)
        if room <= 0:
            return 0
        try:
            cases = self._queue.lease(room, lease=self._terms.lease)
        except RefusedError as refusal:
            if refusal.reason not in _NONE_FOR_NOW:
                raise
            if str(refusal) != self._refused:
                log.warning("no cases are offered in Label Studio: %s", refusal)
            self._refused = str(refusal)
            return 0
        self._refused = ""
        self._ledger.hold([Held(case.event_id, case.token) for case in cases])
        self.show(cases)
        return len(cases)

    def show(self, cases: Sequence[Case]) -> None:
        """Let Label Studio have a task that is open for each of these cases."""
        fresh = [case for case in cases if not self._reopened(case.event_id)]
        if not fresh:
            return
        self.unsure = True  # until the import is known to have been done, or not
        self._asked |= dict.fromkeys((case.event_id for case in fresh), self._clock())
        self._api.import_tasks(self._terms.project, [self._make(case) for case in fresh])
        self.unsure = False
        self._find({case.event_id for case in fresh})

    def show_again(self) -> None:
        """Show held cases without a task: the bridge was killed between the two, an import failed, a task was deleted.

        Every task is known by now. One that Label Studio was asked to bring a minute ago may still come.
        """
        now = self._clock()
        self._asked = {event: at for event, at in self._asked.items() if now - at < _BRINGS_WITHIN}
        lost = [
            lease.event_id
            for lease in self._ledger.held()
            if not self._ledger.tasks(lease.event_id) and lease.event_id not in self._asked
        ]
        self.show([self._queue.case(event_id, most=1).record.case for event_id in lost])

    def close(self) -> None:
        """Mark the tasks of cases that are not offered any more."""
        for event_id in self._ledger.ended():
            label = self._make.names.choice(self._verdict(event_id))
            for number in self._ledger.tasks(event_id):
                self._close(number, label)
            self._ledger.state(event_id, "closed")

    def _find(self, events: set[str]) -> None:
        """Find the numbers of tasks that were brought just now, among the newest."""
        left = set(events)
        for task in self._api.tasks(self._terms.project, "-tasks:id"):
            if task.event_id in left:
                self._ledger.found([(task.id, task.event_id)])
                left.discard(task.event_id)
            if not left:
                return
        self.unsure = True  # it brings them in by and by: every task is looked at before more are brought

    def _reopened(self, event_id: str) -> bool:
        """Whether a case has a task already that people are given, after its mark was taken away."""
        there = False
        for number in self._ledger.tasks(event_id):
            task = self._api.task(number)
            if task is None:
                self._ledger.gone(number)
                continue
            self._settle(task)
            marks = [annotation for annotation in task.annotations if annotation.is_mark]
            if len(marks) < len(task.annotations):
                continue  # somebody has said something: it is given to nobody again
            for annotation in marks:
                self._api.delete_annotation(annotation.id)
            self._ledger.mark(number, None)
            there = True
        return there

    def _close(self, number: int, label: str) -> None:
        task = self._api.task(number)
        if task is None:
            self._ledger.gone(number)
            return
        self._settle(task)
        if not task.annotations:
            fields = {"result": [choice(label, identity=MARK)], "was_cancelled": not label, "ground_truth": False}
            self._ledger.mark(number, label)  # first: what else it comes to say, somebody has said
            self._api.annotate(number, fields)

    def _verdict(self, event_id: str) -> str:
        try:
            record = self._queue.case(event_id, most=1).record
        except RefusedError as refusal:
            if refusal.reason is not Reason.UNKNOWN_CASE:
                raise
            return ""
        return record.label or "" if record.state == "answered" else ""
