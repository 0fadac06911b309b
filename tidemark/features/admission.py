"""Which decoded rows may go on: texts within the pipeline's limits, and keys that tell what their column says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from tidemark.pipeline import Pipeline
from tidemark.pipeline.expressions import Schema
from tidemark.pipeline.record_keys import KeyForm, mismatch, record_keys

LIMITS = "limits"
"""Step of a dead letter whose record is larger than the pipeline's `limits`."""
KEY = "key"
"""Step of a dead letter whose record's key is another than its column says."""


class Admission:
    """Checks of a pipeline's rows. cleaned: columns after cleaning."""

    def __init__(self, pipeline: Pipeline, cleaned: Schema) -> None:
        self._limits = pipeline.limits
        ids = {*pipeline.keys, pipeline.label.business_id}
        self._texts = {
            name: ("key", pipeline.limits.key) if name in ids else ("text", pipeline.limits.text)
            for name, dtype in cleaned.items()
            if dtype == pl.String
        }
        self._sizes = [pl.col(name).str.len_bytes() for name in self._texts]
        self._within = min([pipeline.limits.row, *(limit for _, limit in self._texts.values())])
        self._key = pipeline.keys[0]
        self._numbers = cleaned[self._key] != pl.String
        compared = pipeline.needs_record_keys and not pipeline.repartitions
        self._forms: dict[str, KeyForm] = {raw.topic: raw.key or "text" for raw in pipeline.raw} if compared else {}
        self._all_texts = all(form == "text" for form in self._forms.values())

    def too_large(self, frame: pl.DataFrame) -> dict[int, str]:
        """Why rows of a cleaned frame are larger than the limits allow, by their number."""
        if not self._sizes or not len(frame):
            return {}
        largest = frame.select(pl.sum_horizontal(self._sizes).max()).item()
        if largest is None or largest <= self._within:
            return {}
        sizes = frame.select(self._sizes).fill_null(0)
        reasons: dict[int, str] = {}
        for name, (kind, limit) in self._texts.items():
            for row in np.flatnonzero((sizes[name] > limit).to_numpy()).tolist():
                size = f"{name}: {sizes[name][row]:,} bytes"
                reasons.setdefault(row, f"{size}, over limits.{kind} = {limit:,}; shorten it, or raise the limit")
        total = sizes.sum_horizontal()
        for row in np.flatnonzero((total > self._limits.row).to_numpy()).tolist():
            reasons.setdefault(
                row,
                f"texts of {total[row]:,} bytes together, over limits.row = {self._limits.row:,}; leave columns out",
            )
        return reasons

    def wrongly_keyed(
        self, keys: Sequence[bytes | None], texts: pl.Series, topics: Sequence[tuple[int, str]]
    ) -> dict[int, str]:
        """Why rows have the wrong record key, by their number.

        Args:
            keys: keys of the records.
            texts: of each row the pipeline's first key.
            topics: number of the row that a run of rows ends before, and the topic of the run, in order.

        """
        if not self._forms or (self._all_texts and _are_texts(keys, texts)):
            return {}
        reasons: dict[int, str] = {}
        begin = 0
        for end, topic in topics:
            form = self._forms[topic]
            given, told = list(keys[begin:end]), texts[begin:end].to_list()
            wanted = record_keys(form, told, numbers=self._numbers)
            if wanted != given:
                for i, (key, text) in enumerate(zip(given, told, strict=True)):
                    if key != wanted[i] or key is None:
                        reasons[begin + i] = mismatch(form, self._key, key, text, numbers=self._numbers)
            begin = end
        return reasons


def _are_texts(keys: Sequence[bytes | None], texts: pl.Series) -> bool:
    """Whether each key is its text's UTF-8; as columns, at a fifth of what it takes row by row."""
    return pl.Series(keys, dtype=pl.Binary).equals(texts.cast(pl.Binary))
