"""Which column of a topic's records tells event times, and how."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any, Final

from tidemark.errors import ConfigError
from tidemark.runtime.suggestions import did_you_mean
from tidemark.times.time_formats import TIME_FORMATS
from tidemark.times.time_patterns import TimePattern, time_pattern

_TIME_NAMES: Final = re.compile(
    r"(^|_)(time|timestamp|ts|date|datetime|at|when)$|^(time|timestamp|date)", re.IGNORECASE
)
_DAYS: Final = ("%-d.%-m.%Y", "%-d/%-m/%Y", "%-m/%-d/%Y", "%-d-%-m-%Y", "%-m-%-d-%Y", "%-d %b %Y", "%b %-d, %Y")
_CLOCKS: Final = tuple(
    f"{hours}{seconds}{half}"
    for (hours, half), seconds in product((("%-H:%M", ""), ("%-I:%M", " %p")), ("", ":%S", ":%S.%f"))
)
_FORMS: Final = (
    *(
        f"{day}{apart}{clock}{offset}"
        for day, apart, clock, offset in product(_DAYS, (" ", ", "), _CLOCKS, ("", " %z"))
    ),
    "%d/%b/%Y:%H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S %z",
    "%Y%m%d %H:%M:%S",
)
"""Forms of times that are no ISO 8601, as spreadsheets, logs and mails have them."""
_TRIED: Final = 20
"""Values that all forms are tried on, before one is tried on all."""
_NANOSECONDS: Final = (10**17, 5 * 10**18)
"""Since 1970: the years 1973 to 2128."""


@dataclass(frozen=True, slots=True)
class SeenColumn:
    """What the sampled records hold in one field."""

    name: str
    type: str
    values: list[Any]
    """Those that are not null."""
    always: bool
    """In every record, never null."""

    @property
    def distinct(self) -> int:
        """How many values there are."""
        return len(set(self.values))

    @property
    def identifies(self) -> bool:
        """Another value in every record."""
        return self.always and self.type in ("string", "int") and self.distinct == len(self.values)


@dataclass(frozen=True, slots=True)
class DraftedTime:
    """A column that tells times. patterns: of texts that are no ISO 8601.  comment: behind them, where to choose."""

    column: str
    format: str
    patterns: list[str]
    comment: str = ""


def drafted_time(topic: str, seen: Mapping[str, SeenColumn], wanted: str | None) -> DraftedTime:
    """The time column and its format.

    Args:
        topic: for what can't be done.
        seen: columns by name.
        wanted: the column, where somebody has named it.

    Returns:
        The column that is named, or else the first that looks like a time.

    Raises:
        ConfigError: there is none.

    """
    if wanted is not None:
        if wanted not in seen:
            raise ConfigError(f"topic '{topic}': there is no column '{wanted}'; {did_you_mean(wanted, seen)}")
        told = _told(seen[wanted])
        if told is None and _is_nanoseconds(seen[wanted]):
            raise ConfigError(_of_nanoseconds(topic, wanted))
        if told is None:
            raise ConfigError(
                f"topic '{topic}': '{wanted}' holds {seen[wanted].values[0]!r}, which is no time of a form that is "
                "known; name another column, and write the form of this one as time.patterns"
            )
        return told
    found = [told for column in seen.values() if (told := _told(column)) is not None]
    named = [told for told in found if _TIME_NAMES.search(told.column)]
    likely = named or [told for told in found if told.format == "iso8601"]
    if not likely:
        called = (column for column in seen.values() if _TIME_NAMES.search(column.name))
        finer = next((column.name for column in called if _is_nanoseconds(column)), None)
        if finer is not None:
            raise ConfigError(_of_nanoseconds(topic, finer))
        raise ConfigError(f"topic '{topic}': no column looks like a time; name it with --time")
    return likely[0]


def _is_nanoseconds(column: SeenColumn) -> bool:
    """Whether a column tells times of our days in a unit that no format has."""
    low, high = _NANOSECONDS
    return column.always and column.type == "int" and all(low <= value <= high for value in column.values)


def _of_nanoseconds(topic: str, name: str) -> str:
    return (
        f"topic '{topic}': '{name}' looks like nanoseconds since 1970, which no time format reads; have its sender "
        "write microseconds (epoch_us), or text as 2026-01-31T12:00:00.123456789Z (iso8601)"
    )


def _told(column: SeenColumn) -> DraftedTime | None:
    """How a column tells times; None if it does not."""
    if not column.always:
        return None
    formats = TIME_FORMATS.all().items()
    for name, written in formats:
        if written.looks(column.values, column.type):
            return DraftedTime(column.name, name, [])
    if column.type != "string":
        return None
    fitting = [form for form in _forms() if _reads(form, column.values)]
    if not fitting:
        return None
    chosen, *others = fitting
    comment = f"    # CHOOSE: {others[0].text} reads them as well" if others else ""
    return DraftedTime(column.name, "iso8601", [chosen.text], comment)


@cache
def _forms() -> list[TimePattern]:
    return [time_pattern(text) for text in _FORMS]


def _reads(form: TimePattern, values: Sequence[str]) -> bool:
    """Whether a form reads all of some texts."""
    return all(form.microseconds(text) is not None for part in (values[:_TRIED], values) for text in part)
