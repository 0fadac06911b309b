"""What was asked lately: so that no near-duplicate is asked again, and no segment goes unseen."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

import kernels
from tidemark.pipeline.model import Selection
from tidemark.records import Candidate
from tidemark.selection.tiles import Proposal
from tidemark.strategies import feature_table

SEGMENTS_OVER: Final = 1_000
"""Cases, the newest, by which shares of segments are told."""
_NEAR: Final = 0.05
"""Distance, as the root of the mean square over features in units of their spread, below which two events are alike."""
_CELL: Final = 0.1
"""The same between two events of one tile: both lie in one cell of so wide a grid."""
_FARTHEST: Final = 1e9
"""Spreads from the median beyond which events are told apart no further."""
_LONGEST: Final = 100
Value = str | float | int | bool | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A case: what is known of the event, by which definitions; the segment that it is of."""

    features: Mapping[str, float | None]
    definitions: Mapping[str, str] | None
    segment: str


def remembered(selection: Selection) -> int:
    """How many of the newest cases selection goes by; 0: none."""
    return max(selection.memory, 0 if selection.segments is None else SEGMENTS_OVER)


def segment_of(context: Mapping[str, Value], column: str | None) -> str:
    """The segment of an event; one that is missing is a segment too."""
    value = None if column is None else context.get(column)
    return "" if value is None else str(value)[:_LONGEST]


@dataclass(slots=True)
class AskedCases:
    """The newest cases, in the order in which they were asked.

    selection: the pipeline's settings.
    """

    selection: Selection
    cases: deque[Asked] = field(init=False)

    def __post_init__(self) -> None:
        """Begin with none."""
        self.cases = deque(maxlen=remembered(self.selection))

    def segment(self, row: Proposal) -> str:
        """The segment of a proposal."""
        return segment_of(row.context, self._column)

    @property
    def _column(self) -> str | None:
        return None if self.selection.segments is None else self.selection.segments.column

    def read(self, candidates: Iterable[Candidate]) -> None:
        """Take in what was asked before, oldest first."""
        for case in candidates:
            if case.reason != "imported":
                self.cases.append(Asked(case.features, case.definitions, segment_of(case.context, self._column)))

    def add(self, rows: Iterable[Proposal]) -> None:
        """Take in what is asked now."""
        for row in rows:
            self.cases.append(Asked(row.features, row.definitions, self.segment(row)))

    def by_segment(self) -> Counter[str]:
        """Cases of each segment among the newest."""
        newest = list(self.cases)[-SEGMENTS_OVER:]
        return Counter(case.segment for case in newest)

    def parted(self, pool: Sequence[Proposal]) -> tuple[list[Proposal], list[Proposal]]:
        """Rows of a pool that are like no case asked lately and none before them in the pool; and the others.

        Args:
            pool: proposals, best first.

        Returns:
            Both in the pool's order.

        """
        if not self.selection.memory or not pool:
            return list(pool), []
        known = [case for case in list(self.cases)[-self.selection.memory :] if case.definitions == pool[0].definitions]
        given = [*(row.features for row in pool), *(case.features for case in known)]
        x = kernels.robust_scale(feature_table(given, only=len(pool)), clip=_FARTHEST)
        alike = _alike(x[: len(pool)])
        if known and x.shape[1]:
            alike |= kernels.novelty(x[: len(pool)], x[len(pool) :]) <= _NEAR * math.sqrt(x.shape[1])
        fresh = [row for row, seen in zip(pool, alike.tolist(), strict=True) if not seen]
        return fresh, [row for row, seen in zip(pool, alike.tolist(), strict=True) if seen]


def _alike(x: np.ndarray) -> np.ndarray:
    """(n,) whether a row lies in one cell with a row before it."""
    cells = np.floor(x / _CELL).astype(np.int64)
    _, first = np.unique(cells, axis=0, return_index=True)
    alike = np.ones(len(x), np.bool_)
    alike[first] = False
    return alike
