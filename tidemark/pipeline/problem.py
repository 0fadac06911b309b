"""What is wrong with a pipeline file, in a sentence and at a key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tidemark.runtime.suggestions import did_you_mean


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at a key of the file, and what to write instead."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Expressed:
    """What is wrong with expressions, names, windows and the context of a label."""

    expressions: Sequence[Problem] = ()
    names: Sequence[Problem] = ()
    windows: Sequence[Problem] = ()
    context: Sequence[Problem] = ()

    @property
    def right(self) -> bool:
        """Whether nothing is."""
        return not (self.expressions or self.names or self.windows or self.context)


def unknown_column(key: str, column: str, known: Iterable[str]) -> Problem:
    """The problem of a key that names a column which there is not."""
    return Problem(key, f"there is no column '{column}'; {did_you_mean(column, list(known))}")


def first_line(error: Exception) -> str:
    """What an exception says, shortened to its first line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
