"""What a request holds: one type for each event. `tidemark webhook schema` prints them as JSON schemas."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, UnsetType

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what an event tells. Times are ISO 8601 in UTC."""


class LabelCompleted(Data, frozen=True, kw_only=True):
    """A case has its label: one person's answer, or the verdict on several. A later one of the event replaces it.

    label: the class, or the text of a number.  unit: of the number, null where the pipeline has none.
    event_time: of the event.  annotators: who answered, where several did.  reason: why it was asked.  confidence: of
    the label.  model: that was in force when it was asked.  supersedes: `annotation_id` of the label that it replaces.
    """

    event_id: str
    business_id: str | None
    key: str | None
    event_time: str | None
    label: str | None
    annotator: str
    answered_at: str | None
    known_at: str | None
    reason: str
    model: str
    annotation_id: str | None
    supersedes: str | None
    confidence: float | None = None
    answers: int | None = None
    annotators: list[str] | None = None
    unit: str | UnsetType | None = UNSET


class LabelRetracted(Data, frozen=True, kw_only=True):
    """A label counts no more, and no other that the webhook tells takes its place.

    It was taken back, or the case was put back and ended without an answer, or another class took its place, which is
    none of `classes`.  supersedes: `annotation_id` of the label, which need not have been told.
    """

    event_id: str
    business_id: str | None
    key: str | None
    event_time: str | None
    annotator: str
    answered_at: str | None
    annotation_id: str | None
    supersedes: str | None


class ChampionChanged(Data, frozen=True, kw_only=True):
    """Another model is the champion. labels: that it learnt from.  decision: why it replaced the one before."""

    version: str
    parent: str | None
    since: str | None
    labels: int | None
    decision: str | None


class DecisionMade(Data, frozen=True, kw_only=True):
    """A rule's `alert`, or its `abstain`. of: the class.  probability: the model's of it.  threshold: that held.

    Where the label is a number both are null, and there is more.  value, low, high: the model's number and its
    interval.  by: which of these was compared with the threshold.  unit: of them all, null where the pipeline has none.
    """

    event_id: str
    business_id: str | None
    key: str | None
    event_time: str | None
    rule: str
    decided: str
    of: str | None
    probability: float | None
    threshold: float
    model: str
    value: float | UnsetType | None = UNSET
    low: float | UnsetType | None = UNSET
    high: float | UnsetType | None = UNSET
    by: str | UnsetType | None = UNSET
    unit: str | UnsetType | None = UNSET


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A feature that has changed, and how."""

    name: str
    how: str


class DriftDetected(Data, frozen=True, kw_only=True):
    """An alarm of drift. since: event time from which on.  rows: that it took.  moved: what has most evidence."""

    alarm: str
    at: str | None
    since: str | None
    rows: int
    model: str
    moved: list[Moved]


class LettersOfAKind(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters of one step and topic. reason: of the first of them, "" where the pipeline hides columns."""

    step: str
    source_topic: str
    reason: str
    count: int


class LettersAdded(Data, frozen=True, kw_only=True):
    """Dead letters have come: those of up to a minute in one event. first, last: offsets in `topic`.

    kinds: the ten that most are of.
    """

    count: int
    topic: str
    first: int
    last: int
    kinds: list[LettersOfAKind]


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """The body. timestamp: when it happened, ISO 8601.  test: it is made up, by `tidemark webhook test`."""

    type: str
    timestamp: str
    pipeline: str
    data: Data
    test: bool = False


TYPES: Final[Mapping[str, type[Data]]] = {
    "decision.made": DecisionMade,
    "label.completed": LabelCompleted,
    "label.retracted": LabelRetracted,
    "model.champion_changed": ChampionChanged,
    "drift.detected": DriftDetected,
    "deadletter.added": LettersAdded,
}
"""What each type of event tells."""


def encoded(envelope: Envelope) -> bytes:
    """The body of a request."""
    return msgspec.json.encode(envelope)


def json_schema(kind: str) -> dict[str, Any]:
    """The JSON schema of the body of an event.

    Args:
        kind: type of the event.

    Returns:
        The schema.

    """
    body = msgspec.defstruct(
        "Event",
        [
            ("type", Annotated[str, msgspec.Meta(pattern=f"^{kind.replace('.', '[.]')}$")]),
            ("timestamp", Annotated[str, msgspec.Meta(description="When it happened, ISO 8601 in UTC.")]),
            ("pipeline", str),
            ("data", TYPES[kind]),
            ("test", Annotated[bool, msgspec.Meta(description="Made up, by `tidemark webhook test`.")], False),
        ],
    )
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(body)}


def iso(microseconds: int | None) -> str | None:
    """A time as ISO 8601, None where it is no year from 1 to 9999."""
    if microseconds is None:
        return None
    try:
        return (_EPOCH + timedelta(microseconds=microseconds)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return None
