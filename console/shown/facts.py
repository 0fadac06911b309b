"""What is known of a case, as a person reads it: with units, in groups, and marked where it is not as usual."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Final

from console.shown.formatting import NOTHING, Times, duration, measured
from labeling_grpc.client.history import History
from labeling_grpc.client.values import Case, Value
from tidemark.pipeline import Pipeline, format_duration
from tidemark.pipeline.model import Window

_FEW: Final = 5
"""Earlier cases below which nobody can say what is usual."""
_SPREAD: Final = 1.5
"""Of the distance between the quartiles: Tukey's fence."""
_ROUGHLY: Final = 3
_COUNTS: Final = frozenset({"count", "distinct", "approx_distinct", "zscore"})
"""Aggregates that are plain numbers, whatever their column's unit is."""
_SQUARED: Final = "var"
_ELAPSED: Final = frozenset({"since_last", "since_first"})
_WORDS: Final = {
    "approx_distinct": "distinct",
    "approx_quantile": "quantile",
    "decayed_mean": "decayed mean",
    "decayed_sum": "decayed sum",
    "since_first": "since the first",
    "since_last": "since the one before",
    "std": "standard deviation",
    "var": "variance",
    "zscore": "z-score",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """What is not as usual. up: above what is usual.  usual: that, in words."""

    up: bool
    usual: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of the card. name: as in the pipeline's file.  words: as people read it."""

    name: str
    words: str
    value: str
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class WindowTable:
    """Windows over one key: a row for each aggregate, a column for each length of time. None: there is no such."""

    key: str
    value: str
    sizes: list[str]
    rows: list[tuple[str, list[Fact | None]]]


@dataclass(frozen=True, slots=True)
class Facts:
    """A case's facts. context: what the pipeline shows to who labels.  others: features of the row and derived ones."""

    context: list[Fact]
    others: list[Fact] = field(default_factory=list)
    windows: list[WindowTable] = field(default_factory=list)


def words(name: str) -> str:
    """A name of the file as words."""
    return name.replace("_", " ").strip() or name


class FactBook:
    """Knows of one pipeline what each name stands for."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.times: Final = Times.of(pipeline.label.zone)
        self._pipeline = pipeline
        self._windows = {window.name: window for window in pipeline.windows}
        self._categorical = {feature.name for feature in pipeline.features if feature.categories}
        self._names = frozenset(pipeline.feature_names)
        self._plain = {feature.name for feature in pipeline.features if not (feature.sql or feature.function)}

    def unit(self, name: str) -> str:
        """Unit of a column or a feature, "" where it has none that is known."""
        window = self._windows.get(name)
        if window is not None:
            return self._unit_of_window(window)
        column = self._pipeline.columns.get(name) if name in self._plain or name not in self._names else None
        return "" if column is None or column.unit is None else column.unit

    def _unit_of_window(self, window: Window) -> str:
        if window.aggregate == "rate":
            return "1/s"
        if window.column is None or window.aggregate in _COUNTS | _ELAPSED:
            return ""
        unit = self.unit(window.column)
        if window.aggregate == "slope":
            return f"{unit}/s" if unit else "1/s"
        return f"{unit}²" if unit and window.aggregate == _SQUARED else unit

    def number(self, name: str, value: float | None, digits: int = 4) -> str:
        """A number of a column or a feature. digits: significant ones."""
        if value is None:
            return NOTHING
        window = self._windows.get(name)
        if window is not None and window.aggregate in _ELAPSED:
            return duration(value)
        return measured(value, self.unit(name), digits)

    def value(self, name: str, value: Value) -> str:
        """Any value of a column."""
        match value:
            case None:
                return NOTHING
            case bool():
                return "yes" if value else "no"
            case str():
                return value
            case _:
                return self.number(name, float(value))

    def feature(self, name: str, value: float | None, categories: Mapping[str, str]) -> str:
        """A feature as the model saw it, or the category that it stands for."""
        return categories[name] if name in categories else self.number(name, value)

    def of(self, case: Case, history: History | None) -> Facts:
        """A case's facts.

        Args:
            case: the case.
            history: earlier cases of the same entity, by which it is told what is usual; None: they are not known.

        Returns:
            They, without a feature that a column of the context tells already.

        """
        usual = _Usual(self, history)
        context = [
            self._of_context(name, value, usual)
            for name, value in case.context.items()
            if not self._heads(name, value, case)
        ]
        told = {fact.name: fact.value for fact in context}
        others = [
            Fact(name, words(name), shown, usual.mark(name, value))
            for name, value in case.features.items()
            if name not in self._windows and told.get(name) != (shown := self.feature(name, value, case.categories))
        ]
        return Facts(context, others, self._tables(case, usual))

    def _heads(self, name: str, value: Value, case: Case) -> bool:
        """Whether the case's own head tells it: which case, whose, and when."""
        if name == self._pipeline.time.column:
            return True
        told = {self._pipeline.label.business_id: case.business_id, self._pipeline.keys[0]: case.key}
        return told.get(name) is not None and str(value) == told[name]

    def _of_context(self, name: str, value: Value, usual: _Usual) -> Fact:
        mark = None if isinstance(value, bool | str) or value is None else usual.mark(name, float(value))
        return Fact(name, words(name), self.value(name, value), mark)

    def _tables(self, case: Case, usual: _Usual) -> list[WindowTable]:
        tables = []
        for key in self._pipeline.keys:
            windows = [
                window for window in self._pipeline.windows if window.key == key and window.name in case.features
            ]
            if not windows:
                continue
            sizes = sorted({window.size for window in windows if window.aggregate != "since_last"})
            rows: dict[str, list[Fact | None]] = {}
            last: list[tuple[str, list[Fact | None]]] = []
            for window in windows:
                value = case.features[window.name]
                mark = usual.mark(window.name, value)
                if window.aggregate == "since_last":
                    fact = Fact(window.name, _kind(window), self.number(window.name, value), mark)
                    last.append((fact.words, [fact]))
                    continue
                unit = self.unit(window.name)
                kind = f"{_kind(window)} ({unit})" if unit else _kind(window)
                shown = self.number(window.name, value).removesuffix(f" {unit}" if unit else "")
                fact = Fact(window.name, kind, shown, mark)
                rows.setdefault(kind, [None] * len(sizes))[sizes.index(window.size)] = fact
            entity = case.context.get(key)
            whose = "" if entity is None else self.value(key, entity)
            tables.append(
                WindowTable(words(key), whose, [format_duration(size) for size in sizes], [*rows.items(), *last])
            )
        return tables


def _kind(window: Window) -> str:
    kind = _WORDS.get(window.aggregate, words(window.aggregate))
    if window.probability is not None:
        kind = f"{window.probability:g} {kind}"
    if window.column is not None:
        kind = f"{kind} of {words(window.column)}"
    if window.rows is not None:
        return f"{kind}, last {window.rows}"
    return kind if window.gap is None else f"{kind}, gap {format_duration(window.gap)}"


class _Usual:
    """What is usual of an entity, by its earlier cases."""

    def __init__(self, book: FactBook, history: History | None) -> None:
        self._book = book
        self._history = history

    def mark(self, name: str, value: float | None) -> Mark | None:
        """A mark where the value lies outside of Tukey's fences of the earlier ones."""
        if value is None or name in self._book._categorical:  # noqa: SLF001 of this module
            return None
        values = () if self._history is None else self._history.values(name)
        earlier = [known for known in values if not math.isnan(known)]
        if len(earlier) < _FEW:
            return None
        low, _, high = quantiles(earlier, n=4, method="inclusive")
        reach = _SPREAD * (high - low)
        if low - reach <= value <= high + reach:
            return None
        first, last = self._book.number(name, low, _ROUGHLY), self._book.number(name, high, _ROUGHLY)
        unit = self._book.unit(name)
        first = first if first == last or not unit else first.removesuffix(f" {unit}")
        return Mark(value > high, first if first == last else f"{first} to {last}")
