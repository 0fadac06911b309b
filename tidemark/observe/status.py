"""What a look at a pipeline comes to, for `tidemark status` and the console's Loop page."""

from __future__ import annotations

from typing import Final, get_args

from tidemark.observe.label_studio import bridge_notes, bridge_problems
from tidemark.observe.sampling import Count, Sample
from tidemark.observe.snapshot import Snapshot
from tidemark.observe.status_record import (
    AlertsStatus,
    BudgetStatus,
    ChampionStatus,
    DecisionsStatus,
    FigureStatus,
    FlowStatus,
    LabelingStatus,
    LabelStudioStatus,
    LatencyStatus,
    QualityStatus,
    SampleStatus,
    State,
    Status,
    TopicStatus,
)
from tidemark.pipeline import Pipeline
from tidemark.records import Decided, Metric
from tidemark.records.topics import Topics

_HEADLINE: Final = "quality"
_ALERTS: Final = "alert_threshold"
_DECISIONS: Final = "decisions_of_day"


def status_of(
    pipeline: Pipeline,
    file: str,
    snapshot: Snapshot,
    sample: Sample,
    labeling: LabelingStatus,
    bridge: LabelStudioStatus | None = None,
) -> Status:
    """A pipeline's status.

    Args:
        pipeline: that was looked at.
        file: its file, as it was named.
        snapshot: what Kafka tells.
        sample: counts and latency, of `shown_topics`.
        labeling: what the labeling service tells.
        bridge: how the bridge to Label Studio fares; None where there is none.

    Returns:
        It.

    """
    problems, notes = list(snapshot.problems), list(snapshot.notes)
    if labeling.problem and any(flow.members for flow in snapshot.flows):
        problems.append(labeling.problem)
    if any(flow.members for flow in snapshot.flows):
        problems += bridge_problems(bridge, file)
    notes += bridge_notes(bridge, file)
    notes += letter_notes(sample.counts.get(pipeline.topics.deadletter), file)
    if sample.event_times:
        notes.append(
            "producers write the events' own times as Kafka's timestamps, so the latency from append can't be told"
        )
    return Status(
        pipeline=pipeline.name,
        label_unit=pipeline.label.unit,
        file=file,
        at=snapshot.at,
        state=_state(snapshot, problems),
        problems=problems,
        notes=notes,
        quality=_quality(snapshot),
        alerts=_alerts(snapshot, pipeline),
        decisions=decisions_of(snapshot.metrics.get(_DECISIONS), pipeline),
        champion=_champion(snapshot),
        budget=_budget(snapshot.metrics.get("budget_spent")),
        latency=_latency(sample),
        sample=_background(snapshot.metrics.get("sample_events")),
        labeling=labeling,
        flows=[
            FlowStatus(
                name=flow.name,
                processes=flow.members,
                behind=flow.lag,
                model=flow.model,
                last_rows=list(flow.last_rows),
            )
            for flow in snapshot.flows
        ],
        sources=snapshot.sources,
        webhooks=snapshot.webhooks,
        label_studio=bridge,
        topics=[
            TopicStatus(
                name=topic,
                records=count.records,
                exact=count.exact,
                per_second=count.a_second,
                open=None if count.handled is None else count.records - count.handled,
            )
            for topic in shown_topics(pipeline)
            if (count := sample.counts.get(topic)) is not None
        ],
        figures=[_figure(metric) for _, metric in sorted(snapshot.metrics.items())],
    )


def letter_notes(count: Count | None, file: str) -> list[str]:
    """What to know of dead letters that nobody has dealt with.

    Args:
        count: of the topic of dead letters; None where there is none.
        file: the pipeline's, as it was named.

    Returns:
        A sentence, or none.

    """
    left = 0 if count is None else count.records - (count.handled or 0)
    if count is None or left <= 0:
        return []
    about = "" if count.exact else "about "
    verb, noun = ("is", "letter") if left == 1 else ("are", "letters")
    return [f"{about}{left:,} dead {noun} {verb} open; see `tidemark deadletter reasons {file}`"]


def shown_topics(pipeline: Pipeline) -> list[str]:
    """Topics whose records a person counts: those of a stranger or for one."""
    topics = Topics(pipeline.name)
    own = [topics.predictions, topics.candidates, topics.labels, topics.outcomes, topics.deadletter]
    return [*pipeline.raw_topics, *own]


def _state(snapshot: Snapshot, problems: list[str]) -> State:
    if problems:
        return "wrong" if any(flow.members for flow in snapshot.flows) else "stopped"
    return "well" if all(flow.members for flow in snapshot.flows) else "starting"


def _quality(snapshot: Snapshot) -> QualityStatus | None:
    metric = snapshot.metrics.get(_HEADLINE)
    if metric is None or snapshot.champion is None or metric.model != snapshot.champion.version:
        return None
    detail = metric.detail
    return QualityStatus(
        model=metric.model,
        metric=str(detail.get("metric") or ""),
        value=metric.value,
        low=metric.low,
        high=metric.high,
        n=metric.n,
        of_class=str(detail.get("of_class") or ""),
        base_rate=_number(detail.get("base_rate")),
        chance=_number(detail.get("chance")),
        more=int(_number(detail.get("more")) or 0),
        at=metric.at / 1e6,
        way=str(detail.get("way") or ""),
        rmse=_number(detail.get("rmse")),
        mae=_number(detail.get("mae")),
        unit=str(detail.get("unit") or ""),
        next_hundred=None if snapshot.gain is None else snapshot.gain.expected,
        next_hundred_most=None if snapshot.gain is None else snapshot.gain.most,
        enough=snapshot.gain is not None and snapshot.gain.enough,
    )


def decisions_of(metric: Metric | None, pipeline: Pipeline) -> list[DecisionsStatus]:
    """What each rule of a pipeline decided, as the newest metric tells it.

    Args:
        metric: `decisions_of_day`; None where there is none.
        pipeline: whose rules these are.

    Returns:
        One for each rule; none without the metric.

    """
    if metric is None:
        return []
    found = []
    for rule in pipeline.decisions:
        counts = [_count(metric.detail.get(f"{rule.name}.{kind}")) or 0 for kind in get_args(Decided)]
        alert, abstain, suppressed, over_budget = counts
        found.append(
            DecisionsStatus(
                rule=rule.name,
                day=str(metric.detail.get("day") or "")[:10],
                alert=alert,
                abstain=abstain,
                suppressed=suppressed,
                over_budget=over_budget,
                per_day=rule.per_day,
            )
        )
    return found


def _alerts(snapshot: Snapshot, pipeline: Pipeline) -> AlertsStatus | None:
    metric = snapshot.metrics.get(_ALERTS)
    if pipeline.alerts is None or metric is None or snapshot.champion is None:
        return None
    detail, recall = metric.detail, _number(metric.detail.get("recall"))
    if metric.model != snapshot.champion.version or recall is None:
        return None
    known = metric.value is not None
    fits = _count(detail.get("fits"))
    return AlertsStatus(
        model=metric.model,
        of_class=pipeline.label.positive,
        recall=recall,
        threshold=metric.value,
        positives=metric.n,
        more_positives=_count(detail.get("more_positives")) or 0,
        alerts_per_day=_number(detail.get("per_day")) if known else None,
        alerts_low=_number(detail.get("per_day_low")) if known else None,
        alerts_high=_number(detail.get("per_day_high")) if known else None,
        most_per_day=_number(detail.get("most_per_day")),
        fits=None if fits is None else bool(fits),
    )


def _champion(snapshot: Snapshot) -> ChampionStatus | None:
    found = snapshot.champion
    if found is None:
        return None
    return ChampionStatus(
        version=found.version,
        parent=found.parent,
        labels=found.used,
        decision=found.decision,
        sources=dict(found.source_counts),
        conflicts=found.conflicts,
    )


def _budget(metric: Metric | None) -> BudgetStatus | None:
    if metric is None:
        return None
    total, detail = _number(metric.detail.get("total")), metric.detail
    until, unit = _count(detail.get("follows_until")), detail.get("unit")
    hour, day = _count(detail.get("per_hour")), _count(detail.get("per_day"))
    return BudgetStatus(
        in_all=int(_number(metric.detail.get("spent_in_all")) or 0),
        total=None if total is None else int(total),
        tile=int(metric.value or 0),
        tile_budget=int(_number(metric.detail.get("budget")) or 0),
        in_hour=None if hour is None else _count(detail.get("spent_in_hour")),
        per_hour=hour,
        in_day=None if day is None else _count(detail.get("spent_in_day")),
        per_day=day,
        follows_until=None if until is None else until / 1e6,
        extra=None if until is None else _count(detail.get("extra")),
        most_extra=None if until is None else _count(detail.get("most_extra")),
        unit=None if unit is None else str(unit),
        tile_cost=None if unit is None else _count(detail.get("cost")),
    )


def _background(metric: Metric | None) -> SampleStatus | None:
    size = None if metric is None else _count(metric.detail.get("size"))
    return None if metric is None or not size else SampleStatus(events=metric.n, size=size)


def _latency(sample: Sample) -> LatencyStatus | None:
    found = sample.latency
    return None if found is None else LatencyStatus(p50=found.p50, p99=found.p99, n=found.n)


def _figure(metric: Metric) -> FigureStatus:
    return FigureStatus(
        name=metric.name,
        value=metric.value,
        low=metric.low,
        high=metric.high,
        n=metric.n,
        source=metric.source,
        model=metric.model,
        at=metric.at / 1e6,
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
