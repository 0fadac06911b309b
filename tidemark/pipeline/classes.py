"""Which class a label means: names first, then numbers, then truth values; never by a guess.

People's files and systems write a class as a text, a number or a truth value. A number is the class that is called so.
Only where no class is called a number is it a position in `label.classes`. True and false are the positive class and
the other one of two, unless classes are called so. A number that could mean either way is refused: of the classes true
and false in this order, 1 is no position.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

NO_CLASS: Final = -1
"""Index of a row without a label."""

Value = str | int | float | bool | Decimal
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,3})?")
_WORDS: Final = {"false": False, "true": True}
_NAN: Final = "nan"
"""How a column of numbers writes in a CSV file that there is none."""
_SHOWN: Final = 5
_LONGEST: Final = 60


class ClassReader:
    """Reads classes of a label.

    classes: names in the pipeline's order.  positive: one of them.
    """

    def __init__(self, classes: Sequence[str], positive: str) -> None:
        self.classes = tuple(classes)
        self._names = {name: index for index, name in enumerate(self.classes)}
        self._numbers: dict[Decimal, list[int]] = {}
        for index, name in enumerate(self.classes):
            if (number := _number(name)) is not None:
                self._numbers.setdefault(number, []).append(index)
        self._truth, self._no_truth = _truth_values(self.classes, positive, self._numbers)
        self._positions: dict[Decimal, list[int]] = {}
        if not _contradict_positions(self.classes):
            self._positions = {Decimal(index): [index] for index in range(len(self.classes))}

    @property
    def expected(self) -> str:
        """What a label may be, for people."""
        names = list(self.classes)
        if self._numbers:
            return f"{names}; a number is the class of that name, for a class is called a number"
        if not self._positions:
            return f"{names}, or truth values; a number could mean either, in this order"
        return f"{names}, or their numbers 0 to {len(names) - 1}"

    def index(self, value: Value) -> int:
        """Index of the class that a value means; a text is a name and nothing else.

        Raises:
            ValueError: it means none, or could mean several; says what was expected.

        """
        if isinstance(value, str):
            if (index := self._names.get(value)) is None:
                raise ValueError(f"unknown class {_shown(value)}; the classes are {', '.join(self.classes)}")
            return index
        if isinstance(value, bool):
            if self._truth is None:
                raise ValueError(f"{value} as a class: {self._no_truth}")
            return self._truth[value]
        number = _number(value)
        found = [] if number is None else (self._numbers or self._positions).get(number, [])
        if not found:
            raise ValueError(f"unknown class {_shown(value)}; expected {self.expected}")
        if len(found) > 1:
            names = " and ".join(repr(self.classes[index]) for index in found)
            raise ValueError(f"{_shown(value)} could be each of the classes {names}; give the class as a text")
        return found[0]

    def column(self, column: pl.Series) -> NDArray[np.int64]:
        """Index of each row's class, (n,); `NO_CLASS` where there is none (null, NaN, an empty text).

        A column of texts is one of names if any of them is one; else all may be numbers, or all truth values, as a CSV
        file writes them.

        Raises:
            ValueError: a value means no class; names some of them and says what was expected.

        """
        values = _plain(column)
        meaning: dict[object, int] = {None: NO_CLASS}
        unknown: list[str] = []
        why = ""
        distinct = values.unique(maintain_order=True).drop_nulls().to_list()
        typed = distinct
        if values.dtype == pl.String and not any(text in self._names for text in distinct):
            meaning |= {text: NO_CLASS for text in distinct if text.lower() == _NAN}
            distinct = [text for text in distinct if text not in meaning]
            typed = _as_typed(distinct)
        for value, read in zip(distinct, typed, strict=True):
            try:
                meaning[value] = self.index(read)
            except ValueError as error:
                unknown.append(_shown(value))
                why = str(error)
        if unknown:
            held = ", ".join(sorted(unknown)[:_SHOWN])
            reason = why if isinstance(typed[0], bool) or "could be" in why else f"expected {self.expected}"
            raise ValueError(f"column {column.name!r} holds {held}; {reason}")
        return np.array([meaning[value] for value in values.to_list()], np.int64)


def _as_typed(texts: list[str]) -> list[Value]:
    """Texts of a column none of which is a name: all as truth values, or all as numbers, or as they are."""
    words = [_WORDS.get(text.lower()) for text in texts]
    numbers = [_number(text) for text in texts]
    for read in (words, numbers):
        if all(value is not None for value in read):
            return [value for value in read if value is not None]
    return list(texts)


def _contradict_positions(classes: tuple[str, ...]) -> bool:
    """Whether classes are called true and false, and do not stand where 1 and 0 do."""
    lowered = [name.lower() for name in classes]
    return any(word in lowered for word in _WORDS) and lowered != list(_WORDS)


def _truth_values(
    classes: tuple[str, ...], positive: str, numbers: dict[Decimal, list[int]]
) -> tuple[dict[bool, int] | None, str]:
    """What True and False mean; or None, and why they mean nothing."""
    lowered = [name.lower() for name in classes]
    if any(word in lowered for word in _WORDS):
        if all(lowered.count(word) == 1 for word in _WORDS):
            return {truth: lowered.index(word) for word, truth in _WORDS.items()}, ""
        return None, f"the classes {list(classes)} call it so in part; give the class as a text"
    if len(classes) != 2:
        return None, f"there are {len(classes)} classes, and a truth value tells two apart; give the class as a text"
    yes = classes.index(positive) if positive in classes else 1
    if numbers and (numbers.get(Decimal(1)) != [yes] or numbers.get(Decimal(0)) != [1 - yes]):
        return None, f"the classes {list(classes)} are numbers with {positive!r} positive; give the class as a text"
    return {True: yes, False: 1 - yes}, ""


def _number(value: Value) -> Decimal | None:
    """The exact number that a value is or writes; a float is the shortest decimal that reads as it."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return Decimal(value) if _NUMBER.fullmatch(value) else None
    if isinstance(value, float):
        return Decimal(repr(value)) if math.isfinite(value) else None
    return Decimal(value)


def _plain(column: pl.Series) -> pl.Series:
    """The column without NaN and empty texts, of a type that a class can have.

    Raises:
        ValueError: it has another type.

    """
    dtype = column.dtype
    if dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
    if column.dtype == pl.String:
        return column.set(column == "", None)
    if dtype.is_float():
        return column.fill_nan(None)
    if dtype.is_integer() or dtype.is_decimal() or dtype in (pl.Boolean, pl.Null):
        return column
    raise ValueError(f"column {column.name!r} is of type {dtype}; a class is a text, a number or a truth value")


def _shown(value: Value) -> str:
    text = repr(value) if not isinstance(value, Decimal) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
