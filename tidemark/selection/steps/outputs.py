"""Choices as records: candidates, and what each tile cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tidemark.evaluation.focus import MARK
from tidemark.pipeline.model import Pipeline
from tidemark.records import Candidate, Metric, encode
from tidemark.records.metric_kind import MetricKind
from tidemark.runtime.processor import Output
from tidemark.runtime.steps import RoundContext
from tidemark.selection.choice import Pick
from tidemark.selection.steps.choose import Choice

METRICS: Final = (
    MetricKind(
        "budget_spent",
        "cases",
        "select",
        "budget",
        "Cases asked in a tile; the detail has what is spent in all.",
    ),
    MetricKind(
        "budget_offered", "cases", "select", "budget", "Cases that a tile might have asked, with what was carried."
    ),
    MetricKind("tile_events", "events", "select", "budget", "Events of a tile."),
)


class CandidatesStep:
    """A candidate for each event that was chosen."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._topic = pipeline.topics.candidates
        self._selection = pipeline.selection

    def process(self, choices: list[Choice], context: RoundContext) -> list[Output]:
        """Candidates, none of a replay."""
        if context.replay:
            return []
        return [
            Output(self._topic, encode(self._candidate(choice, pick)), pick.proposal.event_id.encode())
            for choice in choices
            for pick in choice.picks
        ]

    def _candidate(self, choice: Choice, pick: Pick) -> Candidate:
        row, expires_after = pick.proposal, self._selection.expires_after
        value, low, high = row.estimate or (None, None, None)
        return Candidate(
            event_id=row.event_id,
            business_id=row.business_id,
            key=row.key,
            time=row.time,
            tile=choice.tile.number,
            tile_count=choice.tile.events,
            reason=pick.reason,
            priority=pick.priority,
            inclusion_probability=pick.inclusion_probability,
            policy=self._selection.version + (MARK if self._selection.focused else ""),
            features=row.features,
            context=row.context,
            probabilities=row.probabilities if row.estimate is None else None,
            uncertainty=row.uncertainty,
            model=row.model,
            expires_at=None if expires_after is None else choice.at + expires_after,
            definitions=row.definitions,
            value=value,
            low=low,
            high=high,
        )


class BudgetMetricsStep:
    """What each tile cost, was offered, and held."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._topic = pipeline.topics.metrics
        self._selection = pipeline.selection
        self._reaction = pipeline.drift.reaction

    def process(self, choices: list[Choice], context: RoundContext) -> list[Output]:
        """Metrics, none of a replay."""
        if context.replay:
            return []
        metrics = (metric for choice in choices for metric in self._metrics(choice))
        return [Output(self._topic, encode(metric), metric.name.encode()) for metric in metrics]

    def _metrics(self, choice: Choice) -> Iterator[Metric]:
        tile, picks, ledger = choice.tile, choice.picks, choice.ledger
        explored = sum(pick.reason == "explore" for pick in picks)
        detail: dict[str, str | float | int | None] = {
            "tile": tile.number,
            "explore": explored,
            "active": len(picks) - explored,
            "budget": choice.budget,
            "spent_in_all": ledger.in_all,
            "total": self._selection.total,
            "policy": self._selection.version,
        }
        if self._selection.cost is not None:
            detail |= {"unit": self._selection.cost.unit, "cost": choice.cost}
        if self._selection.per_hour is not None or self._selection.per_day is not None:
            detail |= {
                "hour": ledger.hour,
                "spent_in_hour": ledger.in_hour,
                "per_hour": self._selection.per_hour,
                "day": ledger.day,
                "spent_in_day": ledger.in_day,
                "per_day": self._selection.per_day,
            }
        if choice.follows and self._reaction is not None:
            detail |= {
                "alarm": ledger.alarm,
                "follows_until": choice.follows,
                "extra": ledger.extra,
                "most_extra": self._reaction.most,
            }
        figures = {"budget_spent": len(picks), "budget_offered": tile.offered, "tile_events": tile.events}
        for name, value in figures.items():
            yield Metric(
                name=name,
                value=float(value),
                low=None,
                high=None,
                n=tile.events,
                at=choice.at,
                model=tile.model,
                source="budget",
                detail=detail,
            )
