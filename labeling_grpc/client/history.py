"""Earlier cases of an entity, as clients are given them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self, overload


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """An earlier case of the same entity. time: event time, µs.  probability: of the positive class, as scored."""

    event_id: str
    time: int
    features: dict[str, float | None]
    label: str | None
    probability: float | None
    categories: dict[str, str] = field(default_factory=dict)


class History(Sequence[HistoryPoint]):
    """Earlier cases of an entity, oldest first: a sequence of points that is kept column by column.

    event_ids, times (µs), labels and probabilities have one entry a case; None: it has none.
    """

    def __init__(
        self,
        event_ids: Sequence[str],
        times: Sequence[int],
        labels: Sequence[str | None],
        probabilities: Sequence[float | None],
        columns: Mapping[str, tuple[Sequence[float], Sequence[str]]],
    ) -> None:
        """columns: of each feature its values, NaN where one is missing, and names of their categories, or ()."""
        self.event_ids = event_ids
        self.times = times
        self.labels = labels
        self.probabilities = probabilities
        self._columns = columns

    @classmethod
    def of(cls, points: Sequence[HistoryPoint]) -> Self:
        """The history that points make up."""
        names = dict.fromkeys(name for point in points for name in point.features)

        def value(point: HistoryPoint, name: str) -> float:
            known = point.features.get(name)
            return math.nan if known is None else known

        return cls(
            [point.event_id for point in points],
            [point.time for point in points],
            [point.label for point in points],
            [point.probability for point in points],
            {
                name: ([value(point, name) for point in points], [point.categories.get(name, "") for point in points])
                for name in names
            },
        )

    def values(self, name: str) -> Sequence[float]:
        """A feature's value in each case; NaN where it is missing. Empty where no case has the feature."""
        return self._columns[name][0] if name in self._columns else ()

    def __len__(self) -> int:
        return len(self.event_ids)

    @overload
    def __getitem__(self, place: int) -> HistoryPoint: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[HistoryPoint, ...]: ...

    def __getitem__(self, place: int | slice) -> HistoryPoint | tuple[HistoryPoint, ...]:
        if isinstance(place, slice):
            return tuple(self._point(each) for each in range(*place.indices(len(self))))
        return self._point(range(len(self))[place])

    def _point(self, place: int) -> HistoryPoint:
        features: dict[str, float | None] = {}
        categories = {}
        for name, (values, names) in self._columns.items():
            value = values[place]
            features[name] = None if math.isnan(value) else value
            if names and names[place]:
                categories[name] = names[place]
        return HistoryPoint(
            self.event_ids[place],
            self.times[place],
            features,
            self.labels[place],
            self.probabilities[place],
            categories,
        )
