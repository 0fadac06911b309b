"""What a scored batch gives: predictions, proposals and, if wanted, its features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from kernels import hash64
from tidemark.evaluation.focus import stretched
from tidemark.formats.arrow import least_bytes, to_ipc
from tidemark.formats.json_lines import json_lines
from tidemark.pipeline import Pipeline
from tidemark.pipeline.definitions import feature_ids
from tidemark.pipeline.expressions import Schema
from tidemark.pipeline.sql.values import TIMESTAMP
from tidemark.records.background import DEFINITIONS
from tidemark.registry.estimates import COLUMNS
from tidemark.runtime.processor import Output, Partition
from tidemark.selection.proposals import ProposalMeta, encode_proposals, rows_to_propose, schema
from tidemark.selection.ranking import Choice, Chosen
from tidemark.selection.reaction import widest
from tidemark.selection.scoring import Ranker, Ranking, Scores
from tidemark.selection.segments import first_of_segments
from tidemark.stream.coins import coins_of
from tidemark.stream.pieces import RECORD_BYTES, Headers, in_pieces
from tidemark.stream.rows import Rows, renamed

Floats = NDArray[np.float64]
_DRAW: Final = "/draw"
"""Added to the policy's version: the second coin is independent of the first."""


@dataclass(frozen=True, slots=True)
class Meta:
    """Where proposals come from: the last stage's partition, its batch's offsets, the watermark after it."""

    partition: Partition
    first_offset: int | None
    last_offset: int | None
    watermark: int | None


@dataclass(frozen=True, slots=True)
class Scored:
    """n rows at the end of their way: what names them (see `Offers.identity`), their scores and all features."""

    rows: Rows
    identity: pl.DataFrame
    scores: Scores
    features: pl.DataFrame


@dataclass(frozen=True, slots=True)
class _Batch:
    """n rows of one partition, ranked.

    begin: the first of them among the scored rows.  tiles, coins, draws: (n,) of each.
    whole: what is proposed of them, if they are one record.
    """

    begin: int
    meta: Meta
    tiles: NDArray[np.int64]
    coins: NDArray[np.uint64]
    draws: NDArray[np.uint64]
    ranking: Ranking
    choice: Choice
    whole: Chosen


class Offers:
    """Encodes what the last stage gives."""

    def __init__(self, pipeline: Pipeline, cleaned: Schema) -> None:
        self._pipeline = pipeline
        self._selection = widest(pipeline)
        self._context = {name: shown_type(cleaned[name]) for name in pipeline.label.context}
        self._shown = [_shown(name, cleaned[name]) for name in pipeline.label.context]
        self._schema = schema(pipeline, self._context)
        self._row_bytes = least_bytes(self._schema.values())
        self._definitions = feature_ids(pipeline)
        self._told: Headers = ((DEFINITIONS, msgspec.json.encode(self._definitions)),)
        self._ranker = Ranker(pipeline)
        self._coin = hash64(pipeline.selection.version.encode())
        self._draw = hash64((pipeline.selection.version + _DRAW).encode())

    def identity(self, rows: Rows, ids: pl.Series) -> pl.DataFrame:
        """What names each event: `event_id`, `business_id`, `key`, `time`."""
        name = self._pipeline.label.business_id
        business_id = _constant("business_id", None, len(rows)) if name is None else rows.columns[name].cast(pl.String)
        times = pl.Series("time", rows.times)
        return pl.DataFrame([ids, business_id.alias("business_id"), rows.keys[0].alias("key"), times])

    def predictions(self, scored: Scored) -> list[Output]:
        """One record for each row, keyed by the entity."""
        topic, scores, keys = self._pipeline.topics.predictions, scored.scores, scored.rows.keys[0]
        frame = scored.identity.hstack(
            [
                _probabilities(scores.of_classes, len(keys)),
                _nullable("uncertainty", scores.uncertainty, missing=scores.probabilities is None),
                _constant("model", scores.model, len(keys)),
                pl.Series("late", scored.rows.late),
                *(_estimates(scores.estimates, len(keys)) if self._pipeline.label.is_number else ()),
            ]
        )
        lines = json_lines(frame)
        fields = zip(repeat(topic), lines, keys.cast(pl.Binary).to_list(), repeat(None), repeat(()), strict=False)
        return list(map(Output._make, fields))  # half as long as a call of `Output` for each

    def features(self, scored: Scored, rows: slice, partition: int) -> list[Output]:
        """A batch's features as Arrow records: event id, business id, key, time, late, and the features.

        The header `definitions` tells by what definition each feature was computed.
        """
        frame = scored.identity.hstack([pl.Series("late", scored.rows.late)]).hstack(scored.features)[rows]

        def encode(begin: int, end: int) -> tuple[bytes, Headers]:
            return to_ipc(frame[begin:end], portable=True), self._told

        topic, size = self._pipeline.topics.features, int(frame.estimated_size())
        pieces = in_pieces(len(frame), size, encode)
        return [Output(topic, value, partition=partition, headers=headers) for _, _, value, headers in pieces]

    def proposals(
        self, scored: Scored, tiles: NDArray[np.int64], metas: Sequence[tuple[int, int, Meta]]
    ) -> list[list[Output]]:
        """What batches have to offer, each in one record or, if that is too large, as if it had been several.

        Only the last record of a batch tells the watermark after it: no tile closes between two of them.

        Args:
            scored: n rows.
            tiles: (n,) tile of each row.
            metas: the rows at which each batch begins and ends, and where they come from.

        Returns:
            Records of each batch, at least one.

        """
        coins, draws = self._coins(scored.rows)
        if self._selection.focused:
            coins = stretched(coins, scored.scores.probabilities)
        batches = [self._batch(scored, tiles, coins, draws, *place) for place in metas]
        # To build a frame costs the same for a few rows as for many: those of all batches are built as one.
        counts = [len(batch.whole) if self._least(batch.whole) <= RECORD_BYTES else 0 for batch in batches]
        pairs = [(batch, batch.whole) for batch, count in zip(batches, counts, strict=True) if count]
        frame = self._offered(scored, pairs) if pairs else pl.DataFrame()
        ends = np.cumsum(counts).tolist()
        return [
            self._records(scored, batch, frame[end - count : end] if count else None)
            for batch, count, end in zip(batches, counts, ends, strict=True)
        ]

    def _batch(
        self,
        scored: Scored,
        tiles: NDArray[np.int64],
        coins: NDArray[np.uint64],
        draws: NDArray[np.uint64],
        begin: int,
        end: int,
        meta: Meta,
    ) -> _Batch:
        """Ranks rows `begin` to `end`, by themselves: a strategy may score a row by the others of its batch."""
        own = slice(begin, end)
        tiles, coins, draws, scores = tiles[own], coins[own], draws[own], scored.scores.only(own)
        ranking = self._ranker(scores, scored.features[own], draws)
        cold = scores.probabilities is None
        explore, active = rows_to_propose(self._selection, self._pipeline.start, cold=cold, stage=ranking.stage)
        segments = self._selection.segments
        column = None if segments is None else scored.rows.columns[segments.column][own]
        besides = None if column is None else first_of_segments(tiles, draws, column)
        choice = Choice(tiles, coins, ranking.value, draws, explore, active, besides)
        return _Batch(begin, meta, tiles, coins, draws, ranking, choice, choice.of(0, end - begin))

    def _least(self, chosen: Chosen) -> int:
        """Bytes that a record of the chosen rows surely has."""
        return len(chosen) * self._row_bytes

    def _records(self, scored: Scored, batch: _Batch, frame: pl.DataFrame | None) -> list[Output]:
        """Records of a batch. frame: of all that is proposed of it; None: it is surely too large for one record."""
        n, ranking = len(batch.tiles), batch.ranking
        unsure = _mean_by_tile(batch.tiles, ranking.unsure)
        chosen: dict[tuple[int, int], Chosen] = {}

        def least(begin: int, end: int) -> int:
            chosen[begin, end] = batch.whole if end - begin == n else batch.choice.of(begin, end)
            return self._least(chosen[begin, end])

        def encode(begin: int, end: int) -> tuple[bytes, Headers]:
            own = chosen.pop((begin, end))
            # Nothing is gathered but what is proposed: a batch of a backlog has far more rows.
            rows = frame if own is batch.whole and frame is not None else self._offered(scored, [(batch, own)])
            told = batch.meta if end == n else replace(batch.meta, watermark=None)
            of_tiles = None if unsure is None else {tile: unsure[tile] for tile in own.tiles}
            model = scored.scores.model
            return self._encode(told, rows, own.tiles, model, idle=False, ranking=ranking, unsure=of_tiles)

        pieces = in_pieces(n, 0, encode, least=least)
        return [self._output(value, headers) for _, _, value, headers in pieces]

    def _offered(self, scored: Scored, pairs: Sequence[tuple[_Batch, Chosen]]) -> pl.DataFrame:
        """Frame of what is chosen of each batch, one after the other."""
        places = np.concatenate([batch.begin + own.rows for batch, own in pairs])
        rows, scores = scored.rows, scored.scores.only(places)
        own = [
            pl.Series("tile", np.concatenate([batch.tiles[own.rows] for batch, own in pairs])),
            pl.Series("coin", np.concatenate([batch.coins[own.rows] for batch, own in pairs])),
            pl.Series("explore", np.concatenate([own.explore for _, own in pairs])),
            pl.Series("score", np.concatenate([batch.ranking.value[own.rows] for batch, own in pairs])),
            pl.Series("draw", np.concatenate([batch.draws[own.rows] for batch, own in pairs])),
            pl.Series("active", np.concatenate([own.active for _, own in pairs])),
            _probabilities(scores.probabilities, len(places)),
            pl.Series("uncertainty", scores.uncertainty),
            _constant("model", scores.model, len(places)),
            *(_estimates(scores.estimates, len(places)) if self._pipeline.label.is_number else ()),
        ]
        features = renamed(scored.features, map(_feature, scored.features.columns))
        offered = scored.identity.hstack(features)[places].hstack(own)
        if self._context:
            offered = offered.hstack(rows.columns[list(self._context)][places].select(self._shown))
        return offered[list(self._schema)]

    def idle(self, meta: Meta, model: str) -> Output:
        """Record that says that nothing has come for a while."""
        return self._output(*self._encode(meta, pl.DataFrame(schema=self._schema), {}, model, idle=True))

    def _output(self, value: bytes, headers: Headers) -> Output:
        return Output(self._pipeline.topics.proposals, value, partition=0, headers=headers)

    def _encode(
        self,
        meta: Meta,
        rows: pl.DataFrame,
        tiles: dict[int, int],
        model: str,
        *,
        idle: bool,
        ranking: Ranking | None = None,
        unsure: dict[int, float] | None = None,
    ) -> tuple[bytes, Headers]:
        return encode_proposals(
            ProposalMeta(
                topic=meta.partition.topic,
                partition=meta.partition.index,
                first_offset=meta.first_offset,
                last_offset=meta.last_offset,
                watermark=meta.watermark,
                tiles=tiles,
                idle=idle,
                policy=self._selection.version,
                model=model,
                definitions=self._definitions,
                unsure=unsure,
                stage="" if ranking is None else ranking.stage,
                odd=None if ranking is None else ranking.share,
            ),
            rows,
        )

    def _coins(self, rows: Rows) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """(n,) coin and (n,) draw of each event."""
        return coins_of(rows, self._coin), coins_of(rows, self._draw)


def _mean_by_tile(tiles: NDArray[np.int64], values: Floats | None) -> dict[int, float] | None:
    """Mean of (n,) values, 0 to 1, in each tile."""
    if values is None:
        return None
    numbers, places, counts = np.unique(tiles, return_inverse=True, return_counts=True)
    means = np.clip(np.bincount(places, weights=values, minlength=len(numbers)) / counts, 0.0, 1.0)
    return dict(zip(numbers.tolist(), means.tolist(), strict=True))


def _feature(name: str) -> str:
    return f"f_{name}"


def _constant(name: str, text: str | None, n: int) -> pl.Series:
    return pl.Series(name, [text], dtype=pl.String).new_from_index(0, n)


def _nullable(name: str, numbers: Floats, *, missing: bool) -> pl.Series:
    """Numbers, or as many nulls."""
    return (
        pl.Series(name, [None], dtype=pl.Float64).new_from_index(0, len(numbers))
        if missing
        else pl.Series(name, numbers)
    )


def _probabilities(given: Floats | None, n: int) -> pl.Series:
    """Column `probabilities`: a list for each row, null without a model."""
    if given is None:
        return pl.Series("probabilities", [None], dtype=pl.List(pl.Float64)).new_from_index(0, n)
    return pl.Series("probabilities", given).cast(pl.List(pl.Float64))


def _estimates(given: Floats | None, n: int) -> list[pl.Series]:
    """Columns of a number and its interval, null without a model."""
    table = np.full((n, len(COLUMNS)), np.nan) if given is None else given
    return [_nullable(name, table[:, at], missing=given is None) for at, name in enumerate(COLUMNS)]


def shown_type(dtype: pl.DataType) -> pl.DataType:
    """Type in which people are shown a column: as it is in JSON, or as text."""
    if dtype.is_integer():
        return pl.Int64()
    if dtype.is_float():
        return pl.Float64()
    return dtype if dtype == pl.Boolean else pl.String()


def _shown(name: str, dtype: pl.DataType) -> pl.Expr:
    """Column as `shown_type` says, named as in proposals; times as ISO 8601 in UTC."""
    column = pl.col(name)
    if dtype == TIMESTAMP:
        shown = column.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    elif dtype.is_float():
        shown = column.cast(pl.Float64).fill_nan(None)
    else:
        shown = column.cast(shown_type(dtype))
    return shown.alias(f"c_{name}")
