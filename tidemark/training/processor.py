"""The retrain flow's domain logic: labels in, models and verdicts out.

When a model is trained, and on what, follows from the log of labels alone (row by row, by Kafka's timestamps), so that
a crash before the commit is followed by the same model, whatever the batches. On a replay nothing is trained: the
champion is read from `P.models`, the labels are read again from the first on.

Longer than 400 lines: what follows from one log, in the order of its rows, is told in one place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemark.errors import ModelError, RecordError, TopicError
from tidemark.evaluation.draw import is_drawn, weights_of
from tidemark.evaluation.labels import final_labels
from tidemark.pipeline import Pipeline
from tidemark.records import NO_MODEL, Label, LabelFeatures, LabelRange, Metric, ModelManifest, encode
from tidemark.records.dead_letter import dead_letter
from tidemark.registry.codec import Registry, publish
from tidemark.registry.news import model_metric
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.schema import ModelSchema
from tidemark.registry.serving import ActiveModel
from tidemark.registry.validate import Validator
from tidemark.registry.values import Values
from tidemark.registry.versions import next_version
from tidemark.runtime.processor import Batch, Output, Partition
from tidemark.training import gate
from tidemark.training.dataset import Dataset, LabelLog, check
from tidemark.training.gate import Probabilities, Verdict
from tidemark.training.headline import HeadlineLog, Headliner
from tidemark.training.manifest import describe, labels_of
from tidemark.training.metrics import size_metric, verdict_metric
from tidemark.training.proof import Shadow, worse_than_before
from tidemark.training.recomputing import Recomputing
from tidemark.training.schedule import first_is_due, pause
from tidemark.training.trainer import TrainedModel, check_parameters, stand_in, train

_log = logging.getLogger(__name__)

_FLOW: Final = "retrain"
KEPT_MODELS: Final = 50
"""Models whose text stays in the topic."""


class _Progress(msgspec.Struct, frozen=True):
    """What is committed with the offsets. next: offset after the last row; ever, at, schema: of the last training.

    told, told_of: of the last headline (`tidemark.training.headline`).
    """

    next: int
    ever: int
    at: int
    schema: str = ""
    told: int = 0
    told_of: str = ""


class _State:
    """State of the labels partition, rebuilt from its first record on."""

    def __init__(self, partition: Partition, schema: ModelSchema) -> None:
        self.partition = partition
        self.log = LabelLog(schema)
        self.first: int | None = None
        self.next = 0
        self.caught_up_at = 0
        self.ever = 0
        self.at = 0
        self.schema = ""
        self.quiet_until = 0
        self.headlines = HeadlineLog()


class RetrainProcessor:
    """Trains challengers from `P.labels` and publishes those that pass the gate to `P.models`.

    The first champion is trained as soon as there are `min_labels` labels with `min_positive` positive ones and every
    class of a binary label, and at once where a changed pipeline file has put the champion out of force; a challenger
    after every `training.every` new labels, sooner while there are few (a
    twentieth of what the champion learnt from, but no fewer than the gate needs), and after `max_interval` without
    training.

    read_registry: what `P.models` holds (committed records).  recomputing: where features come from that labels lack,
    for the pipeline file was edited since; None: they are missing.  secret: key that models are signed with.
    sandbox: where models are checked, the caller's to close; by default a helper is started for each check.
    settle: waits until what an earlier process published can be read.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        read_registry: Callable[[], Registry],
        secret: bytes | None = None,
        sandbox: Sandbox | None = None,
        recomputing: Recomputing | None = None,
        settle: Callable[[], None] = lambda: None,
        num_threads: int = 1,
        seed: int = 0,
    ) -> None:
        check_parameters(pipeline.training.params, pipeline.training.learner)
        self._pipeline = pipeline
        self._schema = ModelSchema.of(pipeline)
        self._topics = pipeline.topics
        self._read_registry = read_registry
        self._secret = secret
        self._sandbox = sandbox
        self._recomputing = recomputing
        self._settle = settle
        self._num_threads = num_threads
        self._seed = seed
        self._registry = Registry(secret)
        self._pending: list[tuple[str, list[Output]]] = []
        self._champion: ActiveModel | None = None
        self._state: _State | None = None
        self._assumed: list[dict[str, str]] = []
        self._values = Values(self._schema)
        self._former: set[str] = set()
        self._news: list[Metric] = []
        self._told: list[tuple[str, str | None]] = []
        self._stored: dict[str, LabelFeatures] = {}
        self._recomputed: dict[str, dict[str, float | None]] = {}
        self._headliner = Headliner(pipeline.label, self._stand_in)
        self._learnt_by: tuple[str, frozenset[str]] = "", frozenset()
        self._shadow = Shadow(self._stand_in)
        self._before: tuple[str, ActiveModel | None] | None = None

    @property
    def topics(self) -> Sequence[str]:
        """`P.labels`."""
        return [self._topics.labels]

    def open(self, partition: Partition, metadata: str) -> int | None:
        """Begin with the labels: they are read again from the first one."""
        if partition.index != 0:
            raise TopicError(
                f"{partition.topic} has more than one partition; labels are one history in one order: "
                "re-create the topic with a single partition"
            )
        state = _State(partition, self._schema)
        if metadata:
            progress = msgspec.json.decode(metadata, type=_Progress)
            state.caught_up_at, state.ever, state.at = progress.next, progress.ever, progress.at
            state.schema = progress.schema
            state.headlines = HeadlineLog(progress.told, progress.told_of)
        self._state = state
        self._pending, self._news, self._told = [], [], []
        self._learnt_by = "", frozenset()
        self._settle()
        self._refresh()
        manifests = sorted(self._registry.manifests.values(), key=lambda each: (each.created_at, each.version))
        self._assumed = [each.definitions for each in manifests if each.definitions]
        self._values = Values(self._schema, self._assumed)
        self._former = {name for each in manifests for name in each.classes} - set(self._schema.classes)
        self._stored = {} if self._recomputing is None else self._recomputing.stored()
        self._recomputed = {event: record.values for event, record in self._stored.items()}
        if not metadata:
            state.quiet_until = self._already_trained(partition)
        return 0

    def close(self, partition: Partition) -> None:
        """Drop what was read; it is read again when the partition is opened again."""
        if self._state is not None and self._state.partition == partition:
            self._state = None
            self._champion = None

    def process(self, batch: Batch) -> list[Output]:
        """Take in labels; train where one is due. What can't be learnt from becomes a dead letter."""
        state = self._of(batch.partition)
        outputs = [] if batch.replay else self._tell()
        for row in range(len(batch)):
            if not batch.replay:
                outputs += self._headline(state)
            offset = int(batch.offsets[row])
            now = int(batch.timestamps[row]) * 1_000
            if not batch.replay:  # a class may be gone since: its labels no longer count
                state.ever = min(state.ever, state.log.ever)
            try:
                label = check(batch.values[row], self._schema, self._pipeline.raw_topics, self._former)
            except RecordError as error:
                if not batch.replay:
                    letter = dead_letter(self._topics.deadletter, batch, row, error.step, error.reason)
                    outputs.append(letter)
            else:
                state.log.add(offset, label)
                state.headlines.add(label)
                now = max(now, label.answered_at)
            state.log.advance(now)
            state.first = offset if state.first is None else state.first
            state.next = offset + 1
            if state.next <= state.quiet_until:
                state.ever, state.at = state.log.ever, state.log.now
            elif not batch.replay and self._due(state):
                outputs += self._train(state)
        return outputs

    def metadata(self, partition: Partition) -> str:
        """Position and when a model was last trained."""
        state = self._of(partition)
        told = state.headlines
        progress = _Progress(state.next, state.ever, state.at, state.schema, told.told, told.told_of)
        return msgspec.json.encode(progress).decode()

    def tick(self, now: float) -> list[Output]:
        """Train when `max_interval` has passed and there is a label that no training has seen. now: seconds.

        And when a changed pipeline file has put the champion out of force: all labels are there already.
        """
        state = self._state
        if state is None or state.next < state.caught_up_at:
            return []
        return [*self._tell(), *self._headline(state), *self._train_in_time(state, now)]

    def _train_in_time(self, state: _State, now: float) -> list[Output]:
        interval = self._pipeline.training.max_interval
        if self._out_of_force(state) and first_is_due(self._pipeline, state.log.counts):
            return self._train(state)
        if interval is None or self._champion is None:
            return []
        at = int(now * 1_000_000)
        if at - state.at < interval or state.next <= state.quiet_until:
            return []
        state.log.advance(at)
        if state.log.ever <= state.ever:
            return []
        return self._train(state)

    def event_time(self, batch: Batch) -> int | None:  # noqa: ARG002 - the contract's
        """None: labels are aligned with nothing."""
        return None

    def _of(self, partition: Partition) -> _State:
        if self._state is None or self._state.partition != partition:
            raise TopicError(f"{partition.topic}[{partition.index}] is not open here")
        return self._state

    # ---- when -----------------------------------------------------------------------------------------------

    def _out_of_force(self, state: _State) -> bool:
        """Whether models were trained, none of them serves this pipeline file, and none was tried under it."""
        return self._champion is None and state.ever > 0 and state.schema != self._schema.hash

    def _due(self, state: _State) -> bool:
        new = state.log.ever - state.ever
        if self._champion is None:
            waited = self._out_of_force(state) or new >= (pause(self._pipeline, None) if state.ever > 0 else 1)
            return waited and first_is_due(self._pipeline, state.log.counts)
        return new >= pause(self._pipeline, self._champion.manifest.used)

    def _already_trained(self, partition: Partition) -> int:
        """Offset up to which models have learnt, for a group that has lost its commits: history isn't retrained."""
        return max(
            (
                each.end
                for manifest in self._registry.manifests.values()
                for each in manifest.trained_on
                if each.topic == partition.topic and each.incarnation == partition.incarnation
            ),
            default=0,
        )

    # ---- what -----------------------------------------------------------------------------------------------

    def _train(self, state: _State) -> list[Output]:
        state.ever, state.at, state.schema = state.log.ever, state.log.now, self._schema.hash
        self._refresh()
        if (pin := self._registry.pinned) is not None and self._champion is not None:
            reason = f"kept: {pin.by} has pinned the champion; `tidemark models unpin` lets it be replaced"
            kept = Verdict(passed=False, reason=reason, metric=self._pipeline.gates.metric)
            return [self._metric(verdict_metric(kept, self._champion.version, state.log.now))]
        recomputed = self._recompute(state)
        return [*recomputed, *self._train_on(state, state.log.dataset(self._recomputed, self._values))]

    def _recompute(self, state: _State) -> list[Output]:
        """Compute again what labels lack, once for each event and pipeline file. It is kept with what is trained."""
        if self._recomputing is None:
            return []
        hash_ = self._schema.hash
        lacking: dict[str, Label] = {}
        known: dict[str, dict[str, float | None]] = {}
        for _, label in state.log.labels:
            if label.status != "answered" or label.known_at > state.log.now or label.event_id in lacking:
                continue
            stored = self._stored.get(label.event_id)
            if stored is not None and stored.tried == hash_:
                continue
            if None not in self._values.sources(label.features, label.definitions):
                continue
            have = self._known(label, {} if stored is None else stored.values)
            if len(have) < len(self._schema.features):
                lacking[label.event_id], known[label.event_id] = label, have
        if not lacking:
            return []
        found = self._recomputing.features(known, list(lacking.values()))
        outputs = []
        for event in lacking:
            before = self._stored.get(event)
            values = dict(before.values) if before is not None else {}
            values |= {
                self._schema.ids[name]: value for name, value in found[event].items() if name not in known[event]
            }
            self._stored[event] = LabelFeatures(event_id=event, values=values, tried=hash_)
            self._recomputed[event] = values
            outputs.append(Output(self._topics.label_features, encode(self._stored[event]), event.encode()))
        return outputs

    def _known(self, label: Label, stored: Mapping[str, float | None]) -> dict[str, float | None]:
        """Features of a labeled event that need not be computed, by name."""
        known: dict[str, float | None] = {}
        sources = self._values.sources(label.features, label.definitions)
        for name, identity, source in zip(self._schema.features, self._schema.definitions, sources, strict=True):
            if source is not None and source in label.features:
                known[name] = label.features[source]
            elif identity in stored:
                known[name] = stored[identity]
        return known

    def _train_on(self, state: _State, rows: Dataset) -> list[Output]:
        parent = self._champion.manifest.version if self._champion else None
        try:
            if back := self._back_again(state, rows):
                return back
            verdict = self._judge(state, rows)
            if not verdict.passed:
                return [self._metric(verdict_metric(verdict, parent or NO_MODEL, state.log.now))]
            model = self._challenger(rows)
            version = next_version(self._registry.versions, rows.content_sha256)
            outputs = self._publication(state, rows, model, version, verdict)
        except ModelError as error:
            _log.warning("no model from %d labels: %s", len(rows), error)
            refused = Verdict(passed=False, reason=str(error), metric=self._pipeline.gates.metric)
            return [self._metric(verdict_metric(refused, parent or NO_MODEL, state.log.now))]
        _log.info("model %s from %d labels %s", version, len(rows), verdict.reason)
        told = self._metric(model_metric(_FLOW, version, at=state.log.now))
        compared = verdict_metric(verdict, version, state.log.now)
        size = size_metric(rows, self._schema.classes, version, state.log.now)
        return [*outputs, self._metric(compared), self._metric(size), told]

    def _learn(self, rows: Dataset) -> TrainedModel:
        training = self._pipeline.training
        return train(
            rows,
            self._schema,
            training.params,
            learner=training.learner,
            num_threads=self._num_threads,
            seed=self._seed,
        )

    def _stand_in(self, rows: Dataset) -> Probabilities:
        """What a model of some labels would say, for whoever judges models."""
        training = self._pipeline.training
        return stand_in(
            rows,
            self._schema,
            training.params,
            learner=training.learner,
            num_threads=self._num_threads,
            seed=self._seed,
        )

    def _challenger(self, rows: Dataset) -> TrainedModel:
        model = self._learn(rows)
        if model.splits == 0:
            raise ModelError(f"{len(rows)} labels are too few or too alike to learn from")
        return model

    def _judge(self, state: _State, rows: Dataset) -> Verdict:
        champion = self._champion
        if champion is None:
            reason = "first champion" if self._registry.champion is None else "first champion of the changed pipeline"
            return Verdict(passed=True, reason=reason, metric=self._pipeline.gates.metric)
        unseen = self._unseen(state, champion, rows)
        gates, positive = self._pipeline.gates, self._pipeline.label.positive
        if champion.manifest.used >= gates.proof_from:
            index = self._schema.classes.index(positive)
            drawn = self._drawn(state)
            return self._shadow.compare(rows, unseen, champion.probabilities, drawn, positive=index, gates=gates)
        return gate.compare(
            rows,
            unseen,
            champion.probabilities,
            self._stand_in,
            schema=self._schema,
            positive=positive,
            gates=gates,
        )

    def _back_again(self, state: _State, rows: Dataset) -> list[Output]:
        """Publish the model before the champion once more, if it is shown to be better."""
        champion, before = self._champion, self._replaced()
        if champion is None or before is None or champion.manifest.copy_of is not None:
            return []  # what a person, or this very test, has brought back was already compared with the one before it
        unseen = self._unseen(state, champion, rows)
        models = champion.probabilities, before.probabilities
        verdict = worse_than_before(rows, unseen, *models, self._drawn(state))
        if verdict is None:
            return []
        original = before.manifest.copy_of or before.version
        manifest = msgspec.structs.replace(
            before.manifest,
            version=next_version(self._registry.versions, original.rpartition("-")[2]),
            copy_of=original,
            parent=champion.version,
            created_at=state.log.now,
            metrics=verdict.figures(),
            decision=f"{original} is {verdict.reason}",
        )
        outputs = self._published(manifest, self._registry.text(before.version))
        _log.warning("model %s: %s", manifest.version, manifest.decision)
        told = self._metric(model_metric(_FLOW, manifest.version, at=state.log.now))
        return [*outputs, self._metric(verdict_metric(verdict, manifest.version, state.log.now)), told]

    def _replaced(self) -> ActiveModel | None:
        """The model that the champion replaced, if it still serves this pipeline file and its text is kept."""
        champion = self._champion
        version = None if champion is None else champion.manifest.parent
        if version is None or version not in self._registry.manifests:
            return None
        if self._before is None or self._before[0] != version:
            try:
                with self._checking() as sandbox:
                    checked = Validator(self._schema, sandbox).check(self._registry, version)
                self._before = version, ActiveModel(checked)
            except ModelError as error:
                _log.info("model %s is not compared with the one before it: %s", champion and champion.version, error)
                self._before = version, None
        return self._before[1]

    def _unseen(self, state: _State, champion: ActiveModel, rows: Dataset) -> NDArray[np.bool_]:
        """Which rows the champion has not learnt from."""
        seen = self._learnt_from(state, champion)
        return np.array([event not in seen for event in rows.event_ids], np.bool_)

    def _drawn(self, state: _State) -> dict[str, float]:
        """Events of the random draw that were answered, with what each stands for."""
        known = final_labels(label for _, label in state.log.labels if label.known_at <= state.log.now)
        return weights_of(label for label in known if is_drawn(label))

    def _learnt_from(self, state: _State, champion: ActiveModel) -> frozenset[str]:
        """Events that the champion has learnt from."""
        if self._learnt_by[0] != champion.version:
            known = labels_of(
                champion.manifest,
                state.log.labels,
                self._schema,
                state.partition.topic,
                state.partition.incarnation,
                self._recomputed,
                self._assumed,
            )
            self._learnt_by = champion.version, frozenset(known.event_ids)
        return self._learnt_by[1]

    def _headline(self, state: _State) -> list[Output]:
        """How good the champion is, where that is to be told at this position; before anything further is taken in."""
        champion = self._champion
        if champion is None or state.next == 0 or state.next < state.quiet_until:
            return []
        if not state.headlines.due(champion.version):
            return []
        rows = state.log.dataset(self._recomputed, self._values)
        learnt = self._learnt_from(state, champion)
        metric = self._headliner.measure(
            champion,
            (label for _, label in state.log.labels if label.known_at <= state.log.now),
            rows,
            np.array([event in learnt for event in rows.event_ids], np.bool_),
            state.log.now,
        )
        state.headlines.tell(champion.version)
        return [self._metric(metric)]

    def _publication(
        self, state: _State, rows: Dataset, model: TrainedModel, version: str, verdict: Verdict
    ) -> list[Output]:
        partition = state.partition
        labels = LabelRange(
            topic=partition.topic,
            partition=partition.index,
            start=state.first or 0,
            end=state.next,
            incarnation=partition.incarnation,
        )
        manifest = describe(
            model,
            rows,
            schema=self._schema,
            version=version,
            parent=self._champion.manifest.version if self._champion else None,
            created_at=state.log.now,
            trained_on=[labels],
            verdict=verdict,
        )
        return self._published(manifest, model.text)

    def _published(self, manifest: ModelManifest, text: str) -> list[Output]:
        """Records that make a model champion, here too."""
        outputs = publish(manifest, text, topic=self._topics.models, secret=self._secret)
        trial = Registry(self._secret)
        trial.feed_outputs(outputs)
        with self._checking() as sandbox:
            champion = ActiveModel(Validator(self._schema, sandbox).check(trial, manifest.version))
        if self._champion is not None and self._champion.version == manifest.parent:
            self._before = self._champion.version, self._champion
        self._champion = champion
        self._registry.feed_outputs(outputs)
        self._pending.append((manifest.version, outputs))
        return [*outputs, *self._registry.retire(self._topics.models, KEPT_MODELS)]

    # ---- the champion ---------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        """What the topic holds now, and after it what we are about to publish in a transaction still open."""
        registry = self._read_registry()
        self._pending = [each for each in self._pending if each[0] not in registry.manifests]
        for _, outputs in self._pending:
            registry.feed_outputs(outputs)
        self._registry = registry
        current = self._champion.manifest.version if self._champion else None
        if registry.champion is None or registry.champion.version != current:
            self._champion = self._checked(registry)
            self._note()

    def _checked(self, registry: Registry) -> ActiveModel | None:
        """Newest champion that passes every check."""
        with self._checking() as sandbox:
            validator = Validator(self._schema, sandbox)
            for version in registry.candidates():
                try:
                    return ActiveModel(validator.check(registry, version))
                except ModelError as error:
                    if self._note(refused=version, reason=str(error)):
                        _log.error("a champion is refused: %s", error)
        return None

    def _note(self, refused: str | None = None, reason: str = "") -> bool:
        """Tell people with the next outputs which champion counts here, or what is refused; False if that is told."""
        version = self._champion.manifest.version if self._champion else NO_MODEL
        at = self._state.log.now if self._state else 0
        news = version, refused
        if news in self._told or (refused is None and version == NO_MODEL):
            return False
        self._told = [each for each in self._told if each[0] == version] + [news]
        self._news.append(model_metric(_FLOW, version, refused=refused, reason=reason, at=at))
        return True

    def _tell(self) -> list[Output]:
        news, self._news = self._news, []
        return [self._metric(each) for each in news]

    def _checking(self) -> AbstractContextManager[Sandbox]:
        return Sandbox() if self._sandbox is None else nullcontext(self._sandbox)

    # ---- metrics --------------------------------------------------------------------------------------------

    def _metric(self, metric: Metric) -> Output:
        return Output(self._topics.metrics, encode(metric), metric.name.encode())
