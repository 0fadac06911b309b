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

from labeling_grpc.assist.ranking import rows_of
from labeling_grpc.tables.schema import answers, cases
from tidemark.pipeline import Pipeline
from tidemark.records import Candidate
from tidemark.records.messages import decode_candidate

KEPT: Final = 4_000
_FRESH_SECONDS: Final = 30.0
_LEAST: Final = 100
"""Answers that are looked up of each annotator, so that one who answers much is among the newest with it."""

_PART: Final = 1_000
_CHUNK: Final = 200
"""Cases that are asked about at once whether they may be shown."""


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
    """n cases: rows (n, features)."""

    read_at: float
    event_ids: list[str]
    labels: list[str]
    times: list[int]
    rows: NDArray[np.float64]


class SimilarCases:
    """Finds them. May be shared by threads; one that finds them out of date reads them anew for all."""

    def __init__(self, pipeline: Pipeline, now: Callable[[], float] = time.monotonic) -> None:
        """now: seconds."""
        self._pipeline = pipeline
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
        others = [place for place, event_id in enumerate(labeled.event_ids) if event_id != candidate.event_id]
        if not others:
            return []
        distances = distances_to(labeled.rows[others], rows_of(self._pipeline, [candidate]))
        order = np.argsort(distances, kind="stable").tolist()
        similar: list[Similar] = []
        for start in range(0, len(order), _CHUNK):
            chunk = order[start : start + _CHUNK]
            left_out = hidden([labeled.event_ids[others[place]] for place in chunk])
            similar += [
                Similar(
                    labeled.event_ids[others[place]],
                    labeled.labels[others[place]],
                    labeled.times[others[place]],
                    float(distances[place]),
                    labeled.rows[others[place]],
                )
                for place in chunk
                if labeled.event_ids[others[place]] not in left_out
            ]
            if len(similar) >= most:
                break
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
        return _Labeled(
            self._now(),
            list(kept_candidates),
            [label[event_id] for event_id in kept_candidates],
            [candidate.time for candidate in candidates],
            rows_of(self._pipeline, candidates),
        )


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
