"""Looks at a running pipeline again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from tidemark.errors import BrokerError, RecordError, TopicError
from tidemark.flows import FlowSpec, flows_of
from tidemark.kafka import connect, topic_incarnation, wait_settled
from tidemark.kafka.clients import DOWN, unreachable
from tidemark.kafka.committed import CommittedOffsets
from tidemark.kafka.passing import PASSING, SLOW, asked_until
from tidemark.observe.changes import change_notes
from tidemark.observe.handled import HandledLetters
from tidemark.observe.more_labels import next_hundred
from tidemark.observe.reactions import reaction_notes
from tidemark.observe.sampling import Sample, sample
from tidemark.observe.serving import Figures, Serving, committed_model, in_force
from tidemark.observe.snapshot import FlowState, Snapshot
from tidemark.observe.sources import Sources, source_problems
from tidemark.observe.sources_of_labels import label_notes
from tidemark.observe.starting import running
from tidemark.observe.status_record import SourceStatus, WebhookStatus
from tidemark.observe.tail import Tail
from tidemark.observe.webhooks import Webhooks, given_up_notes, receiver_problems, webhook_problems
from tidemark.pipeline import Pipeline
from tidemark.records import Champion, Metric, ModelManifest, decode
from tidemark.records.topics import Topics
from tidemark.registry.pin import PIN_KEY, Pin
from tidemark.registry.schema import ModelSchema
from tidemark.runtime.settings import Settings
from tidemark.supervisor.folder import supervised_by

_TIMEOUT = 5.0
_PATIENCE = 30.0
"""Seconds in which a broker that is there must tell of a group: it may be starting, on a machine that compiles."""
_PASSING = PASSING | {KafkaError.UNKNOWN_TOPIC_OR_PART}
_LAG_WORTH_SAYING = 100_000
_LATE_WORTH_SAYING = 0.05
_CLEANED_WORTH_SAYING = 0.05
_RECENT_SECONDS = 600.0


@contextmanager
def _passing_errors() -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        if error.args[0].code() not in _PASSING:
            raise


def late_problems(metrics: Mapping[str, Metric], now: float) -> list[str]:
    """What the latest metrics say of rows that are late and clocks that run ahead. now: seconds since 1970."""
    problems = []
    for name, text in (("late_share", "came late to their windows"), ("ahead_share", "lie ahead of Kafka's clock")):
        metric = metrics.get(name)
        if metric is None or not metric.value or now - metric.at / 1e6 > _RECENT_SECONDS:
            continue
        if name == "late_share" and metric.value < _LATE_WORTH_SAYING:
            continue
        leading = [str(metric.detail[f"key_{i}"]) for i in range(1, 4) if f"key_{i}" in metric.detail]
        named = f"; keys whose clocks lead: {', '.join(leading)}" if leading else ""
        problems.append(
            f"{metric.value:.1%} of the last {metric.n:,} rows {text}{named} (see Clocks in docs/how-to/operations.md)"
        )
    return problems


def cleaning_problems(metrics: Mapping[str, Metric], now: float) -> list[str]:
    """What the latest metrics say of values that the rules of columns changed. now: seconds since 1970."""
    metric = metrics.get("cleaned_share")
    if metric is None or not metric.n or not metric.detail or now - metric.at / 1e6 > _RECENT_SECONDS:
        return []
    counts = {name: count for name, count in metric.detail.items() if isinstance(count, int)}
    many = {name: count for name, count in counts.items() if count / metric.n >= _CLEANED_WORTH_SAYING}
    unexpected = [name for name in many if not name.endswith((".convert", ".default"))]
    told = ", ".join(f"{name} {many[name] / metric.n:.1%}" for name in unexpected)
    return [f"rules changed many values of the last {metric.n:,} rows: {told}"] if told else []


def parity_problems(metrics: Mapping[str, Metric], now: float, file: str) -> list[str]:
    """What the latest metrics say of features that come out otherwise than they were scored. now: s since 1970."""
    metric = metrics.get("parity_differing")
    if metric is None or not metric.value or now - metric.at / 1e6 > _RECENT_SECONDS:
        return []
    names = [
        f"{metric.detail[f'feature_{i}']} ({metric.detail.get(f'events_{i}', '')})"
        for i in range(1, 4)
        if f"feature_{i}" in metric.detail
    ]
    event = metric.detail.get("event_id", "EVENT")
    what = f"{metric.value:,.0f} of {metric.n:,} sampled events have other features than were scored"
    return [f"{what}, {', '.join(names)}; see `tidemark why {file} {event}` and docs/how-to/replay.md"]


class Observer:
    """Takes snapshots of a pipeline; the first reads its metrics and models from the beginning.

    Raises:
        BrokerError: Kafka does not answer.
        ConfigError: a flow that a package adds is broken.

    """

    def __init__(
        self,
        pipeline: Pipeline,
        settings: Settings,
        *,
        file: str = "FILE",
        log: Path | None = None,
        heard: Callable[[Metric], object] = lambda _metric: None,
    ) -> None:
        """Connect.

        Args:
            pipeline: to look at.
            settings: that name the Kafka.
            file: name of the pipeline's file, for commands that are told.
            log: of `tidemark up`, which tells what it has started.
            heard: called with each metric, in the order of the topic.

        """
        self._heard = heard
        self._pipeline = pipeline
        self._settings = settings
        self._file = file
        self._log = log
        self._topics = Topics(pipeline.name)
        self._specs = flows_of(pipeline)
        self._admin = connect(settings, down=DOWN)
        self._tail = Tail(settings, self._followed)
        self._first = True
        self._hidden: list[str] = []
        self._before: tuple[float, dict[str, int]] | None = None
        self._schema = ModelSchema.of(pipeline)
        self._figures = Figures()
        self._serving = Serving()
        self._sources = Sources({source.name: source.kind for source in pipeline.sources})
        self._webhooks = Webhooks(pipeline.webhooks)
        self._handled = HandledLetters()
        self._selected_by = ""
        self._manifests: dict[str, ModelManifest] = {}
        self._champion: str | None = None
        self._pin: Pin | None = None
        self._known_ends: dict[tuple[str, int], int] = {}
        self._offsets = CommittedOffsets(settings)

    @property
    def _followed(self) -> list[str]:
        return [self._topics.metrics, self._topics.models, self._topics.deadletter_marks]

    @property
    def manifests(self) -> list[ModelManifest]:
        """Every model that was published, the newest first."""
        return sorted(self._manifests.values(), key=lambda each: (each.created_at, each.version), reverse=True)

    def close(self) -> None:
        """Leave Kafka."""
        self._tail.close()
        self._offsets.close()

    def look(self) -> Snapshot:
        """The pipeline now."""
        self._follow()
        now = time.time()
        ends = self._ends()
        totals = {topic: sum(offsets.values()) for topic, offsets in ends.items()}
        rates = dict.fromkeys(totals, 0.0)
        if self._before is not None and now > self._before[0]:
            seconds = now - self._before[0]
            rates = {topic: (end - self._before[1].get(topic, 0)) / seconds for topic, end in totals.items()}
        self._before = now, totals
        begun = self._topics.models in ends
        flows = [self._flow(spec, ends) for spec in self._specs]
        champion = self._manifests.get(self._champion) if self._champion is not None else None
        sources, webhooks = self._sources.found(now), self._webhooks.found(now)
        return Snapshot(
            at=now,
            ends=totals,
            rates=rates,
            flows=flows,
            champion=champion,
            metrics=self._figures.shown(self._champion),
            problems=[*self._problems(flows, champion), *self._others_problems(flows, sources, webhooks)],
            ranked_by=self._serving.in_force.get("labeling", ""),
            notes=[*self._notes(flows, champion), *given_up_notes(webhooks, self._file)],
            parts=ends,
            begun=begun,
            sources=sources,
            webhooks=webhooks,
            gain=next_hundred(
                self._figures.headlines({version: each.used for version, each in self._manifests.items()})
            ),
        )

    def sample(self, snapshot: Snapshot, topics: Collection[str]) -> Sample:
        """Records, rates and latency, from the last records of some topics."""
        parts = {topic: snapshot.parts[topic] for topic in topics if topic in snapshot.parts}
        found = sample(self._settings, self._admin, parts, predictions=self._topics.predictions, now=snapshot.at)
        name = self._topics.deadletter
        if (count := found.counts.get(name)) is None:
            return found
        handled = self._handled.count(topic_incarnation(self._admin, name), count.spans) if self._handled else 0
        told = replace(count, handled=min(handled, count.records))
        return replace(found, counts={**found.counts, name: told})

    def _follow(self) -> None:
        messages = self._tail.catch_up(self._settled()) if self._first else self._tail.poll()
        self._first = False
        for message in messages:
            key = (message.key() or b"").decode(errors="replace")
            try:
                if message.topic() == self._topics.metrics:
                    metric = decode(Metric, message.value())
                    self._heard(metric)
                    takers = self._serving, self._sources, self._webhooks
                    if not any(each.take(metric) for each in takers):
                        self._figures.take(metric)
                    if metric.name == "budget_spent":
                        self._selected_by = metric.model
                elif message.topic() == self._topics.deadletter_marks:
                    self._handled.take(message.key() or b"", message.value())
                elif key == "champion":
                    self._champion = decode(Champion, message.value()).version
                elif message.key() == PIN_KEY:
                    self._pin = decode(Pin, message.value())
                elif "/" not in key:
                    self._manifests[key] = decode(ModelManifest, message.value())
            except RecordError:
                continue  # a foreign or newer record: what it would have told is missing from the view, nothing else

    def _settled(self) -> list[str]:
        """The followed topics that exist, once what was committed just now can be read, or is known to be hidden."""
        present = []
        for topic in self._followed:
            try:
                wait_settled(self._settings, topic, timeout=_TIMEOUT, patience=_TIMEOUT)
            except TopicError:
                continue
            except BrokerError as error:
                self._hidden.append(str(error))
            present.append(topic)
        return present

    def _ends(self) -> dict[str, dict[int, int]]:
        """End offset of each partition of each of the pipeline's topics that exist."""
        raw = {source.topic for source in self._pipeline.raw}
        try:
            listed = self._admin.list_topics(timeout=_TIMEOUT).topics
        except KafkaException as error:
            raise unreachable(self._settings, error.args[0].str()) from error
        own = {
            name: topic for name, topic in listed.items() if name in raw or name.startswith(f"{self._topics.pipeline}.")
        }
        asked = {
            TopicPartition(name, index): OffsetSpec.latest()
            for name, topic in own.items()
            for index in topic.partitions
        }
        ends: dict[str, dict[int, int]] = {name: {} for name in own}
        if not asked:
            return ends
        for where, future in self._admin.list_offsets(asked, request_timeout=_TIMEOUT).items():
            place = where.topic, where.partition
            # A leader that is moving or has just been chosen gives no answer: the next look sees the partition again.
            with suppress(TimeoutError), _passing_errors():
                self._known_ends[place] = future.result(_TIMEOUT).offset
            ends[where.topic][where.partition] = self._known_ends.get(place, 0)
        return ends

    def _flow(self, spec: FlowSpec, ends: dict[str, dict[int, int]]) -> FlowState:
        group = f"{self._topics.pipeline}.{spec.name}"
        places = [TopicPartition(topic, index) for topic in spec.reads(self._pipeline) for index in ends.get(topic, {})]

        def ask() -> tuple[int, list[TopicPartition]]:
            described = self._admin.describe_consumer_groups([group], request_timeout=_TIMEOUT)[group]
            members = len(described.result(_TIMEOUT * 2).members)
            return members, self._offsets.of(group, places, timeout=_TIMEOUT)

        members, done = 0, list[TopicPartition]()
        try:
            members, done = asked_until(time.monotonic() + _PATIENCE, ask, PASSING | SLOW)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:  # an unknown group is one that never ran
                raise BrokerError(
                    f"Kafka does not tell which processes are in {group}: {error.args[0].str()}; try again, and check "
                    "that this client may describe the group"
                ) from error
        return FlowState(spec.name, members, self._unread(spec, ends, done), *self._model(spec, done))

    def _model(self, spec: FlowSpec, committed: Iterable[TopicPartition]) -> tuple[str, Sequence[str]]:
        """Version in force at a flow, and those of its last rows where they are of others."""
        if spec.model == "budget":
            return self._selected_by, ()
        told = self._serving.in_force.get(spec.name, "")
        if spec.model != "rows":
            return told, ()
        last = self._pipeline.hop_topics[-1:] or self._pipeline.raw_topics
        used = {committed_model(where.metadata) for where in committed if where.topic in last} - {None}
        return in_force(told, {version for version in used if version is not None})

    def _unread(self, spec: FlowSpec, ends: dict[str, dict[int, int]], committed: Iterable[TopicPartition]) -> int:
        """Records between a flow's committed offsets and the ends of its topics.

        Behind the last record of a topic that is written in transactions stands a marker, which is never read.
        """
        topics = self._pipeline.topics
        plain = {*self._pipeline.raw_topics, topics.outcomes}
        done = {(where.topic, where.partition): where.offset for where in committed}
        return sum(
            max(end - max(done.get((topic, index), 0), 0) - (topic not in plain), 0)
            for topic in spec.reads(self._pipeline)
            for index, end in ends.get(topic, {}).items()
        )

    def _problems(self, flows: list[FlowState], champion: ModelManifest | None) -> list[str]:
        problems = list(self._hidden)
        starting = self._starting()
        absent = [flow.name for flow in flows if flow.members == 0 and flow.name not in starting]
        if len(absent) == len(flows):
            problems.append(f"no flow is running: `tidemark up {self._file}` starts them all, and the labeling service")
        else:
            problems += [
                f"no process of the {name} flow is running; start one with `tidemark run {name} {self._file}`"
                for name in absent
            ]
        shown, now = self._figures.shown(self._champion), time.time()
        problems += [*late_problems(shown, now), *cleaning_problems(shown, now)]
        problems += parity_problems(shown, now, self._file)
        problems += [
            f"the {flow.name} flow is {flow.lag:,} records behind; add processes, or see its log"
            for flow in flows
            if flow.lag > _LAG_WORTH_SAYING
        ]
        problems += self._serving.problems(champion, self._schema)
        return problems

    def _others_problems(
        self, flows: list[FlowState], sources: list[SourceStatus], webhooks: list[WebhookStatus]
    ) -> list[str]:
        """Of a pipeline that runs, the sources and webhooks that do not; those of one that is starting are as well."""
        failing = receiver_problems(webhooks)
        if not any(flow.members for flow in flows) or self._starting() & {f.name for f in flows if not f.members}:
            return failing
        return [*source_problems(sources, self._file), *webhook_problems(webhooks, self._file), *failing]

    def _notes(self, flows: list[FlowState], champion: ModelManifest | None) -> list[str]:
        starting = self._starting()
        begun = [flow.name for flow in flows if flow.members == 0 and flow.name in starting]
        notes = []
        if begun:
            verb = "is" if len(begun) == 1 else "are"
            notes.append(f"{', '.join(begun)} {verb} starting: the first start compiles kernels, in about a minute")
        shown = self._figures.shown(self._champion)
        notes += [*change_notes(shown, time.time(), self._file), *reaction_notes(shown, time.time(), self._pipeline)]
        notes += label_notes(shown, self._file)
        if champion is not None and self._pin is not None and self._pin.version == champion.version:
            notes.append(
                f"{self._pin.by} has pinned the champion, no model replaces it; `tidemark models unpin {self._file}` "
                "lifts that"
            )
        if champion is None:
            training, label = self._pipeline.training, self._pipeline.label
            of_class = "" if label.is_number else f", {training.min_positive} of them {label.positive!r}"
            notes.append(f"there is no model yet: the first is trained from {training.min_labels} labels{of_class}")
        return notes

    def _starting(self) -> frozenset[str]:
        """Flows of which a process runs here, whether or not it has joined its group, or will as soon as `up` can."""
        if self._log is None:
            return frozenset()
        processes = running(self._log)
        if not processes and supervised_by(self._log.parent) is not None:
            return frozenset(spec.name for spec in self._specs)
        return processes
