"""Events of the background sample to parity: whether their features come out as they were scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from tidemark.drift import saved
from tidemark.monitoring.parity import Checked, Checking
from tidemark.pipeline.model import Pipeline
from tidemark.records import Metric, encode
from tidemark.records.metric_kind import MetricKind
from tidemark.runtime.by_topic import Received
from tidemark.runtime.processor import Output
from tidemark.runtime.steps import RoundContext

COMPARED: Final = "parity_compared"
DIFFERING: Final = "parity_differing"
NOT_COMPARABLE: Final = "parity_not_comparable"
METRICS: Final = (
    MetricKind(
        COMPARED, "events", "monitor", "stream", "Sampled events that were computed once more, of the last thousand."
    ),
    MetricKind(
        DIFFERING,
        "events",
        "monitor",
        "stream",
        "Those with a feature that comes out otherwise than it was scored. The detail names features and an event.",
    ),
    MetricKind(
        NOT_COMPARABLE,
        "events",
        "monitor",
        "stream",
        "Those with a feature that was defined otherwise, or whose rows are gone or too many. The detail says which.",
    ),
)
_EVERY: Final = 60.0
_NAMED: Final = 5
_LONGEST: Final = 200
Detail = dict[str, str | float | int | None]


class CheckParityStep:
    """Offers events to whoever checks them, and tells now and then what came of it.

    begin: starts checking, in the process that reads the sample; None: nothing is checked.
    """

    def __init__(self, pipeline: Pipeline, begin: Callable[[], Checking] | None = None) -> None:
        self._topic = pipeline.topics.metrics
        self._begin = begin if pipeline.sample.size else None
        self._checking: Checking | None = None
        self._told: float | None = None

    def reset(self) -> None:
        """Stop checking: another process reads the sample."""
        if self._checking is not None:
            self._checking.close()
        self._checking = self._told = None

    def process(self, received: Received, context: RoundContext) -> list[Output]:
        """Figures, at a tick now and then."""
        if context.tick is not None:
            return self._tell(context.tick)
        if context.replay or self._begin is None:
            return []
        for batch in received.batches:
            if len(batch) and self._checking is None:
                self._checking = self._begin()
            for key, value, headers in zip(batch.keys, batch.values, batch.headers, strict=False):
                if key != saved.KEY and self._checking is not None:
                    self._checking.offer(value, headers)
        return []

    def _tell(self, now: float) -> list[Output]:
        checked = [] if self._checking is None else self._checking.told()
        if not checked or (self._told is not None and now - self._told < _EVERY):
            return []
        self._told = now
        figures: tuple[tuple[str, int, Detail], ...] = (
            (COMPARED, sum(each.compared > 0 for each in checked), {}),
            (DIFFERING, sum(bool(each.differing) for each in checked), _differing(checked)),
            (NOT_COMPARABLE, sum(bool(each.incomparable) for each in checked), _incomparable(checked)),
        )
        return [self._output(name, value, len(checked), int(now * 1e6), detail) for name, value, detail in figures]

    def _output(self, name: str, value: int, n: int, at: int, detail: Detail) -> Output:
        metric = Metric(
            name=name, value=float(value), low=None, high=None, n=n, at=at, model="", source="stream", detail=detail
        )
        return Output(self._topic, encode(metric), name.encode())


def _differing(checked: Sequence[Checked]) -> Detail:
    """The features that differ in most events, by how much at most, and the latest event that has one of them."""
    counts = Counter(name for each in checked for name in each.differing)
    detail: Detail = {}
    for place, (name, count) in enumerate(counts.most_common(_NAMED), 1):
        pairs = [each.differing[name] for each in checked if name in each.differing]
        by = [abs(derived - told) for derived, told in pairs if derived is not None and told is not None]
        detail |= {
            f"feature_{place}": name[:_LONGEST],
            f"events_{place}": count,
            f"largest_{place}": max(by, default=None),
        }
    if counts:
        detail["event_id"] = next(each.event_id for each in reversed(checked) if each.differing)
    return detail


def _incomparable(checked: Sequence[Checked]) -> Detail:
    counts = Counter((name, why) for each in checked for name, why in each.incomparable.items())
    detail: Detail = {}
    for place, ((name, why), count) in enumerate(counts.most_common(_NAMED), 1):
        detail |= {f"feature_{place}": name[:_LONGEST], f"events_{place}": count, f"why_{place}": why[:_LONGEST]}
    return detail
