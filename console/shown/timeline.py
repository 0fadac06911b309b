"""An entity's earlier cases as a plot: places in percent of its width, so that it fits any screen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from console.shown.answers import AnswerBook
from console.shown.facts import FactBook, words
from labeling_grpc.client.history import History
from labeling_grpc.client.values import Case
from tidemark.pipeline import Pipeline, format_duration

_LEFT: Final = 1.5
_RIGHT: Final = 98.5
TOP: Final = 14
BOTTOM: Final = 96
"""Pixels between which points lie."""
_STEEP: Final = 30.0
"""Times the smallest value that the largest is, from which on the plot is logarithmic."""
_LABEL: Final = 9.0
"""Percent of the width that a window's name takes."""


@dataclass(frozen=True, slots=True)
class Point:
    """An earlier case. x: percent.  y: pixels.  kind: positive, negative, other or open.  title: what it was."""

    x: float
    y: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Band:
    """A window that ends with the event. named: there is room for its name."""

    x: float
    width: float
    name: str
    named: bool


@dataclass(frozen=True, slots=True)
class Timeline:
    """The plot of one feature. first, last: days at its ends.  low, high: values at its bottom and top."""

    words: str
    points: list[Point]
    event: Point
    bands: list[Band]
    first: str
    last: str
    low: str
    high: str
    counts: list[tuple[str, str, int]]
    """Of each kind that there is: kind, words, how many."""


def plotted(pipeline: Pipeline, case: Case) -> str | None:
    """The feature that is plotted: the first number of the context that is a feature, else the first number."""
    numbers = [name for name, value in case.features.items() if value is not None and name not in case.categories]
    context = [name for name in pipeline.label.context if name in numbers]
    return next(iter([*context, *numbers]), None)


def timeline(pipeline: Pipeline, book: FactBook, case: Case, history: History | None) -> Timeline | None:
    """The plot.

    Args:
        pipeline: whose case it is.
        book: that knows its units and times.
        case: the event.
        history: earlier cases of its entity; None: they are not known.

    Returns:
        It; None where there is nothing to plot.

    """
    name = plotted(pipeline, case)
    if name is None or history is None:
        return None
    known = [
        (time, number, label)
        for time, number, label in zip(history.times, history.values(name), history.labels, strict=False)
        if not math.isnan(number)
    ]
    if not known:
        return None
    values = [number for _, number, _ in known]
    value = float(case.features[name] or 0.0)
    begin = min(time for time, _, _ in known)
    span = max(case.time - begin, 1)
    low, high = min([*values, value]), max([*values, value])
    logarithmic = low > 0 and high / low > _STEEP
    height = math.log if logarithmic else float
    reach = (height(high) - height(low)) or 1.0

    def across(time: int) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * min(max((time - begin) / span, 0.0), 1.0), 2)

    def down(number: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (height(number) - height(low)) / reach, 1)

    answers = AnswerBook(pipeline.label)
    points = [
        Point(
            across(time),
            down(number),
            answers.kind(label),
            f"{book.times.minute(time)}: {book.number(name, number)}, "
            f"{'not answered' if label is None else answers.words(label)}",
        )
        for time, number, label in known
    ]
    counts: dict[str, tuple[str, int]] = {}
    for (_, _, label), drawn in zip(known, points, strict=True):
        said = answers.group(label)
        counts[drawn.kind] = said, counts.get(drawn.kind, (said, 0))[1] + 1
    event = Point(across(case.time), down(value), "event", f"this case: {book.number(name, value)}")
    return Timeline(
        words=f"{words(name)}, logarithmic" if logarithmic else words(name),
        points=points,
        event=event,
        bands=_bands(pipeline, case, begin, across),
        first=book.times.day(begin),
        last=book.times.day(case.time),
        low=book.number(name, low),
        high=book.number(name, high),
        counts=[(kind, said, count) for kind, (said, count) in sorted(counts.items())],
    )


def _bands(pipeline: Pipeline, case: Case, begin: int, across: Callable[[int], float]) -> list[Band]:
    """Windows over the first key that begin within the plot, the longest first."""
    sizes = sorted({window.size for window in pipeline.windows if window.key == pipeline.keys[0]}, reverse=True)
    bands: list[Band] = []
    end = _RIGHT
    for size in sizes:
        start = case.time - size
        if start <= begin:
            continue
        x = across(start)
        room = not bands or x - bands[-1].x > _LABEL
        bands.append(Band(x, round(end - x, 2), format_duration(size), room and end - x > _LABEL / 2))
    return bands
