"""The administration of a queue over gRPC: requests checked, put to the writer, answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final, cast

from labeling_grpc.api import admin_validation, mapping
from labeling_grpc.api.interceptor import Context
from labeling_grpc.api.live_stats import LiveStats
from labeling_grpc.api.paging import Pages, size
from labeling_grpc.api.validation import Checks
from labeling_grpc.api.writer_calls import WriterCalls
from labeling_grpc.commands.administration import AnnotatorRow, Changed, PauseQueue, WriteDown
from labeling_grpc.commands.labeling import Accepted, GoldAdded
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.contract.message_sizes import MAX_LABELS, batches, without_details
from labeling_grpc.contract.text import shortened
from labeling_grpc.quality.annotator_metrics import AnnotatorQuality, qualities
from labeling_grpc.queue import gold, queries
from labeling_grpc.queue.blinding import Blinding
from labeling_grpc.security import audit
from labeling_grpc.security.caller import Caller, act, caller
from labeling_grpc.security.masks import Mask
from labeling_grpc.security.roles import Role
from labeling_grpc.storage.read_pool import Reader
from labeling_grpc.v1 import admin_pb2, admin_pb2_grpc
from tidemark.records import Label, encode

_BATCH: Final = 200
"""Labels of one message of an export."""

_DETAIL: Final = 500_000
"""Bytes of one entry of the audit trail; the whole of it is in the database."""

_MEASURED: Final = 50
"""Annotators of one page, for figures of each are counted from thousands of answers."""

_STATES: Final = {
    "active": admin_pb2.ANNOTATOR_STATE_ACTIVE,
    "paused": admin_pb2.ANNOTATOR_STATE_PAUSED,
    "quarantined": admin_pb2.ANNOTATOR_STATE_QUARANTINED,
}


class LabelingAdminService(admin_pb2_grpc.LabelingAdminServiceServicer):
    """Administration of the queue that `service` serves. Lives in the same event loop."""

    def __init__(
        self,
        checks: Checks,
        calls: WriterCalls,
        stats: LiveStats,
        reader: Reader,
        pages: Pages,
        masks: Mapping[Role, Mask],
        rules: QueueRules,
    ) -> None:
        self._checks = checks
        self._calls = calls
        self._stats = stats
        self._reader = reader
        self._pages = pages
        self._masks = masks
        self._rules = rules

    async def ListPipelines(  # noqa: N802 - named by the contract, as the next
        self, request: admin_pb2.ListPipelinesRequest, _context: Context
    ) -> admin_pb2.ListPipelinesResponse:
        """The one pipeline that is served here."""
        del request
        return admin_pb2.ListPipelinesResponse(pipelines=[await self._stats.message()])

    async def ListAnnotators(  # noqa: N802
        self, request: admin_pb2.ListAnnotatorsRequest, _context: Context
    ) -> admin_pb2.ListAnnotatorsResponse:
        """Annotators page by page."""
        self._checks.served(request.pipeline)
        most = min(size(request.page_size), _MEASURED)
        after = str(self._pages.after(request, str, ""))
        rows = await self._reader.ask(queries.annotator_page, after, most)
        figures = await self._reader.ask(qualities, self._rules, [row.name for row in rows])
        return admin_pb2.ListAnnotatorsResponse(
            annotators=[_annotator(row, _told(figures[row.name], row.name, caller.get())) for row in rows],
            next_page_token=self._pages.token(request, rows[-1].name) if len(rows) == most else "",
        )

    async def UpdateAnnotator(  # noqa: N802
        self, request: admin_pb2.UpdateAnnotatorRequest, _context: Context
    ) -> admin_pb2.UpdateAnnotatorResponse:
        """Change what somebody may do."""
        command = admin_validation.update(self._checks, request, caller.get())
        row = cast("AnnotatorRow", await self._calls.call(command))
        figures = await self._reader.ask(qualities, self._rules, [row.name])
        return admin_pb2.UpdateAnnotatorResponse(annotator=_annotator(row, figures[row.name]))

    async def AssignCases(  # noqa: N802
        self, request: admin_pb2.AssignCasesRequest, _context: Context
    ) -> admin_pb2.AssignCasesResponse:
        """Offer cases to one annotator alone."""
        command = admin_validation.assign(self._checks, request, caller.get())
        changed = cast("Changed | RefusedError", await self._calls.call(command))
        if isinstance(changed, RefusedError):
            raise changed
        return admin_pb2.AssignCasesResponse(assigned=len(changed.done), left=changed.left)

    async def PauseQueue(  # noqa: N802
        self, request: admin_pb2.PauseQueueRequest, _context: Context
    ) -> admin_pb2.PauseQueueResponse:
        """Give nothing out any more."""
        await self._calls.call(admin_validation.pause(self._checks, request, caller.get()))
        return admin_pb2.PauseQueueResponse()

    async def ResumeQueue(  # noqa: N802
        self, request: admin_pb2.ResumeQueueRequest, _context: Context
    ) -> admin_pb2.ResumeQueueResponse:
        """Give out again."""
        self._checks.served(request.pipeline)
        await self._calls.call(PauseQueue(caller.get(), ""))
        return admin_pb2.ResumeQueueResponse()

    async def RequeueCases(  # noqa: N802
        self, request: admin_pb2.RequeueCasesRequest, _context: Context
    ) -> admin_pb2.RequeueCasesResponse:
        """Ask again."""
        command = admin_validation.requeue(self._checks, request, caller.get())
        changed = cast("Changed", await self._calls.call(command))
        return admin_pb2.RequeueCasesResponse(requeued=len(changed.done), left=changed.left)

    async def ExpireCases(  # noqa: N802
        self, request: admin_pb2.ExpireCasesRequest, _context: Context
    ) -> admin_pb2.ExpireCasesResponse:
        """Ask no more."""
        command = admin_validation.expire(self._checks, request, caller.get())
        changed = cast("Changed", await self._calls.call(command))
        return admin_pb2.ExpireCasesResponse(expired=len(changed.done), left=changed.left)

    async def ExportLabels(  # noqa: N802
        self, request: admin_pb2.ExportLabelsRequest, _context: Context
    ) -> AsyncIterator[admin_pb2.ExportLabelsResponse]:
        """Labels in their order, some hundred a message."""
        self._checks.served(request.pipeline)
        who = caller.get()
        detail = {"verdicts": request.verdicts}
        await self._calls.call(WriteDown((act(who, "ExportLabels", self._checks.pipeline, detail),)))
        mask = self._masks.get(who.role)
        blinding = Blinding(who, golden=bool(self._rules.gold_every))
        labels = queries.labels(self._reader.engine, verdicts=request.verdicts, blinding=blinding)
        parts = batches(_masked(labels, mask), _BATCH, len, MAX_LABELS)
        while (batch := await self._reader.apart(lambda: next(parts, None))) is not None:
            yield admin_pb2.ExportLabelsResponse(labels=batch)

    async def ImportLabels(  # noqa: N802
        self, request: admin_pb2.ImportLabelsRequest, _context: Context
    ) -> admin_pb2.ImportLabelsResponse:
        """Take labels in, each on its own."""
        command, refusals = admin_validation.imported(self._checks, request, caller.get())
        outcomes = cast("list[Accepted | RefusedError]", await self._calls.call(command) if command.labels else [])
        taken = iter(outcomes)
        results = [refusal or next(taken) for refusal in refusals]
        response = admin_pb2.ImportLabelsResponse()
        for label, outcome in zip(request.labels, results, strict=True):
            mapping.add_result(response.results, label.event_id, outcome)
        without_details(response, response.results)
        return response

    async def AddGold(  # noqa: N802
        self, request: admin_pb2.AddGoldRequest, _context: Context
    ) -> admin_pb2.AddGoldResponse:
        """Make cases with a known answer part of what annotators are given."""
        command = admin_validation.add_gold(self._checks, request, caller.get())
        outcome = cast("GoldAdded | RefusedError", await self._calls.call(command))
        if isinstance(outcome, RefusedError):
            raise outcome
        return admin_pb2.AddGoldResponse(added=outcome.added, left=outcome.left)

    async def ListGold(  # noqa: N802
        self, request: admin_pb2.ListGoldRequest, _context: Context
    ) -> admin_pb2.ListGoldResponse:
        """Gold cases page by page."""
        self._checks.served(request.pipeline)
        most = size(request.page_size)
        after = str(self._pages.after(request, str, ""))
        records = await self._reader.ask(gold.page, self._rules.scale, after, most)
        return admin_pb2.ListGoldResponse(
            records=[
                admin_pb2.GoldRecord(
                    event_id=record.event_id, label=record.label, right=record.right, wrong=record.wrong
                )
                for record in records
            ],
            next_page_token=self._pages.token(request, records[-1].event_id) if len(records) == most else "",
        )

    async def RemoveGold(  # noqa: N802
        self, request: admin_pb2.RemoveGoldRequest, _context: Context
    ) -> admin_pb2.RemoveGoldResponse:
        """Give a gold case out no more."""
        command = admin_validation.remove_gold(self._checks, request, caller.get())
        if not await self._calls.call(command):
            raise RefusedError(Reason.UNKNOWN_CASE, f"case {command.event_id!r} is not gold", event_id=command.event_id)
        return admin_pb2.RemoveGoldResponse()

    async def ListAudit(  # noqa: N802
        self, request: admin_pb2.ListAuditRequest, _context: Context
    ) -> admin_pb2.ListAuditResponse:
        """The audit trail page by page, and whether it holds."""
        self._checks.served(request.pipeline)
        most = size(request.page_size)
        after = int(self._pages.after(request, int, 0))
        entries, broken = await self._reader.ask(audit.page, after, most)
        return admin_pb2.ListAuditResponse(
            entries=[
                admin_pb2.AuditEntry(
                    number=entry.number,
                    at_us=entry.at,
                    actor=entry.actor,
                    role=entry.role,
                    action=entry.action,
                    object=entry.object,
                    detail=shortened(entry.detail, _DETAIL),
                    hash=entry.hash,
                )
                for entry in entries
            ],
            next_page_token=self._pages.token(request, entries[-1].number) if entries else "",
            broken=broken,
        )


def _told(quality: AnnotatorQuality, name: str, by: Caller) -> AnnotatorQuality:
    """The figures without those by which somebody would learn which of their own answers were to known cases."""
    if by.role is Role.ADMIN or by.name != name:
        return quality
    return quality.untold


def _annotator(row: AnnotatorRow, quality: AnnotatorQuality) -> admin_pb2.Annotator:
    return admin_pb2.Annotator(
        name=row.name,
        state=_STATES[row.state],
        why=row.why,
        since_us=row.since,
        skills=row.skills or (),
        any_skill=row.skills is None,
        quota=row.quota,
        absent_until_us=row.absent_until,
        quality=admin_pb2.AnnotatorQuality(
            answered=quality.answered,
            skipped=quality.skipped,
            gold_accuracy=quality.gold_accuracy,
            gold_low=quality.gold_low,
            gold_high=quality.gold_high,
            gold_answered=quality.gold_answered,
            consensus_accuracy=quality.consensus_accuracy,
            agreement=quality.agreement,
            agreement_low=quality.agreement_low,
            agreement_high=quality.agreement_high,
            agreement_answers=quality.agreement_answers,
            median_answer_ms=quality.median_ms,
            fast_answer_ms=quality.fast_ms,
            drift=quality.drift,
            drift_low=quality.drift_low,
            drift_high=quality.drift_high,
            recent_share=quality.recent,
            before_share=quality.before,
            before_judged=quality.before_judged,
            median_low_ms=quality.median_low_ms,
            median_high_ms=quality.median_high_ms,
            suspicion=quality.suspicion,
        ),
    )


def _masked(labels: Iterator[Label], mask: Mask | None) -> Iterator[bytes]:
    return (encode(label if mask is None else mask.label(label)) for label in labels)
