"""Labeled cases that are close to another one: the newest some thousands are kept in memory."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from labeling_grpc.assist.ranking import FeatureRows
from labeling_grpc.tables.schema import answers, cases
from tidemark.pipeline import Pipeline
from tidemark.records import Candidate
from tidemark.records.messages import decode_candidate

KEPT: Final = 4_000
_FRESH_SECONDS: Final = 30.0
_LEAST: Final = 100
"""Answers that are looked up of each annotator, so that one who answers much is among the newest with it."""

_PART: Final = 1_000
_SPARE: Final = 2
"""Times as many cases as are wanted of which is asked at first whether they may be shown."""
_MANY: Final = 500
"""Labeled cases from which on one more changes next to nothing of their columns' scale: it is kept with them."""


@dataclass(frozen=True, slots=True)
class Similar:
    """A labeled case. distance: in robustly scaled features, 0 for the same.  features: NaN is missing."""

    event_id: str
    label: str
    time: int
    distance: float
    features: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Labeled:
    """n cases: rows (n, features).  places: of event ids.  scale: None while there are few."""

    read_at: float
    event_ids: list[str]
    labels: list[str]
    times: list[int]
    rows: NDArray[np.float64]
    places: dict[str, int]
    scale: _Scale | None

    def distances_to(self, row: NDArray[np.float64], own: int | None) -> NDArray[np.float64]:
        """How far each is from a row; own: place of the case itself, which is infinitely far."""
        if self.scale is not None:
            distances = self.scale.distances_to(row)
        elif own is None:
            distances = distances_to(self.rows, row)
        else:  # the row would count twice for what is usual
            distances = np.insert(distances_to(np.delete(self.rows, own, axis=0), row), own, np.inf)
        if own is not None:
            distances[own] = np.inf
        return distances


class _Scale:
    """Rows in units of their columns' spreads, and where they miss values."""

    def __init__(self, rows: NDArray[np.float64]) -> None:
        from kernels import RobustScale  # noqa: PLC0415 - numba, which a service that is not asked for this lacks

        self._scale = RobustScale.of(rows)
        self._rows = self._placed(rows)

    def distances_to(self, row: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) distances of a row (1, features), as `distances_to` has them, by the scale of these rows alone."""
        found: NDArray[np.float64] = np.linalg.norm(self._rows - self._placed(row), axis=1)
        return found

    def _placed(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.hstack((self._scale.scaled(rows), np.isnan(rows)))


class SimilarCases:
    """Finds them. May be shared by threads; one that finds them out of date reads them anew for all."""

    def __init__(self, pipeline: Pipeline, now: Callable[[], float] = time.monotonic) -> None:
        """now: seconds."""
        self._rows_of = FeatureRows(pipeline)
        self._now = now
        self._lock = threading.Lock()
        self._labeled: _Labeled | None = None

    def nearest(
        self,
        connection: sa.Connection,
        candidate: Candidate,
        most: int,
        hidden: Callable[[list[str]], Container[str]] = lambda _event_ids: (),
    ) -> list[Similar]:
        """The `most` labeled cases that are closest, nearest first; the case itself is none of them.

        hidden: tells which of some cases must not be shown.
        """
        labeled = self._current(connection)
        own = labeled.places.get(candidate.event_id)
        count = len(labeled.event_ids) - (own is not None)
        if not count:
            return []
        distances = labeled.distances_to(self._rows_of([candidate]), own)
        similar: list[Similar] = []
        start, end = 0, min(_SPARE * most, count)
        while start < count and len(similar) < most:
            chunk = _nearest(distances, end)[start:]
            left_out = hidden([labeled.event_ids[place] for place in chunk])
            similar += [
                Similar(
                    labeled.event_ids[place],
                    labeled.labels[place],
                    labeled.times[place],
                    float(distances[place]),
                    labeled.rows[place],
                )
                for place in chunk
                if labeled.event_ids[place] not in left_out
            ]
            start, end = end, min(2 * end, count)
        return similar[:most]

    def _current(self, connection: sa.Connection) -> _Labeled:
        with self._lock:
            if self._labeled is None or self._now() - self._labeled.read_at > _FRESH_SECONDS:
                self._labeled = self._read(connection)
            return self._labeled

    def _read(self, connection: sa.Connection) -> _Labeled:
        label = {row.event_id: row.label for row in reversed(_newest(connection))}
        kept_candidates: dict[str, Candidate] = {}
        for part in _parts(list(label)):
            kept = sa.select(cases.c.event_id, cases.c.candidate).where(cases.c.event_id.in_(part))
            kept_candidates |= {event_id: decode_candidate(raw) for event_id, raw in connection.execute(kept)}
        candidates = list(kept_candidates.values())
        rows = self._rows_of(candidates)
        return _Labeled(
            self._now(),
            list(kept_candidates),
            [label[event_id] for event_id in kept_candidates],
            [candidate.time for candidate in candidates],
            rows,
            {event_id: place for place, event_id in enumerate(kept_candidates)},
            _Scale(rows) if len(rows) >= _MANY else None,
        )


def _nearest(distances: NDArray[np.float64], count: int) -> list[int]:
    """Places of the smallest distances, smallest first; of equal ones, the first."""
    if count < len(distances):
        bound = np.partition(distances, count - 1)[count - 1]
        places = np.flatnonzero(distances <= bound)
    else:
        places = np.arange(len(distances))
    found: list[int] = places[np.argsort(distances[places], kind="stable")][:count].tolist()
    return found


def distances_to(rows: NDArray[np.float64], row: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far rows are from another one, in robustly scaled features.

    Args:
        rows: (n, features) at least one; NaN is missing.
        row: (1, features).

    Returns:
        (n,); 0 for the same.

    """
    from kernels import robust_scale  # noqa: PLC0415 - numba, which a service that is not asked for this lacks

    scaled = robust_scale(np.vstack((rows, row)))
    found: NDArray[np.float64] = np.linalg.norm(scaled[:-1] - scaled[-1], axis=1)
    return found


def _newest(connection: sa.Connection) -> list[sa.Row[str, str, str, int]]:
    """Newest answers that nothing supersedes, newest first. There are few annotators: each is found by the index."""
    names = list(_annotators(connection))
    share = max(_LEAST, -(-KEPT // max(1, len(names))))
    rows: list[sa.Row[str, str, str, int]] = []
    for name in names:
        query = (
            sa.select(answers.c.id, answers.c.event_id, answers.c.label, answers.c.answered_at)
            .where(answers.c.annotator == name, answers.c.status == "answered")
            .order_by(answers.c.answered_at.desc())
            .limit(share)
        )
        rows += connection.execute(query).all()
    newest = heapq.nlargest(KEPT, rows, key=lambda row: (row.answered_at, row.id))
    superseded: set[str | None] = set()
    for part in _parts([row.id for row in newest]):
        query_of = sa.select(answers.c.supersedes).where(answers.c.supersedes.in_(part))
        superseded |= set(connection.execute(query_of).scalars())
    return [row for row in newest if row.id not in superseded]


def _annotators(connection: sa.Connection) -> Iterator[str]:
    following = sa.select(sa.func.min(answers.c.annotator)).where(answers.c.annotator > sa.bindparam("name"))
    name = ""
    while (annotator := connection.execute(following, {"name": name}).scalar_one()) is not None:
        yield (name := annotator)


def _parts(values: Sequence[str]) -> Iterator[Sequence[str]]:
    return (values[start : start + _PART] for start in range(0, len(values), _PART))
