from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from labeling import PIPELINE
from typer.testing import CliRunner

from benchmarks.support.postgres import PostgresServer
from labeling_grpc.commands.administration import WriteDown
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.database import postgres_store, sqlite_store, sqlite_tokens
from labeling_grpc.security.audit import Act, Refusals, newest, page, record, verify
from labeling_grpc.security.roles import Role
from labeling_grpc.storage.postgres import PostgresStore
from labeling_grpc.tables.schema import audit
from tidemark.cli.app import app
from tidemark.records.topics import Topics
from tidemark.runtime.settings import Settings

ACTS = [Act(f"a{n}", "admin", "PauseQueue", "pay", {"why": f"look {n}", "n": n}) for n in range(8)]
TEXT = {"actor", "role", "action", "object", "detail", "hash"}


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://")
    with engine.begin() as opened:
        audit.create(opened)
        yield opened
    engine.dispose()


def written(connection: sa.Connection, acts: list[Act] = ACTS) -> str:
    """Hash of the last entry."""
    connection.execute(audit.delete())
    for number, act in enumerate(acts):
        record(connection, 1_000 + number, [act])
    return verify(connection).head


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_every_tampering_with_entries_is_found(data: st.DataObject) -> None:
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        audit.create(connection)
        head = written(connection)
        assert verify(connection, expect=head).broken == ""
        number = data.draw(st.integers(1, len(ACTS)), label="number")
        kind = data.draw(st.sampled_from(["change", "remove", "swap", "insert", "renumber"]), label="kind")
        row = audit.c.number == number
        match kind:
            case "change":
                column = data.draw(st.sampled_from(sorted(TEXT | {"at"})), label="column")
                value: Any = 7 if column == "at" else data.draw(st.text(max_size=8).filter(_unlike), label="value")
                connection.execute(audit.update().where(row).values({column: value}))
            case "remove":
                connection.execute(audit.delete().where(row))
            case "swap":
                other = data.draw(st.integers(1, len(ACTS)).filter(lambda n: n != number), label="other")
                _swap(connection, number, other)
            case "insert":
                first = connection.execute(sa.select(audit).where(row)).mappings().one()
                connection.execute(audit.insert().values(**{**first, "number": len(ACTS) + 1}))
            case _:
                connection.execute(audit.delete().where(row))
                connection.execute(audit.update().where(audit.c.number > number).values(number=audit.c.number - 1))
        found = verify(connection, expect=head)
    engine.dispose()
    assert found.broken != "", kind


def _unlike(text: str) -> bool:
    return text not in {act.actor for act in ACTS} | {"admin", "PauseQueue", "pay"}


def _swap(connection: sa.Connection, one: int, other: int) -> None:
    for now, then in ((one, -1), (other, one), (-1, other)):
        connection.execute(audit.update().where(audit.c.number == now).values(number=then))


def test_entries_that_are_gone_at_the_end_are_found_by_a_hash_that_was_kept(connection: sa.Connection) -> None:
    head = written(connection)
    connection.execute(audit.delete().where(audit.c.number > 5))
    assert verify(connection).broken == "", "what is left is whole"
    assert "removed at the end" in verify(connection, expect=head).broken
    connection.execute(audit.delete())
    assert verify(connection).entries == 0
    assert verify(connection, expect=head).broken != ""


def test_a_chain_that_was_written_anew_is_found_by_a_hash_that_was_kept(connection: sa.Connection) -> None:
    head = written(connection)
    written(connection, [Act("mallory", "admin", "PauseQueue", "pay"), *ACTS[1:]])
    assert verify(connection).broken == ""
    assert "written anew" in verify(connection, expect=head).broken


def test_any_earlier_hash_serves_as_the_kept_one(connection: sa.Connection) -> None:
    written(connection)
    assert all(verify(connection, expect=entry.hash).broken == "" for entry in newest(connection, 100))


def test_a_page_tells_whether_its_entries_follow_from_the_one_before(connection: sa.Connection) -> None:
    written(connection)
    entries, broken = page(connection, 3, 2)
    assert ([entry.number for entry in entries], broken) == ([4, 5], "")
    connection.execute(audit.update().where(audit.c.number == 5).values(actor="mallory"))
    assert page(connection, 0, 4)[1] == ""
    assert page(connection, 3, 2)[1].startswith("entry 5 is not what was written")
    connection.execute(audit.delete().where(audit.c.number == 3))
    assert page(connection, 3, 2)[1] == "entry 3 is missing"


def test_what_is_refused_again_and_again_is_written_down_once_a_minute() -> None:
    now = [0.0]
    refusals = Refusals(most=3, seconds=60.0, clock=lambda: now[0])
    act = Act("eve", "viewer", "forbidden", "Skip")
    taken = [refusals.take(act) for _ in range(100)]
    assert [its is not None for its in taken] == [True] + [False] * 99
    others = [refusals.take(Act(f"e{n}", "viewer", "forbidden", "Skip")) for n in range(100)]
    assert sum(its is not None for its in others) == 2, "no more than so many a minute in all"
    now[0] = 60.0
    again = refusals.take(act)
    assert again is not None
    assert again.detail == {"left_out": 98}


def test_replicas_write_one_chain(postgres: PostgresServer, unique: str) -> None:
    stores = [postgres_store(postgres.url, Topics(unique), QueueRules(("a", "b"))) for _ in range(2)]

    def write(store: PostgresStore) -> None:
        for number in range(20):
            store.transact([WriteDown((Act(f"a{number}", "admin", "look", "pay"),))])

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(write, stores))
    with stores[0].engine.connect() as opened:
        found = verify(opened)
    for store in stores:
        store.close()
    assert (found.entries, found.broken) == (40, "")


def test_an_entry_of_a_group_that_failed_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = sqlite_store(tmp_path / "q.db", Topics("pay"), QueueRules(("a", "b")))
    whole = store._queue.apply

    def failing(*arguments: Any) -> Any:  # noqa: ANN401 - as `apply`
        whole(*arguments)
        raise RuntimeError("after the entry was written")

    monkeypatch.setattr(store._queue, "apply", failing)
    with pytest.raises(RuntimeError):
        store.transact([WriteDown((ACTS[0],))])
    monkeypatch.undo()
    store.transact([WriteDown((ACTS[1],))])
    with store.engine.connect() as opened:
        (entry,) = newest(opened, 10)
    store.close()
    assert (entry.number, entry.actor) == (1, "a1")


def test_every_committed_entry_is_in_the_log_with_its_hash_and_without_its_detail(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store = sqlite_store(tmp_path / "q.db", Topics("pay"), QueueRules(("a", "b")))
    store.transact([WriteDown((Act("ada", "admin", "PauseQueue", "pay", {"why": "a private word"}),))])
    with store.engine.connect() as opened:
        (entry,) = newest(opened, 10)
    store.close()
    assert entry.hash in caplog.text
    assert "private" not in caplog.text


def test_what_is_done_to_tokens_is_in_the_trail_without_their_secrets(tmp_path: Path) -> None:
    tokens = sqlite_tokens(tmp_path / "labeling.db", operator="root")
    made = tokens.create(Role.ANNOTATOR, "ada", 10**12)
    successor = tokens.rotate(made.token.id, 10**12, 0)
    tokens.revoke(successor.token.id)
    with tokens.engine.connect() as opened:
        entries = newest(opened, 10)
        assert verify(opened).broken == ""
    tokens.close()
    assert [entry.action for entry in entries] == ["token create", "token rotate", "token revoke"]
    assert {entry.actor for entry in entries} == {"root"}
    for issued in (made, successor):
        assert issued.secret not in repr(entries)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    for name, value in Settings(state_dir=tmp_path).environment().items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "pay.toml"
    file.write_text(PIPELINE.replace("NAME", "pay"))

    def command(group: str, name: str, *arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [group, name, str(file), *arguments])
        return result.exit_code, " ".join((result.output + result.stderr).split())

    return command


def test_with_dry_run_tokens_stay_as_they_are(run: Callable[..., tuple[int, str]]) -> None:
    token = run("token", "create", "--as", "ada")[1].split()[1]
    before = run("token", "list")
    assert f"token {token} of ada, annotator, valid would be revoked" in run("token", "revoke", token, "--dry-run")[1]
    assert "would end after 1d" in run("token", "rotate", token, "--dry-run")[1]
    assert "there is no token" in run("token", "revoke", "nonsense", "--dry-run")[1]
    assert run("token", "list") == before


def test_the_trail_at_the_command_line(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    assert run("token", "create", "--as", "ada")[0] == 0
    assert run("token", "create", "--as", "ben")[0] == 0
    code, said = run("audit", "verify")
    assert (code, said.split(",")[0]) == (0, "2 entries")
    head = said.split()[-1]
    assert "token create" in run("audit", "list")[1]
    assert run("audit", "verify", "--expect", head)[0] == 0
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'pipelines' / 'pay' / 'labeling.db'}")
    with engine.begin() as opened:
        opened.execute(audit.delete().where(audit.c.number == 2))
    engine.dispose()
    assert run("audit", "verify")[0] == 0
    code, said = run("audit", "verify", "--expect", head)
    assert code == 1
    assert "tampered" in said
