"""Clients of a queue's administration: `LabelingAdminClient` blocks, `AsyncLabelingAdminClient` is for asyncio.

Calls are repeated as those of `labeling_grpc.client` are: none does more when it is done twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Literal

import grpc

from labeling_grpc.client import admin_messages as messages
from labeling_grpc.client.admin_messages import (
    AdminCalls,
    Annotator,
    AuditEntry,
    Changed,
    Drift,
    Gold,
    Imported,
    Quality,
)
from labeling_grpc.client.channel import Asyncio, Blocking, translated
from labeling_grpc.client.values import Stats, Submitted
from labeling_grpc.contract.errors import RefusedError
from labeling_grpc.v1 import admin_pb2, admin_pb2_grpc
from tidemark.errors import LabelingError
from tidemark.records import Label, decode

__all__ = [
    "Annotator",
    "AsyncLabelingAdminClient",
    "AuditEntry",
    "Changed",
    "Drift",
    "Gold",
    "Imported",
    "LabelingAdminClient",
    "Quality",
]

State = Literal["active", "paused"]
Skills = Sequence[str] | Literal["any"]


def skills_of(text: str) -> Skills:
    """What somebody is skilled in, as a person writes it: names separated by commas, or `any` for everything."""
    return "any" if text == "any" else [name.strip() for name in text.split(",") if name.strip()]


class LabelingAdminClient(Blocking):
    """Blocking client, made as `LabelingClient` is: whatever it does, it does as the holder of its token.

    Every method raises RefusedError where the service refuses, UnreachableError where it can't be reached.
    """

    stub = admin_pb2_grpc.LabelingAdminServiceStub

    @property
    def _admin(self) -> AdminCalls:
        return AdminCalls(self._calls.pipeline)

    def pipelines(self) -> list[Stats]:
        """The pipelines that the service has queues of, in numbers."""
        return messages.pipelines(self._call("ListPipelines", admin_pb2.ListPipelinesRequest()))

    def annotators(self, page: int = 0) -> Iterator[Annotator]:
        """Annotators in the order of their names, read page by page of at most `page` (0: the service's default)."""
        records = self._paged("ListAnnotators", self._admin.annotators(page), "annotators")
        return (messages.annotator(record) for record in records)

    def update(
        self,
        name: str,
        *,
        state: State | None = None,
        why: str = "",
        skills: Skills | None = None,
        quota: int | None = None,
        absent_until: int | None = None,
    ) -> Annotator:
        """Change what somebody may do; what is None stays.

        why: required with `state`.  skills: "any" for every one.  absent_until: µs since 1970, 0: is there again.
        """
        request = self._admin.update(name, state, why, skills, quota, absent_until)
        return messages.annotator(self._call("UpdateAnnotator", request).annotator)

    def assign(self, event_ids: Sequence[str], annotator: str, why: str) -> Changed:
        """Offer open cases to one annotator alone; annotator "": to whoever may have them, again."""
        requests = self._admin.assign(event_ids, annotator, why)
        return messages.assigned(self._call("AssignCases", request) for request in requests)

    def pause(self, why: str) -> None:
        """Give nothing out any more; leases go on, answers are taken. why: told to whoever asks for cases."""
        self._call("PauseQueue", self._admin.pause(why))

    def resume(self) -> None:
        """Give out again."""
        self._call("ResumeQueue", self._admin.resume())

    def requeue(self, event_ids: Sequence[str], why: str) -> Changed:
        """Ask again about closed cases, and take leased ones away from who has them."""
        return messages.requeued(self._call("RequeueCases", request) for request in self._admin.requeue(event_ids, why))

    def expire(self, event_ids: Sequence[str], why: str) -> Changed:
        """Close open cases as expired."""
        return messages.expired(self._call("ExpireCases", request) for request in self._admin.expire(event_ids, why))

    def export(self, *, verdicts: bool = False) -> Iterator[Label]:
        """The labels that the queue has given, in their order; broken off, it is begun anew by calling it again.

        verdicts: one final label for each event.
        """
        call = self._connect().ExportLabels(self._admin.export(verdicts=verdicts), metadata=self._metadata)
        try:
            for response in call:
                for label in response.labels:
                    yield decode(Label, label)
        except grpc.RpcError as error:
            raise translated(error, self._connected) from error
        finally:
            call.cancel()

    def import_labels(self, labels: Sequence[Imported]) -> list[Submitted | RefusedError]:
        """Take labels in, each on its own, some thousand a call; imported again, they are the same annotations."""
        return messages.taken(self._call("ImportLabels", request) for request in self._admin.imports(labels))

    def add_gold(self, answers: Iterable[tuple[str, str]]) -> Changed:
        """Make closed cases, (event id, class), part of what annotators are given, unseen among the others."""
        return messages.golden(self._call("AddGold", request) for request in self._admin.add_gold(answers))

    def gold(self, page: int = 0) -> Iterator[Gold]:
        """Gold cases with how they were answered, read page by page."""
        return (messages.gold(record) for record in self._paged("ListGold", self._admin.gold(page), "records"))

    def remove_gold(self, event_id: str) -> None:
        """Give a gold case out no more."""
        self._call("RemoveGold", self._admin.remove_gold(event_id))

    def audit(self, page: int = 0) -> Iterator[AuditEntry]:
        """The audit trail, oldest first, read page by page.

        Raises:
            LabelingError: its chain of hashes is broken; says where. The entries before were given.

        """
        request = self._admin.audit(page)
        while True:
            response = self._call("ListAudit", request)
            if response.broken:
                raise LabelingError(f"the audit trail was tampered with: {response.broken}")
            yield from (messages.audit_entry(entry) for entry in response.entries)
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token


class AsyncLabelingAdminClient(Asyncio):
    """Client for asyncio, with the calls of `LabelingAdminClient`. Lives in one event loop."""

    stub = admin_pb2_grpc.LabelingAdminServiceStub

    @property
    def _admin(self) -> AdminCalls:
        return AdminCalls(self._calls.pipeline)

    async def pipelines(self) -> list[Stats]:
        """As `LabelingAdminClient.pipelines`."""
        return messages.pipelines(await self._call("ListPipelines", admin_pb2.ListPipelinesRequest()))

    async def annotators(self, page: int = 0) -> AsyncIterator[Annotator]:
        """As `LabelingAdminClient.annotators`."""
        async for record in self._paged("ListAnnotators", self._admin.annotators(page), "annotators"):
            yield messages.annotator(record)

    async def update(
        self,
        name: str,
        *,
        state: State | None = None,
        why: str = "",
        skills: Skills | None = None,
        quota: int | None = None,
        absent_until: int | None = None,
    ) -> Annotator:
        """As `LabelingAdminClient.update`."""
        request = self._admin.update(name, state, why, skills, quota, absent_until)
        return messages.annotator((await self._call("UpdateAnnotator", request)).annotator)

    async def assign(self, event_ids: Sequence[str], annotator: str, why: str) -> Changed:
        """As `LabelingAdminClient.assign`."""
        requests = self._admin.assign(event_ids, annotator, why)
        return messages.assigned([await self._call("AssignCases", request) for request in requests])

    async def pause(self, why: str) -> None:
        """As `LabelingAdminClient.pause`."""
        await self._call("PauseQueue", self._admin.pause(why))

    async def resume(self) -> None:
        """As `LabelingAdminClient.resume`."""
        await self._call("ResumeQueue", self._admin.resume())

    async def requeue(self, event_ids: Sequence[str], why: str) -> Changed:
        """As `LabelingAdminClient.requeue`."""
        return messages.requeued(
            [await self._call("RequeueCases", request) for request in self._admin.requeue(event_ids, why)]
        )

    async def expire(self, event_ids: Sequence[str], why: str) -> Changed:
        """As `LabelingAdminClient.expire`."""
        return messages.expired(
            [await self._call("ExpireCases", request) for request in self._admin.expire(event_ids, why)]
        )

    async def export(self, *, verdicts: bool = False) -> AsyncIterator[Label]:
        """As `LabelingAdminClient.export`."""
        call = self._connect().ExportLabels(self._admin.export(verdicts=verdicts), metadata=self._metadata)
        try:
            async for response in call:
                for label in response.labels:
                    yield decode(Label, label)
        except grpc.aio.AioRpcError as error:
            raise translated(error, self._connected) from error
        finally:
            call.cancel()

    async def import_labels(self, labels: Sequence[Imported]) -> list[Submitted | RefusedError]:
        """As `LabelingAdminClient.import_labels`."""
        return messages.taken([await self._call("ImportLabels", request) for request in self._admin.imports(labels)])

    async def add_gold(self, answers: Iterable[tuple[str, str]]) -> Changed:
        """As `LabelingAdminClient.add_gold`."""
        return messages.golden([await self._call("AddGold", request) for request in self._admin.add_gold(answers)])

    async def gold(self, page: int = 0) -> AsyncIterator[Gold]:
        """As `LabelingAdminClient.gold`."""
        async for record in self._paged("ListGold", self._admin.gold(page), "records"):
            yield messages.gold(record)

    async def remove_gold(self, event_id: str) -> None:
        """As `LabelingAdminClient.remove_gold`."""
        await self._call("RemoveGold", self._admin.remove_gold(event_id))

    async def audit(self, page: int = 0) -> AsyncIterator[AuditEntry]:
        """As `LabelingAdminClient.audit`."""
        request = self._admin.audit(page)
        while True:
            response = await self._call("ListAudit", request)
            if response.broken:
                raise LabelingError(f"the audit trail was tampered with: {response.broken}")
            for entry in response.entries:
                yield messages.audit_entry(entry)
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token
