"""Predictions and the outcomes that tell their truth, joined by event id or business id, whichever comes first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidemark.monitoring.event_names import FIELDS
from tidemark.monitoring.index import HashIndex, Rows
from tidemark.monitoring.table import RollingTable

UNKNOWN: Final = -1
"""Class of an event whose truth has not come. Of numbers that have come it is 0."""
NEVER: Final = -(2**63)
"""Before all times."""
BY_EVENT: Final = 0
BY_BUSINESS: Final = 1
"""What an outcome names its event by."""

OUTCOME: Final = np.dtype(
    [
        ("partition", "i4"),
        ("offset", "i8"),
        ("id", "u8"),
        ("by", "u1"),
        ("label", "i2"),
        ("number", "f8"),
        ("known_at", "i8"),
        ("came", "i8"),
        ("matched", "?"),
    ]
)
"""Outcomes; `label` is a class, or 0 where `number` says it; `known_at` by whoever wrote it, `came` by Kafka, µs."""


@dataclass(frozen=True, slots=True)
class Met:
    """An outcome and a prediction of whose event it is the newest: a row of each.

    share: largest of the shares of the classes that the event's outcomes have said so far, this one among them.
    """

    prediction: NDArray[Any]
    outcome: NDArray[Any]
    share: float


def prediction_dtype(classes: int, *, named: bool = False) -> np.dtype[Any]:
    """Rows of predictions: hashes of the ids, time (µs), model's number, truth and since when, probabilities.

    Of no classes the label is a number: then truth is `number`, too, and in place of probabilities there is what was
    said: value, low and high. Both are NaN for a prediction without a model. named: with what events are called
    (`event_names`), and the largest share of a class that their outcomes have said.
    """
    return np.dtype(
        [
            ("partition", "i4"),
            ("event", "u8"),
            ("business", "u8"),
            ("has_business", "?"),
            ("time", "i8"),
            ("model", "i4"),
            ("truth", "i2"),
            ("truth_at", "i8"),
            *([("p", "f4", (classes,))] if classes else [("number", "f8"), ("said", "f8", (3,))]),
            *([*FIELDS, ("share", "f8")] if named else ()),
        ]
    )


class Joined:
    """Both tables and their indexes. An event's truth is that of its outcome with the latest `known_at`.

    patience: µs after an event's time by which its truth must be known (and not before the event). Whether an outcome
    meets a prediction is so a matter of these two alone, and not of what has been forgotten meanwhile.
    A prediction takes about 50 bytes (two classes), 40 more with its name, an outcome about 60.
    classes: their number; 0 where the label is a number.
    shares: of each class (of all numbers) the share of its outcomes that are learnt from; None: of none, and no
    event's name is kept.
    met: where there are shares, what has met, in order; whoever looks empties it.
    """

    def __init__(self, classes: int, patience: int, shares: Sequence[float] | None = None) -> None:
        self._patience, self._shares = patience, shares
        self.met: list[Met] = []
        self.predictions = RollingTable(prediction_dtype(classes, named=shares is not None))
        self.outcomes = RollingTable(OUTCOME)
        self._index()

    def add_predictions(self, rows: NDArray[Any], partition: int, offset: int) -> list[tuple[int, int]]:
        """Add a batch; returns (partition, offset) of outcomes that had waited for one of its events."""
        numbers = self.predictions.append(rows, partition, offset)
        named = np.flatnonzero(rows["has_business"])
        self._events.add(rows["event"], numbers)
        self._businesses.add(rows["business"][named], numbers[named])
        by_event, outcome = self._outcome_index(BY_EVENT).find(rows["event"])
        by_business, other = self._outcome_index(BY_BUSINESS).find(rows["business"][named])
        return self._tell(
            np.concatenate([numbers[by_event], numbers[named[by_business]]]), np.concatenate([outcome, other])
        )

    def add_outcomes(self, rows: NDArray[Any], partition: int, offset: int) -> NDArray[np.bool_]:
        """Add a batch; returns (n,) whether each met a prediction."""
        numbers = self.outcomes.append(rows, partition, offset)
        predictions: list[Rows] = []
        outcomes: list[Rows] = []
        for by, index in ((BY_EVENT, self._events), (BY_BUSINESS, self._businesses)):
            mine = np.flatnonzero(rows["by"] == by)
            self._outcome_index(by).add(rows["id"][mine], numbers[mine])
            position, prediction = index.find(rows["id"][mine])
            predictions.append(prediction)
            outcomes.append(numbers[mine[position]])
        self._tell(np.concatenate(predictions), np.concatenate(outcomes))
        matched: NDArray[np.bool_] = self.outcomes.rows["matched"][self.outcomes.at(numbers)]
        return matched

    def within(self, most_events: int, most_outcomes: int) -> bool:
        """Whether there are no more rows than that."""
        return len(self.predictions) <= most_events and len(self.outcomes) <= most_outcomes

    def forget(self, before: int, most_events: int, most_outcomes: int) -> None:
        """Forget events before a time (µs), outcomes known before it, and of each all but the newest."""
        for table, column, most in (
            (self.predictions, "time", most_events),
            (self.outcomes, "known_at", most_outcomes),
        ):
            recent = np.flatnonzero(table.rows[column] >= before)
            old = int(recent[0]) if recent.shape[0] else len(table)
            table.forget(max(old, len(table) - most))
        for index in (self._events, self._businesses):
            index.forget_before(self.predictions.first)
        for by in (BY_EVENT, BY_BUSINESS):
            self._outcome_index(by).forget_before(self.outcomes.first)

    def drop(self, table: RollingTable, partition: int) -> None:
        """Remove a partition that was taken away from its table."""
        table.drop(partition)
        self._index()

    def _index(self) -> None:
        """Build the indexes from the tables."""
        self._events, self._businesses = HashIndex(), HashIndex()
        self._by_event, self._by_business = HashIndex(), HashIndex()
        rows, numbers = self.predictions.rows, self._numbers(self.predictions)
        self._events.add(rows["event"], numbers)
        self._businesses.add(rows["business"][rows["has_business"]], numbers[rows["has_business"]])
        rows, numbers = self.outcomes.rows, self._numbers(self.outcomes)
        for by in (BY_EVENT, BY_BUSINESS):
            self._outcome_index(by).add(rows["id"][rows["by"] == by], numbers[rows["by"] == by])

    def _outcome_index(self, by: int) -> HashIndex:
        return self._by_event if by == BY_EVENT else self._by_business

    @staticmethod
    def _numbers(table: RollingTable) -> Rows:
        return np.arange(len(table), dtype=np.int64) + table.first

    def _tell(self, predictions: Rows, outcomes: Rows) -> list[tuple[int, int]]:
        """Give predictions the truth of outcomes, (n,) row numbers each; (partition, offset) of those newly matched."""
        if predictions.shape[0] == 0:
            return []
        known, of = self.outcomes.rows, self.outcomes.at(outcomes)
        told, at = self.predictions.rows, self.predictions.at(predictions)
        after = known["known_at"][of] - told["time"][at]
        in_time = (after >= 0) & (after <= self._patience)
        of, at = of[in_time], at[in_time]
        order = np.lexsort((known["offset"][of], known["known_at"][of]))  # the latest comes last, and stays
        of, at = of[order], at[order]
        newer = known["known_at"][of] >= told["truth_at"][at]
        if self._shares is not None:
            self._note(of[newer], at[newer], self._shares)
        told["truth"][at[newer]] = known["label"][of[newer]]
        if _of_numbers(told):
            told["number"][at[newer]] = known["number"][of[newer]]
        told["truth_at"][at[newer]] = known["known_at"][of[newer]]
        fresh = np.unique(of[~known["matched"][of]])
        known["matched"][fresh] = True
        return _pairs(known["partition"][fresh].tolist(), known["offset"][fresh].tolist())

    def _note(self, of: Rows, at: Rows, shares: Sequence[float]) -> None:
        """Keep what has met, before the predictions' truth is changed; what says the same again is no news."""
        truth: dict[int, tuple[int, float]] = {}
        for outcome, prediction in zip(of.tolist(), at.tolist(), strict=True):
            told, known = self.predictions.rows[prediction], self.outcomes.rows[outcome].copy()
            says = int(known["label"]), float(known["number"])
            if truth.get(prediction, _truth(told)) == says:
                continue
            truth[prediction] = says
            told["share"] = max(float(told["share"]), shares[says[0]])
            self.met.append(Met(told.copy(), known, float(told["share"])))


def _of_numbers(rows: NDArray[Any]) -> bool:
    return "number" in (rows.dtype.names or ())


def _truth(told: NDArray[Any]) -> tuple[int, float]:
    """What is known of a prediction's event, as an outcome says it."""
    return int(told["truth"]), float(told["number"]) if _of_numbers(told) else 0.0


def _pairs(partitions: Iterable[int], offsets: Iterable[int]) -> list[tuple[int, int]]:
    return list(zip(partitions, offsets, strict=True))
