"""Checks of administrators' requests, before anything reaches the queue. See `labeling_grpc.api.validation`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from labeling_grpc.api import fields
from labeling_grpc.api.validation import Checks
from labeling_grpc.commands.administration import (
    AddComment,
    AnnotatorState,
    AssignCases,
    ExpireCases,
    ImportedLabel,
    ImportLabels,
    PauseQueue,
    RequeueCases,
    UpdateAnnotator,
)
from labeling_grpc.commands.labeling import AddGold, RemoveGold
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.contract.message_sizes import MAX_CANDIDATE
from labeling_grpc.contract.text import MAX_EVENT_ID
from labeling_grpc.kafka.record_validation import misfit
from labeling_grpc.queue.annotator_access import LATEST
from labeling_grpc.queue.queries import CaseFilter
from labeling_grpc.security.caller import Caller
from labeling_grpc.security.roles import Role
from labeling_grpc.v1 import admin_pb2
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.records import NO_MODEL, Candidate, encode

MAX_CASES: Final = 1_000
MAX_FEATURES: Final = 2_000
MAX_NAMES: Final = 64
MAX_QUOTA: Final = 1_000_000_000
IMPORT: Final = "import"
"""Annotator and policy of what was imported without one."""

_STATES: Final[dict[int, AnnotatorState]] = {
    admin_pb2.ANNOTATOR_STATE_ACTIVE: "active",
    admin_pb2.ANNOTATOR_STATE_PAUSED: "paused",
}
STATES: Final = {number: name.removeprefix("CASE_STATE_").lower() for name, number in pb.CaseState.items() if number}
"""Numbers of `CaseState` and their names, lower case."""


def comment(checks: Checks, request: pb.AddCommentRequest) -> AddComment:
    """The comment."""
    checks.served(request.pipeline)
    return AddComment(
        event_id=fields.name("event_id", request.event_id, MAX_EVENT_ID),
        annotator=fields.person("annotator", request.annotator),
        text=_said("text", request.text),
        key=fields.name("idempotency_key", request.idempotency_key, 128),
    )


def annotator(checks: Checks, request: pb.GetProgressRequest) -> str:
    """Whose progress is asked for."""
    checks.served(request.pipeline)
    return fields.name("annotator", request.annotator, 128)


def case_filter(checks: Checks, request: pb.ListCasesRequest) -> CaseFilter:
    """Which cases are asked for."""
    checks.served(request.pipeline)
    fields.between("states", len(request.states), 0, MAX_NAMES)
    unknown = [state for state in request.states if state not in STATES]
    if unknown:
        raise RefusedError(Reason.INVALID_FIELD, f"states: {unknown[0]} is no state of a case", field="states")
    return CaseFilter(
        states=frozenset(STATES[state] for state in request.states),
        segments=frozenset(_names("segments", request.segments)),
        key=fields.name("key", request.key, MAX_EVENT_ID) if request.key else "",
        review=request.review,
        assigned=request.assigned,
        newest_first=request.newest_first,
    )


def update(checks: Checks, request: admin_pb2.UpdateAnnotatorRequest, by: Caller) -> UpdateAnnotator:
    """What an annotator is to be."""
    checks.served(request.pipeline)
    state = _STATES.get(request.state)
    if state is None and request.state != admin_pb2.ANNOTATOR_STATE_UNSPECIFIED:
        raise RefusedError(
            Reason.INVALID_FIELD,
            "state must be active or paused, or not set: it is the service that puts into quarantine",
            field="state",
        )
    if state is not None and by.role is not Role.ADMIN:
        raise RefusedError(Reason.FORBIDDEN, "administrators alone pause annotators and let them go on", field="state")
    why = fields.text("why", request.why) or ""
    if state is not None and not why:
        raise RefusedError(Reason.INVALID_FIELD, "say why the state changes, for the audit trail", field="why")
    skills: tuple[str, ...] | None = None
    if request.HasField("skills"):
        skills = _names("skills", request.skills.skills)
        if skills and request.skills.any_skill:
            raise RefusedError(
                Reason.INVALID_FIELD, "set skills or any_skill: who has every skill needs none named", field="skills"
            )
    absent_until = request.absent_until_us if request.HasField("absent_until_us") else None
    return UpdateAnnotator(
        by=by,
        name=fields.person("name", request.name),
        state=state,
        why=why,
        skills=skills,
        any_skill=request.HasField("skills") and request.skills.any_skill,
        quota=fields.between("quota", request.quota, 0, MAX_QUOTA) if request.HasField("quota") else None,
        absent_until=None if absent_until is None else fields.between("absent_until_us", absent_until, 0, LATEST),
    )


def assign(checks: Checks, request: admin_pb2.AssignCasesRequest, by: Caller) -> AssignCases:
    """The cases, and whose they are to be."""
    checks.served(request.pipeline)
    return AssignCases(
        by=by,
        event_ids=_event_ids(request.event_ids),
        annotator=fields.person("annotator", request.annotator) if request.annotator else "",
        why=_said("why", request.why),
    )


def pause(checks: Checks, request: admin_pb2.PauseQueueRequest, by: Caller) -> PauseQueue:
    """The pause."""
    checks.served(request.pipeline)
    return PauseQueue(by, _said("why", request.why))


def requeue(checks: Checks, request: admin_pb2.RequeueCasesRequest, by: Caller) -> RequeueCases:
    """The cases to ask again about."""
    checks.served(request.pipeline)
    return RequeueCases(by, _event_ids(request.event_ids), _said("why", request.why))


def expire(checks: Checks, request: admin_pb2.ExpireCasesRequest, by: Caller) -> ExpireCases:
    """The cases to close."""
    checks.served(request.pipeline)
    return ExpireCases(by, _event_ids(request.event_ids), _said("why", request.why))


def add_gold(checks: Checks, request: admin_pb2.AddGoldRequest, by: Caller) -> AddGold:
    """The cases to make gold."""
    checks.served(request.pipeline)
    fields.between("answers", len(request.answers), 1, MAX_CASES)
    known = [
        (fields.name("answers.event_id", answer.event_id, MAX_EVENT_ID), answer.label) for answer in request.answers
    ]
    return AddGold(tuple(known), by)


def remove_gold(checks: Checks, request: admin_pb2.RemoveGoldRequest, by: Caller) -> RemoveGold:
    """The case that is gold no more."""
    checks.served(request.pipeline)
    return RemoveGold(fields.name("event_id", request.event_id, MAX_EVENT_ID), by)


def imported(
    checks: Checks, request: admin_pb2.ImportLabelsRequest, by: Caller
) -> tuple[ImportLabels, list[RefusedError | None]]:
    """The labels that passed, and for each label of the request why it did not."""
    checks.served(request.pipeline)
    fields.between("labels", len(request.labels), 1, MAX_CASES)
    passed: list[ImportedLabel] = []
    refusals: list[RefusedError | None] = []
    for label in request.labels:
        try:
            passed.append(_imported(label, by))
            refusals.append(None)
        except RefusedError as refusal:
            refusal.event_id = label.event_id
            refusals.append(refusal)
    return ImportLabels(by, tuple(passed)), refusals


def _imported(label: admin_pb2.ImportedLabel, by: Caller) -> ImportedLabel:
    event_id = fields.name("event_id", label.event_id, MAX_EVENT_ID)
    known_at = fields.known_at(label.known_at_us) if label.HasField("known_at_us") else None
    candidate = _candidate(event_id, label.case) if label.HasField("case") else None
    if candidate is not None and known_at is None:
        raise RefusedError(
            Reason.INVALID_FIELD,
            "known_at_us must be set where the event comes along: the event time from which the label may be used",
            field="known_at_us",
        )
    if label.asked and (candidate is not None or not label.annotator):
        raise RefusedError(
            Reason.INVALID_FIELD, "asked is of a case of the queue, and needs the annotator who was", field="asked"
        )
    return ImportedLabel(
        event_id=event_id,
        label=label.label,
        annotator=_answerer(label, by),
        known_at=known_at,
        confidence=fields.confidence(label),
        candidate=candidate,
        asked=label.asked,
    )


def _answerer(label: admin_pb2.ImportedLabel, by: Caller) -> str:
    """Whose answer a label is. None but administrators bring the answers of others."""
    if not label.annotator:
        return IMPORT
    name = fields.name("annotator", label.annotator, 128)
    if by.role is not Role.ADMIN and name not in {by.name, IMPORT}:
        raise RefusedError(
            Reason.FORBIDDEN,
            f"this token is {by.name!r}'s: its holder imports no answer in the name of another; administrators do",
            field="annotator",
        )
    return name


def _candidate(event_id: str, case: pb.Case) -> Candidate:
    """The event that comes along with a label."""
    if case.event_id and case.event_id != event_id:
        raise RefusedError(Reason.INVALID_FIELD, "case.event_id is another than event_id", field="case.event_id")
    fields.between("case.features", len(case.features), 0, MAX_FEATURES)
    features: dict[str, float | None] = {}
    for feature in case.features:
        value = feature.value if feature.HasField("value") else None
        if value is not None and not math.isfinite(value):
            raise RefusedError(
                Reason.INVALID_FIELD, f"feature {feature.name!r} is not finite: leave it out", field="case.features"
            )
        if feature.name in features:
            raise RefusedError(
                Reason.INVALID_FIELD, f"feature {feature.name!r} is given twice: give one value", field="case.features"
            )
        features[fields.name("case.features.name", feature.name, 128)] = value
    candidate = Candidate(
        event_id=event_id,
        business_id=fields.name("case.business_id", case.business_id, MAX_EVENT_ID) if case.business_id else None,
        key=fields.name("case.key", case.key, MAX_EVENT_ID) if case.key else None,
        time=fields.between("case.time_us", case.time_us, 0, fields.MAX_TIME_US),
        tile=case.tile,
        tile_count=0,
        reason="imported",
        priority=0.0,
        inclusion_probability=None,
        policy=fields.name("case.policy", case.policy, 128) if case.policy else IMPORT,
        features=features,
        context={},
        probabilities=None,
        uncertainty=None,
        model=NO_MODEL,
    )
    if (problem := misfit(candidate)) is None and (size := len(encode(candidate))) > MAX_CANDIDATE:
        problem = f"it has {size} bytes; at most {MAX_CANDIDATE} can be handed out"
    if problem is not None:
        raise RefusedError(Reason.INVALID_FIELD, f"case: {problem}", field="case")
    return candidate


def _event_ids(sent: Sequence[str]) -> tuple[str, ...]:
    fields.between("event_ids", len(sent), 1, MAX_CASES)
    return tuple(fields.name("event_ids", event_id, MAX_EVENT_ID) for event_id in sent)


def _names(field: str, sent: Sequence[str]) -> tuple[str, ...]:
    fields.between(field, len(sent), 0, MAX_NAMES)
    return tuple(dict.fromkeys(fields.name(field, name, 128) for name in sent))


def _said(field: str, value: str) -> str:
    text = fields.text(field, value)
    if text is None:
        raise RefusedError(Reason.INVALID_FIELD, f"{field} must have 1 to 4,000 characters", field=field)
    return text
