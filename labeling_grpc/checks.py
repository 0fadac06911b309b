"""Checks of requests, before anything reaches the queue: each refusal names the field and the remedy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from labeling_grpc.commands import Amend, Answer, Escalate, LeaseCases, LeaseRef
from labeling_grpc.queue.kinds import MAX_NAME, MAX_SEGMENTS
from labeling_grpc.queue.votes import CONSENSUS
from labeling_grpc.refusals import Reason, RefusedError
from labeling_grpc.text import MAX_EVENT_ID, hidden, is_name
from labeling_grpc.v1 import admin_pb2
from labeling_grpc.v1 import labeling_pb2 as pb

MAX_TASKS: Final = 100
MAX_WAIT_MS: Final = 60_000
DEFAULT_INTERVAL_MS: Final = 1_000
MAX_ENTRIES: Final = 100
DEFAULT_ENTRIES: Final = 20
MAX_COMMENT: Final = 4_000
MIN_LEASE_MS: Final = 1_000
MAX_LEASE_MS: Final = 86_400_000
MAX_TIME_US: Final = 253_402_300_799_999_999
"""The end of the year 9999."""


@dataclass(frozen=True, slots=True)
class Checks:
    """What requests are held to. `lease_us`: the default length of a lease."""

    pipeline: str
    lease_us: int

    def served(self, pipeline: str) -> None:
        """Refuse a request that is meant for another pipeline."""
        if pipeline and pipeline != self.pipeline:
            raise RefusedError(
                Reason.UNKNOWN_PIPELINE,
                f"this service has the queue of pipeline {self.pipeline!r}, not of {pipeline!r}",
                field="pipeline",
            )

    def lease(self, request: pb.LeaseTasksRequest) -> LeaseCases:
        """The command of a lease request."""
        self.served(request.pipeline)
        annotator = _name("annotator", request.annotator, 128)
        if annotator == CONSENSUS:
            raise RefusedError(
                Reason.INVALID_FIELD, f"{CONSENSUS!r} is who gives verdicts on several answers", field="annotator"
            )
        count = _between("max_tasks", request.max_tasks or 1, 1, MAX_TASKS)
        _between("wait_ms", request.wait_ms, 0, MAX_WAIT_MS)
        _between("segments", len(request.segments), 0, MAX_SEGMENTS)
        segments = tuple(
            _name(f"segments[{index}]", segment, MAX_NAME) if segment else ""
            for index, segment in enumerate(request.segments)
        )
        return LeaseCases(annotator, count, self.length(request.lease_ms), segments, request.review)

    def next(self, request: pb.LeaseTasksRequest) -> LeaseCases:
        """The command of a lease request that comes with answers."""
        try:
            return self.lease(request)
        except RefusedError as refusal:
            refusal.field = f"next.{refusal.field}"
            raise

    def length(self, lease_ms: int) -> int:
        """Length of a lease in µs."""
        if lease_ms == 0:
            return self.lease_us
        return _between("lease_ms", lease_ms, MIN_LEASE_MS, MAX_LEASE_MS) * 1_000

    def leases(self, pipeline: str, leases: Sequence[pb.Lease]) -> tuple[LeaseRef, ...]:
        """The leases that a request names."""
        self.served(pipeline)
        _between("leases", len(leases), 1, MAX_TASKS)
        return tuple(self.ref(lease, f"leases[{index}].") for index, lease in enumerate(leases))

    def ref(self, lease: pb.Lease, where: str) -> LeaseRef:
        """One lease."""
        return LeaseRef(
            _name(f"{where}event_id", lease.event_id, MAX_EVENT_ID), _name(f"{where}lease_token", lease.lease_token, 64)
        )

    def answers(self, request: pb.SubmitLabelsRequest) -> list[Answer | RefusedError]:
        """The answers of a request, each on its own."""
        self.served(request.pipeline)
        _between("annotations", len(request.annotations), 1, MAX_TASKS)
        return [_tried(annotation) for annotation in request.annotations]

    def watch(self, request: pb.WatchRequest) -> int:
        """The interval of a watch, in ms."""
        self.served(request.pipeline)
        return _between("interval_ms", request.interval_ms or DEFAULT_INTERVAL_MS, 50, MAX_WAIT_MS)

    def details(self, request: pb.GetCaseRequest) -> tuple[str, int]:
        """Event id of a case, and how many entries of its history and of its like are asked for."""
        self.served(request.pipeline)
        event_id = _name("event_id", request.event_id, MAX_EVENT_ID)
        return event_id, _between("most", request.most or DEFAULT_ENTRIES, 1, MAX_ENTRIES)

    def amend(self, request: pb.AmendLabelRequest) -> Amend:
        """The amendment."""
        self.served(request.pipeline)
        change = request.WhichOneof("change")
        if change is None or (change == "retract" and not request.retract):
            raise RefusedError(
                Reason.INVALID_FIELD, "say what it should be: set label, or retract to true", field="change"
            )
        return Amend(
            annotation_id=_name("annotation_id", request.annotation_id, 128),
            status="answered" if change == "label" else "retracted",
            label=request.label if change == "label" else None,
            annotator=_name("annotator", request.annotator, 128),
            key=_key(request.idempotency_key),
            known_at=_time(request.known_at_us) if request.HasField("known_at_us") else None,
            confidence=_confidence(request),
            comment=_text("comment", request.comment),
        )

    def escalate(self, request: pb.EscalateRequest) -> Escalate:
        """The escalation, with its reason."""
        self.served(request.pipeline)
        lease = self.ref(request.lease, "lease.")
        reason = _text("reason", request.reason)
        if reason is None or not reason.strip():
            raise RefusedError(
                Reason.INVALID_FIELD, "reason is empty: say what makes the case hard, for the reviewers", field="reason"
            )
        return Escalate(lease.event_id, lease.token, reason, _key(request.idempotency_key))

    def skip(self, request: pb.SkipRequest) -> Answer:
        """The skip as an answer without a label."""
        self.served(request.pipeline)
        lease = self.ref(request.lease, "lease.")
        return Answer(
            event_id=lease.event_id,
            token=lease.token,
            status="skipped",
            key=_key(request.idempotency_key),
            known_at=_time(request.known_at_us) if request.HasField("known_at_us") else None,
            comment=_text("reason", request.reason),
        )


def _tried(annotation: pb.Annotation) -> Answer | RefusedError:
    try:
        return _answer(annotation)
    except RefusedError as refusal:
        refusal.event_id = annotation.event_id
        return refusal


def _answer(annotation: pb.Annotation) -> Answer:
    confidence = _confidence(annotation)
    return Answer(
        event_id=_name("event_id", annotation.event_id, MAX_EVENT_ID),
        token=_name("lease_token", annotation.lease_token, 64),
        status="answered",
        label=annotation.label,
        key=_key(annotation.idempotency_key),
        known_at=_time(annotation.known_at_us) if annotation.HasField("known_at_us") else None,
        confidence=confidence,
        comment=_text("comment", annotation.comment),
    )


def _confidence(message: pb.Annotation | pb.AmendLabelRequest | admin_pb2.ImportedLabel) -> float | None:
    confidence = message.confidence if message.HasField("confidence") else None
    if confidence is not None and not (math.isfinite(confidence) and 0.0 <= confidence <= 1.0):
        raise RefusedError(Reason.INVALID_FIELD, f"confidence ({confidence}) is not in 0 to 1", field="confidence")
    return confidence


def _name(field: str, value: str, longest: int) -> str:
    if not is_name(value, longest):
        raise RefusedError(Reason.INVALID_FIELD, f"{field} must have 1 to {longest} printable characters", field=field)
    return value


def _key(value: str) -> str:
    return _name("idempotency_key", value, 128) if value else ""


def _text(field: str, value: str) -> str | None:
    if len(value) > MAX_COMMENT:
        raise RefusedError(
            Reason.INVALID_FIELD, f"{field} has {len(value)} characters; at most {MAX_COMMENT} are kept", field=field
        )
    if (found := hidden(value)) is not None:
        raise RefusedError(
            Reason.INVALID_FIELD, f"{field} has the character {found}, which can't be seen: take it out", field=field
        )
    return value or None


def _time(value: int) -> int:
    return _between("known_at_us", value, 0, MAX_TIME_US)


def _between(field: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise RefusedError(Reason.INVALID_FIELD, f"{field} ({value}) must be {low} to {high}", field=field)
    return value


def good(answers: Iterable[Answer | RefusedError]) -> tuple[Answer, ...]:
    """The answers that passed."""
    return tuple(answer for answer in answers if isinstance(answer, Answer))
