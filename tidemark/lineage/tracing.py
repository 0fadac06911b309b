"""The way of an event from its raw record to its features, followed again."""

from __future__ import annotations

from dataclasses import dataclass, field

from confluent_kafka import Message

from tidemark.features.rows import DerivedFeatures
from tidemark.kafka.batches import batch_of
from tidemark.lineage.derivation import AtStage, Derivation, Event, columns_of, known
from tidemark.lineage.finding import Bounds, Finder, oldest_time
from tidemark.lineage.story import Shown, WindowPart
from tidemark.lineage.topic_reader import TopicReader, offset_of
from tidemark.pipeline import Pipeline
from tidemark.records.event_id import event_id
from tidemark.runtime.processor import Partition
from tidemark.stream.rows import Rows
from tidemark.stream.stages import Stage


@dataclass
class Trail:
    """What has been found of an event so far.

    message: its raw record.  time: µs.  stages: those that it has passed.  hops: records that handed it on.
    features: empty where it has not passed all stages.  refused: why it goes no further.  partial: features of which
    not all rows were read.  notes: what could not be looked at.
    """

    event: Event
    event_id: str
    message: Message | None = None
    key: str | None = None
    time: int | None = None
    stages: list[AtStage] = field(default_factory=list)
    hops: list[Message] = field(default_factory=list)
    columns: dict[str, Shown] = field(default_factory=dict)
    windows: list[WindowPart] = field(default_factory=list)
    features: dict[str, float | None] = field(default_factory=dict)
    refused: str | None = None
    partial: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    @property
    def last(self) -> AtStage:
        """The event behind the last stage."""
        return self.stages[-1]


class Tracer:
    """Follows events of one pipeline. bounds: of what is read back for windows."""

    def __init__(
        self,
        pipeline: Pipeline,
        reader: TopicReader,
        derivation: Derivation,
        finder: Finder,
        bounds: Bounds | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._bounds = bounds or Bounds()
        self._sizes = {window.name: window.size for window in pipeline.windows}
        self._reader = reader
        self._derivation = derivation
        self._finder = finder
        self._derived = DerivedFeatures(pipeline)
        self._computed = pipeline.feature_names[: len(pipeline.features) + len(pipeline.windows)]

    def trace(self, event: Event, *, whole: bool) -> Trail:
        """Follow an event.

        Args:
            event: which.
            whole: read as much for its windows as is read at most, not only as far as they seem to reach.

        Returns:
            What was found.

        Raises:
            BrokerError: Kafka can't be read.

        """
        place = event.partition
        trail = Trail(event, event_id(place.topic, place.index, event.offset, place.incarnation))
        trail.message = self._raw(trail)
        if trail.message is None:
            return trail
        first = self._derivation.stages[0]
        arrivals, refused = self._derivation.arrivals(first, batch_of(place, [trail.message]))
        if not arrivals:
            trail.refused = refused[0][1] if refused else "it is no row"
            return trail
        rows = arrivals[0].rows
        trail.columns = columns_of(rows.columns)
        trail.key, trail.time = str(rows.keys[0][0]), int(rows.times[0])
        if self._passes(trail, rows, whole=whole):
            own = trail.last.rows.features
            frame = self._derived(own[self._computed] if self._computed else own)
            trail.features = {name: known(frame[name][0]) for name in self._pipeline.feature_names}
        return trail

    def _raw(self, trail: Trail) -> Message | None:
        place, offset = trail.event.partition, trail.event.offset
        if self._reader.incarnation(place.topic) != place.incarnation:
            trail.notes.append(f"{place.topic} is another topic by now than the one that the event came by")
            return None
        message = None
        if place.index in self._reader.partitions(place.topic):
            message = self._reader.one(place.topic, place.index, offset)
        if message is None:
            trail.notes.append(f"{place.topic}[{place.index}] holds no record {offset} (any more)")
        return message

    def _passes(self, trail: Trail, rows: Rows, *, whole: bool) -> bool:
        """Through all stages; whether the event comes out of the last one."""
        partition, offset = trail.event.partition, trail.event.offset
        for stage in self._derivation.stages:
            if stage.arriving is not None:
                key = str(rows.keys[stage.key][0])
                message = self._finder.hop(stage, trail.event, key)
                if message is None:
                    trail.notes.append(f"{stage.topics[0]} holds no record that hands the event on (any more, or yet)")
                    return False
                trail.hops.append(message)
                partition, offset = self._finder.partition_of_hop(stage, key), offset_of(message)
            if not self._pass(trail, stage, partition, offset, whole=whole):
                return False
        return True

    def _pass(self, trail: Trail, stage: Stage, partition: Partition, offset: int, *, whole: bool) -> bool:
        time = trail.time or 0
        arrivals, reached = self._finder.history(stage, partition, offset, time, self._bounds, whole=whole)
        if not reached:
            since = oldest_time(arrivals) + self._pipeline.time.lateness
            trail.partial |= {name for name in stage.windows.names if time - self._sizes[name] <= since}
        if not reached and trail.partial & set(stage.windows.names):
            trail.notes.append(
                f"{partition.topic}[{partition.index}] was not read as far back as its windows reach: retention has "
                f"removed records, or they are more than {self._bounds.records:,}"
            )
        at = self._derivation.at(stage, arrivals, trail.event)
        if at.row is None:
            trail.refused = at.refused
            return False
        trail.stages.append(at)
        trail.windows += self._derivation.windows(at)
        return True
