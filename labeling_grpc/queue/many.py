"""Statements for many rows, compiled once and given straight to the driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, TypeAlias, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.visitors import ExternallyTraversible, replacement_traverse

Row: TypeAlias = dict[str, Any]
Parameters: TypeAlias = Callable[[Sequence[Row]], Any]


class Many:
    """An insert, update or delete of many rows.

    SQLAlchemy prepares each row's parameters anew, which takes as long as SQLite takes to write them. SQLite is given
    the rows one by one, PostgreSQL all of them in one statement, as an array for each column: it then plans once.
    """

    def __init__(self, statement: sa.Insert | sa.Update | sa.Delete, *columns: str) -> None:
        """columns: what an insert sets; an update or delete names its parameters itself."""
        self._statement = statement
        self._columns = columns
        self._compiled: dict[str, tuple[str, Parameters]] = {}

    def execute(self, connection: sa.Connection, rows: Sequence[Row]) -> None:
        """Run it for `rows`, which may be none."""
        if not rows:
            return
        text, parameters = self._compiled.get(connection.dialect.name) or self._compile(connection.dialect)
        connection.exec_driver_sql(text, parameters(rows))

    def _compile(self, dialect: sa.Dialect) -> tuple[str, Parameters]:
        compiled = self._statement.compile(dialect=dialect, column_keys=self._columns or None)
        text, parameters = str(compiled), _tuples(compiled.positiontup or ())
        if dialect.name == "postgresql":
            text, parameters = str(self._at_once(compiled.binds).compile(dialect=dialect)), _arrays([*compiled.binds])
        self._compiled[dialect.name] = text, parameters
        return text, parameters

    def _at_once(self, binds: dict[str, sa.BindParameter[Any]]) -> sa.ClauseElement:
        """The statement for the rows of arrays, in the place of one row's parameters."""
        arrays = [sa.bindparam(name, type_=postgresql.ARRAY(bind.type)) for name, bind in binds.items()]
        columns = [sa.column(name, bind.type) for name, bind in binds.items()]
        rows = sa.func.unnest(*arrays).table_valued(*columns, name="rows").render_derived()
        if isinstance(self._statement, sa.Insert):
            return self._statement.from_select([*binds], sa.select(*rows.c))

        def replaced(element: ExternallyTraversible, **_options: object) -> ExternallyTraversible | None:
            return rows.c[element.key] if isinstance(element, sa.BindParameter) else None

        return cast("sa.ClauseElement", replacement_traverse(self._statement, {}, replaced))


def _tuples(names: Sequence[str]) -> Parameters:
    """Rows as tuples, in the order of the names."""
    values = itemgetter(*names) if len(names) > 1 else lambda row: tuple(row[name] for name in names)
    return lambda rows: [*map(values, rows)]


def _arrays(names: Sequence[str]) -> Parameters:
    """By name, the values of all rows."""
    return lambda rows: {name: [row[name] for row in rows] for name in names}
