"""Requests and responses of the contract, from and into what clients handle: the same for both clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from labeling_grpc.client_types import Annotation, CaseEvent, EventKind, Stats, Submitted, Task, Turn, Update, Value
from labeling_grpc.convert import REASONS
from labeling_grpc.refusals import RefusedError
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.records import Reason as CaseReason

_REASON_NAMES: Final[dict[int, CaseReason]] = {number: name for name, number in REASONS.items()}


class Calls:
    """Requests of one annotator to one pipeline."""

    def __init__(self, annotator: str, pipeline: str) -> None:
        self._annotator = annotator
        self._pipeline = pipeline

    def lease(self, count: int, wait: float, lease: float | None, *, review: bool = False) -> pb.LeaseTasksRequest:
        """Ask for cases."""
        return pb.LeaseTasksRequest(
            pipeline=self._pipeline,
            annotator=self._annotator,
            max_tasks=count,
            wait_ms=round(wait * 1_000),
            lease_ms=ms(lease),
            review=review,
        )

    def submit(
        self, annotations: Sequence[Annotation], following: pb.LeaseTasksRequest | None = None
    ) -> pb.SubmitLabelsRequest:
        """Answer, and ask for the cases that follow."""
        return pb.SubmitLabelsRequest(
            pipeline=self._pipeline,
            next=following,
            annotations=[
                pb.Annotation(
                    event_id=annotation.task.event_id,
                    lease_token=annotation.task.token,
                    label=annotation.label,
                    idempotency_key=annotation.key,
                    known_at_us=annotation.known_at,
                    confidence=annotation.confidence,
                    comment=annotation.comment,
                )
                for annotation in annotations
            ],
        )

    def escalate(self, task: Task, reason: str) -> pb.EscalateRequest:
        """Hand a case on to the reviewers."""
        lease = pb.Lease(event_id=task.event_id, lease_token=task.token)
        return pb.EscalateRequest(pipeline=self._pipeline, lease=lease, reason=reason)

    def skip(self, task: Task, reason: str, known_at: int | None) -> pb.SkipRequest:
        """Close without an answer."""
        return pb.SkipRequest(
            pipeline=self._pipeline,
            lease=pb.Lease(event_id=task.event_id, lease_token=task.token),
            reason=reason,
            known_at_us=known_at,
        )

    def renew(self, tasks: Sequence[Task], lease: float | None) -> pb.RenewLeaseRequest:
        """Keep cases."""
        return pb.RenewLeaseRequest(pipeline=self._pipeline, leases=lease_messages(tasks), lease_ms=ms(lease))

    def release(self, tasks: Sequence[Task]) -> pb.ReleaseRequest:
        """Give cases back."""
        return pb.ReleaseRequest(pipeline=self._pipeline, leases=lease_messages(tasks))

    def amend(
        self, annotation_id: str, label: str | None, known_at: int | None, confidence: float | None, comment: str
    ) -> pb.AmendLabelRequest:
        """Correct an annotation, or take it back (label None)."""
        request = pb.AmendLabelRequest(
            pipeline=self._pipeline,
            annotation_id=annotation_id,
            annotator=self._annotator,
            known_at_us=known_at,
            confidence=confidence,
            comment=comment,
        )
        if label is None:
            request.retract = True
        else:
            request.label = label
        return request

    def stats(self) -> pb.StatsRequest:
        """Ask for the numbers."""
        return pb.StatsRequest(pipeline=self._pipeline)

    def watch(self, interval: float, *, stats_only: bool) -> pb.WatchRequest:
        """Ask for what happens."""
        return pb.WatchRequest(pipeline=self._pipeline, interval_ms=ms(interval), stats_only=stats_only)


def ms(seconds: float | None) -> int:
    """Whole milliseconds; 0, the default of the service, for None."""
    return 0 if seconds is None else round(seconds * 1_000)


def lease_messages(tasks: Sequence[Task]) -> list[pb.Lease]:
    """Names of leases."""
    return [pb.Lease(event_id=task.event_id, lease_token=task.token) for task in tasks]


def tasks(response: pb.LeaseTasksResponse) -> list[Task]:
    """The leased cases."""
    question = response.question
    classes = tuple(question.classes)
    return [
        Task(
            event_id=task.case.event_id,
            business_id=task.case.business_id if task.case.HasField("business_id") else None,
            key=task.case.key if task.case.HasField("key") else None,
            time=task.case.time_us,
            reason=_REASON_NAMES[task.case.reason],
            priority=task.case.priority,
            context={entry.name: value_of(entry.value) for entry in task.case.context},
            features={f.name: f.value if f.HasField("value") else None for f in task.case.features},
            probabilities=tuple(task.case.probabilities),
            uncertainty=task.case.uncertainty if task.case.HasField("uncertainty") else None,
            model=task.case.model,
            expires_at=task.case.expires_at_us if task.case.HasField("expires_at_us") else None,
            policy=task.case.policy,
            tile=task.case.tile,
            token=task.lease_token,
            lease_expires_at=task.lease_expires_at_us,
            leases=task.lease_count,
            question=question.text,
            classes=classes,
            positive=question.positive,
        )
        for task in response.tasks
    ]


def value_of(value: pb.Value) -> Value:
    """A value of the event."""
    kind = value.WhichOneof("kind")
    return None if kind is None else cast("Value", getattr(value, kind))


def submitted(response: pb.SubmitLabelsResponse) -> list[Submitted | RefusedError]:
    """What became of each answer."""
    return [
        RefusedError.of(result.error) or Submitted(result.annotation_id, result.duplicate)
        for result in response.results
    ]


def turned(response: pb.SubmitLabelsResponse) -> Turn:
    """What became of each answer, and the next cases."""
    return Turn(submitted(response), tasks(response.next), RefusedError.of(response.next_error))


def amended(response: pb.AmendLabelResponse) -> Submitted:
    """The annotation that supersedes."""
    return Submitted(response.annotation_id, response.duplicate)


def renewed(response: pb.RenewLeaseResponse) -> list[int | RefusedError]:
    """When each lease ends, or why it was refused."""
    return [RefusedError.of(result.error) or result.lease_expires_at_us for result in response.results]


def one(outcomes: list[Submitted | RefusedError]) -> Submitted:
    """The only outcome; a refusal is raised."""
    (outcome,) = outcomes
    if isinstance(outcome, RefusedError):
        raise outcome
    return outcome


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
        annotators={its.annotator: (its.answered, its.skipped) for its in stats.annotators},
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
