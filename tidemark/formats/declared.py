"""What a reader of files is told about their columns."""

from __future__ import annotations

from collections.abc import Callable
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
    """

    kind_of: Callable[[str], Kind | None]
    required: tuple[str, ...] = ()
    time: tuple[str, str] | None = None
    owner: str = "it"

    @classmethod
    def of(cls, pipeline: Pipeline, also: str | None = None) -> Declared:
        """The columns of a pipeline's records.

        Args:
            pipeline: whose `[columns]` count.
            also: one more column, which holds classes.

        """
        kinds: dict[str, Kind] = {name: column.type for name, column in pipeline.columns.items()}
        if also is not None:
            kinds.setdefault(also, "class")
        required = tuple(sorted(name for name, column in pipeline.columns.items() if column.required))
        return cls(kinds.get, required, (pipeline.time.column, pipeline.time.format), pipeline.name)
