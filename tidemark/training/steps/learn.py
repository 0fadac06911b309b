"""Labels to models: trained when one is due, compared with the champion, published if better.

When a model is trained, and on what, follows from the log of labels alone (row by row, by Kafka's timestamps), so that
a crash before the commit is followed by the same model, whatever the batches. On a replay nothing is trained: the
champion is read from `P.models`, the labels are read again from the first on.

This is one step and not several, for what it gives decides what it does next: whether a model is due at a row depends
on whether the one that was due some rows before, in the same batch, has passed the gate.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemark.errors import ModelError, TopicError
from tidemark.pipeline import Pipeline
from tidemark.records import NO_MODEL, LabelRange, Metric, encode
from tidemark.registry.alarm import Alarm
from tidemark.registry.codec import Registry
from tidemark.registry.label_counts import LabelCounts, counts_record
from tidemark.registry.news import model_metric
from tidemark.registry.promotion import copied
from tidemark.registry.sandbox import Sandbox
from tidemark.registry.scaling import Scaling
from tidemark.registry.schema import ModelSchema
from tidemark.registry.serving import ActiveModel
from tidemark.registry.values import Values
from tidemark.registry.versions import next_version
from tidemark.runtime.processor import Output, Partition
from tidemark.runtime.steps import RoundContext
from tidemark.training import gate
from tidemark.training.champion import FLOW, ChampionPublisher
from tidemark.training.dataset import Dataset
from tidemark.training.gate import Probabilities, Verdict
from tidemark.training.headline import Headliner
from tidemark.training.history import LabelHistory
from tidemark.training.learners.member import Task
from tidemark.training.manifest import describe, labels_of
from tidemark.training.metrics import size_metric, trust_metrics, verdict_metric
from tidemark.training.proof import Shadow, worse_than_before
from tidemark.training.recomputed import RecomputedFeatures
from tidemark.training.recomputing import Recomputing
from tidemark.training.steps.check_labels import CheckedLabels
from tidemark.training.target import target_of
from tidemark.training.trainer import TrainedModel, check_parameters, stand_in, train
from tidemark.training.trust import Trust, measured, several

_log = logging.getLogger(__name__)


class LearnStep:
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
    headline: whether champions are measured, from which nothing follows here.
    former: classes of earlier pipeline files.
    unlabeled: features of events drawn at random, (n, features), of which scales are learnt; None: there are none.
    alarmed: the newest alarm of drift that is to be followed; None where there is none.
    """

    def __init__(  # noqa: PLR0913 - all but the pipeline are options
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
        headline: bool = True,
        alarmed: Callable[[], Alarm | None] = lambda: None,
        unlabeled: Callable[[], NDArray[np.float64]] | None = None,
    ) -> None:
        check_parameters(pipeline.training.params, pipeline.learner)
        self._pipeline = pipeline
        self._gates = pipeline.gates.model_copy(update={"metric": pipeline.gate_metric})
        self._schema = ModelSchema.of(pipeline)
        self._secret = secret
        self._settle = settle
        self._headline = headline
        self._alarmed = alarmed
        self._unlabeled = unlabeled
        self._scaling = Scaling()
        forget = pipeline.training.forget == "auto"
        self._options: Any = {"learner": pipeline.learner, "num_threads": num_threads, "seed": seed, "forget": forget}
        self._models = ChampionPublisher(
            pipeline, self._schema, read_registry=read_registry, secret=secret, sandbox=sandbox
        )
        self._recomputed = RecomputedFeatures(self._schema, pipeline.topics.label_features, recomputing)
        self._history: LabelHistory | None = None
        self._assumed: list[dict[str, str]] = []
        self._values = Values(self._schema)
        self.former: frozenset[str] = frozenset()
        self._headliner = Headliner(pipeline, self._stand_in)
        self._learnt_by: tuple[str, dict[str, float]] = "", {}
        self._target = target_of(pipeline)
        self._shadow = Shadow(self._stand_in, self._target)
        self._trust: tuple[object, Trust | None] | None = None

    def open(self, partition: Partition, metadata: str) -> None:
        """Begin with the labels: they are read again from the first one."""
        history = self._history = LabelHistory(self._pipeline, self._schema, partition, metadata)
        self._learnt_by = "", {}
        self._settle()
        self._models.open()
        manifests = sorted(self._models.registry.manifests.values(), key=lambda each: (each.created_at, each.version))
        self._assumed = [each.definitions for each in manifests if each.definitions]
        self._values = Values(self._schema, self._assumed)
        self.former = frozenset(name for each in manifests for name in each.classes) - set(self._schema.classes)
        self._recomputed.open()
        if not metadata:
            history.quiet_until = self._models.learnt_until(partition)

    def close(self, partition: Partition) -> None:
        """Drop what was read; it is read again when the partition is opened again."""
        if self._history is not None and self._history.partition == partition:
            self._history = None
            self._models.champion = None

    def metadata(self, partition: Partition) -> str:
        """Position and when a model was last trained."""
        return self._of(partition).metadata()

    def process(self, checked: list[CheckedLabels], context: RoundContext) -> list[Output]:
        """Take in labels; train where a model is due, at a tick where time alone brings one.

        Returns:
            Records of models, of features that were recomputed, of what labels told before a model, and of metrics.

        """
        outputs: list[Output] = []
        if context.tick is not None:
            history = self._history
            if history is not None and not history.replaying:
                outputs += map(self._metric, self._models.news())
                self._tell_headline(history, outputs)
                alarm = self._alarmed()
                if history.due_after(None if alarm is None else alarm.at, self._models.champion, context.tick):
                    self._train(history, outputs, because="" if alarm is None else f"at once after {alarm.name}")
                elif history.due_in_time(self._models.champion, context.tick):
                    self._train(history, outputs)
            return outputs
        for each in checked:
            history = self._of(each.batch.partition)
            if not context.replay:
                outputs += map(self._metric, self._models.news())
            for row in range(len(each.labels)):
                self._take(history, each, row, outputs, replay=context.replay)
        return outputs

    def _take(
        self, history: LabelHistory, checked: CheckedLabels, row: int, outputs: list[Output], *, replay: bool
    ) -> None:
        """Take in a row of a batch."""
        if not replay:
            self._tell_headline(history, outputs)
            history.ever = min(history.ever, history.log.ever)  # a class may be gone since: its labels no longer count
        offset = int(checked.batch.offsets[row])
        now = int(checked.batch.timestamps[row]) * 1_000
        label = checked.labels[row]
        if label is not None:
            history.log.add(offset, label)
            history.headlines.add(label)
            now = max(now, label.answered_at)
        history.passes(offset, now)
        if history.quiet:
            history.ever, history.at = history.log.ever, history.log.now
        elif not replay and history.due(self._models.champion):
            self._train(history, outputs)
        counts = self._counts(history)
        outputs += [] if replay else counts

    def _counts(self, history: LabelHistory) -> list[Output]:
        """What labels have told, where it has changed and there is no model to tell it."""
        if self._models.champion is not None or self._schema.is_number:
            return []
        drawn, chosen = history.log.counts_of("drawn"), history.log.counts_of("chosen")
        counts = LabelCounts(classes=list(self._schema.classes), drawn=drawn, chosen=chosen)
        if counts == history.counts or not sum(drawn) + sum(chosen):
            return []
        history.counts = counts
        return [counts_record(self._pipeline.topics.models, counts, self._secret)]

    def _of(self, partition: Partition) -> LabelHistory:
        if self._history is None or self._history.partition != partition:
            raise TopicError(f"{partition.topic}[{partition.index}] is not open here")
        return self._history

    def _train(self, history: LabelHistory, outputs: list[Output], because: str = "") -> None:
        """Train and judge a model. because: why now, where that is not the number of labels."""
        history.trained()
        self._models.refresh(history.log.now)
        self._scaling = self._learnt_scaling()
        pin, champion = self._models.registry.pinned, self._models.champion
        if pin is not None and champion is not None:
            reason = f"kept: {pin.by} has pinned the champion; `tidemark models unpin` lets it be replaced"
            kept = Verdict(passed=False, reason=reason, metric=self._gates.metric)
            outputs.append(self._metric(verdict_metric(kept, champion.version, history.log.now)))
            return
        outputs += self._recomputed.complete(history.final, self._values)
        rows = self._trusted(history.log.dataset(self._recomputed.values, self._values), history, outputs)
        parent, at = self._models.version or NO_MODEL, history.log.now
        try:
            if back := self._back_again(history, rows):
                outputs += back
                return
            verdict = self._judge(history, rows)
            if because:
                verdict = replace(verdict, reason=f"{verdict.reason}; trained {because}")
            if not verdict.passed:
                outputs.append(self._metric(verdict_metric(verdict, parent, at)))
                return
            model = self._challenger(rows)
            version = next_version(self._models.registry.versions, rows.content_sha256)
            outputs += self._publication(history, rows, model, version, verdict)
        except ModelError as error:
            _log.warning("no model from %d labels: %s", len(rows), error)
            refused = Verdict(passed=False, reason=str(error), metric=self._gates.metric)
            outputs.append(self._metric(verdict_metric(refused, parent, at)))
            return
        _log.info("model %s from %d labels %s", version, len(rows), verdict.reason)
        size = size_metric(rows, self._schema.classes, version, at)
        told = [verdict_metric(verdict, version, at), size, model_metric(FLOW, version, at=at)]
        outputs += map(self._metric, told)

    def _learnt_scaling(self) -> Scaling:
        """The scaling of the next model, of the events that there are now."""
        kinds = self._pipeline.scales
        if not kinds or self._unlabeled is None:
            return Scaling()
        return Scaling.learnt(kinds, self._schema.features, self._unlabeled())

    def _stand_in(self, rows: Dataset) -> Probabilities:
        """What a model of some labels would say, for whoever judges models."""
        return stand_in(rows, self._schema, self._pipeline.training.params, **self._options, scaling=self._scaling)

    def _challenger(self, rows: Dataset) -> TrainedModel:
        params = self._pipeline.training.params
        model = train(rows, self._schema, params, **self._options, scaling=self._scaling)
        if model.splits == 0:
            raise ModelError(f"{len(rows)} labels are too few or too alike to learn from")
        return model

    def _judge(self, history: LabelHistory, rows: Dataset) -> Verdict:
        champion = self._models.champion
        if champion is None:
            reason = "first champion"
            if self._models.registry.champion is not None:
                reason = "first champion of the changed pipeline"
            return Verdict(passed=True, reason=reason, metric=self._gates.metric)
        unseen = self._unseen(history, champion, rows)
        gates, classes = self._gates, self._schema.classes
        positive = classes.index(self._pipeline.label.positive) if classes else None
        if champion.manifest.used >= gates.proof_from:
            return self._shadow.compare(rows, unseen, champion.says, history.drawn, positive=positive, gates=gates)
        return gate.compare(
            rows,
            unseen | self._corrected(history, champion, rows),
            champion.says,
            self._stand_in,
            positive=positive,
            gates=gates,
        )

    def _back_again(self, history: LabelHistory, rows: Dataset) -> list[Output]:
        """Publish the model before the champion once more, if it is shown to be better."""
        champion, before = self._models.champion, self._models.replaced
        if champion is None or before is None or champion.manifest.copy_of is not None:
            return []  # what a person, or this very test, has brought back was already compared with the one before it
        unseen = self._unseen(history, champion, rows)
        verdict = worse_than_before(self._target, rows, unseen, champion.says, before.says, history.drawn)
        if verdict is None:
            return []
        original = before.manifest.copy_of or before.version
        copy = copied(
            self._models.registry,
            before.manifest,
            parent=champion.version,
            at=history.log.now,
            decision=f"{original} is {verdict.reason}",
        )
        manifest = msgspec.structs.replace(copy, metrics=verdict.figures())
        outputs = self._models.publish(manifest, self._models.registry.text(before.version))
        _log.warning("model %s: %s", manifest.version, manifest.decision)
        told = model_metric(FLOW, manifest.version, at=history.log.now)
        compared = verdict_metric(verdict, manifest.version, history.log.now)
        return [*outputs, self._metric(compared), self._metric(told)]

    def _unseen(self, history: LabelHistory, champion: ActiveModel, rows: Dataset) -> NDArray[np.bool_]:
        """Which rows the champion has not learnt from."""
        seen = self._learnt_from(history, champion)
        return np.array([event not in seen for event in rows.event_ids], np.bool_) & rows.counts

    def _corrected(self, history: LabelHistory, champion: ActiveModel, rows: Dataset) -> NDArray[np.bool_]:
        """Which rows the champion has learnt from as of another class: what it was taught there is no longer said.

        They judge it while labels are few. Once proof is asked for they don't: they are no sample of events to come.
        """
        seen = self._learnt_from(history, champion)
        answers = zip(rows.event_ids, rows.answers, strict=True)
        return np.array([seen.get(event, answer) != answer for event, answer in answers], np.bool_) & rows.counts

    def _trusted(self, rows: Dataset, history: LabelHistory, outputs: list[Output]) -> Dataset:
        """Rows with what each label counts by who said it, and what was found of that, where several answer."""
        if self._pipeline.training.trust == "all" or self._schema.is_number or not several(rows):
            return rows
        labels = rows.content_sha256, rows.sources
        if self._trust is None or self._trust[0] != labels:
            task = Task(self._schema, seed=self._options["seed"], threads=self._options["num_threads"])
            self._trust = labels, measured(rows, task)
        trust = self._trust[1]
        if trust is None:
            return rows
        version = self._models.version or NO_MODEL
        outputs += map(self._metric, trust_metrics(trust, rows.target, version, history.log.now))
        return rows.trusted(trust.weights)

    def _learnt_from(self, history: LabelHistory, champion: ActiveModel) -> dict[str, float]:
        """Events that the champion has learnt from, and as what: a number, or a class; -1: of one that is gone."""
        if self._learnt_by[0] != champion.version:
            known = labels_of(
                champion.manifest,
                history.log.labels,
                self._schema,
                history.partition.topic,
                history.partition.incarnation,
                self._recomputed.values,
                self._assumed,
            )
            place = {name: index for index, name in enumerate(self._schema.classes)}
            named = champion.manifest.classes if champion.manifest.definitions else self._schema.classes
            classes = [place.get(name, -1) for name in named]
            answers = known.answers if self._schema.is_number else [classes[at] for at in known.target.tolist()]
            self._learnt_by = champion.version, dict(zip(known.event_ids, answers, strict=True))
        return self._learnt_by[1]

    def _tell_headline(self, history: LabelHistory, outputs: list[Output]) -> None:
        """How good the champion is, where that is to be told at this position; before anything further is taken in."""
        champion = self._models.champion
        if champion is None or not self._headline or history.next == 0 or history.next < history.quiet_until:
            return
        if not history.headlines.due(champion.version):
            return
        rows = self._trusted(history.log.dataset(self._recomputed.values, self._values), history, [])
        learnt = self._learnt_from(history, champion)
        measured = self._headliner.measure(
            champion,
            history.known,
            rows,
            np.array([event in learnt for event in rows.event_ids], np.bool_),
            history.log.now,
        )
        outputs += map(self._metric, measured)
        history.headlines.tell(champion.version)

    def _publication(
        self, history: LabelHistory, rows: Dataset, model: TrainedModel, version: str, verdict: Verdict
    ) -> list[Output]:
        partition = history.partition
        labels = LabelRange(
            topic=partition.topic,
            partition=partition.index,
            start=history.first or 0,
            end=history.next,
            incarnation=partition.incarnation,
        )
        manifest = describe(
            model,
            rows,
            schema=self._schema,
            version=version,
            parent=self._models.version,
            created_at=history.log.now,
            trained_on=[labels],
            verdict=verdict,
        )
        return self._models.publish(manifest, model.text)

    def _metric(self, metric: Metric) -> Output:
        return Output(self._pipeline.topics.metrics, encode(metric), metric.name.encode())
