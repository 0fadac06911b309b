"""Durations as people write them ('90s', '15m', '6h', '7d'), held as whole microseconds."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
_WORDS: Final = {
    "microsecond": "us",
    "millisecond": "ms",
    "sec": "s",
    "second": "s",
    "min": "m",
    "minute": "m",
    "hr": "h",
    "hour": "h",
    "day": "d",
}
PATTERN: Final = r"^[0-9]+(us|ms|s|m|h|d)$"
LIMIT: Final = 10_000 * _UNITS["d"]
"""Longest duration: the window kernel's arithmetic has room for it, and no stream needs more."""


def parse_duration(text: str, *, zero: bool = False) -> int:
    """Microseconds of a duration such as '500ms', '30s', '15m', '6h' or '7d'.

    Args:
        text: a number and a unit.
        zero: whether '0s' is a duration too.

    Returns:
        The duration, µs.

    Raises:
        ValueError: the text is no duration, is 0 where that is none, or is over 10,000 days; the message says what to
            write.

    """
    match = re.fullmatch(r"([0-9]{1,18})(us|ms|s|m|h|d)", text)
    if match is None:
        raise ValueError(f"is not a duration; write {_suggestion(text)}")
    duration = int(match[1]) * _UNITS[match[2]]
    if not (duration or zero) or duration > LIMIT:
        raise ValueError("is out of range; write a duration above 0 and of at most '10000d'")
    return duration


def format_duration(duration: int) -> str:
    """Shortest spelling of a number of microseconds: 3,600,000,000 is '1h'."""
    unit = next(name for name in reversed(_UNITS) if duration % _UNITS[name] == 0)
    return f"{duration // _UNITS[unit]}{unit}"


def _suggestion(text: str) -> str:
    loose = re.fullmatch(r"\s*([0-9]+)\s*([a-zA-Z]*?)s?\s*", text)
    if loose is not None:
        word = loose[2].lower()
        unit = word if word in _UNITS else _WORDS.get(word)
        if unit is not None:
            return f"'{loose[1]}{unit}'"
    return "a number and a unit: '500ms', '30s', '15m', '6h' or '7d'"
