"""The labels read so far, and when a model was last trained from them: when the next one is due follows from both."""

from __future__ import annotations

import msgspec

from tidemark.evaluation.draw import answered_weights
from tidemark.evaluation.labels import drawn_labels, final_labels
from tidemark.pipeline import Pipeline
from tidemark.records import Label
from tidemark.registry.label_counts import LabelCounts
from tidemark.registry.schema import ModelSchema
from tidemark.registry.serving import ActiveModel
from tidemark.runtime.processor import Partition
from tidemark.training.dataset import LabelLog
from tidemark.training.headline import HeadlineLog
from tidemark.training.schedule import first_is_due, pause


class _Progress(msgspec.Struct, frozen=True):
    """What is committed with the offsets. next: offset after the last row; ever, at, schema: of the last training.

    told, told_of: of the last headline (`tidemark.training.headline`).  alarm: time of the alarm of drift that was last
    followed by a training.
    """

    next: int
    ever: int
    at: int
    schema: str = ""
    told: int = 0
    told_of: str = ""
    alarm: int = 0


class LabelHistory:
    """History of the labels partition, rebuilt from its first record on.

    log: the labels.  first, next: offset of the first record, and the one after the last.  ever, at, schema: events
    that could be learnt from, the log's time, and the pipeline file's hash at the last training.  quiet_until: offset
    up to which models have learnt that an earlier process published.  counts: of labels, as they were last told.
    alarm: time of the alarm of drift that was last followed, µs; 0: none was.
    """

    def __init__(self, pipeline: Pipeline, schema: ModelSchema, partition: Partition, metadata: str) -> None:
        progress = msgspec.json.decode(metadata, type=_Progress) if metadata else _Progress(0, 0, 0)
        self._pipeline, self._hash = pipeline, schema.hash
        self.partition = partition
        self.log = LabelLog(schema, pipeline.label.order)
        self.first: int | None = None
        self.next = 0
        self._caught_up_at = progress.next
        self.ever, self.at, self.schema = progress.ever, progress.at, progress.schema
        self.quiet_until = 0
        self.headlines = HeadlineLog(progress.told, progress.told_of)
        self.counts: LabelCounts | None = None
        self.alarm = progress.alarm

    @property
    def replaying(self) -> bool:
        """Whether rows that were processed before are still to come."""
        return self.next < self._caught_up_at

    @property
    def quiet(self) -> bool:
        """Whether all rows so far were learnt from by models of an earlier process."""
        return self.next <= self.quiet_until

    def metadata(self) -> str:
        """What to commit."""
        told = self.headlines
        progress = _Progress(self.next, self.ever, self.at, self.schema, told.told, told.told_of, self.alarm)
        return msgspec.json.encode(progress).decode()

    def passes(self, offset: int, now: int) -> None:
        """A row has been read, whatever it says. now: its time, µs."""
        self.log.advance(now)
        self.first = offset if self.first is None else self.first
        self.next = offset + 1

    def trained(self) -> None:
        """A model is trained from what is known now, or was refused."""
        self.ever, self.at, self.schema = self.log.ever, self.log.now, self._hash

    @property
    def drawn(self) -> dict[str, float]:
        """Events of the random draw that were answered, with what each stands for."""
        return answered_weights(drawn_labels(self.known, self._pipeline.label.order))

    @property
    def known(self) -> list[Label]:
        """Annotations that are known by now, in order."""
        return [label for _, label in self.log.labels if label.known_at <= self.log.now]

    @property
    def final(self) -> list[Label]:
        """What they come to."""
        return final_labels(self.known, self._pipeline.label.order)

    def out_of_force(self, champion: ActiveModel | None) -> bool:
        """Whether models were trained, none of them serves this pipeline file, and none was tried under it."""
        return champion is None and self.ever > 0 and self.schema != self._hash

    def due(self, champion: ActiveModel | None) -> bool:
        """Whether enough new labels have come for a model."""
        new = self.log.ever - self.ever
        if champion is None:
            waited = self.out_of_force(champion) or new >= (pause(self._pipeline, None) if self.ever > 0 else 1)
            return waited and first_is_due(self._pipeline, self.log.counts)
        return new >= pause(self._pipeline, champion.manifest.used, alarmed=self._follows(self.log.now))

    def _follows(self, now: int) -> bool:
        """Whether an alarm is followed at a time."""
        reaction = self._pipeline.drift.reaction
        return reaction is not None and 0 < self.alarm <= now < self.alarm + reaction.lasts

    def due_after(self, alarm: int | None, champion: ActiveModel | None, now: float) -> bool:
        """Whether an alarm brings a model: there is a label that no training has seen.

        Args:
            alarm: when the newest was noticed, µs; None where there is none.
            champion: in force.
            now: seconds since 1970.

        Returns:
            True once for an alarm, from when on it is followed.

        """
        reaction, at = self._pipeline.drift.reaction, int(now * 1_000_000)
        if reaction is None or not reaction.retrain or alarm is None or champion is None or self.quiet:
            return False
        if not max(self.alarm, at - reaction.lasts) < alarm <= at or self._follows(alarm):
            return False
        self.log.advance(at)
        if self.log.ever <= self.ever:
            return False
        self.alarm = alarm
        return True

    def due_in_time(self, champion: ActiveModel | None, now: float) -> bool:
        """Whether time alone brings a model: there is a label that no training has seen. now: s since 1970.

        And where a changed pipeline file has put the champion out of force: all labels are there already.
        """
        interval = self._pipeline.training.max_interval
        if self.out_of_force(champion) and first_is_due(self._pipeline, self.log.counts):
            return True
        at = int(now * 1_000_000)
        if interval is None or champion is None or at - self.at < interval or self.quiet:
            return False
        self.log.advance(at)
        return self.log.ever > self.ever
