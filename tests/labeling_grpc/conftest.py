from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import DAY, Desk, Open
from labeling import MovedClock
from shared_statements import share_statements

from benchmarks.support.postgres import PostgresServer
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.database import postgres_store, sqlite_store
from labeling_grpc.storage.postgres import PostgresStore
from labeling_grpc.storage.sqlite import SqliteStore
from tidemark.records.topics import Topics

share_statements()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole run; each pipeline has a schema of its own. Tests that stop one start their own."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens queues in each of the stores."""
    stores: list[SqliteStore | PostgresStore] = []

    def opening(rules: QueueRules) -> Desk:
        clock = MovedClock(time=20_000 * DAY + 5_000_000)
        if request.param == "sqlite":
            stores.append(sqlite_store(tmp_path / "q.db", Topics("pay"), rules, clock))
        else:
            server: PostgresServer = request.getfixturevalue("postgres")
            stores.append(postgres_store(server.url, Topics(f"lease{abs(hash(tmp_path))}"), rules, clock))
        return Desk(stores[-1], clock)

    yield opening
    for store in stores:
        store.close()
