"""What was said of an event: the candidate that it became, annotations, and outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from confluent_kafka import Message

from tidemark.errors import RecordError
from tidemark.evaluation.labels import FinalLabel, resolved, source_of
from tidemark.lineage.index import MOST, EventIndex
from tidemark.lineage.story import AnswerPart, OutcomePart
from tidemark.lineage.topic_reader import TopicReader, offset_of, value_of
from tidemark.records import Candidate, Label, LabelSource, Outcome, Record, decode
from tidemark.records.topics import Topics

_MOST_RECORDS: Final = 200
"""Records of one topic about one event that are read, the newest."""
R = TypeVar("R", bound=Record)


class Spoken:
    """Reads them, by an index that follows the topics."""

    def __init__(self, topics: Topics, reader: TopicReader) -> None:
        self._topics = topics
        self._reader = reader
        self._indices = {topic: EventIndex(topic) for topic in (topics.candidates, topics.labels, topics.outcomes)}

    def candidate(self, event_id: str) -> Candidate | None:
        """The candidate that an event became."""
        found = self._read(self._topics.candidates, Candidate, event_id)
        return found[-1][1] if found else None

    def labels(self, event_id: str) -> list[tuple[int, Label]]:
        """Offset and record of each annotation of an event."""
        return [(offset_of(message), label) for message, label in self._read(self._topics.labels, Label, event_id)]

    def outcomes(self, event_id: str, business_id: str | None) -> list[OutcomePart]:
        """Truth that came by itself."""
        found = self._read(self._topics.outcomes, Outcome, event_id, business_id)
        return [OutcomePart(label=str(outcome.label), known_at=outcome.known_at) for _, outcome in found]

    def gaps(self) -> list[str]:
        """What of the topics was not looked through."""
        return [
            f"of {topic} only the newest {MOST:,} records were looked through"
            for topic, index in self._indices.items()
            if not index.complete
        ]

    def _read(self, topic: str, kind: type[R], *names: str | None) -> list[tuple[Message, R]]:
        index = self._indices[topic]
        index.follow(self._reader)
        found = []
        for partition, offset in index.of(*names)[-_MOST_RECORDS:]:
            message = self._reader.one(topic, partition, offset)
            if message is None:
                continue
            try:
                found.append((message, decode(kind, value_of(message))))
            except RecordError:
                continue  # whoever processes the topic has said so
        return found


def answer(offset: int, label: Label) -> AnswerPart:
    """An annotation as it is told."""
    return AnswerPart(
        offset=offset,
        annotator=label.annotator,
        status=label.status,
        label=label.label,
        answered_at=label.answered_at,
        known_at=label.known_at,
        confidence=label.confidence,
        comment=label.comment,
        annotation_id=label.annotation_id,
        supersedes=label.supersedes,
        annotators=label.annotators or [],
        source=source_of(label),
    )


def final(labels: list[tuple[int, Label]], sources: Sequence[LabelSource]) -> FinalLabel | None:
    """What the annotations of an event come to; None where nothing is learnt from them.

    Args:
        labels: of the event, with their offsets.
        sources: whose word counts, first to last.

    Returns:
        Its final label.

    """
    found = resolved((label for _, label in labels), sources)
    return found[0] if found and found[0].source is not None else None
