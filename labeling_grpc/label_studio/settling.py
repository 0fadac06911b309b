"""Lets the labeling service say what people say in Label Studio: reads, decides, does, until nothing is left to do."""

from __future__ import annotations

import logging
from typing import Final

from labeling_grpc.client import Annotation, Imported
from labeling_grpc.client.values import CaseDetails, Submitted
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.label_studio.api import LabelStudioApi
from labeling_grpc.label_studio.decisions import (
    BY_LEASE,
    Amend,
    Answer,
    Comment,
    Import,
    Nothing,
    Skip,
    Standpoint,
    Step,
    decide,
    taken_back,
)
from labeling_grpc.label_studio.declared import Clients
from labeling_grpc.label_studio.ledger import Ledger, Taken
from labeling_grpc.label_studio.messages import Person, Task
from labeling_grpc.label_studio.statements import Names, Statement, statements, users_of
from tidemark.errors import LabelingError
from tidemark.runtime.safe_text import safe

log = logging.getLogger(__name__)

_MOST_STEPS: Final = 8
_TOO_LATE: Final = frozenset({Reason.CASE_CLOSED, Reason.STALE_LEASE, Reason.KEY_REUSED, Reason.NOT_AMENDABLE})
"""Refusals after which the case is looked at again: somebody was faster, or a name is used."""
_OF_ALL: Final = frozenset(
    {
        *(Reason.UNAUTHENTICATED, Reason.FORBIDDEN, Reason.UNKNOWN_PIPELINE, Reason.TOO_MANY_CALLS),
        *(Reason.STOPPING, Reason.STORE_UNAVAILABLE),
    }
)
"""Refusals that have nothing to do with what was said."""
_MOST_ANSWERS: Final = 100


class Settler:
    """Takes tasks as they are now. pipeline: its name.  clients: with the bridge's own token."""

    def __init__(
        self,
        pipeline: str,
        names: Names,
        api: LabelStudioApi,
        clients: Clients,
        ledger: Ledger,
    ) -> None:
        self._pipeline, self._names, self._api, self._ledger = pipeline, names, api, ledger
        self._queue, self._admin, self._named = clients.queue, clients.admin, clients.named
        self._people: dict[int, Person] = {}
        self._stopped: dict[str, str] = {}
        self._current = self._foreign = False
        self.labels = 0
        """Labels that were taken since it began, amendments among them."""

    def doubt(self) -> None:
        """Look again who may annotate, before the next answer is taken."""
        self._current = False

    def settle(self, task: Task) -> None:
        """Take what is said of a task, and was not taken before.

        Args:
            task: as it is now, with all of its annotations.

        Raises:
            AwayError: Label Studio can't be reached.
            UnreachableError: the labeling service can't be.
            RefusedError: the service lets the bridge do nothing.

        """
        if not self.is_ours(task):
            return
        if not users_of(task) <= self._people.keys():
            self._people = self._api.people()
        taken = self._ledger.taken(task.id)
        said = statements(task, self._people, self._names, self._ledger.mark_of(task.id))
        there = {annotation.id for annotation in task.annotations}
        deleted = [each for number, each in taken.items() if number not in there]
        speaking = {each.who for each in said}
        for each in deleted:  # first: what others say of the task since then counts
            if (each.given or not each.version) and each.who not in speaking:
                self._take_back(each)
        for statement in said:
            before = taken.get(statement.annotation)
            if before is None or before.version != statement.version:
                self._take(task, statement)
        for each in deleted:
            self._ledger.forget(each.annotation)

    def is_ours(self, task: Task) -> bool:
        """Whether a task is about a case of this pipeline."""
        ours = bool(task.event_id) and task.pipeline in {"", self._pipeline}
        if not ours and task.annotations and not self._foreign:
            self._foreign = True
            log.warning(
                "task %d of Label Studio is about no case of this pipeline: what is said of it, and of others like it, "
                "becomes no label",
                task.id,
            )
        return ours

    def _take(self, task: Task, said: Statement) -> None:
        event_id = task.event_id
        refused = said.unclear or self._may_not(said.who)
        given = ""
        if refused:
            self._refuse(event_id, said, refused)
        else:
            begun = self._ledger.begun(event_id, said.who)
            self._ledger.begin(said.annotation, task.id, event_id, said.who)
            try:
                given, refused = self._give(event_id, said, begun=begun)
            except RefusedError as refusal:
                if refusal.reason in _OF_ALL:
                    raise
                refused = safe(str(refusal))
                self._refuse(event_id, said, refused)
        self._ledger.take(Taken(said.annotation, task.id, event_id, said.who, said.version, given, refused))

    def _may_not(self, who: str) -> str:
        """Why nothing is taken of somebody, "" where it is."""
        if not self._current:
            everybody = self._admin.annotators()
            self._stopped = {each.name: f"{each.name} is {each.state}" for each in everybody if each.state != "active"}
            self._current = True
        return self._stopped.get(who, "")

    def _give(self, event_id: str, said: Statement, *, begun: bool) -> tuple[str, str]:
        """Step by step; as which annotation, and why not."""
        spent: set[str] = set()
        given = self._ledger.given(event_id, said.who)
        for _ in range(_MOST_STEPS):
            case = self._case(event_id)
            if case is None:
                refused = "the labeling service knows no such case"
                log.warning("annotation %d of Label Studio is not taken: %s", said.annotation, refused)
                return "", refused
            held = self._ledger.lease(event_id) is not None
            step = decide(
                case, said, Standpoint(self._queue.annotator, held, given, begun=begun, spent=frozenset(spent))
            )
            if isinstance(step, Nothing):
                self._ledger.state(event_id, "ended")
                return step.annotation_id, ""
            if isinstance(step, Comment):
                self._refuse(event_id, said, step.why)
                return "", step.why
            outcome = self._do(event_id, said, step)
            if isinstance(outcome, str):
                self._ledger.state(event_id, "ended")
                self.labels += 1
                return outcome, ""
            spent |= outcome
        raise LabelingError(f"annotation {said.annotation} of Label Studio: its case changes at each look")

    def _do(self, event_id: str, said: Statement, step: Step) -> str | set[str]:
        """Do a step; the annotation that it made, or what is spent by now."""
        key = f"label-studio:{said.annotation}:{said.version}"
        try:
            match step:
                case Import(annotator):
                    return self._import(event_id, said, annotator)
                case Answer():
                    lease = self._ledger.lease(event_id)
                    if lease is None or said.label is None:
                        return {BY_LEASE}
                    comment = f"{said.who}, in Label Studio"
                    answer = Annotation(lease, said.label, comment=comment, key=key)
                    (outcome,) = self._queue.submit_many([answer])
                    if isinstance(outcome, RefusedError):
                        raise outcome
                    return outcome.annotation_id
                case Skip():
                    lease = self._ledger.lease(event_id)
                    return {BY_LEASE} if lease is None else self._queue.skip(lease, f"{said.who}, in Label Studio")
                case Amend(annotation_id):
                    return self._amend(annotation_id, said.who, said.label)
        except RefusedError as refusal:
            if refusal.reason not in _TOO_LATE:
                raise
            return {BY_LEASE}
        raise AssertionError(step)

    def _import(self, event_id: str, said: Statement, annotator: str) -> str | set[str]:
        (outcome,) = self._admin.import_labels([Imported(event_id, said.label or "", annotator, asked=True)])
        if isinstance(outcome, Submitted):
            if outcome.duplicate:
                return {annotator}  # whether it still stands, the case tells
            if annotator != said.who:
                self._queue.comment(
                    event_id, f"{said.who} said so in Label Studio", key=f"label-studio:{said.annotation}"
                )
            return outcome.annotation_id
        if outcome.reason in {Reason.KEY_REUSED, Reason.CASE_CLOSED}:
            return {annotator} if outcome.reason is Reason.KEY_REUSED else set()
        raise outcome

    def _amend(self, annotation_id: str, who: str, label: str | None) -> str:
        with self._named(who) as client:
            if label is None:
                return client.retract(annotation_id, "taken back in Label Studio").annotation_id
            return client.amend(annotation_id, label, comment="corrected in Label Studio").annotation_id

    def _take_back(self, gone: Taken) -> None:
        case = self._case(gone.event_id)
        step = Nothing() if case is None else taken_back(case, gone.who, gone.given, begun=not gone.version)
        if not isinstance(step, Amend):
            return
        try:
            self._amend(step.annotation_id, gone.who, None)
        except RefusedError as refusal:
            if refusal.reason in _OF_ALL:
                raise
            log.warning("an annotation was deleted in Label Studio, and its label stands: %s", safe(str(refusal)))
        else:
            self.labels += 1

    def _case(self, event_id: str) -> CaseDetails | None:
        try:
            return self._queue.case(event_id, most=_MOST_ANSWERS)
        except RefusedError as refusal:
            if refusal.reason in {Reason.UNKNOWN_CASE, Reason.INVALID_FIELD}:
                return None
            raise

    def _refuse(self, event_id: str, said: Statement, why: str) -> None:
        """Say in the log and on the case what can be no label; the case goes back to the queue."""
        log.warning("annotation %d of Label Studio, on case %s, is not taken: %s", said.annotation, safe(event_id), why)
        who = said.who or "Somebody"
        label = f" '{said.label}'" if said.label else ""
        try:
            self._queue.comment(
                event_id,
                f"{who} said{label} in Label Studio, which is not taken: {why}",
                key=f"label-studio:{said.annotation}:{said.content}",
            )
        except RefusedError as refusal:
            if refusal.reason not in {Reason.UNKNOWN_CASE, Reason.INVALID_FIELD, Reason.KEY_REUSED}:
                raise
            log.warning("the case takes no comment that says so: %s", safe(str(refusal)))
        lease = self._ledger.lease(event_id)
        if lease is not None:
            self._queue.release([lease])
            self._ledger.state(event_id, "ended")
