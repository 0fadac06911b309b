"""What a reader of files is told about their columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tidemark.pipeline import Pipeline  # half a second, which the process that reads Parquet does without

Kind = Literal["string", "int", "float", "bool", "class", "numbers"]
"""Types of the pipeline's columns; `class`: a text, a whole number or a truth value, as labels are written;
`numbers`: an object of names and numbers, as features are."""


@dataclass(frozen=True, slots=True)
class Declared:
    """Columns that are read, and how.

    kind_of: type of a column by its name; None: it is not read.  required: columns that a file must have.
    time: the column of the event time, and how the records tell it.  owner: who requires them, for errors.
    names: all of them that are known beforehand, by which misspelt ones are found.
    """

    kind_of: Callable[[str], Kind | None]
    required: tuple[str, ...] = ()
    time: tuple[str, str] | None = None
    owner: str = "it"
    names: tuple[str, ...] = ()

    def misspelt(self, found: Sequence[str]) -> str | None:
        """Why a file's columns are not read as they are: one is a declared column but for case, spaces or the like.

        A column that nobody declared is not read, so a slip in the name of one that may be missing would lose it.

        Args:
            found: names of the file's columns.

        Returns:
            What is wrong and what to do; None where nothing is.

        """
        absent = {_folded(name): name for name in self.names if name not in found}
        for name in found:
            meant = absent.get(_folded(name))
            if meant is not None and self.kind_of(name) is None:
                return f"it names a column {name[:100]!r}, and '{meant}' is declared; rename one"
        return None

    @classmethod
    def of(cls, pipeline: Pipeline, also: str | None = None) -> Declared:
        """The columns of a pipeline's records.

        Args:
            pipeline: whose `[columns]` count.
            also: one more column, which holds classes.

        """
        kinds: dict[str, Kind] = {name: column.type for name, column in pipeline.columns.items()}
        for column in pipeline.columns.values():
            for other in column.names or ():
                kinds.setdefault(other, column.type)
        if also is not None:
            kinds.setdefault(also, "class")
        required = tuple(
            sorted(
                name
                for name, column in pipeline.columns.items()
                if column.required and column.names is None and column.default is None
            )
        )
        return cls(kinds.get, required, (pipeline.time.column, pipeline.time.format), pipeline.name, tuple(kinds))


def _folded(name: str) -> str:
    """A name without what is easily overlooked: case, spaces, what can't be seen, and how accents are composed."""
    seen = "".join(char for char in name if char.isprintable() and not char.isspace())
    return unicodedata.normalize("NFKC", seen).casefold()
