"""The order of texts: by their bytes, in every store and whatever the database's locale."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

_TEXTS: Final = sa.text(
    "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema() "
    "AND data_type = 'text' AND is_generated = 'NEVER' AND collation_name IS DISTINCT FROM 'C' "
    "AND table_name = ANY(:tables) ORDER BY table_name, column_name"
)
_TABLES: Final = (
    *("access_tokens", "annotations", "annotators", "audit", "cases", "confusion", "gold", "gold_leases"),
    *("exchanged_tokens", "identities", "leader", "meta", "outbox", "positions", "queue"),
)
_INDEXES: Final = sa.text(
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() AND tablename = 'queue' "
    "AND indexdef LIKE '%audience%' ORDER BY indexname"
)


def order_by_bytes(connection: sa.Connection) -> None:
    """Give the texts of a PostgreSQL the order that SQLite has; nothing for a SQLite, or where it is done.

    Args:
        connection: In the transaction that makes or migrates the tables.

    """
    if connection.dialect.name != "postgresql":
        return
    columns = connection.execute(_TEXTS, {"tables": list(_TABLES)}).all()
    quoted = connection.dialect.identifier_preparer.quote
    computed = any(row.table_name == "queue" for row in columns)
    definition, indexes = None, list[str]()
    if computed:  # a column that another is computed from can't be changed
        for index in connection.execute(_INDEXES).all():
            connection.execute(sa.text(f"DROP INDEX {quoted(index.indexname)}"))
            indexes.append(index.indexdef)
        definition = connection.execute(
            sa.text(
                "SELECT generation_expression FROM information_schema.columns WHERE table_schema = current_schema() "
                "AND table_name = 'queue' AND column_name = 'audience'"
            )
        ).scalar_one_or_none()
        connection.execute(sa.text("ALTER TABLE queue DROP COLUMN IF EXISTS audience"))
    for row in columns:
        column = quoted(row.column_name)
        connection.execute(sa.text(f'ALTER TABLE {quoted(row.table_name)} ALTER {column} TYPE text COLLATE "C"'))
    if definition:
        connection.exec_driver_sql(
            f'ALTER TABLE queue ADD audience text COLLATE "C" GENERATED ALWAYS AS ({definition}) STORED'
        )
        for index_definition in indexes:
            connection.exec_driver_sql(index_definition)
