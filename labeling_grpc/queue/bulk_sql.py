"""Statements for many rows, compiled once and given straight to the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, Final, TypeAlias, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.visitors import ExternallyTraversible, replacement_traverse

Row: TypeAlias = dict[str, Any]
Calls: TypeAlias = Callable[[Sequence[Row]], Iterator[tuple[str, Any]]]
"""What the driver is called with for some rows: statements, each with its parameters."""

_TOGETHER: Final = (256, 64, 16, 4, 1)
"""Rows of a statement in SQLite: one is prepared for each of these numbers."""


class BulkStatement:
    """An insert, update or delete of many rows.

    SQLAlchemy prepares each row's parameters anew, which takes as long as SQLite takes to write them. PostgreSQL is
    given all rows in one statement, as an array for each column, for which it plans once. SQLite is given hundreds in
    one, for other threads run while a statement does: with one for each row, they and this one kept taking the
    interpreter's lock from each other.
    """

    def __init__(self, statement: sa.Insert | sa.Update | sa.Delete, *columns: str) -> None:
        """columns: what an insert sets; an update names its parameters itself; a delete compares a column with one."""
        self._statement = statement
        self._columns = columns
        self._compiled: dict[str, Calls] = {}

    def execute(self, connection: sa.Connection, rows: Sequence[Row]) -> None:
        """Run it for `rows`, which may be none."""
        if not rows:
            return
        calls = self._compiled.get(connection.dialect.name) or self._compile(connection.dialect)
        for text, parameters in calls(rows):
            connection.exec_driver_sql(text, parameters)

    def _compile(self, dialect: sa.Dialect) -> Calls:
        compiled = self._statement.compile(dialect=dialect, column_keys=self._columns or None)
        if dialect.name == "postgresql":
            calls = _as_arrays(str(self._from_arrays(compiled.binds).compile(dialect=dialect)), [*compiled.binds])
        else:
            names = compiled.positiontup or ()
            calls = _in_parts({number: self._from_values(dialect, names, number) for number in _TOGETHER}, names)
        self._compiled[dialect.name] = calls
        return calls

    def _from_arrays(self, binds: Mapping[str, sa.BindParameter[Any]]) -> sa.ClauseElement:
        """The statement for the rows of arrays, in the place of one row's parameters."""
        arrays = [sa.bindparam(name, type_=postgresql.ARRAY(bind.type)) for name, bind in binds.items()]
        columns = [sa.column(name, bind.type) for name, bind in binds.items()]
        rows = sa.func.unnest(*arrays).table_valued(*columns, name="rows").render_derived()
        if isinstance(self._statement, sa.Insert):
            return self._statement.from_select([*binds], sa.select(*rows.c))
        return self._with_rows(rows)

    def _from_values(self, dialect: sa.Dialect, names: Sequence[str], number: int) -> str:
        """The statement for `number` rows of parameters, one row after the other."""
        row = f"({', '.join('?' * len(names))})"
        values = ", ".join([row] * number)
        if isinstance(self._statement, sa.Insert):
            one = str(self._statement.compile(dialect=dialect, column_keys=self._columns))
            return one.removesuffix(row) + values
        rows = sa.table("rows", *map(sa.column, names))
        statement = self._with_rows(rows)
        if isinstance(self._statement, sa.Delete):  # which SQLite has no second table in
            compared = cast("sa.BinaryExpression[Any]", self._statement.whereclause)
            statement = sa.delete(self._statement.table).where(compared.left.in_(sa.select(*rows.c)))
        columns = ", ".join(map(dialect.identifier_preparer.quote, names))
        return f"WITH rows ({columns}) AS (VALUES {values}) {statement.compile(dialect=dialect)}"

    def _with_rows(self, rows: sa.FromClause) -> sa.ClauseElement:
        """The statement with columns of `rows` in the place of parameters."""

        def replaced(element: ExternallyTraversible, **_options: object) -> ExternallyTraversible | None:
            return rows.c[element.key] if isinstance(element, sa.BindParameter) else None

        return cast("sa.ClauseElement", replacement_traverse(self._statement, {}, replaced))


def _as_arrays(text: str, names: Sequence[str]) -> Calls:
    """One call, with the values of all rows by name."""
    return lambda rows: iter([(text, {name: [row[name] for row in rows] for name in names})])


def _in_parts(texts: Mapping[int, str], names: Sequence[str]) -> Calls:
    """A call for as many rows as a statement is for, from the largest on."""
    values = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)

    def calls(rows: Sequence[Row]) -> Iterator[tuple[str, Any]]:
        done = 0
        for number, text in texts.items():
            while len(rows) - done >= number:
                yield text, tuple(chain.from_iterable(map(values, rows[done : done + number])))
                done += number

    return calls
