"""Predictions to decisions, and how many of them a day has had."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Final

from tidemark.deciding.active import ActiveRule, begun
from tidemark.deciding.book import Day
from tidemark.deciding.known import Known
from tidemark.errors import RecordError
from tidemark.monitoring.decoding import sound_predictions
from tidemark.pipeline.model import Pipeline
from tidemark.records import Decided, Decision, Metric, Prediction, decode, encode
from tidemark.records.metric_kind import MetricKind
from tidemark.runtime.broker_time import broker_times, wall_clock
from tidemark.runtime.by_topic import Received
from tidemark.runtime.processor import Batch, Output
from tidemark.runtime.steps import Outcome, Refused, RoundContext

NAME: Final = "decisions_of_day"
METRICS: Final = (
    MetricKind(
        NAME,
        "alerts",
        "decide",
        "stream",
        "Alerts of all rules on the latest day of event time that has begun; the detail has what each rule decided.",
    ),
)
THRESHOLD: Final = "alert_threshold"
"""The metric that a rule with `threshold = "recall"` follows."""
_TELL_EVERY: Final = 10.0


class DecideStep:
    """Decides on predictions by the pipeline's rules, in the order in which they come.

    What was decided is read back from where it was written, so that a process that takes over tells no key twice and
    spends no budget twice.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        read_back: Callable[[], Iterable[Decision]] = tuple,
        wall: Callable[[], int] = wall_clock,
    ) -> None:
        """Prepare.

        Args:
            pipeline: whose rules these are.
            read_back: the decisions that are committed, oldest first.
            wall: this machine's clock, µs, up to which Kafka's timestamps are believed.

        """
        self._pipeline, self._read_back, self._wall = pipeline, read_back, wall
        self._topics = pipeline.topics
        self._farthest = 2 * pipeline.time.max_ahead + pipeline.time.most_skew
        self._rules: list[ActiveRule] = []
        self._known = Known()
        self._tell_at = 0.0
        self._last_told: object = None
        self.threshold_at: int | None = None
        """Offset in `P.metrics` of the threshold that is followed."""

    def open(self) -> None:
        """Begin with what was decided before."""
        pipeline = self._pipeline
        self._rules = [begun(rule, pipeline.label, self._farthest) for rule in pipeline.decisions]
        rules = {each.rule.name: each for each in self._rules}
        self._known = Known()
        latest = self._wall() + self._farthest
        for decision in self._read_back():
            rule = rules.get(decision.rule)
            strength = None if rule is None else rule.subject.recorded(decision)
            if rule is not None and strength is not None and decision.time <= latest:
                self._known.add(decision.rule, decision.event_id)
                rule.book.take(decision.key, decision.time, rule.subject.share(strength), decision.decided)

    def close(self) -> None:
        """Forget all of it."""
        self._rules, self.threshold_at = [], None

    def process(self, received: Received, context: RoundContext) -> Outcome[list[Output]]:
        """The decisions, and the records that are no predictions."""
        outputs: list[Output] = []
        refused: list[Refused] = []
        for batch in received.batches:
            if batch.partition.topic == self._topics.metrics:
                self._follow(batch)
            elif not context.replay:
                outputs += self._decide(batch, refused)
        if context.tick is not None and context.tick >= self._tell_at:
            self._tell_at = context.tick + _TELL_EVERY
            outputs += self._told(int(context.tick * 1e6))
        return Outcome(outputs, refused)

    def _decide(self, batch: Batch, refused: list[Refused]) -> Iterable[Output]:
        limits = broker_times(batch.timestamps, self._wall()) + self._farthest
        found, _, bad = sound_predictions(batch, self._pipeline.label, limits)
        refused += [Refused(batch, row, "decide", error.reason) for row, error in bad]
        for one in found:
            for each in self._rules:
                strength = each.subject.strength(one)
                if strength is None or not each.concerns(strength) or self._known.has(each.rule.name, one.event_id):
                    continue
                self._known.decide(each.rule.name, one.event_id)
                yield self._output(one, each, each.decide(one.key, one.time, strength))

    def _output(self, one: Prediction, rule: ActiveRule, decided: Decided) -> Output:
        bounds = rule.bounds
        assert bounds.lowest is not None  # noqa: S101 - without bounds nothing is decided
        decision = Decision(
            event_id=one.event_id,
            business_id=one.business_id,
            key=one.key,
            time=one.time,
            rule=rule.rule.name,
            decided=decided,
            model=one.model,
            late=one.late,
            **rule.subject.told(one, bounds.lowest if bounds.alert is None else bounds.alert),
        )
        return Output(self._topics.decisions, encode(decision), None if one.key is None else one.key.encode())

    def _follow(self, batch: Batch) -> None:
        """Take up the newest threshold that finds enough; one that is not known leaves the one before in force."""
        for offset, value in zip(batch.offsets.tolist(), batch.values, strict=True):
            threshold = followed(value)
            if threshold is None:
                continue
            self.threshold_at = offset
            for each in self._rules:
                each.follow(threshold)

    def _told(self, at: int) -> Iterable[Output]:
        """What the rules decided on the latest day, where that has changed."""
        days = [day for each in self._rules for day in each.book.days]
        if not days:
            return
        today = self._rules[0].book.day(self._wall())
        latest = max([day for day in days if day <= today] or days)  # a fast clock's tomorrow would hide today
        counts = {each.rule.name: each.book.days.get(latest, Day()) for each in self._rules}
        told = latest, {name: asdict(day) for name, day in counts.items()}
        if told == self._last_told:
            return
        self._last_told = told
        metric = Metric(
            name=NAME,
            value=sum(day.alert for day in counts.values()),
            low=None,
            high=None,
            n=sum(sum(asdict(day).values()) for day in counts.values()),
            at=at,
            model="",
            source="stream",
            detail={
                "day": latest,
                **{f"{name}.{kind}": n for name, day in counts.items() for kind, n in asdict(day).items()},
            },
        )
        yield Output(self._topics.metrics, encode(metric), NAME.encode())


def followed(value: bytes | None) -> float | None:
    """The threshold that a record of `P.metrics` tells; None where it is another metric, or knows none.

    Args:
        value: the record's.

    Returns:
        Above 0, and 1 at most.

    """
    if value is None or THRESHOLD.encode() not in value:
        return None
    try:
        metric = decode(Metric, value)
    except RecordError:
        return None  # somebody else's
    found = metric.value if metric.name == THRESHOLD else None
    return found if found is not None and 0 < found <= 1 else None
