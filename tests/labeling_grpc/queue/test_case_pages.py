from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from labeling import CLASSES, SOURCE, arrivals, candidate

from labeling_grpc.commands.labeling import TakeIn
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.database import sqlite_store
from labeling_grpc.queue.queries import CaseFilter, case_page
from tidemark.pipeline.model import Labeling
from tidemark.records.topics import Topics


def test_a_small_page_of_a_segment_without_cases_takes_few_queries(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path / "q.db", Topics("pay"), QueueRules(classes=CLASSES))
    store.transact([TakeIn(SOURCE, None, 900, arrivals([candidate(number) for number in range(900)]))])
    asked = CaseFilter(states=frozenset({"waiting"}), segments=frozenset({"nowhere"}), key="", review=False)
    queries: list[str] = []

    @sa.event.listens_for(store.engine, "before_cursor_execute")
    def count(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        queries.append(statement)

    with store.engine.connect() as connection:
        queries.clear()
        found, after = case_page(connection, Labeling(), asked, 0, 1)
    store.close()
    assert (found, after) == ([], None)
    assert len(queries) < 20
