"""Between the domain's records and the contract's messages."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from labeling_grpc.commands import Accepted, CaseEvent, Counts, LeasedCase, Remark
from labeling_grpc.queue.reading import CaseRow, Progress
from labeling_grpc.refusals import RefusedError
from labeling_grpc.text import MAX_EVENT_ID, is_name
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.records import Candidate
from tidemark.records import Reason as CaseReason

REASONS: Final[dict[CaseReason, pb.Reason.ValueType]] = {
    "explore": pb.REASON_EXPLORE,
    "uncertain": pb.REASON_UNCERTAIN,
    "diverse": pb.REASON_DIVERSE,
    "cold": pb.REASON_COLD,
    "imported": pb.REASON_IMPORTED,
}

_KINDS: Final = {
    "added": pb.CaseEvent.KIND_ADDED,
    "leased": pb.CaseEvent.KIND_LEASED,
    "returned": pb.CaseEvent.KIND_RETURNED,
    "answered": pb.CaseEvent.KIND_ANSWERED,
    "skipped": pb.CaseEvent.KIND_SKIPPED,
    "expired": pb.CaseEvent.KIND_EXPIRED,
    "amended": pb.CaseEvent.KIND_AMENDED,
    "withdrawn": pb.CaseEvent.KIND_WITHDRAWN,
    "escalated": pb.CaseEvent.KIND_ESCALATED,
    "voted": pb.CaseEvent.KIND_VOTED,
    "commented": pb.CaseEvent.KIND_COMMENTED,
    "requeued": pb.CaseEvent.KIND_REQUEUED,
}
_INT64: Final = range(-(2**63), 2**63)
_decode = msgspec.json.Decoder(Candidate).decode


def misfit(candidate: Candidate) -> str | None:
    """Why a candidate that decodes can't be queued all the same; None if it can."""
    if not is_name(candidate.event_id, MAX_EVENT_ID):
        return f"event_id must have 1 to {MAX_EVENT_ID} printable characters"
    for name in ("time", "tile", "tile_count", "expires_at"):
        value = getattr(candidate, name)
        if value is not None and value not in _INT64:
            return f"{name} ({value}) does not fit 64 bits"
    probability = candidate.inclusion_probability
    if probability is not None and not 0.0 < probability <= 1.0:
        return f"inclusion_probability ({probability}) is not in (0, 1]"
    if not math.isfinite(candidate.priority):
        return "priority is not finite"
    return None


def task(leased: LeasedCase) -> pb.Task:
    """A leased case as the contract has it."""
    shown = case(_decode(leased.candidate))
    shown.segment, shown.skill = leased.segment, leased.skill
    return pb.Task(
        case=shown,
        lease_token=leased.token,
        lease_expires_at_us=leased.until,
        lease_count=leased.leases,
        review=leased.review,
        comments=[comment(remark) for remark in leased.remarks],
    )


def comment(remark: Remark) -> pb.Comment:
    """Something said about a case as the contract has it."""
    return pb.Comment(annotator=remark.annotator, text=remark.text, at_us=remark.at)


def case_record(row: CaseRow) -> pb.CaseRecord:
    """A case and where it is as the contract has it."""
    shown = case(row.candidate)
    shown.segment, shown.skill = row.segment, row.skill
    return pb.CaseRecord(
        case=shown,
        state=pb.CaseState.Value(f"CASE_STATE_{row.state.upper()}"),
        annotator=row.holder,
        label=row.label or "",
        confidence=row.confidence,
        answers=row.answers,
        review=row.review,
    )


def progress(annotator: str, found: Progress, waiting: int) -> pb.Progress:
    """How far an annotator is as the contract has it."""
    return pb.Progress(
        annotator=annotator,
        answered_today=found.answered_today,
        skipped_today=found.skipped_today,
        answered=found.answered,
        quota=found.row.quota,
        waiting=waiting,
        leased=found.leased,
        median_answer_ms=found.median_ms,
    )


def submit_result(event_id: str, outcome: Accepted | RefusedError) -> pb.SubmitResult:
    """What became of an answer."""
    if isinstance(outcome, RefusedError):
        return pb.SubmitResult(event_id=event_id, error=outcome.status())
    return pb.SubmitResult(event_id=event_id, annotation_id=outcome.annotation_id, duplicate=outcome.duplicate)


def case(candidate: Candidate) -> pb.Case:
    """What a person is shown. The inclusion probability is not: it is for the learner."""
    shown = pb.Case(
        event_id=candidate.event_id,
        business_id=candidate.business_id,
        key=candidate.key,
        time_us=candidate.time,
        reason=REASONS[candidate.reason],
        priority=candidate.priority,
        probabilities=candidate.probabilities or (),
        uncertainty=candidate.uncertainty,
        model=candidate.model,
        expires_at_us=candidate.expires_at,
        policy=candidate.policy,
        tile=candidate.tile,
    )
    # Added in place: messages that are made first are copied into the one that holds them, which takes twice as long.
    for name, value in candidate.context.items():
        _set(shown.context.add(name=name), value)
    for name, feature in candidate.features.items():
        shown.features.add(name=name, value=feature)
    return shown


def _set(field: pb.ContextField, value: str | float | bool | None) -> None:  # noqa: FBT001 - a column may hold flags
    match value:
        case None:
            pass
        case bool():
            field.value.flag = value
        case int():
            if value in _INT64:
                field.value.integer = value
            else:
                field.value.text = str(value)
        case float():
            field.value.number = value
        case str():
            field.value.text = value


def stats(pipeline: str, counts: Counts, now: int) -> pb.QueueStats:
    """The counts as the contract has them."""
    return pb.QueueStats(
        pipeline=pipeline,
        waiting_explore=counts.waiting_explore,
        waiting_active=counts.waiting_active,
        leased=counts.leased,
        answered=counts.answered,
        skipped=counts.skipped,
        expired=counts.expired,
        withdrawn=counts.withdrawn,
        unpublished=counts.unpublished,
        rejected=counts.rejected,
        event_clock_us=counts.event_clock,
        ranked_by=counts.ranked_by,
        now_us=now,
    )


def case_event(event: CaseEvent) -> pb.CaseEvent:
    """An event as the contract has it."""
    return pb.CaseEvent(
        kind=_KINDS[event.kind],
        event_id=event.event_id,
        annotator=event.annotator,
        label=event.label or "",
        at_us=event.at,
    )
