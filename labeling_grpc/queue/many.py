"""Statements for many rows, compiled once and given straight to the driver."""

from __future__ import annotations

from collections.abc import Sequence
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
        self._compiled: dict[str, tuple[str, list[str] | None]] = {}

    def execute(self, connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
        """Run it for `rows`, which may be none."""
        if not rows:
            return
        text, order = self._compiled.get(connection.dialect.name) or self._compile(connection.dialect)
        if order is None:
            connection.exec_driver_sql(text, list(rows))
        else:
            connection.exec_driver_sql(text, [tuple(row[name] for name in order) for row in rows])

    def _compile(self, dialect: sa.Dialect) -> tuple[str, list[str] | None]:
        compiled = self._statement.compile(dialect=dialect, column_keys=self._columns or None)
        order = list(compiled.positiontup) if compiled.positional and compiled.positiontup is not None else None
        self._compiled[dialect.name] = str(compiled), order
        return self._compiled[dialect.name]
