"""Scored rows to the background sample: events drawn by a coin, each at a place of the sample that a coin gives."""

from __future__ import annotations

from itertools import repeat
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from kernels import hash64
from tidemark.formats.json_lines import json_lines
from tidemark.pipeline import Pipeline
from tidemark.pipeline.definitions import feature_ids
from tidemark.records.background import DEFINITIONS
from tidemark.runtime.processor import Output, Partition
from tidemark.runtime.steps import RoundContext
from tidemark.stream.chances import Counted
from tidemark.stream.checkpoint import Position
from tidemark.stream.coins import coins_of
from tidemark.stream.outputs import Scored
from tidemark.stream.steps.predict import Predicted

_DRAWN: Final = b"background sample"
_PLACE: Final = b"place in the background sample"


class SampleStep:
    """Draws events, whatever they hold, and writes each to the place that it takes.

    The latest event of a place is the one that counts, so that the topic's compaction is all the forgetting there is.
    What must be known for that is how many rows came: a few numbers, committed with the offset.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._topic, self._size = pipeline.topics.sample, pipeline.sample.size
        self._tile, self._partitions = pipeline.selection.tile, pipeline.partitions
        self._of_draw, self._of_place = hash64(_DRAWN), hash64(_PLACE)
        self._headers = ((DEFINITIONS, msgspec.json.encode(feature_ids(pipeline))),)
        self._counted: dict[Partition, Counted] = {}

    def open(self, partition: Partition, position: Position) -> int | None:
        """Go on counting where it was committed; nothing is read again for that."""
        if position.sampled is not None and not position.rebuild:
            self._counted[partition] = Counted(*position.sampled)
        return None

    def close(self, partition: Partition) -> None:
        """Forget what was counted."""
        self._counted.pop(partition, None)

    def fields(self, partition: Partition) -> dict[str, Any]:
        """What was counted of a partition of the last stage; of others nothing."""
        counted = self._counted.get(partition)
        return {} if counted is None else {"sampled": (counted.day, counted.so_far, counted.before)}

    def process(self, predicted: Predicted, context: RoundContext) -> list[Output]:  # noqa: ARG002 replays give no rows
        """The events that are drawn of a round."""
        if not self._size:
            return []
        outputs: list[Output] = []
        for portion in predicted.portions:
            times = portion.tiles * self._tile
            halved = np.empty(len(times), np.int64)
            for begin, end, meta in portion.metas:
                halved[begin:end] = self._halvings(meta.partition, times[begin:end])
            outputs += self._drawn(portion.scored, halved)
        return outputs

    def _halvings(self, partition: Partition, times: NDArray[np.int64]) -> NDArray[np.int64]:
        if not len(times):
            return np.empty(0, np.int64)
        counted = self._counted.get(partition)
        if counted is None:
            counted = self._counted[partition] = Counted(int(times[0]) // (86_400 * 1_000_000))
        return counted.take(times, self._partitions, self._size)

    def _drawn(self, scored: Scored, halved: NDArray[np.int64]) -> list[Output]:
        coins = coins_of(scored.rows, self._of_draw)
        # Of all coins one in 2**h is below 2**(64 - h): of others a bit is left when the lower ones are shifted out.
        left = coins >> np.minimum(64 - halved, 63).astype(np.uint64)
        own = np.flatnonzero((left == 0) | (halved == 0))
        if not len(own):
            return []
        places = coins_of(scored.rows, self._of_place, own) % np.uint64(self._size)
        keys = [b"%d" % place for place in places.tolist()]
        lines = self._lines(scored, own, np.exp2(-halved[own].astype(np.float64)))
        fields = zip(repeat(self._topic), lines, keys, repeat(0), repeat(self._headers), strict=False)
        return list(map(Output._make, fields))

    def _lines(self, scored: Scored, own: NDArray[np.int64], chances: NDArray[np.float64]) -> list[bytes]:
        scores = scored.scores.only(own)
        probabilities = (
            pl.Series("probabilities", [None], dtype=pl.List(pl.Float64)).new_from_index(0, len(own))
            if scores.of_classes is None
            else pl.Series("probabilities", scores.of_classes).cast(pl.List(pl.Float64))
        )
        frame = scored.identity[["event_id", "time"]][own].hstack(
            [
                pl.Series("inclusion_probability", chances),
                pl.Series("model", [scores.model], dtype=pl.String).new_from_index(0, len(own)),
                probabilities,
                scored.features[own].to_struct("features"),
            ]
        )
        return json_lines(frame)
