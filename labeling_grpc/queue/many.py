"""Statements for many rows, compiled once and given straight to the driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa


class Many:
    """An insert, update or delete that is run once for each row.

    SQLAlchemy prepares each row's parameters anew, which takes as long as SQLite takes to write them.
    """

    def __init__(self, statement: sa.Insert | sa.Update | sa.Delete, *columns: str) -> None:
        """columns: what an insert sets; an update or delete names its parameters itself."""
        self._statement = statement
        self._columns = columns
        self._compiled: dict[str, tuple[str, Callable[[dict[str, Any]], Any] | None]] = {}

    def execute(self, connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
        """Run it for `rows`, which may be none."""
        if not rows:
            return
        text, ordered = self._compiled.get(connection.dialect.name) or self._compile(connection.dialect)
        connection.exec_driver_sql(text, list(rows) if ordered is None else [*map(ordered, rows)])

    def _compile(self, dialect: sa.Dialect) -> tuple[str, Callable[[dict[str, Any]], Any] | None]:
        """The statement's text, and what brings a row's values into its order, where its parameters have no names."""
        compiled = self._statement.compile(dialect=dialect, column_keys=self._columns or None)
        ordered = None
        if compiled.positional and compiled.positiontup is not None:
            names = compiled.positiontup
            ordered = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
        self._compiled[dialect.name] = str(compiled), ordered
        return self._compiled[dialect.name]
