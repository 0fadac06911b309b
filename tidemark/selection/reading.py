"""From a record of proposals to what each tile gets of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

import polars as pl

from tidemark.errors import RecordError
from tidemark.pipeline.model import Pipeline
from tidemark.selection.tiles import Proposal
from tidemark.stream.proposals import Proposals

_STEP: Final = "select"
_REQUIRED: Final = ["event_id", "time", "tile", "coin", "explore", "score", "draw", "active", "model"]


@dataclass(frozen=True, slots=True)
class Part:
    """A record's part of one tile: all its events counted, those it proposed by coin, those by score."""

    tile: int
    events: int
    coins: list[Proposal]
    scores: list[Proposal]


class Lanes:
    """The last stage's partitions, numbered: those of the last hop, or of each raw topic. New ones come last."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._partitions = pipeline.partitions
        self._topics = pipeline.hop_topics[-1:] or pipeline.raw_topics

    def __len__(self) -> int:
        return self._partitions * len(self._topics)

    def number(self, topic: str, partition: int) -> int:
        """Number of a partition, from 0.

        Raises:
            RecordError: the pipeline has no such partition.

        """
        if topic not in self._topics or not 0 <= partition < self._partitions:
            raise RecordError(
                _STEP,
                f"proposals of {topic!r} partition {partition}, but the pipeline's last stage is "
                f"{' and '.join(self._topics)} with partitions 0 to {self._partitions - 1}",
            )
        return partition * len(self._topics) + self._topics.index(topic)


def parts(record: Proposals) -> list[Part]:
    """Parts of a record by rising tile.

    Raises:
        RecordError: rows and counts contradict each other, so that the tile's size would be wrong.

    """
    counts = record.meta.tiles
    nulls = [name for name in _REQUIRED if record.rows[name].null_count()]
    if nulls:
        raise RecordError(_STEP, f"proposals without {', '.join(nulls)}")
    rows = record.rows.filter(pl.col("explore") | pl.col("active"))
    proposed = _proposals(rows)
    flags = list(zip(rows["tile"], rows["explore"], rows["active"], proposed, strict=True))
    drawn = Counter(tile for tile, explore, _, _ in flags if explore)
    for tile in {tile for tile, *_ in flags}:
        if tile not in counts:
            raise RecordError(_STEP, f"rows of tile {tile}, which the record does not count")
    for tile, events in counts.items():
        if events < 1 or not 0 < drawn[tile] <= events:
            raise RecordError(_STEP, f"{drawn[tile]} exploration rows for {events} events of tile {tile}")
    return [
        Part(
            tile,
            counts[tile],
            [row for of, explore, _, row in flags if of == tile and explore],
            [row for of, _, active, row in flags if of == tile and active],
        )
        for tile in sorted(counts)
    ]


def _proposals(rows: pl.DataFrame) -> list[Proposal]:
    features = [name for name in rows.columns if name.startswith("f_")]
    context = [name for name in rows.columns if name.startswith("c_")]
    rows = rows.with_columns(pl.col("uncertainty").fill_nan(None), pl.col(features).fill_nan(None))
    return [
        Proposal(
            event_id=row["event_id"],
            business_id=row["business_id"],
            key=row["key"],
            time=row["time"],
            coin=row["coin"],
            draw=row["draw"],
            score=row["score"],
            uncertainty=row["uncertainty"],
            probabilities=row["probabilities"],
            model=row["model"],
            features={name[2:]: row[name] for name in features},
            context={name[2:]: row[name] for name in context},
        )
        for row in rows.iter_rows(named=True)
    ]
