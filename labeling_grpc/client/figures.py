"""Figures of the queue and of who labels, from responses of the service."""

from __future__ import annotations

from typing import cast

from labeling_grpc.client.values import Caller, CaseEvent, EventKind, Progress, SignedIn, Stats, Update
from labeling_grpc.v1 import labeling_pb2 as pb


def progress_from(progress: pb.Progress) -> Progress:
    """How far an annotator is."""
    known = progress.HasField("agreement")
    return Progress(
        annotator=progress.annotator,
        answered_today=progress.answered_today,
        skipped_today=progress.skipped_today,
        answered=progress.answered,
        quota=progress.quota,
        waiting=progress.waiting,
        leased=progress.leased,
        median_answer_ms=progress.median_answer_ms,
        agreement=progress.agreement if known else None,
        agreement_interval=(progress.agreement_low, progress.agreement_high) if known else None,
        agreement_answers=progress.agreement_answers,
    )


def caller_of(response: pb.StatsResponse) -> Caller:
    """Who the caller is."""
    return Caller(response.caller.name, response.caller.role, response.caller.known)


def signed_in(response: pb.ExchangeTokenResponse) -> SignedIn:
    """The token, and whose it is."""
    caller = Caller(response.caller.name, response.caller.role, response.caller.known)
    return SignedIn(response.access_token, caller, response.expires_at_us)


def stats_of(stats: pb.QueueStats) -> Stats:
    """The numbers."""
    return Stats(
        pipeline=stats.pipeline,
        waiting_explore=stats.waiting_explore,
        waiting_active=stats.waiting_active,
        leased=stats.leased,
        answered=stats.answered,
        skipped=stats.skipped,
        expired=stats.expired,
        unpublished=stats.unpublished,
        rejected=stats.rejected,
        event_clock=stats.event_clock_us,
        now=stats.now_us,
        intake_problem=stats.intake_problem,
        publishing_problem=stats.publishing_problem,
        question=stats.question.text,
        classes=tuple(stats.question.classes),
        annotators={row.annotator: (row.answered, row.skipped) for row in stats.annotators},
        paused=stats.paused,
        ranked_by=stats.ranked_by,
        overdue=stats.overdue,
        first_due=stats.first_due_us,
    )


def update_of(response: pb.WatchResponse) -> Update:
    """A message of a watch."""
    return Update(
        stats=stats_of(response.stats),
        events=tuple(
            CaseEvent(
                kind=cast("EventKind", pb.CaseEvent.Kind.Name(event.kind).removeprefix("KIND_").lower()),
                event_id=event.event_id,
                annotator=event.annotator,
                label=event.label or None,
                at=event.at_us,
            )
            for event in response.events
        ),
        missed=response.missed,
    )
