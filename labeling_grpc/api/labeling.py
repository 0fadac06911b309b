"""The gRPC service: requests checked, put to the writer, answered. It holds no rule of the queue's."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast

from labeling_grpc.api import admin_validation, mapping
from labeling_grpc.api.case_details import Details
from labeling_grpc.api.dispatch import Context
from labeling_grpc.api.paging import Pages, size
from labeling_grpc.api.validation import Checks, good
from labeling_grpc.commands.labeling import (
    Accepted,
    Answer,
    CaseEvent,
    Command,
    Counts,
    LeasedCase,
    ReleaseLeases,
    RenewLeases,
    Result,
    SubmitAnswers,
)
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.contract.message_sizes import MAX_EVENTS, share
from labeling_grpc.kafka.leader import Problems
from labeling_grpc.queue import queries
from labeling_grpc.queue.consensus import CONSENSUS
from labeling_grpc.queue.veil import Veil
from labeling_grpc.security.caller import caller
from labeling_grpc.security.roles import Role
from labeling_grpc.storage.base import StoreError, UnfitError
from labeling_grpc.storage.group_commit import Outcome, Reply, Stopping, Writer
from labeling_grpc.storage.read_pool import Reader
from labeling_grpc.v1 import labeling_pb2 as pb
from labeling_grpc.v1 import labeling_pb2_grpc
from tidemark.pipeline.model import Labeling

MAX_WATCHERS: Final = 1_000
MAX_ANNOTATORS: Final = 1_000
"""Counted by name; the first seen are forgotten first."""
_BUFFER: Final = 1_000
_MARGIN_SECONDS: Final = 0.2
_OVERVIEW_SECONDS: Final = 1.0
_OVERVIEW_SHARE: Final = 20.0
"""A queue that takes long to count is counted seldom: at most a twentieth of a core counts."""


log = logging.getLogger(__name__)


class _Hub:
    """Brings results from the writer's thread into the event loop, a group at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, writer: Writer) -> None:
        self._loop = loop
        self._writer = writer

    async def call(self, command: Command, wait: float = 0.0) -> Result:
        """Result of a command; see `together`."""
        (result,) = await self.together((command, wait))
        return result

    async def together(self, *asked: tuple[Command, float]) -> list[Result]:
        """Results of commands of one transaction, each with its `wait`.

        When the caller goes away, what was leased for it meanwhile is given back.

        Raises:
            RefusedError: the service is stopping, or its database fails.

        """
        if self._writer.stalled:
            raise RefusedError(
                Reason.STORE_UNAVAILABLE, "the queue's database hangs: nothing was changed; try again in a moment"
            )
        replies = [_LoopReply(self) for _ in asked]
        try:
            self._writer.submit_together(
                (command, reply, wait) for (command, wait), reply in zip(asked, replies, strict=True)
            )
            if len(replies) == 1:
                return [await replies[0].future]
            return await asyncio.gather(*(reply.future for reply in replies))
        except asyncio.CancelledError:
            for reply in replies:
                reply.abandoned = True
                if not reply.future.cancel() and not reply.future.cancelled() and not reply.future.exception():
                    _give_back(self._writer, reply.future.result())
            raise
        except Stopping:
            raise RefusedError(Reason.STOPPING, "the service is stopping: repeat the call in a moment") from None
        except UnfitError as error:
            raise RefusedError(Reason.INVALID_FIELD, str(error), field="(request)") from error
        except StoreError as error:
            raise RefusedError(
                Reason.STORE_UNAVAILABLE, "the queue's database can't be written: nothing was changed; try again"
            ) from error

    def future(self) -> asyncio.Future[Result]:
        """A future of the loop's."""
        return self._loop.create_future()

    def deliver(self, pairs: list[tuple[Reply, Outcome]]) -> None:
        """Called by the writer's thread."""
        self._loop.call_soon_threadsafe(self._settle, pairs)

    def _settle(self, pairs: list[tuple[Reply, Outcome]]) -> None:
        for reply, outcome in pairs:
            future = cast("_LoopReply", reply).future
            if future.done():
                _give_back(self._writer, outcome)
            elif isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)


class _LoopReply:
    __slots__ = ("_hub", "abandoned", "future")

    def __init__(self, hub: _Hub) -> None:
        self._hub = hub
        self.abandoned = False
        self.future = hub.future()

    def courier(self) -> Callable[[list[tuple[Reply, Outcome]]], None]:
        return self._hub.deliver


def _give_back(writer: Writer, outcome: Outcome) -> None:
    if isinstance(outcome, list):
        leased = [case for case in outcome if isinstance(case, LeasedCase)]
        if leased:
            writer.give_back(leased)


def _in_order(answers: Sequence[Answer | RefusedError], taken: Result) -> list[Accepted | RefusedError]:
    """What became of each answer: `taken` tells it of those that passed the checks."""
    outcomes = iter(cast("list[Accepted | RefusedError]", taken))
    return [answer if isinstance(answer, RefusedError) else next(outcomes) for answer in answers]


@dataclass(slots=True, eq=False)
class _Watcher:
    stats_only: bool
    golden: bool = True
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    events: deque[CaseEvent] = field(default_factory=deque)
    missed: int = 0
    size: int = 0

    def take(self, events: Iterable[CaseEvent]) -> None:
        if not self.stats_only:
            for event in events:
                if event.gold and not self.golden:
                    continue
                if len(self.events) < _BUFFER and self.size < MAX_EVENTS:
                    self.events.append(event)
                    self.size += len(event.event_id) + len(event.annotator) + len(event.label or "")
                else:
                    self.missed += 1
        self.changed.set()


class LabelingService(labeling_pb2_grpc.LabelingServiceServicer):
    """The queue of one pipeline over gRPC. Lives in one event loop."""

    def __init__(
        self,
        checks: Checks,
        question: pb.Question,
        writer: Writer,
        problems: Problems,
        reader: Reader,
        pages: Pages,
        details: Details,
        labeling: Labeling,
    ) -> None:
        """Serve what `writer` writes. labeling: how the pipeline labels."""
        loop = asyncio.get_running_loop()
        self._checks = checks
        self._question = question
        self._writer = writer
        self._problems = problems
        self._reader = reader
        self._pages = pages
        self._details = details
        self._labeling = labeling
        self._overview = queries.NOTHING_WAITS
        self._overview_at = 0.0
        self._hub = _Hub(loop, writer)
        self._watchers: set[_Watcher] = set()
        self._annotators: dict[str, pb.AnnotatorStats] = {}
        self._heard = 0
        self._told: pb.QueueStats | None = None
        self._told_of: object = None
        self._stopping = asyncio.Event()
        self._loop = loop
        writer.listen(self._changed)

    async def apply(self, command: Command) -> Result:
        """Result of a command that waits for no case.

        Raises:
            RefusedError: the service is stopping, or its database fails.

        """
        return await self._hub.call(command)

    def stop(self) -> None:
        """Let watchers end."""
        self._stopping.set()
        for watcher in self._watchers:
            watcher.changed.set()

    async def LeaseTasks(  # noqa: N802 - named by the contract, as the next
        self, request: pb.LeaseTasksRequest, context: Context
    ) -> pb.LeaseTasksResponse:
        """Lease cases, waiting for the first one as long as is asked and the deadline lets."""
        command = self._checks.lease(request)
        if request.wait_ms and self._writer.full:
            raise RefusedError(
                Reason.TOO_MANY_CALLS, "too many calls wait for cases already: ask without wait_ms, or later"
            )
        result = await self._hub.call(command, self._wait(request, context))
        if isinstance(result, RefusedError):
            raise result
        response = pb.LeaseTasksResponse()
        self._fill(response, cast("list[LeasedCase]", result))
        return response

    async def RenewLease(  # noqa: N802
        self, request: pb.RenewLeaseRequest, _context: Context
    ) -> pb.RenewLeaseResponse:
        """Renew leases, each on its own."""
        leases = self._checks.leases(request.pipeline, request.leases)
        command = RenewLeases(leases, self._checks.length(request.lease_ms))
        outcomes = cast("list[int | RefusedError]", await self._hub.call(command))
        if len(outcomes) == 1 and isinstance(outcomes[0], RefusedError):
            raise outcomes[0]
        return pb.RenewLeaseResponse(
            results=[
                pb.RenewResult(event_id=lease.event_id, error=outcome.status())
                if isinstance(outcome, RefusedError)
                else pb.RenewResult(event_id=lease.event_id, lease_expires_at_us=outcome)
                for lease, outcome in zip(leases, outcomes, strict=True)
            ]
        )

    async def SubmitLabels(  # noqa: N802
        self, request: pb.SubmitLabelsRequest, context: Context
    ) -> pb.SubmitLabelsResponse:
        """Take answers, each on its own, and lease the next cases, where they are asked for."""
        answers = self._checks.answers(request)
        follow = request.HasField("next")
        asked = [(self._checks.next(request.next), self._wait(request.next, context))] if follow else []
        taken, *leased = await self._hub.together((SubmitAnswers(good(answers)), 0.0), *asked)
        outcomes = _in_order(answers, taken)
        if not follow and len(outcomes) == 1 and isinstance(outcomes[0], RefusedError):
            raise outcomes[0]
        response = pb.SubmitLabelsResponse()
        for annotation, outcome in zip(request.annotations, outcomes, strict=True):
            mapping.add_result(response.results, annotation.event_id, outcome)
        for result in leased:
            if isinstance(result, RefusedError):
                response.next_error.CopyFrom(result.status())
            else:
                self._fill(response.next, cast("list[LeasedCase]", result))
        return response

    async def Skip(  # noqa: N802
        self, request: pb.SkipRequest, _context: Context
    ) -> pb.SkipResponse:
        """Close a case without an answer."""
        result = await self._hub.call(SubmitAnswers((self._checks.skip(request),)))
        (outcome,) = cast("list[Accepted | RefusedError]", result)
        if isinstance(outcome, RefusedError):
            raise outcome
        return pb.SkipResponse(annotation_id=outcome.annotation_id)

    async def Escalate(  # noqa: N802
        self, request: pb.EscalateRequest, _context: Context
    ) -> pb.EscalateResponse:
        """Hand a case on to the reviewers."""
        outcome = cast("Accepted | RefusedError", await self._hub.call(self._checks.escalate(request)))
        if isinstance(outcome, RefusedError):
            raise outcome
        return pb.EscalateResponse(annotation_id=outcome.annotation_id)

    async def AddComment(  # noqa: N802
        self, request: pb.AddCommentRequest, _context: Context
    ) -> pb.AddCommentResponse:
        """Say something about a case."""
        outcome = cast("Accepted | RefusedError", await self._hub.call(admin_validation.comment(self._checks, request)))
        if isinstance(outcome, RefusedError):
            raise outcome
        return pb.AddCommentResponse(annotation_id=outcome.annotation_id)

    async def GetCase(  # noqa: N802
        self, request: pb.GetCaseRequest, _context: Context
    ) -> pb.GetCaseResponse:
        """One case with all that helps to decide it."""
        event_id, most = self._checks.details(request)
        who = caller.get()
        if not request.page_token:
            response, first = await self._reader.ask(self._details.whole, event_id, most, who)
        else:
            place = str(self._pages.after(request, str, ""))
            response, first = await self._reader.ask(self._details.earlier, event_id, place, who)
        if first:
            response.next_page_token = self._pages.token(request, first)
        return response

    async def ListCases(  # noqa: N802
        self, request: pb.ListCasesRequest, _context: Context
    ) -> pb.ListCasesResponse:
        """Cases page by page."""
        asked = admin_validation.case_filter(self._checks, request)
        most = size(request.page_size)
        after = int(self._pages.after(request, int, 0))
        rows, last = await self._reader.ask(queries.case_page, self._labeling, asked, after, most, self._veil())
        return pb.ListCasesResponse(
            records=[mapping.case_record(row) for row in rows],
            next_page_token="" if last is None else self._pages.token(request, last),
        )

    async def GetProgress(  # noqa: N802
        self, request: pb.GetProgressRequest, _context: Context
    ) -> pb.GetProgressResponse:
        """How far one annotator is."""
        name = admin_validation.annotator(self._checks, request)
        clock = self._writer.store.clock
        found = await self._reader.ask(queries.progress, name, clock.wall(), clock.now())
        if not found.known and name != caller.get().name:
            raise RefusedError(Reason.UNKNOWN_ANNOTATOR, f"nobody named {name!r} was ever seen", field="annotator")
        return pb.GetProgressResponse(progress=mapping.progress(name, found, self._writer.store.counts.waiting))

    async def AmendLabel(  # noqa: N802
        self, request: pb.AmendLabelRequest, _context: Context
    ) -> pb.AmendLabelResponse:
        """Correct an answer, or take it back."""
        outcome = cast(
            "Accepted | RefusedError", await self.apply(replace(self._checks.amend(request), by=caller.get()))
        )
        if isinstance(outcome, RefusedError):
            raise outcome
        return pb.AmendLabelResponse(annotation_id=outcome.annotation_id, duplicate=outcome.duplicate)

    async def Release(  # noqa: N802
        self, request: pb.ReleaseRequest, _context: Context
    ) -> pb.ReleaseResponse:
        """Give cases back."""
        leases = self._checks.leases(request.pipeline, request.leases)
        return pb.ReleaseResponse(released=cast("int", await self._hub.call(ReleaseLeases(leases))))

    async def Stats(  # noqa: N802
        self, request: pb.StatsRequest, _context: Context
    ) -> pb.StatsResponse:
        """The queue in numbers."""
        self._checks.served(request.pipeline)
        return pb.StatsResponse(stats=await self.stats())

    async def Watch(  # noqa: N802
        self, request: pb.WatchRequest, _context: Context
    ) -> AsyncIterator[pb.WatchResponse]:
        """What happens, at most one message per interval; a first one at once."""
        interval = self._checks.watch(request) / 1_000
        watcher = self._watcher(request)
        try:
            while not self._stopping.is_set():
                events, missed = [mapping.case_event(event) for event in watcher.events], watcher.missed
                watcher.events.clear()
                watcher.missed = watcher.size = 0
                watcher.changed.clear()
                yield pb.WatchResponse(stats=await self.stats(), events=events, missed=missed)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(interval):
                        await self._stopping.wait()
                await watcher.changed.wait()
        finally:
            self._watchers.discard(watcher)

    def _watcher(self, request: pb.WatchRequest) -> _Watcher:
        if len(self._watchers) >= MAX_WATCHERS:
            raise RefusedError(Reason.TOO_MANY_CALLS, f"{MAX_WATCHERS} watch already: come back later")
        # To others it would tell which of the cases that are given out have an answer already.
        watcher = _Watcher(request.stats_only, golden=caller.get().role is Role.ADMIN)
        self._watchers.add(watcher)
        return watcher

    def _wait(self, request: pb.LeaseTasksRequest, context: Context) -> float:
        """Seconds that a call may wait for a case: 0 where too many do."""
        wait = 0.0 if self._writer.full else request.wait_ms / 1_000
        remaining = context.time_remaining()
        if remaining is not None:
            wait = min(wait, remaining - _MARGIN_SECONDS)
        return wait

    def _veil(self) -> Veil:
        return Veil(caller.get(), golden=bool(self._labeling.gold_every))

    def _fill(self, response: pb.LeaseTasksResponse, leased: Sequence[LeasedCase]) -> None:
        room = share(len(leased))
        for case in leased:
            mapping.add_task(response, case, room)
        response.question.CopyFrom(self._question)
        response.waiting = self._writer.store.counts.waiting

    def _changed(self, events: list[CaseEvent], _counts: Counts) -> None:
        """Called by the writer's thread."""
        if not self._stopping.is_set():
            self._loop.call_soon_threadsafe(self._happened, events)

    def _happened(self, events: list[CaseEvent]) -> None:
        for event in events:
            if event.kind in {"leased", "answered", "skipped", "voted"} and event.annotator != CONSENSUS:
                self._count(event)
        for watcher in self._watchers:
            watcher.take(events)

    def _count(self, event: CaseEvent) -> None:
        its = self._annotators.get(event.annotator)
        if its is None:
            if len(self._annotators) >= MAX_ANNOTATORS:
                del self._annotators[next(iter(self._annotators))]
            its = self._annotators[event.annotator] = pb.AnnotatorStats(annotator=event.annotator)
        self._heard += 1
        its.last_seen_us = event.at
        if event.kind == "answered" or (event.kind == "voted" and event.label is not None):
            its.answered += 1
        elif event.kind in {"skipped", "voted"}:
            its.skipped += 1

    async def stats(self) -> pb.QueueStats:
        """The queue in numbers; those that are counted row by row are up to a second old.

        Many watch at once: all are told by one message, made when something changes, which is the caller's to copy.
        """
        overview = await self._overviewed()
        counts, problems = self._writer.store.counts, replace(self._problems)
        told_of = (counts, overview, problems, self._heard)
        if self._told is None or self._told_of != told_of:
            self._told, self._told_of = self._built(counts, overview, problems), told_of
        self._told.now_us = self._writer.store.clock.now()
        return self._told

    def _built(self, counts: Counts, overview: queries.Overview, problems: Problems) -> pb.QueueStats:
        stats = mapping.stats(self._checks.pipeline, counts, self._writer.store.clock.now())
        stats.intake_problem, stats.publishing_problem = problems.intake, problems.publishing
        stats.question.CopyFrom(self._question)
        stats.annotators.extend(self._annotators.values())
        stats.waiting_review, stats.paused = overview.review, overview.paused
        if overview.segments.keys() - {""}:
            for segment, waiting in overview.segments.items():
                stats.segments.add(segment=segment, waiting=waiting)
        return stats

    async def _overviewed(self) -> queries.Overview:
        """What waits, by whom it is for: counted now and then, whoever asks; as it was while it can't be read."""
        begun = self._loop.time()
        if begun >= self._overview_at:
            self._overview_at = math.inf  # of all who ask meanwhile one counts
            try:
                self._overview = await self._reader.ask(queries.overview)
            except RefusedError as error:
                log.info("what waits is not counted: %s", error)
            finally:
                ended = self._loop.time()
                self._overview_at = ended + max(_OVERVIEW_SECONDS, _OVERVIEW_SHARE * (ended - begun))
        return self._overview
