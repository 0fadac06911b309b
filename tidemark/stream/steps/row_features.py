"""Columns to rows: cleaned, with the features that a row tells by itself, within the pipeline's limits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.features.admission import KEY, LIMITS, Admission
from tidemark.features.rows import Cleaner, RowFeatures, surviving
from tidemark.formats.decoder import BadRow
from tidemark.pipeline import Pipeline
from tidemark.pipeline.expressions import EvaluationError
from tidemark.runtime.steps import Outcome, Refused, RoundContext
from tidemark.stream.rows import Arrival, Part, Rows, prefixed, renamed, without_prefix
from tidemark.stream.steps.decode import DecodedBatches

_STEP = "features"


class RowFeaturesStep:
    """Cleans, computes the row's own features, and refuses rows that are too large or wrongly keyed."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._cleaner = Cleaner(pipeline)
        self._features = RowFeatures(pipeline, self._cleaner.schema)
        self._keys = pipeline.keys
        self._admission = Admission(pipeline, self._cleaner.schema)

    def process(
        self,
        decoded: Sequence[DecodedBatches],
        context: RoundContext,  # noqa: ARG002 a row's own features are of the row alone
    ) -> Outcome[list[Arrival]]:
        """The good rows."""
        arrivals: list[Arrival] = []
        errs: list[Refused] = []
        for rows in decoded:
            arrival, bad = self._arrival(rows)
            errs += rows.refused(bad)
            if arrival is not None:
                arrivals.append(arrival)
        return Outcome(arrivals, errs)

    def _arrival(self, given: DecodedBatches) -> tuple[Arrival | None, list[BadRow]]:
        """The good rows, None if there are none; and the others."""
        decoded, batches = given.decoded, given.batches
        rows, times, bounded = decoded.rows, decoded.times, decoded.bounded
        computed, reasons = surviving(self._compute, decoded.frame)
        bad: list[BadRow] = []
        if reasons:
            bad += [BadRow(int(rows[i]), _STEP, text) for i, text in reasons.items()]
            keep = np.ones(len(rows), np.bool_)
            keep[list(reasons)] = False
            rows, times, bounded = rows[keep], times[keep], bounded[keep]
        ends = np.cumsum([len(batch) for batch in batches])
        refusals = self._refusals(given, computed, rows, ends)
        if refusals:
            bad += [BadRow(int(rows[i]), step, text) for i, (step, text) in refusals.items()]
            keep = np.ones(len(rows), np.bool_)
            keep[list(refusals)] = False
            computed, rows = computed.filter(pl.Series(keep)), rows[keep]
            times, bounded = times[keep], bounded[keep]
        if not len(rows):
            return None, bad
        columns = computed[list(self._cleaner.schema)]
        origin = np.searchsorted(ends, rows, "right").astype(np.uint32)
        good = Rows(
            origins=[batch.partition for batch in batches],
            origin=origin,
            offsets=given.joined.offsets[rows],
            times=times,
            bounded=bounded,
            late=np.zeros(len(rows), np.bool_),
            keys=[columns[key].cast(pl.String) for key in self._keys],
            columns=columns,
            features=without_prefix(computed, self._features.names),
        )
        cuts = np.searchsorted(origin, np.arange(len(batches) + 1)).tolist()
        parts = [
            Part(batch.partition, begin, end, int(batch.offsets[0]), int(batch.offsets[-1]))
            for batch, begin, end in zip(batches, cuts, cuts[1:], strict=False)
            if end > begin
        ]
        return Arrival(good, parts), bad

    def _refusals(
        self, given: DecodedBatches, computed: pl.DataFrame, rows: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> dict[int, tuple[str, str]]:
        """Step and reason of each row of `computed` that is too large, or wrongly keyed."""
        refusals = {row: (LIMITS, reason) for row, reason in self._admission.too_large(computed).items()}
        joined = given.joined
        keys = joined.keys if len(rows) == len(joined) else [joined.keys[row] for row in rows.tolist()]
        texts = computed[self._keys[0]].cast(pl.String)
        topics = (batch.partition.topic for batch in given.batches)
        runs = zip(np.searchsorted(rows, ends).tolist(), topics, strict=True)
        for row, reason in self._admission.wrongly_keyed(keys, texts, list(runs)).items():
            refusals.setdefault(row, (KEY, reason))
        return refusals

    def _compute(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Cleaned columns, and the features with a prefix behind them."""
        cleaned = self._cleaner(frame)
        for key in self._keys:
            if cleaned[key].null_count():
                raise EvaluationError(f"{key}: became null by cleaning, and it is a key of the pipeline")
        features = self._features(cleaned)
        return cleaned.hstack(renamed(features, map(prefixed, features.columns)))
