"""Which records a webhook tells, and what it tells of each."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from msgspec import UNSET

from tidemark.errors import RecordError
from tidemark.pipeline.model import Pipeline, WebhookSpec
from tidemark.records import ENDING, OUTCOME, Champion, Decision, Label, Metric, ModelManifest, decode
from tidemark.registry import signature
from tidemark.registry.codec import CHAMPION_KEY
from tidemark.registry.versions import serial_of
from tidemark.runtime.processor import Headers
from tidemark.webhooks.messages import (
    ChampionChanged,
    Data,
    DecisionMade,
    DriftDetected,
    Envelope,
    LabelCompleted,
    LabelRetracted,
    LettersAdded,
    LettersOfAKind,
    Moved,
    encoded,
    iso,
)

MOST_BYTES: Final = 200_000
"""Of a body: it is in a record of Kafka's with what is known of its delivery."""
ALARMS: Final = ("inputs_changed", "predictions_changed", "labels_changed", "quality_fell")
_LINGER: Final = 5.0
_EVERY: Final = 60.0
_MOST_KINDS: Final = 10
_MOST_COUNTED: Final = 1_000
_MOST_MOVED: Final = 20
_REASON: Final = 200


@dataclass(frozen=True, slots=True)
class Received:
    """A record that was read. timestamp: Kafka's, ms since 1970."""

    topic: str
    partition: int
    offset: int
    incarnation: str
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers | None = None

    @property
    def position(self) -> str:
        """Where it is: the same whenever it is read."""
        return f"{self.topic}-{self.partition}-{self.offset}-{self.incarnation}"


@dataclass(frozen=True, slots=True)
class Event:
    """What is told. identity: the same whenever it is made of the same record.  body: as it is sent."""

    identity: str
    type: str
    body: bytes


def identity_of(kind: str, position: str) -> str:
    """Identity of an event: that of the record it was made of."""
    return f"evt_{hashlib.sha256(f'{kind}:{position}'.encode()).hexdigest()[:32]}"


def event_of(kind: str, timestamp: str | None, pipeline: str, data: Data, position: str) -> Event:
    """An event.

    Args:
        kind: its type.
        timestamp: when it happened, ISO 8601.
        pipeline: its name.
        data: what it tells.
        position: of the record that it is made of.

    Returns:
        The event, encoded once and for all.

    Raises:
        RecordError: it is too large.

    """
    envelope = Envelope(type=kind, timestamp=timestamp or "1970-01-01T00:00:00Z", pipeline=pipeline, data=data)
    body = encoded(envelope)
    if len(body) > MOST_BYTES:
        raise RecordError("webhook", f"an event of {len(body):,} bytes; at most {MOST_BYTES:,} are sent")
    return Event(identity_of(kind, position), kind, body)


class Teller:
    """Makes the events of one webhook. Used by one thread, with the records of each topic in order."""

    def __init__(self, pipeline: Pipeline, spec: WebhookSpec, secret: bytes | None) -> None:
        """Begin.

        Args:
            pipeline: whose records these are.
            spec: of the webhook.
            secret: key that the registry's records are signed with, if they are.

        """
        self._name, self._spec, self._secret = pipeline.name, spec, secret
        self._classes = None if spec.classes is None else frozenset(spec.classes)
        self._rules = None if spec.rules is None else frozenset(spec.rules)
        self._alarms = frozenset(spec.alarms or ALARMS)
        self._topics = pipeline.topics
        self._unit = pipeline.label.unit if pipeline.label.is_number else UNSET
        self._manifest: ModelManifest | None = None
        self.champion = ""

    @property
    def topics(self) -> list[str]:
        """Topics that tell of its events."""
        topics = self._topics
        of = {
            "decision.made": topics.decisions,
            "label.completed": topics.labels,
            "label.retracted": topics.labels,
            "model.champion_changed": topics.models,
            "drift.detected": topics.metrics,
            "deadletter.added": topics.deadletter,
        }
        return list(dict.fromkeys(of[kind] for kind in self._spec.events))

    def event(self, record: Received) -> Event | None:
        """The event that a record is, None where it is none of the webhook's.

        Raises:
            RecordError: it is no record of ours, or too large to be told.

        """
        if record.topic == self._topics.labels:
            return self._label(record)
        if record.topic == self._topics.decisions:
            return self._decision(record)
        if record.topic == self._topics.metrics:
            return self._alarm(record)
        if record.topic == self._topics.models:
            return self._champion(record)
        return None

    def _label(self, record: Received) -> Event | None:
        label = decode(Label, record.value)
        if label.reason == OUTCOME or label.status not in ENDING:  # no case: the world said it, as it was told
            return None
        completes = label.status == "answered" and (self._classes is None or label.label in self._classes)
        retracts = label.status == "retracted" or (not completes and label.supersedes is not None)
        if not (completes or retracts):
            return None
        kind = "label.completed" if completes else "label.retracted"
        if kind not in self._spec.events:
            return None
        data = self._completed(label) if completes else _retracted(label)
        return event_of(kind, iso(label.answered_at), self._name, data, record.position)

    def _completed(self, label: Label) -> LabelCompleted:
        return LabelCompleted(
            event_id=label.event_id,
            business_id=label.business_id,
            key=label.key,
            event_time=iso(label.time),
            label=label.label,
            annotator=label.annotator,
            answered_at=iso(label.answered_at),
            known_at=iso(label.known_at),
            reason=label.reason,
            model=label.model,
            annotation_id=label.annotation_id,
            supersedes=label.supersedes,
            confidence=label.confidence,
            answers=label.answers,
            annotators=label.annotators,
            unit=self._unit,
        )

    def _decision(self, record: Received) -> Event | None:
        found = decode(Decision, record.value)
        if found.decided not in ("alert", "abstain") or (self._rules is not None and found.rule not in self._rules):
            return None
        data = DecisionMade(
            event_id=found.event_id,
            business_id=found.business_id,
            key=found.key,
            event_time=iso(found.time),
            rule=found.rule,
            decided=found.decided,
            of=found.of,
            probability=found.probability,
            threshold=found.threshold,
            model=found.model,
            **self._numbers(found),
        )
        return event_of("decision.made", iso(record.timestamp * 1_000), self._name, data, record.position)

    def _numbers(self, found: Decision) -> dict[str, Any]:
        """What is told of a number and its interval; nothing where the label is a class."""
        if self._unit is UNSET:
            return {}
        return {name: getattr(found, name) for name in ("value", "low", "high", "by")} | {"unit": self._unit}

    def _alarm(self, record: Received) -> Event | None:
        name = (record.key or b"").decode(errors="replace")
        if name not in self._alarms or name not in ALARMS:
            return None
        metric = decode(Metric, record.value)
        detail, since = metric.detail, metric.detail.get("since")
        moved = [
            Moved(name=str(detail[f"moved_{i}"])[:_REASON], how=str(detail.get(f"how_{i}", ""))[:_REASON])
            for i in range(1, _MOST_MOVED)
            if f"moved_{i}" in detail
        ]
        data = DriftDetected(
            alarm=metric.name,
            at=iso(metric.at),
            since=iso(since) if isinstance(since, int) else None,
            rows=metric.n,
            model=metric.model,
            moved=moved,
        )
        return event_of("drift.detected", iso(metric.at), self._name, data, record.position)

    def _champion(self, record: Received) -> Event | None:
        key = record.key or b""
        if b"/" in key or record.value is None:
            return None
        if key == CHAMPION_KEY:
            self._check(record)
            champion = decode(Champion, record.value)
            if champion.version == self.champion or serial_of(champion.version) < serial_of(self.champion):
                return None  # one that was written again: serials of champions go forward only
            self.champion = champion.version
            manifest = self._manifest if self._manifest and self._manifest.version == champion.version else None
            data = ChampionChanged(
                version=champion.version,
                parent=champion.parent,
                since=iso(champion.since),
                labels=None if manifest is None else manifest.used,
                decision=None if manifest is None else manifest.decision[:_REASON],
            )
            return event_of("model.champion_changed", iso(champion.since), self._name, data, record.position)
        if key.startswith(b"v"):
            self._check(record)
            self._manifest = decode(ModelManifest, record.value)
        return None

    def _check(self, record: Received) -> None:
        why = signature.refusal(record.key or b"", record.value, signature.given(record.headers), self._secret)
        if why is not None:
            raise RecordError("webhook", f"a record of the registry is refused: {why}")


def _retracted(label: Label) -> LabelRetracted:
    return LabelRetracted(
        event_id=label.event_id,
        business_id=label.business_id,
        key=label.key,
        event_time=iso(label.time),
        annotator=label.annotator,
        answered_at=iso(label.answered_at),
        annotation_id=label.annotation_id,
        supersedes=label.supersedes,
    )


class Letters:
    """Dead letters that came within a minute, as one event: a broken producer makes thousands."""

    def __init__(self, pipeline: str, own_step: str, *, quotes: bool = True) -> None:
        """Begin.

        Args:
            pipeline: its name.
            own_step: dead letters of this step are not told: they are the webhook's own.
            quotes: reasons are told, which may quote the record.

        """
        self._pipeline, self._own, self._quotes = pipeline, own_step, quotes
        self._first: Received | None = None
        self._firsts: dict[int, Received] = {}
        self._last: Received | None = None
        self._kinds: Counter[tuple[str, str]] = Counter()
        self._reasons: dict[tuple[str, str], str] = {}
        self._count = 0
        self._since = 0.0
        self._told_at: float | None = None

    @property
    def untold(self) -> list[Received]:
        """The first of each partition that is not told yet: from here on it is read again after a crash."""
        return list(self._firsts.values())

    def add(self, record: Received, now: float) -> None:
        """Count one. now: s since 1970."""
        said = _said(record.headers)
        step = said.get("step", "")
        if step == self._own:
            return
        if self._first is None:
            self._first, self._since = record, now
        self._firsts.setdefault(record.partition, record)
        self._last = record
        self._count += 1
        kind = step[:_REASON], said.get("source_topic", "")[:_REASON]
        if kind in self._kinds or len(self._kinds) < _MOST_COUNTED:
            self._kinds[kind] += 1
            self._reasons.setdefault(kind, said.get("reason", "")[:_REASON] if self._quotes else "")

    def due_at(self) -> float | None:
        """When they are told, s since 1970; None where there are none."""
        if self._first is None:
            return None
        soon = self._since + _LINGER
        return soon if self._told_at is None else max(soon, self._told_at + _EVERY)

    def event(self, now: float) -> Event | None:
        """The event, once it is due; then the count begins anew."""
        due, first, last = self.due_at(), self._first, self._last
        if due is None or first is None or last is None:
            return None
        if now < due <= now + _EVERY:  # where it lies farther ahead, the clock was set back
            return None
        kinds = [
            LettersOfAKind(step=step, source_topic=topic, reason=self._reasons[step, topic], count=count)
            for (step, topic), count in self._kinds.most_common(_MOST_KINDS)
        ]
        data = LettersAdded(count=self._count, topic=first.topic, first=first.offset, last=last.offset, kinds=kinds)
        at = iso(first.timestamp * 1_000)
        made = event_of("deadletter.added", at, self._pipeline, data, first.position)
        self._first = self._last = None
        self._firsts.clear()
        self._kinds.clear()
        self._reasons.clear()
        self._count, self._told_at = 0, now
        return made


def _said(headers: Sequence[tuple[str, bytes | None]] | None) -> dict[str, str]:
    """What a dead letter says of itself."""
    return {
        name: (value or b"").decode(errors="replace")
        for name, value in headers or ()
        if name in ("step", "reason", "source_topic")
    }
