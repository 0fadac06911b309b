"""Which number an answer means, where a label is a number: one reader and one canonical text for all who take answers.

An answer travels as text, in the fields that carry a class's name where the label is a class. The text is `repr` of
the float64: the shortest decimal that reads as it. So equal numbers are equal texts, whoever wrote them and however.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from tidemark.pipeline.model import LabelSpec

if TYPE_CHECKING:  # whoever reads single answers reads no columns
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from tidemark.pipeline.classes import Value

_DECIMAL: Final = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?", re.ASCII)
DIGITS: Final = 15
"""Significant digits by which people are told a number of a label: as many as decimals keep in float64."""
_NAN: Final = "nan"
"""How a column of numbers writes in a CSV file that there is none."""
_SHOWN: Final = 5
_LONGEST: Final = 60


class NumberReader:
    """Reads numbers of a label.

    label: of a pipeline that was checked, whose type is `number`.
    """

    def __init__(self, label: LabelSpec) -> None:
        if label.min is None or label.max is None:
            raise ValueError("a label that is a number has bounds: label.min and label.max")
        self.least, self.greatest = float(label.min), float(label.max)
        self._unit = "" if label.unit is None else f" {label.unit}"

    @property
    def expected(self) -> str:
        """What a label may be, for people."""
        return f"a number {from_to(self.least, self.greatest)}{self._unit}"

    def number(self, value: Value) -> float:
        """The number that a value means.

        Args:
            value: a number, or a text that writes one as a decimal: `12`, `0.5`, `1e3`. A point parts the decimals.

        Returns:
            It, finite and within the bounds; 0.0 and never -0.0.

        Raises:
            ValueError: it means none, or one out of bounds; says what was expected.

        """
        return number_within(value, self.least, self.greatest, self.expected)

    def text(self, value: Value) -> str:
        """The canonical text of the number that a value means; arguments and errors as `number` has them."""
        return repr(self.number(value))

    def column(self, column: pl.Series) -> NDArray[np.float64]:
        """Number of each row, (n,); NaN where there is none (null, NaN, an empty text).

        Raises:
            ValueError: a value means no number; names some of them and says what was expected.

        """
        import numpy as np  # noqa: PLC0415 - as at the top
        import polars as pl  # noqa: PLC0415 - as above

        if not (column.dtype.is_numeric() or column.dtype in (pl.String, pl.Null)):
            raise ValueError(f"column {column.name!r} is of type {column.dtype}; expected {self.expected}")
        meaning: dict[object, float] = {}
        wrong: list[str] = []
        for value in column.unique(maintain_order=True).to_list():
            try:
                meaning[value] = math.nan if _is_none(value) else self.number(value)
            except ValueError:
                wrong.append(_shown(value))
        if wrong:
            raise ValueError(
                f"column {column.name!r} holds {', '.join(sorted(wrong)[:_SHOWN])}; expected {self.expected}"
            )
        return np.array([meaning.get(value, math.nan) for value in column.to_list()], np.float64)


def number_within(value: Value, least: float, greatest: float, expected: str = "a number within the bounds") -> float:
    """The number that a value means, as `NumberReader.number` has it. expected: for people, where it means none."""
    if isinstance(value, bool) or (isinstance(value, str) and not _DECIMAL.fullmatch(value.strip())):
        raise ValueError(f"{_shown(value)} is no number; expected {expected}, with a point for decimals")
    try:
        number = float(value)
    except (OverflowError, ValueError):  # an int beyond float64, a Decimal that is a signalling NaN
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{_shown(value)} is no finite number; expected {expected}")
    if not least <= number <= greatest:
        raise ValueError(f"{_shown(value)} is out of bounds; expected {expected}")
    return number + 0.0


def from_to(least: float, greatest: float) -> str:
    """Two bounds, for people."""
    return f"from {least:.{DIGITS}g} to {greatest:.{DIGITS}g}"


def answer_text(label: LabelSpec, text: str) -> str:
    """The text by which an answer is kept, of one that somebody gave.

    Args:
        label: of the pipeline.
        text: a class's name, or a number as people and programs write it.

    Returns:
        The class's name, or the canonical text of the number.

    Raises:
        ValueError: it is no class, or no number within the bounds; says what was expected.

    """
    if label.is_number:
        return NumberReader(label).text(text)
    if text not in label.classes:
        raise ValueError(f"unknown class {_shown(text)}; the classes are {', '.join(label.classes)}")
    return text


def _is_none(value: object) -> bool:
    if isinstance(value, str):
        return value == "" or value.lower() == _NAN
    return value is None or (isinstance(value, float) and math.isnan(value))


def _shown(value: object) -> str:
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
