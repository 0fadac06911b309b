from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.labeling_postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole run; each pipeline has a schema of its own. Tests that stop one start their own."""
    with PostgresServer() as server:
        yield server
