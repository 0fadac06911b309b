"""Labels that are worth a second look: which of them go back to people, and how many a day."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tidemark.errors import RecordError
from tidemark.kafka import read_all
from tidemark.pipeline.model import Pipeline
from tidemark.records import SOURCES, Label, LabelSource
from tidemark.registry.schema import ModelSchema
from tidemark.runtime.settings import Settings
from tidemark.training.dataset import check, dataset
from tidemark.training.learners.member import Task
from tidemark.training.trust import Trust, doubtful, measured

WHY: Final = "a second look: a model that has not learnt from the answer is surer of another class"
"""Why a case comes back; by it those of a day are counted, and none comes back twice."""
_DAY: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Doubted:
    """A case that is put back. words: what was said, and what the model says."""

    event_id: str
    words: str


@dataclass(frozen=True, slots=True)
class Review:
    """What is put back now. doubtful: of all labels.  today: put back within a day before."""

    cases: list[Doubted]
    doubtful: int
    labels: int
    today: int
    why: str = WHY


def to_review(pipeline: Pipeline, settings: Settings, most: int) -> Review:
    """The cases that go back now, by what is in `P.labels`.

    Args:
        pipeline: whose labels they are.
        settings: that name the Kafka.
        most: within a day.

    Returns:
        They, and how many there are.

    Raises:
        BrokerError: Kafka does not answer.

    """
    schema = ModelSchema.of(pipeline)
    labels = []
    for place, message in enumerate(read_all(settings, pipeline.topics.labels, settled=True)):
        value = message.value()
        try:
            labels.append((place, check(value if isinstance(value, bytes) else None, schema, pipeline.raw_topics)))
        except RecordError:
            continue  # retrain has made a dead letter of it
    return review_of(labels, schema, most, int(time.time() * 1e6), pipeline.label.order)


def review_of(
    labels: Sequence[tuple[int, Label]],
    schema: ModelSchema,
    most: int,
    now: int,
    sources: Sequence[LabelSource] = SOURCES,
) -> Review:
    """The same of labels that were read.

    Args:
        labels: with their positions, in order.
        schema: features and classes.
        most: cases within a day.
        now: µs since 1970.
        sources: whose word counts, first to last.

    Returns:
        The most doubtful cases; none that came back for it before, nor one that was imported.

    """
    back = [label for _, label in labels if label.status == "requeued" and label.comment == WHY]
    today = sum(now - _DAY < label.answered_at <= now + _DAY for label in back)
    before = {label.event_id for label in back}
    rows = dataset(labels, schema, sources=sources)
    trust = measured(rows, Task(schema))
    if trust is None:
        return Review([], 0, len(rows), today)
    found = [row for row in doubtful(trust, rows.target).tolist() if rows.sources and rows.sources[row] is not None]
    again = [row for row in found if rows.event_ids[row] not in before][: max(most - today, 0)]
    cases = [Doubted(rows.event_ids[row], _words(trust, int(rows.target[row]), row, schema)) for row in again]
    return Review(cases, len(found), len(rows), today)


def _words(trust: Trust, target: int, row: int, schema: ModelSchema) -> str:
    other = int(trust.said[row].argmax())
    return f"{schema.classes[target]}, where the model says {schema.classes[other]} ({trust.said[row][other]:.0%})"
