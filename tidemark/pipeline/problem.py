"""What is wrong with a pipeline file, in a sentence and at a key."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at a key of the file, and what to write instead."""

    key: str
    text: str


def first_line(error: Exception) -> str:
    """What an exception says, shortened to its first line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
