"""From a record of proposals to what each tile gets of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemark.errors import RecordError
from tidemark.pipeline.model import Pipeline
from tidemark.registry.estimates import COLUMNS
from tidemark.selection.asked import segment_of
from tidemark.selection.proposals import ProposalMeta, Proposals
from tidemark.selection.segments import first_of_segments
from tidemark.selection.tiles import Bars, Estimate, Part, Proposal

_STEP: Final = "select"
_REQUIRED: Final = ["event_id", "time", "tile", "coin", "explore", "score", "draw", "active", "model"]


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


def parts(record: Proposals, bars: Callable[[int], Bars], segments: str | None = None) -> list[Part]:
    """Parts of a record by rising tile.

    bars: of each tile. Most rows of a busy stream fall below them, and are not turned into objects.  segments: the
    context column that parts the stream, if one does.

    Raises:
        RecordError: rows and counts contradict each other, so that the tile's size would be wrong.

    """
    rows, counts = record.rows, record.meta.tiles
    nulls = [name for name in _REQUIRED if rows[name].null_count()]
    if nulls:
        raise RecordError(_STEP, f"proposals without {', '.join(nulls)}")
    tile, coin, score = rows["tile"].to_numpy(), rows["coin"].to_numpy(), rows["score"].to_numpy()
    explore, active = rows["explore"].to_numpy(), rows["active"].to_numpy()
    draw, unscored = rows["draw"].to_numpy(), np.isnan(score)
    unsure = record.meta.unsure or {}
    for stray in set(tile.tolist()) - counts.keys():
        raise RecordError(_STEP, f"rows of tile {stray}, which the record does not count")
    chosen, needed = [], np.zeros(rows.height, np.bool_)
    shown = None if segments is None else rows.get_column(f"c_{segments}", default=None)
    floors = np.zeros(rows.height, np.bool_) if shown is None else first_of_segments(tile, draw, shown)
    needed |= floors
    for number, events in sorted(counts.items()):
        mine, bar = tile == number, bars(number)
        drawn = int((mine & explore).sum())
        if not 0 < drawn <= events:
            raise RecordError(_STEP, f"{drawn} exploration rows for {events} events of tile {number}")
        by_coin = mine & explore & (coin <= np.uint64(bar.coin))
        near = unscored & (draw <= np.uint64(bar.draw)) if bar.score == -math.inf else False
        by_score = mine & active & ((score >= bar.score) | near)
        offered = int((mine & (explore | active)).sum())
        chosen.append((number, events, drawn, offered, by_coin, by_score))
        needed |= by_coin | by_score
    proposals = dict(zip(np.flatnonzero(needed).tolist(), _proposals(rows, needed, record.meta), strict=True))
    return [
        Part(
            number,
            events,
            drawn,
            offered,
            [proposals[row] for row in np.flatnonzero(by_coin).tolist()],
            [proposals[row] for row in np.flatnonzero(by_score).tolist()],
            unsure.get(number),
            record.meta.odd,
            {
                segment_of(proposals[row].context, segments): proposals[row]
                for row in np.flatnonzero(floors & (tile == number)).tolist()
            },
        )
        for number, events, drawn, offered, by_coin, by_score in chosen
    ]


def _proposals(rows: pl.DataFrame, needed: NDArray[np.bool_], meta: ProposalMeta) -> list[Proposal]:
    kept = rows if needed.all() else rows[np.flatnonzero(needed)]
    columns = kept.to_dict(as_series=False)
    features = {name[2:]: values for name, values in columns.items() if name.startswith("f_")}
    context = {name[2:]: values for name, values in columns.items() if name.startswith("c_")}
    estimates = _estimates(columns)
    return [
        Proposal(
            event_id=columns["event_id"][row],
            business_id=columns["business_id"][row],
            key=columns["key"][row],
            time=columns["time"][row],
            coin=columns["coin"][row],
            draw=columns["draw"][row],
            score=columns["score"][row],
            uncertainty=_present(columns["uncertainty"][row]),
            probabilities=columns["probabilities"][row],
            model=columns["model"][row],
            features={name: _present(values[row]) for name, values in features.items()},
            context={name: values[row] for name, values in context.items()},
            definitions=meta.definitions,
            stage=meta.stage,
            estimate=None if estimates is None else estimates[row],
        )
        for row in range(kept.height)
    ]


def _estimates(columns: Mapping[str, list[Any]]) -> list[Estimate | None] | None:
    """Of each row the number and the ends of its interval, None without a model; None where labels are classes."""
    if not columns.keys() >= set(COLUMNS):
        return None
    table = zip(*(columns[name] for name in COLUMNS), strict=True)
    return [None if any(_present(end) is None for end in row) else (row[0], row[1], row[2]) for row in table]


def _present(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
