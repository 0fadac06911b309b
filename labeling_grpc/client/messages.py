"""Requests and responses of the contract, from and into what clients handle: the same for both clients."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, cast

from labeling_grpc.client.values import (
    Annotation,
    Case,
    CaseRecord,
    CaseState,
    Comment,
    Estimate,
    Held,
    NumberRange,
    Submitted,
    Task,
    Turn,
    Value,
)
from labeling_grpc.contract.case_reasons import REASONS
from labeling_grpc.contract.errors import RefusedError
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.records import Reason as CaseReason

_REASON_NAMES: Final[dict[int, CaseReason]] = {number: name for name, number in REASONS.items()}


class Calls:
    """Requests of one annotator to one pipeline."""

    def __init__(self, annotator: str, pipeline: str) -> None:
        self._annotator = annotator
        self.pipeline = pipeline

    def lease(
        self,
        count: int,
        wait: float,
        lease: float | None,
        segments: Sequence[str] = (),
        *,
        review: bool = False,
        like: str = "",
        details: pb.GetCaseRequest | None = None,
        progress: bool = False,
    ) -> pb.LeaseTasksRequest:
        """Ask for cases."""
        return pb.LeaseTasksRequest(
            pipeline=self.pipeline,
            annotator=self._annotator,
            max_tasks=count,
            wait_ms=round(wait * 1_000),
            lease_ms=ms(lease),
            segments=segments,
            review=review,
            like=like,
            details=details,
            progress=progress,
        )

    def submit(
        self, annotations: Sequence[Annotation], following: pb.LeaseTasksRequest | None = None
    ) -> pb.SubmitLabelsRequest:
        """Answer, and ask for the cases that follow."""
        return pb.SubmitLabelsRequest(
            pipeline=self.pipeline,
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
                    bulk=annotation.bulk,
                )
                for annotation in annotations
            ],
        )

    def escalate(self, task: Task | Held, reason: str) -> pb.EscalateRequest:
        """Hand a case on to the reviewers."""
        lease = pb.Lease(event_id=task.event_id, lease_token=task.token)
        return pb.EscalateRequest(pipeline=self.pipeline, lease=lease, reason=reason)

    def skip(self, task: Task | Held, reason: str, known_at: int | None) -> pb.SkipRequest:
        """Close without an answer."""
        return pb.SkipRequest(
            pipeline=self.pipeline,
            lease=pb.Lease(event_id=task.event_id, lease_token=task.token),
            reason=reason,
            known_at_us=known_at,
        )

    def renew(self, tasks: Sequence[Task | Held], lease: float | None) -> pb.RenewLeaseRequest:
        """Keep cases."""
        return pb.RenewLeaseRequest(pipeline=self.pipeline, leases=lease_messages(tasks), lease_ms=ms(lease))

    def release(self, tasks: Sequence[Task | Held], *, again: bool) -> pb.ReleaseRequest:
        """Give cases back. again: they may come again at once."""
        return pb.ReleaseRequest(pipeline=self.pipeline, leases=lease_messages(tasks), again=again)

    def amend(
        self,
        annotation_id: str,
        label: str | None,
        known_at: int | None,
        confidence: float | None,
        comment: str,
        *,
        bulk: bool,
    ) -> pb.AmendLabelRequest:
        """Correct an annotation, or take it back (label None). bulk: and the others of its bulk."""
        request = pb.AmendLabelRequest(
            pipeline=self.pipeline,
            annotation_id=annotation_id,
            annotator=self._annotator,
            known_at_us=known_at,
            confidence=confidence,
            comment=comment,
            whole_bulk=bulk,
        )
        if label is None:
            request.retract = True
        else:
            request.label = label
        return request

    def case(self, event_id: str, most: int, similar: int = 0) -> pb.GetCaseRequest:
        """Ask for all about a case; without `event_id`, about each of those that are asked for."""
        return pb.GetCaseRequest(pipeline=self.pipeline, event_id=event_id, most=most, similar=similar, columns=True)

    def comment(self, event_id: str, text: str, key: str) -> pb.AddCommentRequest:
        """Say something about a case. key: "" for one of its own."""
        return pb.AddCommentRequest(
            pipeline=self.pipeline,
            event_id=event_id,
            annotator=self._annotator,
            text=text,
            idempotency_key=key or uuid.uuid4().hex,
        )

    def cases(
        self,
        states: Sequence[CaseState],
        segments: Sequence[str],
        key: str,
        page: int,
        *,
        review: bool,
        overdue: bool,
        assigned: bool,
        newest_first: bool,
    ) -> pb.ListCasesRequest:
        """Ask for cases. page: how many a page."""
        return pb.ListCasesRequest(
            pipeline=self.pipeline,
            states=[pb.CaseState.Value(f"CASE_STATE_{state.upper()}") for state in states],
            segments=segments,
            key=key,
            page_size=page,
            review=review,
            overdue=overdue,
            assigned=assigned,
            newest_first=newest_first,
        )

    def progress(self, annotator: str) -> pb.GetProgressRequest:
        """Ask how far somebody is; "": this annotator."""
        return pb.GetProgressRequest(pipeline=self.pipeline, annotator=annotator or self._annotator)

    def stats(self) -> pb.StatsRequest:
        """Ask for the numbers."""
        return pb.StatsRequest(pipeline=self.pipeline)

    def exchange(self, id_token: str, nonce: str) -> pb.ExchangeTokenRequest:
        """Ask for an access token."""
        return pb.ExchangeTokenRequest(pipeline=self.pipeline, id_token=id_token, nonce=nonce)

    def end_session(self) -> pb.EndSessionRequest:
        """Give it back."""
        return pb.EndSessionRequest(pipeline=self.pipeline)

    def watch(self, interval: float, *, stats_only: bool) -> pb.WatchRequest:
        """Ask for what happens."""
        return pb.WatchRequest(pipeline=self.pipeline, interval_ms=ms(interval), stats_only=stats_only)


def ms(seconds: float | None) -> int:
    """Whole milliseconds; 0, the default of the service, for None."""
    return 0 if seconds is None else round(seconds * 1_000)


def lease_messages(tasks: Sequence[Task | Held]) -> list[pb.Lease]:
    """Names of leases."""
    return [pb.Lease(event_id=task.event_id, lease_token=task.token) for task in tasks]


def tasks(response: pb.LeaseTasksResponse) -> list[Task]:
    """The leased cases."""
    question = response.question
    classes = tuple(question.classes)
    number = number_range(question)
    return [
        Task(
            **_case(task.case),
            token=task.lease_token,
            lease_expires_at=task.lease_expires_at_us,
            leases=task.lease_count,
            review=task.review,
            comments=tuple(comments_of(task.comments)),
            question=question.text,
            classes=classes,
            positive=question.positive,
            earlier_comments=task.earlier_comments,
            due=task.due_at_us if task.HasField("due_at_us") else None,
            assigned=task.assigned,
            number=number,
        )
        for task in response.tasks
    ]


def number_range(question: pb.Question) -> NumberRange | None:
    """Which numbers can be an answer; None: an answer is a class."""
    if not question.HasField("number"):
        return None
    number = question.number
    usual = (number.usual_low, number.usual_high) if number.HasField("usual_low") else None
    return NumberRange(number.unit, number.min, number.max, number.tolerance, usual)


def _case(case: pb.Case) -> dict[str, Any]:
    """Fields of a `Case`."""
    return {
        "event_id": case.event_id,
        "business_id": case.business_id if case.HasField("business_id") else None,
        "key": case.key if case.HasField("key") else None,
        "time": case.time_us,
        "reason": _REASON_NAMES[case.reason],
        "priority": case.priority,
        "context": {entry.name: value_of(entry.value) for entry in case.context},
        "features": features_of(case.features),
        "probabilities": tuple(case.probabilities),
        "uncertainty": case.uncertainty if case.HasField("uncertainty") else None,
        "model": case.model,
        "expires_at": case.expires_at_us if case.HasField("expires_at_us") else None,
        "policy": case.policy,
        "tile": case.tile,
        "segment": case.segment,
        "skill": case.skill,
        "hidden_columns": tuple(case.hidden_columns),
        "categories": categories_of(case.features),
        "estimate": estimate_of(case.estimate) if case.HasField("estimate") else None,
    }


def estimate_of(estimate: pb.Estimate) -> Estimate:
    """A number that a model foretells."""
    return Estimate(estimate.value, estimate.low, estimate.high)


def comments_of(comments: Iterable[pb.Comment]) -> Iterator[Comment]:
    """What was said about a case."""
    return (Comment(comment.annotator, comment.text, comment.at_us, comment.cut) for comment in comments)


def case_record(record: pb.CaseRecord) -> CaseRecord:
    """A case and where it is."""
    return CaseRecord(
        case=Case(**_case(record.case)),
        state=cast("CaseState", pb.CaseState.Name(record.state).removeprefix("CASE_STATE_").lower()),
        annotator=record.annotator,
        label=record.label or None,
        confidence=record.confidence if record.HasField("confidence") else None,
        answers=record.answers,
        review=record.review,
        due=record.due_at_us if record.HasField("due_at_us") else None,
        assignee=record.assignee,
    )


def features_of(features: Iterable[pb.Feature]) -> dict[str, float | None]:
    """Values by name; None: it is missing."""
    return {feature.name: feature.value if feature.HasField("value") else None for feature in features}


def categories_of(features: Iterable[pb.Feature]) -> dict[str, str]:
    """What categorical values stand for, by the feature's name."""
    return {feature.name: feature.category for feature in features if feature.category}


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
    """The annotation that supersedes, and those of the rest of a bulk."""
    others = {
        result.event_id: RefusedError.of(result.error) or Submitted(result.annotation_id, result.duplicate)
        for result in response.others
    }
    return Submitted(response.annotation_id, response.duplicate, others)


def renewed(response: pb.RenewLeaseResponse) -> list[int | RefusedError]:
    """When each lease ends, or why it was refused."""
    return [RefusedError.of(result.error) or result.lease_expires_at_us for result in response.results]


def one(outcomes: list[Submitted | RefusedError]) -> Submitted:
    """The only outcome; a refusal is raised."""
    (outcome,) = outcomes
    if isinstance(outcome, RefusedError):
        raise outcome
    return outcome
