"""Bringing a database to this version's tables: a new one is made at once, an older one goes through its migrations."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from labeling_grpc.storage.base import StoreError, read_meta
from labeling_grpc.storage.collation import order_by_bytes
from labeling_grpc.tables import meta_keys
from labeling_grpc.tables.schema import HEAD, meta, metadata, replication
from labeling_grpc.tables.tokens import metadata as token_metadata

MIGRATIONS: Final = Path(__file__).parent / "migrations"

_FIRST: Final = "0001"
"""Databases of before there were migrations have its tables, and say `schema` 1 in `meta`."""

_version = sa.Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))


def tables(dialect: str) -> list[sa.MetaData]:
    """What a database of this version has."""
    shared = [replication] if dialect == "postgresql" else []
    return [metadata, token_metadata, *shared]


def prepare(connection: sa.Connection, name: str) -> dict[str, str]:
    """Make the tables, or migrate them; gives what `meta` says. name: of the database, for errors.

    Raises:
        StoreError: a newer Tidemark wrote it, or something else.

    """
    revision = _found(connection, name)
    if revision is None:
        for metadata_ in tables(connection.dialect.name):
            metadata_.create_all(connection)
        order_by_bytes(connection)
        _version.create(connection)
        connection.execute(_version.insert().values(version_num=HEAD))
        connection.execute(meta.insert().values(key=meta_keys.PUBLISHER, value=uuid.uuid4().hex))
        connection.execute(meta.insert().values(key=meta_keys.KAFKA, value=""))
    elif revision != HEAD:
        _upgrade(connection, revision, name)
    return read_meta(connection)


def _found(connection: sa.Connection, name: str) -> str | None:
    """Revision of a database; None for an empty one."""
    there = sa.inspect(connection)
    if there.has_table(_version.name):
        return connection.execute(sa.select(_version.c.version_num)).scalar_one_or_none()
    if not there.has_table(meta.name):
        return None
    schema = read_meta(connection).get("schema")
    if schema != "1":
        raise _unknown(name, repr(schema))
    return _FIRST


def _upgrade(connection: sa.Connection, current: str, name: str) -> None:
    from alembic import command, config, script  # noqa: PLC0415 - a third of a second, needed once in a version's life

    settings = config.Config()
    settings.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    settings.attributes["connection"] = connection
    known = {revision.revision for revision in script.ScriptDirectory.from_config(settings).walk_revisions()}
    if current not in known:
        raise _unknown(name, repr(current))
    if not sa.inspect(connection).has_table(_version.name):
        command.stamp(settings, current)
    command.upgrade(settings, HEAD)


def _unknown(name: str, revision: str) -> StoreError:
    return StoreError(
        f"{name} has schema {revision} where {HEAD!r} is expected: run the version of Tidemark that wrote it, or move "
        "it away; the queue is then rebuilt from Kafka"
    )
