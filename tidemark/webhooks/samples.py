"""Events that are made up, for a receiver to be tried with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from tidemark.pipeline.model import Pipeline
from tidemark.webhooks.events import ALARMS
from tidemark.webhooks.messages import (
    ChampionChanged,
    Data,
    DecisionMade,
    DriftDetected,
    LabelCompleted,
    LabelRetracted,
    LettersAdded,
    LettersOfAKind,
    Moved,
    iso,
)


def sample(kind: str, pipeline: Pipeline, now: float) -> Data:
    """What an event of a type might tell, made up, for a receiver to be tried with.

    Args:
        kind: its type.
        pipeline: whose names it has.
        now: s since 1970.

    Returns:
        It.

    """
    label, number = pipeline.label, float(pipeline.label.max or 0)
    subject: dict[str, Any] = {"of": label.positive, "probability": 0.9, "threshold": 0.5}
    if label.is_number:
        interval = dict.fromkeys(("value", "low", "high"), number)
        subject = {"of": None, "probability": None, "threshold": number, "by": "value", "unit": label.unit, **interval}
    at, event = iso(int(now * 1e6)), f"{pipeline.raw_topics[0]}-0-1-00000000"
    told: Mapping[str, Data] = {
        "decision.made": DecisionMade(
            event_id=event,
            business_id="example",
            key="example",
            event_time=at,
            rule=pipeline.decisions[0].name if pipeline.decisions else "example",
            decided="alert",
            model="v000001-00000000",
            **subject,
        ),
        "label.completed": LabelCompleted(
            event_id=event,
            business_id="example",
            key="example",
            event_time=at,
            label=repr(number) if label.is_number else label.positive,
            unit=label.unit if label.is_number else UNSET,
            annotator="example",
            answered_at=at,
            known_at=at,
            reason="uncertain",
            model="v000001-00000000",
            annotation_id="example",
            supersedes=None,
        ),
        "label.retracted": LabelRetracted(
            event_id=event,
            business_id="example",
            key="example",
            event_time=at,
            annotator="example",
            answered_at=at,
            annotation_id="example-2",
            supersedes="example",
        ),
        "model.champion_changed": ChampionChanged(
            version="v000002-00000000", parent="v000001-00000000", since=at, labels=100, decision="an example"
        ),
        "drift.detected": DriftDetected(
            alarm=ALARMS[0], at=at, since=at, rows=1_000, model="", moved=[Moved(name="example", how="higher")]
        ),
        "deadletter.added": LettersAdded(
            count=1,
            topic=pipeline.topics.deadletter,
            first=0,
            last=0,
            kinds=[LettersOfAKind(step="example", source_topic=pipeline.raw_topics[0], reason="an example", count=1)],
        ),
    }
    return told[kind]
