"""`LabelingClient`: the labeling service for those who answer cases; it blocks. `labeling_async` is for asyncio.

Every call is safe to repeat, so both repeat what failed because the service could not be reached, with growing pauses,
for `patience` seconds. An answer carries an idempotency key from its first try on, and so counts once.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import grpc

from labeling_grpc.client.channel import Blocking, UnreachableError, translated
from labeling_grpc.client.details import details_of, leased
from labeling_grpc.client.figures import caller_of, progress_from, signed_in, stats_of, update_of
from labeling_grpc.client.messages import (
    amended,
    case_record,
    comments_of,
    one,
    renewed,
    submitted,
    tasks,
    turned,
)
from labeling_grpc.client.values import (
    Annotation,
    Caller,
    CaseDetails,
    CaseRecord,
    CaseState,
    Comment,
    Held,
    Leased,
    Progress,
    SignedIn,
    Stats,
    Submitted,
    Task,
    Turn,
    Update,
)
from labeling_grpc.contract.errors import RefusedError
from labeling_grpc.v1 import labeling_pb2_grpc


class LabelingClient(Blocking):
    """Blocking client. Safe to share among threads; close it, or use it as a context manager."""

    stub = labeling_pb2_grpc.LabelingServiceStub

    def lease(
        self,
        count: int = 1,
        *,
        wait: float = 0.0,
        lease: float | None = None,
        segments: Sequence[str] = (),
        review: bool = False,
        like: str = "",
    ) -> list[Task]:
        """Up to `count` cases; waits up to `wait` seconds for the first.

        lease: its length in seconds.  segments: active cases of these alone.  review: those for reviewers first.
        like: event id of a task in this annotator's hands: waiting cases that are much like it, to answer in bulk.

        Raises:
            RefusedError: the service refuses.
            UnreachableError: it can't be reached.

        """
        request = self._calls.lease(count, wait, lease, segments, review=review, like=like)
        return tasks(self._call("LeaseTasks", request, wait))

    def lease_with_details(
        self, count: int = 1, *, wait: float = 0.0, lease: float | None = None, most: int = 0, similar: int = 0
    ) -> Leased:
        """Cases with all that helps to decide them, in one call: what `lease`, `case` and `progress` tell.

        Args:
            count: As many cases at most.
            wait: Seconds to wait for the first.
            lease: Its length in seconds; None for the service's default.
            most: Entries of each case's history; 0: 20.
            similar: Labeled cases like each; 0: as many as `most` says.

        Returns:
            The cases and what is known of them.

        Raises:
            RefusedError: The service refuses.
            UnreachableError: It can't be reached.

        """
        details = self._calls.case("", most, similar)
        request = self._calls.lease(count, wait, lease, details=details, progress=True)
        return leased(self._call("LeaseTasks", request, wait))

    def submit(
        self,
        task: Task,
        label: str,
        *,
        known_at: int | None = None,
        confidence: float | None = None,
        comment: str = "",
        key: str = "",
    ) -> Submitted:
        """Answer a task; when this returns, the answer is on disk.

        Raises:
            RefusedError: unknown class, unknown or closed case, stale lease, or another answer was given before.
            UnreachableError: the service can't be reached; repeating the call is safe.

        """
        annotation = Annotation(task, label, known_at, confidence, comment, key)
        return one(self.submit_many([annotation]))

    def submit_many(self, annotations: Sequence[Annotation]) -> list[Submitted | RefusedError]:
        """Answer up to 100 tasks, each on its own: a refused one does not hold up the others.

        Raises:
            UnreachableError: the service can't be reached; repeating the call is safe.

        """
        try:
            return submitted(self._call("SubmitLabels", self._calls.submit(annotations)))
        except RefusedError as refusal:
            if len(annotations) == 1:
                return [refusal]
            raise

    def submit_and_lease(
        self, annotations: Sequence[Annotation], count: int = 1, *, wait: float = 0.0, lease: float | None = None
    ) -> Turn:
        """Answer up to 100 tasks and lease the next `count`, in one call: `submit_many` and then `lease`.

        Raises:
            RefusedError: the call as a whole is refused; nothing was taken.
            UnreachableError: the service can't be reached; repeating the call is safe.

        """
        following = self._calls.lease(count, wait, lease)
        return turned(self._call("SubmitLabels", self._calls.submit(annotations, following), wait))

    def skip(self, task: Task | Held, reason: str = "", *, known_at: int | None = None) -> str:
        """Close a task without an answer; the id of the annotation that says so.

        Raises:
            RefusedError: unknown or closed case, stale lease.
            UnreachableError: the service can't be reached; repeating the call is safe.

        """
        return cast("str", self._call("Skip", self._calls.skip(task, reason, known_at)).annotation_id)

    def escalate(self, task: Task | Held, reason: str) -> str:
        """Hand a task on to the reviewers, with what makes it hard; the id of the annotation that says so.

        Raises:
            RefusedError: no reason, unknown or closed case, stale lease.
            UnreachableError: the service can't be reached; repeating the call is safe.

        """
        return cast("str", self._call("Escalate", self._calls.escalate(task, reason)).annotation_id)

    def amend(
        self,
        annotation_id: str,
        label: str,
        *,
        known_at: int | None = None,
        confidence: float | None = None,
        comment: str = "",
        bulk: bool = False,
    ) -> Submitted:
        """Correct an answer or a skip, by the id that it was given; both stay published, and the newer one counts.

        bulk: and all else of its bulk that still stands.

        Raises:
            RefusedError: unknown annotation or class, or it was amended before.
            UnreachableError: the service can't be reached; repeating the call is safe.

        """
        return amended(
            self._call("AmendLabel", self._calls.amend(annotation_id, label, known_at, confidence, comment, bulk=bulk))
        )

    def retract(
        self, annotation_id: str, comment: str = "", *, known_at: int | None = None, bulk: bool = False
    ) -> Submitted:
        """Take an answer or a skip back; nothing takes its place. bulk: and all else of its bulk that still stands.

        Raises:
            RefusedError: unknown annotation, or it was amended before.
            UnreachableError: the service can't be reached; repeating the call is safe.

        """
        return amended(
            self._call("AmendLabel", self._calls.amend(annotation_id, None, known_at, None, comment, bulk=bulk))
        )

    def renew(self, tasks: Sequence[Task | Held], lease: float | None = None) -> list[int | RefusedError]:
        """Let leases end `lease` seconds from now; when each ends (µs), or why it was refused.

        Raises:
            UnreachableError: the service can't be reached.

        """
        try:
            return renewed(self._call("RenewLease", self._calls.renew(tasks, lease)))
        except RefusedError as refusal:
            if len(tasks) == 1:
                return [refusal]
            raise

    def release(self, tasks: Sequence[Task | Held], *, again: bool = False) -> int:
        """Give tasks back; how many leases that ended.

        Raises:
            UnreachableError: the service can't be reached.

        """
        return cast("int", self._call("Release", self._calls.release(tasks, again=again)).released) if tasks else 0

    def case(self, event_id: str, *, most: int = 0, similar: int = 0) -> CaseDetails:
        """One case with all that helps to decide it. most: entries of history and similar cases; 0: 20.

        similar: entries of the latter; 0: as many as `most` says.

        Raises:
            RefusedError: unknown case, or it is nobody's business of this role.
            UnreachableError: the service can't be reached.

        """
        return details_of(self._call("GetCase", self._calls.case(event_id, most, similar)))

    def comments(self, event_id: str) -> Iterator[Comment]:
        """All that was said about a case, newest first, read page by page.

        Args:
            event_id: The case.

        Yields:
            Comments, whole.

        Raises:
            RefusedError: Unknown case, or it is nobody's business of this role.
            UnreachableError: The service can't be reached.

        """
        for page in self._pages("GetCase", self._calls.case(event_id, 1)):
            yield from reversed([*comments_of(page.comments)])

    def comment(self, event_id: str, text: str, *, key: str = "") -> str:
        """Say something about a case, open or closed, to whoever is given it; the id of the annotation.

        key: idempotency key; "" makes one, which holds for the tries of this call.

        Raises:
            RefusedError: unknown case, or it is nobody's business of this role.
            UnreachableError: the service can't be reached.

        """
        return cast("str", self._call("AddComment", self._calls.comment(event_id, text, key)).annotation_id)

    def cases(
        self,
        *,
        states: Sequence[CaseState] = (),
        segments: Sequence[str] = (),
        key: str = "",
        review: bool = False,
        overdue: bool = False,
        assigned: bool = False,
        newest_first: bool = False,
        page: int = 0,
    ) -> Iterator[CaseRecord]:
        """Cases in the order in which they came, read page by page of at most `page` (0: the service's default).

        states, segments: of these alone.  key: of this entity alone.  review: those for reviewers alone.  overdue: open
        ones whose due time has passed alone.  assigned: those that are assigned to somebody alone.  newest_first: what
        came last at first.

        Raises:
            RefusedError: the role may not list cases, or not look for these.
            UnreachableError: the service can't be reached.

        """
        request = self._calls.cases(
            states,
            segments,
            key,
            page,
            review=review,
            overdue=overdue,
            assigned=assigned,
            newest_first=newest_first,
        )
        return (case_record(record) for record in self._paged("ListCases", request, "records"))

    def progress(self, annotator: str = "") -> Progress:
        """How far an annotator is; "": this one.

        Raises:
            RefusedError: nobody of this name was seen, or the figures are another's.
            UnreachableError: the service can't be reached.

        """
        return progress_from(self._call("GetProgress", self._calls.progress(annotator)).progress)

    def stats(self) -> Stats:
        """The queue in numbers.

        Raises:
            UnreachableError: the service can't be reached.

        """
        return stats_of(self._call("Stats", self._calls.stats()).stats)

    def caller(self) -> Caller:
        """Who the service takes this client for."""
        return caller_of(self._call("Stats", self._calls.stats()))

    def exchange_token(self, id_token: str, nonce: str) -> SignedIn:
        """Exchange an OpenID Connect ID token for an access token.

        Args:
            id_token: as the provider gave it.
            nonce: that the provider was asked to put into it: the pipeline, a dot, 16 characters or more.

        Returns:
            The token, shown this once, and whose it is.

        Raises:
            RefusedError: it does not hold, or is of somebody without a role here.
            UnreachableError: the service can't be reached.

        """
        self._bear()
        return signed_in(self._call("ExchangeToken", self._calls.exchange(id_token, nonce)))

    def end_session(self) -> bool:
        """End this client's token, if it came of `exchange_token`; whether it was."""
        return bool((self._call("EndSession", self._calls.end_session())).ended)

    def watch(self, interval: float = 1.0, *, stats_only: bool = False) -> Generator[Update, None, None]:
        """What happens, at most one update per `interval` seconds, until the service stops or the iterator is closed.

        Raises:
            UnreachableError: the service can't be reached, or went away.

        """
        stub = self._connect()
        call = stub.Watch(self._calls.watch(interval, stats_only=stats_only), metadata=self._metadata)
        try:
            for response in call:
                yield update_of(response)
        except grpc.RpcError as error:
            raise translated(error, self._connected) from error
        finally:
            call.cancel()

    @contextmanager
    def hold(self, count: int = 1, *, wait: float = 0.0, lease: float = 60.0) -> Iterator[list[Task]]:
        """Lease cases and keep them for as long as the block runs; what was not answered in it is given back."""
        with self.keep(self.lease(count, wait=wait, lease=lease), lease=lease) as tasks:
            yield tasks

    @contextmanager
    def keep(self, tasks: list[Task], *, lease: float = 60.0) -> Iterator[list[Task]]:
        """Keep leased cases for as long as the block runs; what was not answered in it is given back."""
        done = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(list(tasks), lease, done), daemon=True)
        keeper.start()
        try:
            yield tasks
        finally:
            done.set()
            keeper.join()
            self.release(tasks)

    def _keep(self, tasks: list[Task], lease: float, done: threading.Event) -> None:
        while tasks and not done.wait(lease / 3):
            try:
                renewed = self.renew(tasks, lease)
            except UnreachableError:
                continue  # the leases may last until it is back; what is answered tells
            tasks = [task for task, outcome in zip(tasks, renewed, strict=True) if isinstance(outcome, int)]
