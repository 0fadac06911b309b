"""Ranks what waits by the model in force: candidates as they come in, and all that wait when there is a newer model.

Priorities of a tile's picks say nothing about another tile's, nor uncertainties of one model about another's. So from
the first model on, active cases are ranked by the uncertainty that the newest one has of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from labeling_grpc.assist.champion_follower import Champion
from labeling_grpc.commands.labeling import Rescore, Rescored
from labeling_grpc.queue.sql import ACTIVE_AFTER
from labeling_grpc.storage.base import StoreError
from labeling_grpc.storage.group_commit import Writer
from tidemark.pipeline import Pipeline
from tidemark.records import Candidate
from tidemark.records.messages import decode_candidate
from tidemark.registry.schema import ModelSchema
from tidemark.registry.values import Values

if TYPE_CHECKING:
    from tidemark.registry.serving import ActiveModel

CHUNK: Final = 250
"""Cases that one command re-ranks: leases wait for one such command at most."""


class Ranker:
    """Ranks the cases of one queue. Used by the thread that takes in, so that none slips through between two models."""

    def __init__(self, pipeline: Pipeline, writer: Writer, champion: Champion) -> None:
        self._pipeline = pipeline
        self._writer = writer
        self._champion = champion
        self._rows_of = FeatureRows(pipeline)
        self._passing: ActiveModel | None = None
        self._after = 0
        self._missed = False

    def begin(self) -> None:
        """Look anew at what is ranked: another replica may have taken in meanwhile."""
        self._passing = None

    def priorities(self, candidates: Sequence[Candidate | None]) -> list[float | None]:
        """Priority of each candidate by the model in force; None: as it came."""
        model = self._champion.current()
        ranked = [candidate for candidate in candidates if candidate is not None and _is_ranked(candidate)]
        if model is None:
            self._missed |= bool(ranked)
            return [None] * len(candidates)
        by_id = dict(zip((candidate.event_id for candidate in ranked), self._uncertainty(model, ranked), strict=True))
        return [None if candidate is None else by_id.get(candidate.event_id) for candidate in candidates]

    def step(self) -> bool:
        """Re-rank some of what waits, if a newer model than the one it is ranked by is in force; whether there is more.

        Raises:
            StoreError: the database fails.
            Stopping: the writer takes no more commands.

        """
        model = self._champion.current()
        if model is None:
            return False
        if self._passing is None or self._passing.version != model.version:
            if self._passing is None and model.version == self._writer.store.counts.ranked_by and not self._missed:
                return False
            self._passing, self._after, self._missed = model, 0, False
        rows = self._rows()
        done = len(rows) < CHUNK
        candidates = [decode_candidate(row.candidate) for row in rows]
        self._writer.call(Rescore(model.version, self._rescored(model, rows, candidates), done=done))
        if done:
            self._passing = None
        else:
            self._after = rows[-1].case_id
        return not done

    def _rows(self) -> Sequence[sa.Row[int, bytes]]:
        try:
            with self._writer.store.engine.connect() as connection:
                return connection.execute(ACTIVE_AFTER, {"after": self._after, "most": CHUNK}).all()
        except sa.exc.DBAPIError as error:
            raise StoreError(f"the queue's database can't be read to rank it anew ({error.orig})") from error

    def _rescored(
        self, model: ActiveModel, rows: Sequence[sa.Row[int, bytes]], candidates: list[Candidate]
    ) -> tuple[Rescored, ...]:
        pairs = [(row, candidate) for row, candidate in zip(rows, candidates, strict=True) if _is_ranked(candidate)]
        uncertainty = self._uncertainty(model, [candidate for _, candidate in pairs])
        share = self._pipeline.labeling.withdraw_below
        return tuple(
            Rescored(row.case_id, candidate.event_id, value, withdraw=value < share * (candidate.uncertainty or 0.0))
            for (row, candidate), value in zip(pairs, uncertainty, strict=True)
        )

    def _uncertainty(self, model: ActiveModel, candidates: list[Candidate]) -> list[float]:
        """What the stream flow would say now of each candidate."""
        from tidemark.selection.doubt import doubt_of  # noqa: PLC0415
        from tidemark.selection.scoring import score  # noqa: PLC0415 - the kernels, which a service without a model lacks

        known = {
            candidate.event_id: candidate.uncertainty for candidate in candidates if candidate.model == model.version
        }
        others = [candidate for candidate in candidates if known.get(candidate.event_id) is None]
        if others:
            rows, bounds = self._rows_of(others), self._rows_of.schema.bounds
            probabilities = model.probabilities(rows) if bounds is None else doubt_of(model.estimates(rows), bounds)
            scores = score(self._pipeline.selection, model.version, probabilities, len(others))
            known |= dict(zip((candidate.event_id for candidate in others), scores.uncertainty.tolist(), strict=True))
        return [cast("float", known[candidate.event_id]) for candidate in candidates]


class FeatureRows:
    """Features of candidates in the order of a pipeline's. May be shared by threads."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.schema: Final = ModelSchema.of(pipeline)
        self._values = Values(self.schema)

    def __call__(self, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        """(n, features) of n candidates; NaN is missing.

        Of a candidate of an earlier pipeline file those count whose definition is the pipeline's.
        """
        return self._values.rows([(candidate.features, candidate.definitions) for candidate in candidates])


def _is_ranked(candidate: Candidate) -> bool:
    """Whether models rank it: neither what was drawn with a known chance nor what somebody brought in by hand."""
    return candidate.inclusion_probability is None and candidate.reason != "imported"
