"""Puts an event's lineage together: derived again from the topics, compared with what they recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Self, TypeVar

import msgspec

from tidemark.errors import ModelError, RecordError, TidemarkError, TopicError
from tidemark.lineage.business_ids import MOST as MOST_PREDICTIONS
from tidemark.lineage.business_ids import events_of
from tidemark.lineage.derivation import Derivation, Event
from tidemark.lineage.finding import Finder
from tidemark.lineage.judging import Judge
from tidemark.lineage.models import Models
from tidemark.lineage.spoken import Spoken, answer, final
from tidemark.lineage.story import Lineage, ModelPart, RawPart
from tidemark.lineage.topic_reader import TopicReader, milliseconds
from tidemark.lineage.tracing import Tracer, Trail
from tidemark.pipeline import Pipeline
from tidemark.records import Candidate, Label, Prediction
from tidemark.records.event_id import parse_event_id
from tidemark.runtime.processor import Partition
from tidemark.runtime.settings import Settings

_SHOWN: Final = 20_000
_LONGEST: Final = 1_000
T = TypeVar("T")


class UnknownEventError(TidemarkError):
    """No event is known by what was asked for."""


class Explainer:
    """Tells the lineage of events of one pipeline. Used by one thread at a time."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        """Connect to Kafka.

        Args:
            pipeline: whose events they are.
            settings: that name the Kafka.

        Raises:
            BrokerError: it does not answer.

        """
        self._pipeline = pipeline
        self._reader = TopicReader(settings)
        derivation = Derivation(pipeline)
        self._finder = Finder(pipeline, self._reader, derivation)
        self._tracer = Tracer(pipeline, self._reader, derivation, self._finder)
        self._spoken = Spoken(pipeline.topics, self._reader)
        self._models = Models(pipeline, settings)
        self._judge = Judge(pipeline, self._finder, self._models)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave Kafka."""
        self._reader.close()

    def of(self, name: str) -> Lineage:
        """The lineage of an event.

        Args:
            name: its id, or the business's id for it: of several events of that the newest is told.

        Returns:
            All that is known of it.

        Raises:
            UnknownEventError: nothing is known of it within what is looked through.
            BrokerError: Kafka can't be read.

        """
        self._reader.look()
        event, others = self._event(name.strip())
        found = self._told(event, whole=False)
        if found.differences:  # its windows may reach further back than it seemed
            again = self._told(event, whole=True)
            found = again if len(again.differences) < len(found.differences) else found
        return msgspec.structs.replace(found, others=others)

    def _event(self, name: str) -> tuple[Event, list[str]]:
        event = self._by_id(name)
        if event is not None:
            return event, []
        known = 0 < len(name) <= _LONGEST
        ids = events_of(self._reader, self._pipeline.topics.predictions, name) if known else []
        events = [found for each in ids if (found := self._by_id(each)) is not None]
        if not events:
            raise UnknownEventError(
                f"no event {name[:200]!r} of {self._pipeline.name}: it is no event id, TOPIC-PARTITION-OFFSET-…, and "
                f"no business id of the newest {MOST_PREDICTIONS:,} predictions; name the event by its id"
            )
        return events[0], ids[1:]

    def _by_id(self, name: str) -> Event | None:
        try:
            where = parse_event_id(name)
        except RecordError:
            return None
        if where.topic not in self._pipeline.raw_topics:
            return None
        return Event(Partition(where.topic, where.partition, where.incarnation), where.offset)

    def _told(self, event: Event, *, whole: bool) -> Lineage:
        trail = self._tracer.trace(event, whole=whole)
        candidate = self._spoken.candidate(trail.event_id)
        labels = self._spoken.labels(trail.event_id)
        said = candidate or (labels[-1][1] if labels else None)
        key = trail.key if trail.key is not None else None if said is None else said.key
        found = None if key is None else self._finder.prediction(trail.event_id, event, key, trail.hops)
        prediction, predicted_at = found or (None, 0)
        if not any((trail.message, prediction, said)):
            raise UnknownEventError(f"nothing is known of {trail.event_id}: {'; '.join(trail.notes)}")
        business_id = self._business_id(trail, prediction or said)
        settled = final(labels, self._pipeline.label.order)
        lineage = Lineage(
            event_id=trail.event_id,
            business_id=business_id,
            key=key,
            time=trail.time if trail.time is not None else None if said is None else said.time,
            raw=_raw(trail),
            refused=trail.refused,
            columns=trail.columns,
            windows=trail.windows,
            features=trail.features,
            prediction=prediction,
            candidate=candidate,
            answers=[answer(offset, label) for offset, label in labels],
            verdict=None if settled is None else settled.label.label,
            word=None if settled is None else settled.source,
            conflict=settled is not None and settled.conflict,
            models=_attempt(trail, lambda: self._learned(labels), []),
            outcomes=self._spoken.outcomes(trail.event_id, business_id),
        )
        if trail.features:
            lineage = self._judge.judged(trail, lineage, predicted_at)
        return msgspec.structs.replace(lineage, notes=[*trail.notes, *self._spoken.gaps()])

    def _business_id(self, trail: Trail, said: Prediction | Candidate | Label | None) -> str | None:
        name = self._pipeline.label.business_id
        own = None if name is None else trail.columns.get(name)
        return str(own) if own is not None else None if said is None else said.business_id

    def _learned(self, labels: list[tuple[int, Label]]) -> list[ModelPart]:
        ends = [(offset, label) for offset, label in labels if label.status == "answered" and label.label is not None]
        if not ends:
            return []
        incarnation = self._reader.incarnation(self._pipeline.topics.labels)
        self._models.refresh()
        offset, label = ends[-1]
        return self._models.learned(label, offset, incarnation)


def _attempt(trail: Trail, ask: Callable[[], T], otherwise: T) -> T:
    """What a topic of models tells; or a note why it tells nothing."""
    try:
        return ask()
    except (ModelError, TopicError) as error:
        trail.notes.append(str(error))
        return otherwise


def _raw(trail: Trail) -> RawPart | None:
    message, place = trail.message, trail.event.partition
    if message is None:
        return None
    value, key, came = message.value(), message.key(), milliseconds(message)
    size = 0 if value is None else len(value)
    return RawPart(
        topic=place.topic,
        partition=place.index,
        offset=trail.event.offset,
        came=None if came < 0 else came * 1_000,
        key=None if key is None else _text(key),
        value=None if value is None else _text(value),
        size=size,
        cut=max(size - _SHOWN, 0),
    )


def _text(content: str | bytes) -> str:
    part = content[:_SHOWN]
    return part if isinstance(part, str) else part.decode(errors="backslashreplace")
