"""How a number of labels is spent on a history: at the pipeline's pace where it lasts, faster where it does not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tidemark.backtest.history import History
from tidemark.backtest.stream import LabeledStream
from tidemark.errors import ConfigError
from tidemark.pipeline.model import Selection

USUAL: Final = 1_000
"""Labels that are played where nobody says how many."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Labels, how they are spent, and on what.

    labels: in all.  at_own: that the pipeline's pace would spend before the exam.  settings: of `[selection]`.
    stream: what is played. It begins so late that the labels are just spent, and known, when the exam begins.
    """

    labels: int
    at_own: int
    settings: dict[str, Any]
    stream: LabeledStream


def paced(history: History, selection: Selection, labels: int | None = None) -> Pace:
    """The pace of a budget.

    Args:
        history: what is played.
        selection: the pipeline's.
        labels: how many are spent; by default what the pipeline would spend, at most 1,000.

    Returns:
        The pace.

    Raises:
        ConfigError: there are not so many labels before the exam.

    """
    stream = history.stream
    counts = _askable(stream)
    at_own = _spent(counts, selection.budget)
    if labels is None:
        labels = min(at_own, USUAL, selection.total or USUAL)
    there = int(counts.sum())
    if labels > there:
        raise ConfigError(
            f"--budget {labels:,} is more than the {there:,} labels before the exam; give at most so many, or a longer "
            "history"
        )
    budget, settings = selection.budget, {"total": labels}
    if labels > at_own:
        budget = _least_budget(counts, labels)
        explore = round(selection.explore * budget / selection.budget)
        settings |= {"budget": budget, "explore": max(explore, min(selection.explore, 1))}
    begin = _begin(stream, np.minimum(counts, budget), labels, -(-history.answers // selection.tile))
    return Pace(labels, at_own, settings, replace(stream, begin=begin))


def _askable(stream: LabeledStream) -> NDArray[np.int64]:
    """Events with a label in each tile."""
    askable = stream.askable
    return np.array([int(askable[rows].sum()) for _, rows in stream.by_tile()], np.int64)


def _spent(counts: NDArray[np.int64], budget: int) -> int:
    return int(np.minimum(counts, budget).sum())


def _least_budget(counts: NDArray[np.int64], labels: int) -> int:
    low, high = 1, int(counts.max(initial=1))
    while low < high:
        middle = (low + high) // 2
        if _spent(counts, middle) < labels:
            low = middle + 1
        else:
            high = middle
    return low


def _begin(stream: LabeledStream, asked: NDArray[np.int64], labels: int, late: int) -> int:
    """The first event of the latest tile from which on so many labels are asked about and known when the exam begins.

    asked: of each tile.  late: tiles that go by until an answer is known.
    """
    tiles = [(number, int(rows[0])) for number, rows in stream.by_tile()]
    left = labels
    for (number, first), asks in zip(reversed(tiles), reversed(asked.tolist()), strict=True):
        if number + late <= tiles[-1][0]:
            left -= asks
        if left <= 0:
            return first
    return stream.begin
