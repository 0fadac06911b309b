"""Between the domain's records and the contract's messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

from labeling_grpc.api.category_names import CategoryNames
from labeling_grpc.commands.events import CaseEvent
from labeling_grpc.commands.labeling import (
    Accepted,
    Comment,
    Counts,
    LeasedCase,
)
from labeling_grpc.contract.case_reasons import REASONS
from labeling_grpc.contract.errors import RefusedError
from labeling_grpc.contract.text import shortened
from labeling_grpc.queue.progress import Progress
from labeling_grpc.queue.queries import CaseRow
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.records import Candidate
from tidemark.records.messages import decode_candidate

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
_COMMENT: Final = 600
"""Bytes of a comment beside its text: who said it, when."""

_INT64: Final = range(-(2**63), 2**63)


# Messages are filled in place: those that are made first are copied into the one that holds them, which takes twice as
# long, and there are many in a response.


def add_task(response: pb.LeaseTasksResponse, leased: LeasedCase, room: int, names: CategoryNames) -> None:
    """A leased case as the contract has it. room: bytes of its comments.  names: of categories, for this response."""
    task = response.tasks.add(
        lease_token=leased.token, lease_expires_at_us=leased.until, lease_count=leased.leases, review=leased.review
    )
    if leased.due is not None:
        task.due_at_us = leased.due
    task.assigned = leased.assigned
    _fill(task.case, decode_candidate(leased.candidate), leased, names)
    if leased.comments:
        shown = newest(leased.comments, room)
        task.comments.extend(comment_message(comment, cut=cut) for comment, cut in shown)
        task.earlier_comments = leased.earlier + len(leased.comments) - len(shown)


def newest(comments: Sequence[Comment], most: int) -> list[tuple[Comment, bool]]:
    """Choose what is shown of what was said about a case.

    Args:
        comments: Oldest first.
        most: Bytes for all of it.

    Returns:
        The newest that fit, oldest first, each with whether its text was cut. There is one at least, if there is any.

    """
    kept: list[tuple[Comment, bool]] = []
    for comment in reversed(comments):
        size = len(comment.text.encode()) + _COMMENT
        if not kept and size > most:
            text = shortened(comment.text, max(most - _COMMENT, 100))
            return [(replace(comment, text=text), True)]
        most -= size
        if most < 0:
            break
        kept.append((comment, False))
    return kept[::-1]


def comment_message(comment: Comment, *, cut: bool = False) -> pb.Comment:
    """Something said about a case as the contract has it. cut: its text is not whole."""
    return pb.Comment(annotator=comment.annotator, text=comment.text, at_us=comment.at, cut=cut)


def case_record(row: CaseRow, names: CategoryNames) -> pb.CaseRecord:
    """A case and where it is as the contract has it. names: of categories, for this response."""
    record = pb.CaseRecord(
        state=pb.CaseState.Value(f"CASE_STATE_{row.state.upper()}"),
        annotator=row.holder,
        label=row.label or "",
        confidence=row.confidence,
        answers=row.answers,
        review=row.review,
        due_at_us=row.due,
        assignee=row.assignee,
    )
    _fill(record.case, row.candidate, row, names)
    return record


def progress(annotator: str, figures: Progress, waiting: int) -> pb.Progress:
    """How far an annotator is as the contract has it."""
    return pb.Progress(
        annotator=annotator,
        answered_today=figures.answered_today,
        skipped_today=figures.skipped_today,
        answered=figures.answered,
        quota=figures.row.quota,
        waiting=waiting,
        leased=figures.leased,
        median_answer_ms=figures.median_ms,
    )


def add_result(
    results: RepeatedCompositeFieldContainer[pb.SubmitResult], event_id: str, outcome: Accepted | RefusedError
) -> None:
    """What became of an answer."""
    if isinstance(outcome, RefusedError):
        results.add(event_id=event_id, error=outcome.status())
    else:
        results.add(event_id=event_id, annotation_id=outcome.annotation_id, duplicate=outcome.duplicate)


def _fill(shown: pb.Case, candidate: Candidate, placed: LeasedCase | CaseRow, names: CategoryNames) -> None:
    """What a person is shown. The inclusion probability is not: it is for the learner."""
    shown.event_id = candidate.event_id
    if candidate.business_id is not None:
        shown.business_id = candidate.business_id
    if candidate.key is not None:
        shown.key = candidate.key
    shown.time_us = candidate.time
    shown.reason = REASONS[candidate.reason]
    shown.priority = candidate.priority
    if candidate.probabilities:
        shown.probabilities.extend(candidate.probabilities)
    if candidate.value is not None and candidate.low is not None and candidate.high is not None:
        shown.estimate.CopyFrom(pb.Estimate(value=candidate.value, low=candidate.low, high=candidate.high))
    if candidate.uncertainty is not None:
        shown.uncertainty = candidate.uncertainty
    shown.model = candidate.model
    if candidate.expires_at is not None:
        shown.expires_at_us = candidate.expires_at
    shown.policy = candidate.policy
    shown.tile = candidate.tile
    shown.segment, shown.skill = placed.segment, placed.skill
    context, features = shown.context, shown.features
    for name, value in candidate.context.items():
        _set(context.add(name=name), value)
    for name, feature in candidate.features.items():
        features.add(name=name, value=feature)
    names.add(features, candidate.definitions)


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
