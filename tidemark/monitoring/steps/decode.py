"""Records of `P.predictions` and `P.outcomes` to rows of the tables that are joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemark.monitoring import decoding
from tidemark.monitoring.event_names import EventNames
from tidemark.monitoring.outcomes import OutcomeReader
from tidemark.pipeline.model import Pipeline
from tidemark.runtime.broker_time import broker_times, moved_to, wall_clock
from tidemark.runtime.by_topic import Received
from tidemark.runtime.processor import Batch
from tidemark.runtime.steps import Outcome, Refused, RoundContext


@dataclass(frozen=True, slots=True)
class DecodedRows:
    """The good rows of a batch (`tidemark.monitoring.joined`).

    at: (n,) int64, the record of the batch that each row comes from.  latest: µs, how far they move event time; None
    where there are none.  models: versions by the number in the rows.  names: what events are called, where the rows
    tell.
    """

    batch: Batch
    rows: NDArray[Any]
    at: NDArray[np.int64]
    latest: int | None
    models: Sequence[str] = ()
    names: EventNames | None = None


class DecodePredictionsStep:
    """Decodes predictions, and numbers the models that made them.

    wall: this machine's clock, µs: Kafka's timestamps are believed up to it.
    """

    def __init__(self, pipeline: Pipeline, wall: Callable[[], int] = wall_clock) -> None:
        self._spec = pipeline.label
        self._wall = wall
        self._max_ahead, self._skew = pipeline.time.max_ahead, pipeline.time.most_skew
        self._raw_topics, self._learns = pipeline.raw_topics, pipeline.label.outcomes is not None
        self.forget_names()

    def forget_names(self) -> None:
        """Number models, and what events are called, anew: no row is held that has a number."""
        self._models = decoding.Models()
        self._names = EventNames(self._raw_topics) if self._learns else None

    def process(self, received: Received, context: RoundContext) -> Outcome[list[DecodedRows]]:  # noqa: ARG002
        """The rows of each batch, and the records that are no predictions."""
        decoded, refused = [], []
        for batch in received.batches:
            came = broker_times(batch.timestamps, self._wall())
            limits = came + 2 * self._max_ahead + self._skew  # once more for the clocks of two machines
            rows, at, bad = decoding.predictions(batch, self._spec, self._models, limits, self._names)
            latest = int(moved_to(rows["time"], came[at], self._skew).max()) if rows.shape[0] else None
            decoded.append(DecodedRows(batch, rows, at, latest, self._models.names, self._names))
            refused += _refused(batch, bad)
        return Outcome(decoded, refused)


class DecodeOutcomesStep:
    """Decodes outcomes. wall: this machine's clock, µs."""

    def __init__(self, pipeline: Pipeline, wall: Callable[[], int] = wall_clock) -> None:
        self._reader = OutcomeReader(pipeline, wall)
        self._wall = wall
        self._skew = pipeline.time.most_skew

    def process(self, received: Received, context: RoundContext) -> Outcome[list[DecodedRows]]:  # noqa: ARG002
        """The rows of each batch, and the records that are no outcomes."""
        decoded, refused = [], []
        for batch in received.batches:
            rows, at, bad = self._reader.read(batch)
            came = broker_times(batch.timestamps[at], self._wall())
            latest = int(moved_to(rows["known_at"], came, self._skew).max()) if rows.shape[0] else None
            decoded.append(DecodedRows(batch, rows, at, latest))
            refused += _refused(batch, bad)
        return Outcome(decoded, refused)


def _refused(batch: Batch, bad: decoding.Bad) -> list[Refused]:
    return [Refused(batch, row, error.step, error.reason) for row, error in bad]
