"""Requests and responses of the administration, from and into what clients handle: the same for both clients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, cast

from labeling_grpc.client.figures import stats_of
from labeling_grpc.client.values import Stats, Submitted
from labeling_grpc.contract.errors import RefusedError
from labeling_grpc.v1 import admin_pb2
from labeling_grpc.v1 import labeling_pb2 as pb

AnnotatorState = Literal["active", "paused", "quarantined"]
MOST: Final = 1_000
"""Cases, or labels, of one request."""
MAX_BYTES: Final = 1_000_000
"""Of the labels of one request: the service takes twice as much."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How somebody's newest judged answers are beside those before; see `AnnotatorQuality` in the contract.

    change: the one share of right answers less the other, from `low` to `high` (95 %).  judged: answers before.
    """

    change: float
    low: float
    high: float
    recent: float
    before: float
    judged: int


@dataclass(frozen=True, slots=True)
class Quality:
    """How well somebody labels; see `AnnotatorQuality` in the contract. None: nothing that it could be told by."""

    answered: int
    skipped: int
    gold_answered: int
    gold_accuracy: float | None
    gold_interval: tuple[float, float] | None
    consensus_accuracy: float | None
    agreement: float | None
    median_answer_ms: int
    fast_answer_ms: int
    drift: float | None
    suspicion: str
    median_interval: tuple[int, int] | None = None
    drifted: Drift | None = None
    agreement_interval: tuple[float, float] | None = None
    agreement_answers: int = 0


@dataclass(frozen=True, slots=True)
class Annotator:
    """Somebody who labels. since: the service's clock, µs.  skills: None for every one.  quota: a day, 0: no bound.

    absent_until: by the service's clock, µs; past or 0: they are there.
    """

    name: str
    state: AnnotatorState
    why: str
    since: int
    skills: tuple[str, ...] | None
    quota: int
    quality: Quality
    absent_until: int = 0


@dataclass(frozen=True, slots=True)
class Changed:
    """How many cases were changed, and the event ids of those that were left as they are."""

    number: int
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """A label from elsewhere. known_at: event time, µs.

    time, key, business_id, features: of the event, where no candidate was ever of it; `known_at` must be set then.
    asked: the annotator was asked about the case, elsewhere: it is their answer, and no label of a file.
    """

    event_id: str
    label: str
    annotator: str = ""
    known_at: int | None = None
    confidence: float | None = None
    time: int | None = None
    key: str | None = None
    business_id: str | None = None
    features: dict[str, float | None] = field(default_factory=dict)
    asked: bool = False


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A line of the audit trail. at: the service's clock, µs.  detail: JSON."""

    number: int
    at: int
    actor: str
    role: str
    action: str
    object: str
    detail: str
    hash: str


@dataclass(frozen=True, slots=True)
class Gold:
    """A case with a known answer, and how it was answered."""

    event_id: str
    label: str
    right: int
    wrong: int


class AdminCalls:
    """Requests about one pipeline."""

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline

    def annotators(self, page: int) -> admin_pb2.ListAnnotatorsRequest:
        """Ask for annotators."""
        return admin_pb2.ListAnnotatorsRequest(pipeline=self._pipeline, page_size=page)

    def update(
        self,
        name: str,
        state: Literal["active", "paused"] | None,
        why: str,
        skills: Sequence[str] | Literal["any"] | None,
        quota: int | None,
        absent_until: int | None,
    ) -> admin_pb2.UpdateAnnotatorRequest:
        """Change what somebody may do."""
        request = admin_pb2.UpdateAnnotatorRequest(
            pipeline=self._pipeline, name=name, why=why, quota=quota, absent_until_us=absent_until
        )
        if state is not None:
            request.state = admin_pb2.AnnotatorState.Value(f"ANNOTATOR_STATE_{state.upper()}")
        if skills == "any":
            request.skills.any_skill = True
        elif skills is not None:
            request.skills.SetInParent()
            request.skills.skills.extend(skills)
        return request

    def assign(self, event_ids: Sequence[str], annotator: str, why: str) -> Iterator[admin_pb2.AssignCasesRequest]:
        """Offer cases to one person alone, in as many requests as it takes."""
        for part in _parts(event_ids):
            yield admin_pb2.AssignCasesRequest(pipeline=self._pipeline, event_ids=part, annotator=annotator, why=why)

    def pause(self, why: str) -> admin_pb2.PauseQueueRequest:
        """Give nothing out."""
        return admin_pb2.PauseQueueRequest(pipeline=self._pipeline, why=why)

    def resume(self) -> admin_pb2.ResumeQueueRequest:
        """Give out again."""
        return admin_pb2.ResumeQueueRequest(pipeline=self._pipeline)

    def requeue(self, event_ids: Sequence[str], why: str) -> Iterator[admin_pb2.RequeueCasesRequest]:
        """Ask again, in as many requests as it takes."""
        for part in _parts(event_ids):
            yield admin_pb2.RequeueCasesRequest(pipeline=self._pipeline, event_ids=part, why=why)

    def expire(self, event_ids: Sequence[str], why: str) -> Iterator[admin_pb2.ExpireCasesRequest]:
        """Ask no more, in as many requests as it takes."""
        for part in _parts(event_ids):
            yield admin_pb2.ExpireCasesRequest(pipeline=self._pipeline, event_ids=part, why=why)

    def export(self, *, verdicts: bool) -> admin_pb2.ExportLabelsRequest:
        """Ask for the labels."""
        return admin_pb2.ExportLabelsRequest(pipeline=self._pipeline, verdicts=verdicts)

    def imports(self, labels: Sequence[Imported]) -> Iterator[admin_pb2.ImportLabelsRequest]:
        """Bring labels, in as many requests as it takes."""
        part: list[admin_pb2.ImportedLabel] = []
        size = 0
        for label in labels:
            message = _imported(label)
            size += message.ByteSize()
            if part and (len(part) == MOST or size > MAX_BYTES):
                yield admin_pb2.ImportLabelsRequest(pipeline=self._pipeline, labels=part)
                part, size = [], message.ByteSize()
            part.append(message)
        if part:
            yield admin_pb2.ImportLabelsRequest(pipeline=self._pipeline, labels=part)

    def add_gold(self, answers: Iterable[tuple[str, str]]) -> Iterator[admin_pb2.AddGoldRequest]:
        """Make cases gold, in as many requests as it takes."""
        known = [admin_pb2.GoldAnswer(event_id=event_id, label=label) for event_id, label in answers]
        for start in range(0, len(known), MOST):
            yield admin_pb2.AddGoldRequest(pipeline=self._pipeline, answers=known[start : start + MOST])

    def gold(self, page: int) -> admin_pb2.ListGoldRequest:
        """Ask for the gold cases."""
        return admin_pb2.ListGoldRequest(pipeline=self._pipeline, page_size=page)

    def remove_gold(self, event_id: str) -> admin_pb2.RemoveGoldRequest:
        """Give a gold case out no more."""
        return admin_pb2.RemoveGoldRequest(pipeline=self._pipeline, event_id=event_id)

    def audit(self, page: int) -> admin_pb2.ListAuditRequest:
        """Ask for the audit trail."""
        return admin_pb2.ListAuditRequest(pipeline=self._pipeline, page_size=page)


def _parts(event_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (event_ids[start : start + MOST] for start in range(0, len(event_ids), MOST))


def _imported(label: Imported) -> admin_pb2.ImportedLabel:
    message = admin_pb2.ImportedLabel(
        event_id=label.event_id,
        label=label.label,
        annotator=label.annotator,
        known_at_us=label.known_at,
        confidence=label.confidence,
        asked=label.asked,
    )
    if label.time is not None:
        message.case.CopyFrom(
            pb.Case(
                event_id=label.event_id,
                time_us=label.time,
                key=label.key,
                business_id=label.business_id,
                features=[pb.Feature(name=name, value=value) for name, value in label.features.items()],
            )
        )
    return message


def pipelines(response: admin_pb2.ListPipelinesResponse) -> list[Stats]:
    """The pipelines in numbers."""
    return [stats_of(stats) for stats in response.pipelines]


def annotator(message: admin_pb2.Annotator) -> Annotator:
    """Somebody who labels."""
    quality = message.quality
    return Annotator(
        name=message.name,
        state=cast(
            "AnnotatorState",
            admin_pb2.AnnotatorState.Name(message.state).removeprefix("ANNOTATOR_STATE_").lower(),
        ),
        why=message.why,
        since=message.since_us,
        skills=None if message.any_skill else tuple(message.skills),
        quota=message.quota,
        absent_until=message.absent_until_us,
        quality=Quality(
            answered=quality.answered,
            skipped=quality.skipped,
            gold_answered=quality.gold_answered,
            gold_accuracy=quality.gold_accuracy if quality.HasField("gold_accuracy") else None,
            gold_interval=(quality.gold_low, quality.gold_high) if quality.HasField("gold_low") else None,
            consensus_accuracy=quality.consensus_accuracy if quality.HasField("consensus_accuracy") else None,
            agreement=quality.agreement if quality.HasField("agreement") else None,
            median_answer_ms=quality.median_answer_ms,
            fast_answer_ms=quality.fast_answer_ms,
            drift=quality.drift if quality.HasField("drift") else None,
            suspicion=quality.suspicion,
            median_interval=(quality.median_low_ms, quality.median_high_ms)
            if quality.HasField("median_low_ms")
            else None,
            drifted=_drifted(quality),
            agreement_interval=(quality.agreement_low, quality.agreement_high)
            if quality.HasField("agreement_low")
            else None,
            agreement_answers=quality.agreement_answers,
        ),
    )


def _drifted(quality: admin_pb2.AnnotatorQuality) -> Drift | None:
    if not quality.HasField("drift_low"):
        return None
    return Drift(
        quality.drift,
        quality.drift_low,
        quality.drift_high,
        quality.recent_share,
        quality.before_share,
        quality.before_judged,
    )


def requeued(responses: Iterable[admin_pb2.RequeueCasesResponse]) -> Changed:
    """What became of the cases."""
    answered = list(responses)
    return Changed(sum(r.requeued for r in answered), tuple(event_id for r in answered for event_id in r.left))


def assigned(responses: Iterable[admin_pb2.AssignCasesResponse]) -> Changed:
    """What was assigned, or taken back."""
    told = list(responses)
    return Changed(sum(each.assigned for each in told), tuple(event for each in told for event in each.left))


def expired(responses: Iterable[admin_pb2.ExpireCasesResponse]) -> Changed:
    """What became of the cases."""
    answered = list(responses)
    return Changed(sum(r.expired for r in answered), tuple(event_id for r in answered for event_id in r.left))


def golden(responses: Iterable[admin_pb2.AddGoldResponse]) -> Changed:
    """What became of the cases."""
    answered = list(responses)
    return Changed(sum(r.added for r in answered), tuple(event_id for r in answered for event_id in r.left))


def taken(responses: Iterable[admin_pb2.ImportLabelsResponse]) -> list[Submitted | RefusedError]:
    """What became of each label."""
    return [
        RefusedError.of(result.error) or Submitted(result.annotation_id, result.duplicate)
        for response in responses
        for result in response.results
    ]


def gold(record: admin_pb2.GoldRecord) -> Gold:
    """How a gold case was answered."""
    return Gold(record.event_id, record.label, record.right, record.wrong)


def audit_entry(entry: admin_pb2.AuditEntry) -> AuditEntry:
    """A line of the audit trail."""
    return AuditEntry(
        number=entry.number,
        at=entry.at_us,
        actor=entry.actor,
        role=entry.role,
        action=entry.action,
        object=entry.object,
        detail=entry.detail,
        hash=entry.hash,
    )
