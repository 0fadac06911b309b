from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Self

import grpc
import pytest
import sqlalchemy as sa
from grpc_health.v1 import health_pb2, health_pb2_grpc
from labeling import CLASSES, PIPELINE, SOURCE, MovedClock, arrivals, candidate, pipeline
from typer.testing import CliRunner

from benchmarks.support.postgres import PostgresServer
from labeling_grpc.client import LabelingClient, RefusedError, Submitted
from labeling_grpc.commands.labeling import (
    Accepted,
    Amend,
    Answer,
    Applied,
    Command,
    LeaseCases,
    LeasedCase,
    Result,
    SubmitAnswers,
    Sweep,
    TakeIn,
    TakenIn,
)
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.contract.errors import Reason
from labeling_grpc.database import open_tokens, postgres_store
from labeling_grpc.options import Options, database_url
from labeling_grpc.security.roles import Role
from labeling_grpc.server import LabelingServer, serve
from labeling_grpc.storage.base import Outgoing, StoreError
from labeling_grpc.storage.group_commit import FutureReply, Writer
from labeling_grpc.storage.postgres import PostgresStore
from labeling_grpc.tables.schema import leader
from labeling_grpc.v1 import labeling_pb2 as pb
from labeling_grpc.v1 import labeling_pb2_grpc
from support import wait_until
from tidemark.cli.app import app
from tidemark.errors import ConfigError
from tidemark.records.topics import Topics
from tidemark.runtime.settings import Settings

RULES = QueueRules(classes=CLASSES)
NO_KAFKA = "127.0.0.1:9"
_number = itertools.count()


@pytest.fixture
def name() -> str:
    return f"shared{next(_number)}"


@pytest.fixture
def replicas(postgres: PostgresServer, name: str) -> Iterator[list[PostgresStore]]:
    stores = [postgres_store(postgres.url, Topics(name), RULES) for _ in range(2)]
    yield stores
    for store in stores:
        store.close()


def unexpected(error: Exception) -> None:
    raise error


def one(store: PostgresStore, command: Command) -> Result:
    (result,) = store.transact([command]).results
    return result


def leased(result: object) -> list[LeasedCase]:
    assert isinstance(result, list)
    return [case for case in result if isinstance(case, LeasedCase)]


def together(*works: Callable[[], None]) -> None:
    """Run at the same time, each in a thread of its own; raise what one raised."""
    failures: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures


def test_replicas_that_work_at_once_give_each_case_to_one_and_lose_no_answer(replicas: list[PostgresStore]) -> None:
    one(replicas[0], TakeIn(SOURCE, None, 400, arrivals([candidate(i, explore=i % 4 == 0) for i in range(400)])))
    taken: list[list[str]] = [[], []]
    answered: list[list[str]] = [[], []]

    def work(index: int) -> None:
        store = replicas[index]
        while store.counts.answered < 400:
            asked = [LeaseCases(f"a{index}-{i}", 3, 10**12) for i in range(5)]
            cases = [case for result in store.transact(asked).results for case in leased(result)]
            taken[index].extend(case.event_id for case in cases)
            answers = [SubmitAnswers((Answer(case.event_id, case.token, "answered", "fraud"),)) for case in cases]
            for result in store.transact(answers or [Sweep()]).results if cases else store.transact([Sweep()]).results:
                assert result is None or isinstance(result, list)
                answered[index].extend(r.annotation_id for r in result or [] if isinstance(r, Accepted))

    together(lambda: work(0), lambda: work(1))
    assert all(taken), "one of the two did everything"
    assert Counter(taken[0] + taken[1]) == Counter(candidate(i).event_id for i in range(400))
    published = [row for store in replicas for row in store.unpublished(0, 1_000)][:400]
    assert len({row.seq for row in published}) == len(answered[0] + answered[1]) == 400


def test_the_same_answer_sent_to_two_replicas_at_once_is_taken_once(replicas: list[PostgresStore]) -> None:
    one(replicas[0], TakeIn(SOURCE, None, 20, arrivals([candidate(i) for i in range(20)])))
    cases = leased(one(replicas[0], LeaseCases("ada", 20, 10**12)))
    outcomes: list[list[Accepted]] = [[], []]

    def work(index: int) -> None:
        for case in cases:
            (outcome,) = one(replicas[index], SubmitAnswers((Answer(case.event_id, case.token, "answered", "fraud"),)))  # type: ignore[misc]
            assert isinstance(outcome, Accepted)
            outcomes[index].append(outcome)

    together(lambda: work(0), lambda: work(1))
    for first, second in zip(*outcomes, strict=True):
        assert first.annotation_id == second.annotation_id
        assert {first.duplicate, second.duplicate} == {False, True}
    assert len(replicas[0].unpublished(0, 100)) == 20


class Held:
    """A group of a replica's that is applied and not committed, for as long as the block runs."""

    def __init__(self, store: PostgresStore, *commands: Command) -> None:
        self._queue = store._queue
        self._apply = store._queue.apply
        self._reached, self._go_on = threading.Event(), threading.Event()
        self.results: list[Result] = []
        self._thread = threading.Thread(target=lambda: self.results.extend(store.transact(commands).results))

    def _slowly(self, *given: Any) -> Applied:  # noqa: ANN401 - as `Queue.apply`
        applied = self._apply(*given)
        self._reached.set()
        assert self._go_on.wait(60)
        return applied

    def __enter__(self) -> Self:
        self._queue.apply = self._slowly  # type: ignore[method-assign, assignment]
        self._thread.start()
        assert self._reached.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._go_on.set()
        self._thread.join(60)
        self._queue.apply = self._apply  # type: ignore[method-assign]


def test_a_replica_passes_over_what_another_is_giving_out(replicas: list[PostgresStore]) -> None:
    one(replicas[0], TakeIn(SOURCE, None, 40, arrivals([candidate(i, priority=-i) for i in range(40)])))
    with Held(replicas[0], LeaseCases("ada", 1, 10**12)) as held:
        (case,) = leased(one(replicas[1], LeaseCases("ben", 1, 10**12)))
    (first,) = leased(held.results[0])
    assert first.event_id == candidate(0).event_id
    assert case.event_id != first.event_id


def test_a_lease_that_found_all_cases_looked_at_by_another_replica_is_tried_again(
    replicas: list[PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labeling_grpc.storage.group_commit._PATIENCE_SECONDS", 60.0)  # however busy this machine is
    one(replicas[0], TakeIn(SOURCE, None, 2, arrivals([candidate(0), candidate(1)])))
    with Held(replicas[0], LeaseCases("ada", 1, 10**12)):
        applied = replicas[1].transact([LeaseCases("ben", 1, 10**12)])
        assert (applied.results, applied.contended) == ([[]], True)
        writer = Writer(replicas[1], unexpected)
        reply = FutureReply()
        writer.submit(LeaseCases("ben", 1, 10**12), reply)
        writer.start()
        wait_until(lambda: writer._contended, "it is not noticed")
        assert not reply.future.done()
    assert leased(reply.future.result(60))
    writer.stop()


def test_exploration_cases_are_taken_in_only_for_what_nobody_else_is_giving_out(
    postgres: PostgresServer, name: str
) -> None:
    rules = QueueRules(classes=CLASSES, max_open=4)
    stores = [postgres_store(postgres.url, Topics(name), rules) for _ in range(2)]
    one(stores[0], TakeIn(SOURCE, None, 4, arrivals([candidate(i) for i in range(4)])))
    more = TakeIn(SOURCE, 4, 6, arrivals([candidate(i, explore=True) for i in (4, 5)], 4))
    with Held(stores[0], LeaseCases("ada", 3, 10**12)):
        assert one(stores[1], more) == TakenIn(0, 4)
    assert one(stores[1], more) == TakenIn(1, 5)
    assert stores[1].counts.open == 4
    for store in stores:
        store.close()


def test_the_bound_holds_while_one_takes_in_and_the_other_gives_out(postgres: PostgresServer, name: str) -> None:
    rules = QueueRules(classes=CLASSES, max_open=12)
    stores = [postgres_store(postgres.url, Topics(name), rules) for _ in range(2)]
    done = threading.Event()
    most = 0

    def take_in() -> None:
        nonlocal most
        position: int | None = None
        number = 0
        while number < 300:
            fresh = [candidate(number + i, explore=(number + i) % 2 == 0) for i in range(6)]
            taken = one(stores[0], TakeIn(SOURCE, position, (position or 0) + 6, arrivals(fresh, position or 0)))
            assert isinstance(taken, TakenIn)
            number, position = number + taken.accepted, taken.position
            with stores[0].engine.connect() as connection:
                most = max(most, connection.execute(sa.text("SELECT count(*) FROM queue")).scalar_one())
        done.set()

    def give_out() -> None:
        while not done.is_set():
            for case in leased(one(stores[1], LeaseCases("ada", 4, 10**12))):
                one(stores[1], SubmitAnswers((Answer(case.event_id, case.token, "skipped"),)))

    together(take_in, give_out)
    assert 6 <= most <= 12
    for store in stores:
        store.close()


def test_of_two_intakes_at_once_one_takes_in(replicas: list[PostgresStore]) -> None:
    command = TakeIn(SOURCE, None, 2, arrivals([candidate(0), candidate(1)]))
    second: list[Result] = []
    late = threading.Thread(target=lambda: second.append(one(replicas[1], command)))
    with Held(replicas[0], command) as held:
        late.start()
        late.join(0.2)
        assert late.is_alive()
    late.join(60)
    assert held.results == [TakenIn(2, 2)]
    assert second == [TakenIn(0, 2, moved=True)]
    assert replicas[1].counts.waiting == 2


def test_what_is_committed_late_gets_a_number_above_what_was_read(replicas: list[PostgresStore]) -> None:
    one(replicas[0], TakeIn(SOURCE, None, 2, arrivals([candidate(0), candidate(1)])))
    late, early = leased(one(replicas[0], LeaseCases("ada", 2, 10**12)))
    with Held(replicas[0], SubmitAnswers((Answer(late.event_id, late.token, "skipped"),))):
        one(replicas[1], SubmitAnswers((Answer(early.event_id, early.token, "skipped"),)))
        (first,) = replicas[1].unpublished(0, 10)
    (second,) = replicas[1].unpublished(first.seq, 10)
    assert [row.message.key for row in (first, second)] == [early.event_id.encode(), late.event_id.encode()]
    assert replicas[0].last_seq() == second.seq


def test_two_who_number_the_outbox_at_once_read_the_same_numbers(replicas: list[PostgresStore]) -> None:
    one(replicas[0], TakeIn(SOURCE, None, 30, arrivals([candidate(i) for i in range(30)])))
    cases = leased(one(replicas[0], LeaseCases("ada", 30, 10**12)))
    one(replicas[0], SubmitAnswers(tuple(Answer(case.event_id, case.token, "skipped") for case in cases)))
    found: list[list[Outgoing]] = []
    together(*(partial(lambda store: found.append(store.unpublished(0, 100)), store) for store in replicas * 3))
    assert len(found[0]) == 30
    assert all(rows == found[0] for rows in found)


def test_of_two_amendments_of_an_answer_at_once_one_is_taken(replicas: list[PostgresStore]) -> None:
    one(replicas[0], TakeIn(SOURCE, None, 1, arrivals([candidate(1)])))
    (case,) = leased(one(replicas[0], LeaseCases("ada", 1, 10**12)))
    answered = one(replicas[0], SubmitAnswers((Answer(case.event_id, case.token, "answered", "fraud"),)))
    assert isinstance(answered, list)
    (given,) = (outcome for outcome in answered if isinstance(outcome, Accepted))
    late: list[Result] = []
    amend = Amend(given.annotation_id, "answered", "genuine", key="second")
    waiting = threading.Thread(target=lambda: late.append(one(replicas[1], amend)))
    with Held(replicas[0], Amend(given.annotation_id, "retracted", key="first")) as held:
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(60)
    assert isinstance(held.results[0], Accepted)
    (refused,) = late
    assert isinstance(refused, RefusedError)
    assert refused.reason is Reason.NOT_AMENDABLE


def test_one_replica_is_elected_and_another_takes_over(replicas: list[PostgresStore]) -> None:
    first, second = (store.election for store in replicas)
    until, *_ = first.hold("", "")
    assert until > time.monotonic()
    assert first.hold("no topic", "")[0] >= until
    assert second.hold("", "") == (0.0, "no topic", "")
    first.give_up()
    assert second.hold("", "")[0] > time.monotonic()
    assert first.hold("", "")[0] == 0.0
    with replicas[0].engine.begin() as connection:  # as if its term had gone by without a word
        connection.execute(leader.update().values(until=0))
    assert first.hold("", "")[0] > time.monotonic()


def test_a_long_poll_at_one_replica_gets_the_case_that_another_took_in(replicas: list[PostgresStore]) -> None:
    writer = Writer(replicas[1], unexpected)
    replicas[1].subscribe(lambda _change: writer.look())
    writer.start()
    reply = FutureReply()
    writer.submit(LeaseCases("ada", 1, 10**12), reply, wait=30)
    wait_until(lambda: writer.parked == 1, "it does not wait")
    one(replicas[0], TakeIn(SOURCE, None, 1, arrivals([candidate(1)])))
    assert [case.event_id for case in leased(reply.future.result(60))] == [candidate(1).event_id]
    writer.stop()


def test_the_fastest_clock_leads(postgres: PostgresServer, name: str) -> None:
    ahead, behind = MovedClock(time=50_000_000), MovedClock(time=10_000_000)
    stores = [postgres_store(postgres.url, Topics(name), RULES, clock) for clock in (ahead, behind)]
    one(stores[0], TakeIn(SOURCE, None, 1, arrivals([candidate(1)])))
    (case,) = leased(one(stores[1], LeaseCases("ada", 1, 1_000_000)))
    assert case.until == 51_000_000
    for store in stores:
        store.close()


def test_a_dead_database_is_unavailable_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path).at(NO_KAFKA)
    with PostgresServer() as database, serve(pipeline("pay"), settings, database=database.url) as server:
        feed(server, 3)
        with LabelingClient(server.address, "ada", patience=0) as client:
            first, second, third = client.lease(3)
            done = client.submit(first, "fraud")
            assert health(server) == health_pb2.HealthCheckResponse.SERVING
            database.stop()
            with pytest.raises(RefusedError, match="can't be written") as caught:
                client.submit(second, "fraud")
            assert (caught.value.reason, caught.value.code) == (
                Reason.STORE_UNAVAILABLE,
                grpc.StatusCode.UNAVAILABLE,
            )
            wait_until(lambda: health(server) == health_pb2.HealthCheckResponse.NOT_SERVING, "it would still be called")
            database.start()
            wait_until(lambda: health(server) == health_pb2.HealthCheckResponse.SERVING, "it does not come back")
        with LabelingClient(server.address, "ada", patience=20) as client:
            assert client.submit(first, "fraud") == Submitted(done.annotation_id, duplicate=True)
            assert not client.submit(second, "fraud").duplicate
            client.release([third])
            assert (client.stats().answered, client.stats().waiting) == (2, 1)


def health(server: LabelingServer) -> int:
    with grpc.insecure_channel(server.address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    return int(answer.status)


def feed(server: LabelingServer, number: int) -> None:
    server._writer.call(TakeIn(SOURCE, None, number, arrivals([candidate(i) for i in range(number)])))


def test_a_database_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(StoreError, match="refused") as caught:
        postgres_store("postgresql://tide:secret@127.0.0.1:9/none", Topics("pay"), RULES)
    assert "tide:***@127.0.0.1:9/none" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_tokens_are_checked_in_the_shared_database(
    postgres: PostgresServer, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "p.toml"
    file.write_text(PIPELINE.replace("NAME", name))
    (tmp_path / "url").write_text(postgres.url + "\n")
    monkeypatch.setenv("TIDEMARK_LABELING_DATABASE_FILE", str(tmp_path / "url"))
    made = CliRunner().invoke(app, ["token", "create", str(file), "--as", "ada"])
    assert made.exit_code == 0, made.output
    options = Options(tokens=True, database=postgres.url)
    assert postgres.url not in repr(options)
    with serve(pipeline(name), Settings(state_dir=tmp_path).at(NO_KAFKA), options=options) as server:
        feed(server, 1)
        with LabelingClient(server.address, "ada", token=made.output.split()[-1]) as client:
            (task,) = client.lease()
            client.submit(task, "fraud")
        with LabelingClient(server.address, "ada", token=name) as client, pytest.raises(RefusedError) as refused:
            client.lease()
        assert refused.value.reason is Reason.UNAUTHENTICATED


def test_a_database_that_is_no_postgresql_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="postgresql://user@host/database"):
        database_url({"TIDEMARK_LABELING_DATABASE": "mysql://host/db"})
    with pytest.raises(ConfigError, match="DATABASE_FILE"):
        database_url({"TIDEMARK_LABELING_DATABASE_FILE": str(tmp_path / "none")})


def test_a_lease_named_by_what_no_database_takes_is_refused_like_any_other(
    postgres: PostgresServer, name: str, tmp_path: Path
) -> None:
    options = Options(tokens=True, database=postgres.url)
    with (
        serve(pipeline(name), Settings(state_dir=tmp_path).at(NO_KAFKA), options=options) as server,
        closing(open_tokens(postgres.url, name)) as tokens,
        grpc.insecure_channel(server.address) as channel,
    ):
        secret = tokens.create(Role.ANNOTATOR, "ada", 86_400_000_000).secret
        metadata = (("authorization", f"Bearer {secret}"),)
        stub = labeling_pb2_grpc.LabelingServiceStub(channel)
        lease = pb.Lease(event_id="a\x00b", lease_token="\x00")  # noqa: S106 - of a lease, and none
        with pytest.raises(grpc.RpcError) as caught:
            stub.Skip(pb.SkipRequest(lease=lease), timeout=5, metadata=metadata)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.RpcError) as caught:
            stub.AmendLabel(pb.AmendLabelRequest(annotation_id="\x00", retract=True), timeout=5, metadata=metadata)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
