"""What would be asked of a tile whose events are all at hand: the rules of stream and selection, without topics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kernels import coin, hash64
from tidemark.evaluation.focus import stretched
from tidemark.pipeline.model import Pipeline
from tidemark.records import NO_MODEL
from tidemark.registry.label_counts import LabelCounts
from tidemark.registry.schema import ModelSchema
from tidemark.selection.asked import AskedCases
from tidemark.selection.choice import Pick, choose
from tidemark.selection.clock import Watermarks
from tidemark.selection.cost import bounds, cost_of
from tidemark.selection.ledger import Ledger
from tidemark.selection.proposals import active_rows, rows_to_keep, rows_to_propose
from tidemark.selection.ranking import Choice
from tidemark.selection.scoring import Ranker, Scores, score, score_number
from tidemark.selection.tiles import Estimate, OpenTile, Part, Proposal

Floats = NDArray[np.float64]


class Model(Protocol):
    """A model that scores events."""

    @property
    def version(self) -> str:
        """As candidates name it."""
        ...

    def probabilities(self, rows: Floats, /) -> Floats:
        """(n, classes) of rows (n, features)."""
        ...

    def estimates(self, rows: Floats, /) -> Floats:
        """(n, 3) numbers of rows (n, features), with the ends of their intervals."""
        ...


@dataclass(frozen=True, slots=True)
class TileEvents:
    """n events of a tile.

    stream, partition, offsets: (n,) where they come from, which decides their coins.  features: (n, d).
    askable: (n,) which of them may be asked about, None: all. The others are only part of what is streamed.
    """

    number: int
    stream: str
    partition: int
    offsets: NDArray[np.int64]
    event_ids: Sequence[str]
    features: Floats
    askable: NDArray[np.bool_] | None = None


class OfflineSelection:
    """Selection of a pipeline over tiles that are given whole, one after the other; it keeps to the budget.

    Hours and days, where they bound it, are those of event time: a tile closes when it ends.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._rank = Ranker(pipeline)
        self._bounds = ModelSchema.of(pipeline).bounds
        version = pipeline.selection.version
        self._coin, self._draw = hash64(version.encode()), hash64(f"{version}/draw".encode())
        self._ledger = Ledger()
        self._asked = 0
        self._cases = AskedCases(pipeline.selection)

    @property
    def asked(self) -> int:
        """Cases asked so far."""
        return self._asked

    def ask(self, events: TileEvents, model: Model | None, counts: LabelCounts | None = None) -> list[Pick]:
        """Picks of a tile, by the model in force.

        Args:
            events: all events of the tile.
            model: None before the first.
            counts: what labels have told before the first model, where that is known.

        Returns:
            The picks that the flows would make of it.

        """
        selection, n = self._pipeline.selection, len(events.offsets)
        scores = self._scores(events.features, model, counts)
        probabilities, estimates, version = scores.probabilities, scores.estimates, scores.model
        stream = hash64(events.stream.encode())
        coins = coin(stream, events.partition, events.offsets, self._coin)
        draws = coin(stream, events.partition, events.offsets, self._draw)
        if selection.focused:
            coins = stretched(coins, probabilities)
        names = self._pipeline.feature_names
        ranking = self._rank(scores, pl.DataFrame(events.features, schema=names), draws)
        start = self._pipeline.start
        explore, active = rows_to_propose(selection, start, cold=model is None, stage=ranking.stage)
        kept, cold = rows_to_keep(selection, start)
        tiles = np.full(n, events.number)
        asks = np.arange(n) if events.askable is None else np.flatnonzero(events.askable)
        chosen = Choice(tiles[asks], coins[asks], ranking.value[asks], draws[asks], explore, active).of(0, len(asks))
        rows = [
            Proposal(
                event_id=events.event_ids[row],
                business_id=None,
                key=None,
                time=events.number * selection.tile,
                coin=int(coins[row]),
                draw=int(draws[row]),
                score=float(ranking.value[row]),
                uncertainty=None if probabilities is None else float(scores.uncertainty[row]),
                probabilities=None if probabilities is None else probabilities[row].tolist(),
                model=version,
                features=dict(zip(names, _present(events.features[row]), strict=True)),
                context={},
                stage=ranking.stage,
                estimate=None if estimates is None else _estimate(estimates[row]),
            )
            for row in asks[chosen.rows].tolist()
        ]
        tile = OpenTile(
            number=events.number,
            first_offset=0,
            watermarks=Watermarks.unknown(1),
            first_open=events.number,
            explore=kept - 1,
            active=active_rows(selection),
            cold=cold,
        )
        by_coin = [row for row, own in zip(rows, chosen.explore.tolist(), strict=True) if own]
        by_score = [row for row, own in zip(rows, chosen.active.tolist(), strict=True) if own]
        unsure = None if ranking.unsure is None else float(ranking.unsure.mean())
        tile.merge(Part(events.number, n, len(by_coin), len(rows), by_coin, by_score, unsure, ranking.share), version)
        ledger = self._ledger.at((events.number + 1) * selection.tile)
        cases, units = bounds(selection, ledger.allowance(selection), ledger.left(selection))
        picks = list(choose(tile, selection, cases, start, self._cases, units))
        self._ledger = ledger.spent(sum(cost_of(selection, pick.proposal.context) for pick in picks))
        self._asked += len(picks)
        self._cases.add(pick.proposal for pick in picks)
        return picks

    def _scores(self, features: Floats, model: Model | None, counts: LabelCounts | None) -> Scores:
        selection = self._pipeline.selection
        if model is None:
            return score(selection, NO_MODEL, None, len(features), counts)
        if self._bounds is not None:
            return score_number(selection, model.version, model.estimates(features), self._bounds, model)
        return score(selection, model.version, model.probabilities(features), len(features), model)


def _estimate(row: Floats) -> Estimate:
    value, low, high = row.tolist()
    return value, low, high


def _present(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]
