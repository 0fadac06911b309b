"""Places in topics as people write them: the beginning, the end, an offset, a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from tidemark.errors import ConfigError
from tidemark.times.iso8601 import UNREADABLE, iso_times

_DIGITS: Final = 19


@dataclass(frozen=True, slots=True)
class Place:
    """A place. number: of an `offset`; of a `time` the µs since 1970; else 0."""

    kind: Literal["earliest", "latest", "offset", "time"]
    number: int = 0


def read_place(text: str, option: str) -> Place:
    """The place that an option names.

    Args:
        text: what was written.
        option: for the error.

    Returns:
        The place.

    Raises:
        ConfigError: it is none.

    """
    ends: dict[str, Place] = {"earliest": Place("earliest"), "latest": Place("latest")}
    if text in ends:
        return ends[text]
    if text.isascii() and text.isdecimal() and len(text) < _DIGITS:
        return Place("offset", int(text))
    (time,) = iso_times([text]).tolist()
    if time == UNREADABLE or time < 0:
        raise ConfigError(
            f"{option} {text!r} is none of earliest, latest, an offset, and a time such as 2026-11-28T06:00:00Z"
        )
    return Place("time", time)
