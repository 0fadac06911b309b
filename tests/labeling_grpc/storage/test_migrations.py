from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command, config
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from labeling import CLASSES, SOURCE, arrivals, candidate

from benchmarks.support.postgres import PostgresServer
from labeling_grpc.commands.administration import AnnotatorRow
from labeling_grpc.commands.labeling import LeaseCases, TakeIn
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.database import sqlite_store
from labeling_grpc.queue.annotator_access import annotator
from labeling_grpc.queue.stacks import find_stacks
from labeling_grpc.storage.base import StoreError
from labeling_grpc.storage.migrate import MIGRATIONS, prepare, tables
from labeling_grpc.tables.schema import HEAD, cases, queue
from tidemark.records.topics import Topics

RULES = QueueRules(classes=CLASSES)
Open = Callable[[str], sa.Engine]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """A fresh database by name."""
    if request.param == "sqlite":
        return lambda name: sa.create_engine(f"sqlite:///{tmp_path / name}.db")
    server: PostgresServer = request.getfixturevalue("postgres")

    def create(name: str) -> sa.Engine:
        everywhere = sa.create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"))
        with everywhere.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        everywhere.dispose()
        return sa.create_engine(everywhere.url.set(database=name))

    return create


@contextmanager
def opened(database: Open, name: str) -> Iterator[sa.Connection]:
    engine = database(name)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def alembic(connection: sa.Connection) -> config.Config:
    settings = config.Config()
    settings.set_main_option("script_location", str(MIGRATIONS))
    settings.attributes["connection"] = connection
    return settings


def differences(connection: sa.Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, tables(connection.dialect.name)))  # type: ignore[arg-type]  # takes several


def test_migrations_end_at_the_tables_that_the_code_has(database: Open) -> None:
    with opened(database, "migrated") as connection:
        command.upgrade(alembic(connection), "head")
        assert differences(connection) == []
        assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == HEAD


def test_a_new_database_is_at_the_newest_migration(database: Open) -> None:
    with opened(database, "fresh") as connection:
        first = prepare(connection, "fresh")
        assert differences(connection) == []
        assert prepare(connection, "fresh") == first


def test_an_older_database_goes_through_its_migrations(database: Open) -> None:
    with opened(database, "older") as connection:
        command.upgrade(alembic(connection), "0001")
        connection.execute(cases.insert().values(event_id="e", candidate=b"{}"))
        connection.exec_driver_sql("INSERT INTO meta (key, value) VALUES ('publisher', 'p')")
        assert prepare(connection, "older")["publisher"] == "p"
        assert differences(connection) == []
        assert connection.execute(sa.select(cases.c.event_id)).scalars().all() == ["e"]


def test_cases_that_wait_are_kept_by_the_migrations_with_who_may_have_them(database: Open) -> None:
    with opened(database, "waiting") as connection:
        command.upgrade(alembic(connection), "0007")
        connection.exec_driver_sql("INSERT INTO meta (key, value) VALUES ('publisher', 'p')")
        connection.exec_driver_sql("INSERT INTO annotators VALUES ('ada', 'active', '', 0, '[\"cards\"]', 5)")
        connection.execute(cases.insert().values(id=1, event_id="e", candidate=b"{}"))
        connection.exec_driver_sql(
            "INSERT INTO queue (case_id, state, lane, tier, segment, skill, rank, size, leases, votes, seen) "
            "VALUES (1, 0, 1, 0, 'north', 'cards', -0.5, 9, 1, 1, '[\"ben\"]')"
        )
        prepare(connection, "waiting")
        (stack,) = find_stacks(connection)
        assert (stack.segment, stack.skill, stack.seen, stack.assignee) == ("north", "cards", frozenset({"ben"}), None)
        (row,) = connection.execute(sa.select(queue)).mappings().all()
        assert (row["due_at"], row["assignee"], row["assigned_until"], row["votes"]) == (None, None, None, 1)
        assert row["audience"] == 'cards\n["ben"]'
        assert annotator(connection, "ada") == AnnotatorRow("ada", skills=("cards",), quota=5)


def test_a_file_of_before_there_were_migrations_is_gone_on_with(tmp_path: Path) -> None:
    with opened(lambda name: sa.create_engine(f"sqlite:///{tmp_path / name}.db"), "q") as connection:
        command.upgrade(alembic(connection), "0001")
        connection.exec_driver_sql("DROP TABLE alembic_version")
        connection.exec_driver_sql("INSERT INTO meta (key, value) VALUES ('schema', '1'), ('publisher', 'p')")
    store = sqlite_store(tmp_path / "q.db", Topics("pay"), RULES)
    assert store.publisher == "p"
    taken, given = store.transact(
        [TakeIn(SOURCE, None, 1, arrivals([candidate(1)])), LeaseCases("a", 1, 1_000)]
    ).results
    assert taken
    assert given
    store.close()


@pytest.mark.parametrize("schema", ["99", None])
def test_something_else_is_refused(tmp_path: Path, schema: str | None) -> None:
    with opened(lambda name: sa.create_engine(f"sqlite:///{tmp_path / name}.db"), "q") as connection:
        connection.exec_driver_sql("CREATE TABLE meta (key TEXT, value TEXT)")
        if schema:
            connection.exec_driver_sql("INSERT INTO meta VALUES ('schema', ?)", (schema,))
    with pytest.raises(StoreError, match="run the version of Tidemark that wrote it"):
        sqlite_store(tmp_path / "q.db", Topics("pay"), RULES)
