"""The gRPC service: requests checked, put to the writer, answered. It holds no rule of the queue's."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Final, cast

from labeling_grpc.api import admin_validation, mapping
from labeling_grpc.api.case_details import Details
from labeling_grpc.api.category_names import Categories
from labeling_grpc.api.interceptor import Context
from labeling_grpc.api.leased_details import LeasedDetails
from labeling_grpc.api.live_stats import LiveStats
from labeling_grpc.api.paging import Pages, size
from labeling_grpc.api.question import AskedQuestion
from labeling_grpc.api.sign_in import SignIns
from labeling_grpc.api.validation import Checks, good
from labeling_grpc.api.writer_calls import WriterCalls
from labeling_grpc.commands.labeling import (
    Accepted,
    Answer,
    LeaseCases,
    LeasedCase,
    ReleaseLeases,
    RenewLeases,
    Result,
    SubmitAnswers,
)
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.commands.sessions import EndSession
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.contract.message_sizes import share
from labeling_grpc.queue import queries
from labeling_grpc.queue.blinding import Blinding
from labeling_grpc.security.caller import caller
from labeling_grpc.security.roles import Role
from labeling_grpc.storage.read_pool import Reader
from labeling_grpc.v1 import labeling_pb2 as pb
from labeling_grpc.v1 import labeling_pb2_grpc
from tidemark.pipeline import Pipeline

_MARGIN_SECONDS: Final = 0.2

log = logging.getLogger(__name__)


def _in_order(answers: Sequence[Answer | RefusedError], taken: Result) -> list[Accepted | RefusedError]:
    """What became of each answer: `taken` tells it of those that passed the checks."""
    outcomes = iter(cast("list[Accepted | RefusedError]", taken))
    return [answer if isinstance(answer, RefusedError) else next(outcomes) for answer in answers]


class LabelingService(labeling_pb2_grpc.LabelingServiceServicer):
    """The queue of one pipeline over gRPC. Lives in one event loop."""

    def __init__(
        self,
        checks: Checks,
        calls: WriterCalls,
        stats: LiveStats,
        reader: Reader,
        pages: Pages,
        details: Details,
        pipeline: Pipeline,
        sign_ins: SignIns,
    ) -> None:
        """Serve what the writer of `calls` writes. pipeline: whose queue it is."""
        self._checks = checks
        self._writer = calls.writer
        self._calls = calls
        self._sign_ins = sign_ins
        self._stats = stats
        self._reader = reader
        self._pages = pages
        self._details = details
        self._labeling = pipeline.labeling
        self._leased = LeasedDetails(details, pages, calls.writer.store, QueueRules.of(pipeline))
        self._categories = Categories(pipeline)
        self._question = AskedQuestion(pipeline, reader)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let watchers end."""
        self._stopping.set()
        self._stats.stop()

    async def LeaseTasks(  # noqa: N802 - named by the contract, as the next
        self, request: pb.LeaseTasksRequest, context: Context
    ) -> pb.LeaseTasksResponse:
        """Lease cases, waiting for the first one as long as is asked and the deadline lets."""
        command = self._checks.lease(request)
        if request.wait_ms and self._writer.full:
            raise RefusedError(
                Reason.TOO_MANY_CALLS, "too many calls wait for cases already: ask without wait_ms, or later"
            )
        response = pb.LeaseTasksResponse()
        wait = self._wait(request, context)
        if request.like:
            command, wait = replace(command, alike=await self._like(command, request.like)), 0.0
            if not command.alike:
                await self._fill(response, [], request)
                return response
        result = await self._calls.call(command, wait)
        if isinstance(result, RefusedError):
            raise result
        await self._fill(response, cast("list[LeasedCase]", result), request)
        return response

    async def _like(self, command: LeaseCases, event_id: str) -> tuple[str, ...]:
        """Cases like one in the hands of who asks."""
        now = self._writer.store.clock.now()
        return await self._reader.ask(self._details.alike, command, event_id, now, caller.get().role)

    async def RenewLease(  # noqa: N802
        self, request: pb.RenewLeaseRequest, _context: Context
    ) -> pb.RenewLeaseResponse:
        """Renew leases, each on its own."""
        leases = self._checks.leases(request.pipeline, request.leases)
        command = RenewLeases(leases, self._checks.length(request.lease_ms))
        outcomes = cast("list[int | RefusedError]", await self._calls.call(command))
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
        taken, *leased = await self._calls.together((SubmitAnswers(good(answers), caller.get()), 0.0), *asked)
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
                await self._fill(response.next, cast("list[LeasedCase]", result), request.next)
        return response

    async def Skip(  # noqa: N802
        self, request: pb.SkipRequest, _context: Context
    ) -> pb.SkipResponse:
        """Close a case without an answer."""
        result = await self._calls.call(SubmitAnswers((self._checks.skip(request),)))
        (outcome,) = cast("list[Accepted | RefusedError]", result)
        if isinstance(outcome, RefusedError):
            raise outcome
        return pb.SkipResponse(annotation_id=outcome.annotation_id)

    async def Escalate(  # noqa: N802
        self, request: pb.EscalateRequest, _context: Context
    ) -> pb.EscalateResponse:
        """Hand a case on to the reviewers."""
        outcome = cast("Accepted | RefusedError", await self._calls.call(self._checks.escalate(request)))
        if isinstance(outcome, RefusedError):
            raise outcome
        return pb.EscalateResponse(annotation_id=outcome.annotation_id)

    async def AddComment(  # noqa: N802
        self, request: pb.AddCommentRequest, _context: Context
    ) -> pb.AddCommentResponse:
        """Say something about a case."""
        outcome = cast(
            "Accepted | RefusedError", await self._calls.call(admin_validation.comment(self._checks, request))
        )
        if isinstance(outcome, RefusedError):
            raise outcome
        return pb.AddCommentResponse(annotation_id=outcome.annotation_id)

    async def GetCase(  # noqa: N802
        self, request: pb.GetCaseRequest, _context: Context
    ) -> pb.GetCaseResponse:
        """One case with all that helps to decide it."""
        event_id, asked = self._checks.details(request)
        who = caller.get()
        if not request.page_token:
            response, first = await self._reader.ask(self._details.whole, event_id, asked, who)
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
        if request.overdue:
            asked = replace(asked, due_by=self._writer.store.clock.wall())
        most = size(request.page_size)
        start = queries.LAST if request.newest_first else 0
        after = int(self._pages.after(request, int, start))
        names = self._categories.response()
        rows, last = await self._reader.ask(queries.case_page, self._labeling, asked, after, most, self._blinding())
        return pb.ListCasesResponse(
            records=[mapping.case_record(row, names) for row in rows],
            next_page_token="" if last is None else self._pages.token(request, last),
        )

    async def GetProgress(  # noqa: N802
        self, request: pb.GetProgressRequest, _context: Context
    ) -> pb.GetProgressResponse:
        """How far one annotator is."""
        name = admin_validation.annotator(self._checks, request)
        figures = await self._reader.ask(self._leased.progress, name, caller.get())
        if figures is None:
            raise RefusedError(Reason.UNKNOWN_ANNOTATOR, f"nobody named {name!r} was ever seen", field="annotator")
        return pb.GetProgressResponse(progress=figures)

    async def AmendLabel(  # noqa: N802
        self, request: pb.AmendLabelRequest, _context: Context
    ) -> pb.AmendLabelResponse:
        """Correct an answer, or take it back."""
        outcome = cast(
            "Accepted | RefusedError", await self._calls.call(replace(self._checks.amend(request), by=caller.get()))
        )
        if isinstance(outcome, RefusedError):
            raise outcome
        response = pb.AmendLabelResponse(annotation_id=outcome.annotation_id, duplicate=outcome.duplicate)
        for event_id, other in outcome.others:
            mapping.add_result(response.others, event_id, other)
        return response

    async def Release(  # noqa: N802
        self, request: pb.ReleaseRequest, _context: Context
    ) -> pb.ReleaseResponse:
        """Give cases back."""
        leases = self._checks.leases(request.pipeline, request.leases)
        command = ReleaseLeases(leases, passed=not request.again)
        return pb.ReleaseResponse(released=cast("int", await self._calls.call(command)))

    async def Stats(  # noqa: N802
        self, request: pb.StatsRequest, _context: Context
    ) -> pb.StatsResponse:
        """The queue in numbers."""
        self._checks.served(request.pipeline)
        who = caller.get()
        return pb.StatsResponse(
            stats=await self._stats.message(), caller=pb.Caller(name=who.name, role=who.role.value, known=who.known)
        )

    async def ExchangeToken(  # noqa: N802
        self, request: pb.ExchangeTokenRequest, _context: Context
    ) -> pb.ExchangeTokenResponse:
        """An access token for an ID token."""
        self._checks.served(request.pipeline)
        return await self._sign_ins.exchange(request)

    async def EndSession(  # noqa: N802
        self, request: pb.EndSessionRequest, _context: Context
    ) -> pb.EndSessionResponse:
        """The end of a sign-in's token."""
        self._checks.served(request.pipeline)
        return pb.EndSessionResponse(ended=bool(await self._calls.call(EndSession(caller.get()))))

    async def Watch(  # noqa: N802
        self, request: pb.WatchRequest, _context: Context
    ) -> AsyncIterator[pb.WatchResponse]:
        """What happens, at most one message per interval; a first one at once."""
        interval = self._checks.watch(request) / 1_000
        watcher = self._stats.watch(stats_only=request.stats_only, admin=caller.get().role is Role.ADMIN)
        try:
            while not self._stopping.is_set():
                events, missed = [mapping.case_event(event) for event in watcher.events], watcher.missed
                watcher.events.clear()
                watcher.missed = watcher.size = 0
                watcher.changed.clear()
                yield pb.WatchResponse(stats=await self._stats.message(), events=events, missed=missed)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(interval):
                        await self._stopping.wait()
                await watcher.changed.wait()
        finally:
            self._stats.unwatch(watcher)

    def _wait(self, request: pb.LeaseTasksRequest, context: Context) -> float:
        """Seconds that a call may wait for a case: 0 where too many do."""
        wait = 0.0 if self._writer.full else request.wait_ms / 1_000
        remaining = context.time_remaining()
        if remaining is not None:
            wait = min(wait, remaining - _MARGIN_SECONDS)
        return wait

    def _blinding(self) -> Blinding:
        return Blinding(caller.get(), golden=bool(self._labeling.gold_every))

    async def _fill(
        self, response: pb.LeaseTasksResponse, leased: Sequence[LeasedCase], request: pb.LeaseTasksRequest
    ) -> None:
        """Tell of cases that were leased; they go back where nobody is told of them, for whoever asked is gone."""
        room, names = share(len(leased)), self._categories.response()
        try:
            for case in leased:
                mapping.add_task(response, case, room, names)
            response.question.CopyFrom(await self._question.message())
            response.waiting = self._writer.store.counts.waiting
            if (request.HasField("details") and leased) or request.progress:
                await self._tell(response, request)
        except BaseException:
            if leased:
                self._writer.give_back(leased)
            raise

    async def _tell(self, response: pb.LeaseTasksResponse, request: pb.LeaseTasksRequest) -> None:
        """Add what is asked for besides; leased cases go out without it where the database can't be read."""
        try:
            await self._reader.ask(self._leased.add, response, request, caller.get())
        except RefusedError as error:
            log.info("cases are given out without what is known of them: %s", error)
