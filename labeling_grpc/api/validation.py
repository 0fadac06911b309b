"""Checks of requests, before anything reaches the queue: each refusal names the field and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from labeling_grpc.api import fields
from labeling_grpc.api.case_details import Entries
from labeling_grpc.commands.labeling import Amend, Answer, Escalate, LeaseCases, LeaseRef
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.contract.text import MAX_EVENT_ID
from labeling_grpc.queue.routing import MAX_NAME, MAX_SEGMENTS
from labeling_grpc.v1 import labeling_pb2 as pb

MAX_TASKS: Final = 100
MAX_WAIT_MS: Final = 60_000
DEFAULT_INTERVAL_MS: Final = 1_000
MAX_ENTRIES: Final = 100
DEFAULT_ENTRIES: Final = 20
MIN_LEASE_MS: Final = 1_000
MAX_LEASE_MS: Final = 86_400_000


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
        annotator = fields.person("annotator", request.annotator)
        count = fields.between("max_tasks", request.max_tasks or 1, 1, MAX_TASKS)
        fields.between("wait_ms", request.wait_ms, 0, MAX_WAIT_MS)
        fields.between("segments", len(request.segments), 0, MAX_SEGMENTS)
        segments = tuple(
            fields.name(f"segments[{index}]", segment, MAX_NAME) if segment else ""
            for index, segment in enumerate(request.segments)
        )
        if request.like:
            fields.name("like", request.like, MAX_EVENT_ID)
        if request.HasField("details"):
            self._told(request.details)
        return LeaseCases(annotator, count, self.length(request.lease_ms), segments, request.review)

    def next(self, request: pb.LeaseTasksRequest) -> LeaseCases:
        """The command of a lease request that comes with answers."""
        if request.like:
            raise RefusedError(
                Reason.INVALID_FIELD, "cases like another one are asked for by LeaseTasks alone", field="next.like"
            )
        try:
            return self.lease(request)
        except RefusedError as refusal:
            refusal.field = f"next.{refusal.field}"
            raise

    def length(self, lease_ms: int) -> int:
        """Length of a lease in µs."""
        if lease_ms == 0:
            return self.lease_us
        return fields.between("lease_ms", lease_ms, MIN_LEASE_MS, MAX_LEASE_MS) * 1_000

    def leases(self, pipeline: str, leases: Sequence[pb.Lease]) -> tuple[LeaseRef, ...]:
        """The leases that a request names."""
        self.served(pipeline)
        fields.between("leases", len(leases), 1, MAX_TASKS)
        return tuple(self.ref(lease, f"leases[{index}].") for index, lease in enumerate(leases))

    def ref(self, lease: pb.Lease, where: str) -> LeaseRef:
        """One lease."""
        return LeaseRef(
            fields.name(f"{where}event_id", lease.event_id, MAX_EVENT_ID),
            fields.name(f"{where}lease_token", lease.lease_token, 64),
        )

    def answers(self, request: pb.SubmitLabelsRequest) -> list[Answer | RefusedError]:
        """The answers of a request, each on its own."""
        self.served(request.pipeline)
        fields.between("annotations", len(request.annotations), 1, MAX_TASKS)
        return [_tried(annotation) for annotation in request.annotations]

    def watch(self, request: pb.WatchRequest) -> int:
        """The interval of a watch, in ms."""
        self.served(request.pipeline)
        return fields.between("interval_ms", request.interval_ms or DEFAULT_INTERVAL_MS, 50, MAX_WAIT_MS)

    def details(self, request: pb.GetCaseRequest) -> tuple[str, Entries]:
        """Event id of a case, and how much of it is asked for."""
        self.served(request.pipeline)
        return fields.name("event_id", request.event_id, MAX_EVENT_ID), entries(request)

    def _told(self, request: pb.GetCaseRequest) -> None:
        """Refuse to tell, with cases that are leased, what is not asked for as it should be."""
        try:
            self.served(request.pipeline)
            entries(request)
        except RefusedError as refusal:
            refusal.field = f"details.{refusal.field}"
            raise
        for name in ("event_id", "page_token"):
            if getattr(request, name):
                raise RefusedError(
                    Reason.INVALID_FIELD,
                    f"leave {name} empty: details are of the cases that are leased, from their begin",
                    field=f"details.{name}",
                )

    def amend(self, request: pb.AmendLabelRequest) -> Amend:
        """The amendment."""
        self.served(request.pipeline)
        change = request.WhichOneof("change")
        if change is None or (change == "retract" and not request.retract):
            raise RefusedError(
                Reason.INVALID_FIELD, "say what it should be: set label, or retract to true", field="change"
            )
        return Amend(
            annotation_id=fields.name("annotation_id", request.annotation_id, 128),
            status="answered" if change == "label" else "retracted",
            label=request.label if change == "label" else None,
            annotator=fields.person("annotator", request.annotator),
            key=fields.key(request.idempotency_key),
            known_at=fields.known_at(request.known_at_us) if request.HasField("known_at_us") else None,
            confidence=fields.confidence(request),
            comment=fields.text("comment", request.comment),
            bulk=request.whole_bulk,
        )

    def escalate(self, request: pb.EscalateRequest) -> Escalate:
        """The escalation, with its reason."""
        self.served(request.pipeline)
        lease = self.ref(request.lease, "lease.")
        reason = fields.text("reason", request.reason)
        if reason is None or not reason.strip():
            raise RefusedError(
                Reason.INVALID_FIELD, "reason is empty: say what makes the case hard, for the reviewers", field="reason"
            )
        return Escalate(lease.event_id, lease.token, reason, fields.key(request.idempotency_key))

    def skip(self, request: pb.SkipRequest) -> Answer:
        """The skip as an answer without a label."""
        self.served(request.pipeline)
        lease = self.ref(request.lease, "lease.")
        return Answer(
            event_id=lease.event_id,
            token=lease.token,
            status="skipped",
            key=fields.key(request.idempotency_key),
            known_at=fields.known_at(request.known_at_us) if request.HasField("known_at_us") else None,
            comment=fields.text("reason", request.reason),
        )


def entries(request: pb.GetCaseRequest) -> Entries:
    """How much of a case is asked for."""
    most = fields.between("most", request.most or DEFAULT_ENTRIES, 1, MAX_ENTRIES)
    return Entries(most, fields.between("similar", request.similar or most, 1, MAX_ENTRIES), request.columns)


def _tried(annotation: pb.Annotation) -> Answer | RefusedError:
    try:
        return _answer(annotation)
    except RefusedError as refusal:
        refusal.event_id = annotation.event_id
        return refusal


def _answer(annotation: pb.Annotation) -> Answer:
    confidence = fields.confidence(annotation)
    return Answer(
        event_id=fields.name("event_id", annotation.event_id, MAX_EVENT_ID),
        token=fields.name("lease_token", annotation.lease_token, 64),
        status="answered",
        label=annotation.label,
        key=fields.key(annotation.idempotency_key),
        known_at=fields.known_at(annotation.known_at_us) if annotation.HasField("known_at_us") else None,
        confidence=confidence,
        comment=fields.text("comment", annotation.comment),
        bulk=fields.name("bulk", annotation.bulk, 128) if annotation.bulk else "",
    )


def good(answers: Iterable[Answer | RefusedError]) -> tuple[Answer, ...]:
    """The answers that passed."""
    return tuple(answer for answer in answers if isinstance(answer, Answer))
