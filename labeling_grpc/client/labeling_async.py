"""`AsyncLabelingClient`: the labeling service for asyncio, with the calls of `LabelingClient`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import grpc

from labeling_grpc.client.channel import Asyncio, UnreachableError, translated
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


class AsyncLabelingClient(Asyncio):
    """Client for asyncio, with the calls of `LabelingClient`. Lives in one event loop."""

    stub = labeling_pb2_grpc.LabelingServiceStub

    async def lease(
        self,
        count: int = 1,
        *,
        wait: float = 0.0,
        lease: float | None = None,
        segments: Sequence[str] = (),
        review: bool = False,
        like: str = "",
    ) -> list[Task]:
        """As `LabelingClient.lease`."""
        request = self._calls.lease(count, wait, lease, segments, review=review, like=like)
        return tasks(await self._call("LeaseTasks", request, wait))

    async def lease_with_details(
        self, count: int = 1, *, wait: float = 0.0, lease: float | None = None, most: int = 0, similar: int = 0
    ) -> Leased:
        """As `LabelingClient.lease_with_details`."""
        details = self._calls.case("", most, similar)
        request = self._calls.lease(count, wait, lease, details=details, progress=True)
        return leased(await self._call("LeaseTasks", request, wait))

    async def submit(
        self,
        task: Task,
        label: str,
        *,
        known_at: int | None = None,
        confidence: float | None = None,
        comment: str = "",
        key: str = "",
    ) -> Submitted:
        """As `LabelingClient.submit`."""
        return one(await self.submit_many([Annotation(task, label, known_at, confidence, comment, key)]))

    async def submit_many(self, annotations: Sequence[Annotation]) -> list[Submitted | RefusedError]:
        """As `LabelingClient.submit_many`."""
        try:
            return submitted(await self._call("SubmitLabels", self._calls.submit(annotations)))
        except RefusedError as refusal:
            if len(annotations) == 1:
                return [refusal]
            raise

    async def submit_and_lease(
        self, annotations: Sequence[Annotation], count: int = 1, *, wait: float = 0.0, lease: float | None = None
    ) -> Turn:
        """As `LabelingClient.submit_and_lease`."""
        following = self._calls.lease(count, wait, lease)
        return turned(await self._call("SubmitLabels", self._calls.submit(annotations, following), wait))

    async def skip(self, task: Task | Held, reason: str = "", *, known_at: int | None = None) -> str:
        """As `LabelingClient.skip`."""
        return cast("str", (await self._call("Skip", self._calls.skip(task, reason, known_at))).annotation_id)

    async def escalate(self, task: Task | Held, reason: str) -> str:
        """As `LabelingClient.escalate`."""
        return cast("str", (await self._call("Escalate", self._calls.escalate(task, reason))).annotation_id)

    async def amend(
        self,
        annotation_id: str,
        label: str,
        *,
        known_at: int | None = None,
        confidence: float | None = None,
        comment: str = "",
        bulk: bool = False,
    ) -> Submitted:
        """As `LabelingClient.amend`."""
        request = self._calls.amend(annotation_id, label, known_at, confidence, comment, bulk=bulk)
        return amended(await self._call("AmendLabel", request))

    async def retract(
        self, annotation_id: str, comment: str = "", *, known_at: int | None = None, bulk: bool = False
    ) -> Submitted:
        """As `LabelingClient.retract`."""
        return amended(
            await self._call("AmendLabel", self._calls.amend(annotation_id, None, known_at, None, comment, bulk=bulk))
        )

    async def renew(self, tasks: Sequence[Task | Held], lease: float | None = None) -> list[int | RefusedError]:
        """As `LabelingClient.renew`."""
        try:
            return renewed(await self._call("RenewLease", self._calls.renew(tasks, lease)))
        except RefusedError as refusal:
            if len(tasks) == 1:
                return [refusal]
            raise

    async def release(self, tasks: Sequence[Task | Held], *, again: bool = False) -> int:
        """As `LabelingClient.release`."""
        if not tasks:
            return 0
        return cast("int", (await self._call("Release", self._calls.release(tasks, again=again))).released)

    async def case(self, event_id: str, *, most: int = 0, similar: int = 0) -> CaseDetails:
        """As `LabelingClient.case`."""
        return details_of(await self._call("GetCase", self._calls.case(event_id, most, similar)))

    async def comments(self, event_id: str) -> AsyncIterator[Comment]:
        """As `LabelingClient.comments`."""
        async for page in self._pages("GetCase", self._calls.case(event_id, 1)):
            for comment in reversed([*comments_of(page.comments)]):
                yield comment

    async def comment(self, event_id: str, text: str, *, key: str = "") -> str:
        """As `LabelingClient.comment`."""
        return cast("str", (await self._call("AddComment", self._calls.comment(event_id, text, key))).annotation_id)

    async def cases(
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
    ) -> AsyncIterator[CaseRecord]:
        """As `LabelingClient.cases`."""
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
        async for record in self._paged("ListCases", request, "records"):
            yield case_record(record)

    async def progress(self, annotator: str = "") -> Progress:
        """As `LabelingClient.progress`."""
        return progress_from((await self._call("GetProgress", self._calls.progress(annotator))).progress)

    async def stats(self) -> Stats:
        """As `LabelingClient.stats`."""
        return stats_of((await self._call("Stats", self._calls.stats())).stats)

    async def caller(self) -> Caller:
        """As `LabelingClient.caller`."""
        return caller_of(await self._call("Stats", self._calls.stats()))

    async def exchange_token(self, id_token: str, nonce: str) -> SignedIn:
        """As `LabelingClient.exchange_token`."""
        self._bear()
        return signed_in(await self._call("ExchangeToken", self._calls.exchange(id_token, nonce)))

    async def end_session(self) -> bool:
        """As `LabelingClient.end_session`."""
        return bool((await self._call("EndSession", self._calls.end_session())).ended)

    async def watch(self, interval: float = 1.0, *, stats_only: bool = False) -> AsyncGenerator[Update, None]:
        """As `LabelingClient.watch`."""
        request = self._calls.watch(interval, stats_only=stats_only)
        call = self._connect().Watch(request, metadata=self._metadata)
        try:
            async for response in call:
                yield update_of(response)
        except grpc.aio.AioRpcError as error:
            raise translated(error, self._connected) from error
        finally:
            call.cancel()

    @asynccontextmanager
    async def hold(self, count: int = 1, *, wait: float = 0.0, lease: float = 60.0) -> AsyncIterator[list[Task]]:
        """As `LabelingClient.hold`."""
        async with self.keep(await self.lease(count, wait=wait, lease=lease), lease=lease) as tasks:
            yield tasks

    @asynccontextmanager
    async def keep(self, tasks: list[Task], *, lease: float = 60.0) -> AsyncIterator[list[Task]]:
        """As `LabelingClient.keep`."""
        keeper = asyncio.create_task(self._keep(list(tasks), lease))
        try:
            yield tasks
        finally:
            keeper.cancel()
            await self.release(tasks)

    async def _keep(self, tasks: list[Task], lease: float) -> None:
        while tasks:
            await asyncio.sleep(lease / 3)
            try:
                renewed = await self.renew(tasks, lease)
            except UnreachableError:
                continue  # the leases may last until it is back; what is answered tells
            tasks = [task for task, outcome in zip(tasks, renewed, strict=True) if isinstance(outcome, int)]
