"""What a case's answer could be learnt by, before the own one is given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
import sqlalchemy as sa
from desk import DAY, Desk
from labeling import SOURCE, MovedClock, arrivals, candidate
from models import small_pipeline

from labeling_grpc.api.case_details import Details
from labeling_grpc.assist.champion_follower import Champion
from labeling_grpc.client import LabelingClient
from labeling_grpc.client.administration import LabelingAdminClient
from labeling_grpc.commands.administration import AddComment, RequeueCases
from labeling_grpc.commands.labeling import AddGold, Amend, Answer, LeasedCase, SubmitAnswers, TakeIn
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.database import sqlite_store, sqlite_tokens
from labeling_grpc.options import Options
from labeling_grpc.queue import queries
from labeling_grpc.queue.blinding import Blinding
from labeling_grpc.queue.progress import progress
from labeling_grpc.security.caller import SERVICE, Caller
from labeling_grpc.security.roles import Role
from labeling_grpc.server import LabelingServer, serve
from labeling_grpc.tables.schema import answers
from labeling_grpc.v1 import labeling_pb2 as pb
from labeling_grpc.v1 import labeling_pb2_grpc
from tidemark.pipeline.model import Labeling
from tidemark.records import Label, decode
from tidemark.records.topics import Topics
from tidemark.runtime.settings import Settings

GOLDEN = small_pipeline("pay", classes=("no", "yes")).model_copy(update={"labeling": Labeling(gold_every=2)})
RULES = QueueRules.of(GOLDEN)
EVERY = queries.CaseFilter(frozenset(), frozenset(), "", review=False)
ADA, REY, VIC, ROOT = (
    Caller(name, role)
    for name, role in (
        ("ada", Role.ANNOTATOR),
        ("rey", Role.REVIEWER),
        ("vic", Role.VIEWER),
        ("root", Role.ADMIN),
    )
)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    clock = MovedClock(time=20_000 * DAY)
    store = sqlite_store(tmp_path / "q.db", Topics("pay"), RULES, clock)
    made = Desk(store, clock)
    made.take_in(*(candidate(n, key="K", priority=1 - n / 100, features={"a": float(n)}) for n in range(20)))
    yield made
    store.close()


def answer(desk: Desk, who: str, case: LeasedCase, label: str | None = "yes") -> str:
    status: Any = "answered" if label else "skipped"
    (result,) = desk.store.transact([SubmitAnswers((Answer(case.event_id, case.token, status, label),))]).results
    desk.clock.time += 1
    assert who
    return cast("Any", result)[0].annotation_id  # type: ignore[no-any-return]


def golden(desk: Desk) -> str:
    """A case that somebody answered, with a comment about it, made gold."""
    (case,) = desk.lease("bea")
    answer(desk, "bea", case)
    desk.store.transact([AddComment(case.event_id, "bea", "clearly yes", "k")])
    desk.store.transact([AddGold(((case.event_id, "yes"),), SERVICE)])
    return case.event_id


def given(desk: Desk, who: str, event_id: str) -> LeasedCase:
    """The gold case, once it is given to somebody."""
    for _ in range(4):
        (case,) = desk.lease(who)
        if case.event_id == event_id:
            return case
        answer(desk, who, case, None)
    raise AssertionError("no gold case was given")


def looked_up(desk: Desk, event_id: str, who: Caller) -> pb.GetCaseResponse:
    details = Details(GOLDEN, cast("Champion", SimpleNamespace(current=lambda: None)))
    with desk.store.engine.connect() as connection:
        return details.case(connection, event_id, 100, who)


def told_of(desk: Desk, event_id: str, who: Caller) -> set[str]:
    """By which ways somebody is told a gold case's answer, or that it has one."""
    found: set[str] = set()
    own = looked_up(desk, event_id, who)
    theirs = [its for its in own.answers if its.annotator != who.name]
    if (
        own.record.label
        or theirs
        or own.record.HasField("confidence")
        or any(c.annotator != who.name for c in own.comments)
    ):
        found.add("case")
    beside = looked_up(desk, candidate(19).event_id, who)
    found |= {"history"} if any(its.event_id == event_id and its.label for its in beside.history) else set()
    found |= {"similar"} if any(its.event_id == event_id for its in beside.similar) else set()
    blinding = Blinding(who)
    with desk.store.engine.connect() as connection:
        rows, _ = queries.case_page(connection, GOLDEN.labeling, EVERY, 0, 100, blinding)
        (row,) = [its for its in rows if its.candidate.event_id == event_id]
        found |= {"list"} if row.label is not None or (row.state == "answered" and not row.answers) else set()
        assert row.state == pb.CaseState.Name(own.record.state).removeprefix("CASE_STATE_").lower(), (
            "two ways, one state"
        )
    exported = [
        its for its in queries.labels(desk.store.engine, verdicts=False, blinding=blinding) if its.event_id == event_id
    ]
    found |= {"export"} if any(its.annotator != who.name for its in exported) else set()
    return found


EVERYWHERE = {"case", "history", "similar", "list", "export"}


@pytest.mark.parametrize("who", [ADA, REY])
def test_a_gold_case_tells_its_answer_nowhere_before_it_is_given_while_it_is_held_and_after(
    desk: Desk, who: Caller
) -> None:
    event_id = golden(desk)
    assert told_of(desk, event_id, who) == set()
    case = given(desk, who.name, event_id)
    assert told_of(desk, event_id, who) == set()
    assert looked_up(desk, event_id, who).record.state == pb.CASE_STATE_LEASED
    annotation = answer(desk, who.name, case, "no")
    assert told_of(desk, event_id, who) == set(), "it could be amended to what is told"
    (own,) = looked_up(desk, event_id, who).answers
    assert (own.status, own.label) == ("answered", "no")
    desk.store.transact([Amend(annotation, "answered", "yes", by=who)])
    assert told_of(desk, event_id, who) == set()


def test_administrators_and_who_answered_it_before_it_was_gold_see_it_as_it_is(desk: Desk) -> None:
    event_id = golden(desk)
    assert told_of(desk, event_id, ROOT) == EVERYWHERE
    assert told_of(desk, event_id, VIC) == EVERYWHERE, "to a role that labels nothing"
    bea = Caller("bea", Role.REVIEWER)
    found = looked_up(desk, event_id, bea)
    assert (found.record.state, found.record.label) == (pb.CASE_STATE_ANSWERED, "yes")


def test_who_has_a_gold_case_under_another_role_is_not_told_either(desk: Desk) -> None:
    event_id = golden(desk)
    given(desk, "ada", event_id)
    assert told_of(desk, event_id, replace(ADA, role=Role.VIEWER)) == set()
    assert told_of(desk, event_id, replace(ADA, role=Role.PROGRAM)) == set()


def test_the_verdict_of_a_case_that_is_asked_again_is_not_told_beside_others(desk: Desk) -> None:
    (case,) = desk.lease("bea")
    answer(desk, "bea", case)
    beside = looked_up(desk, candidate(19).event_id, ADA)
    assert [its.event_id for its in beside.similar] == [case.event_id]
    desk.store.transact([RequeueCases(SERVICE, (case.event_id,), "a look")])
    beside = looked_up(desk, candidate(19).event_id, ADA)
    assert not beside.similar
    assert not any(its.label for its in beside.history)
    assert any(its.event_id == case.event_id for its in beside.history)


def test_figures_of_the_own_progress_do_not_tell_a_gold_case_from_others(desk: Desk) -> None:
    event_id = golden(desk)
    held: list[int] = []
    for number in range(1, 5):
        desk.lease("ada")
        with desk.store.engine.connect() as connection:
            held.append(progress(connection, "ada", desk.clock.wall(), desk.clock.now()).leased)
        assert held == [*range(1, number + 1)]
    with desk.store.engine.connect() as connection:
        assert (
            event_id
            not in connection.execute(sa.select(answers.c.event_id).where(answers.c.annotator == "ada")).scalars()
        )


def test_a_quota_counts_gold_cases_that_are_held(desk: Desk) -> None:
    golden(desk)
    desk.known("ada", quota=4)
    assert len(desk.lease("ada", 3)) == 3
    assert len(desk.lease("ada", 3)) == 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LabelingServer]:
    with serve(GOLDEN, Settings(state_dir=tmp_path).at("127.0.0.1:9"), options=Options(tokens=True)) as running:
        asked = [candidate(n, key="K", features={"a": float(n)}) for n in range(12)]
        running._writer.call(TakeIn(SOURCE, None, len(asked), arrivals(asked)))
        yield running


def test_over_grpc_neither_watchers_nor_exports_nor_own_figures_tell_gold_cases(
    server: LabelingServer, tmp_path: Path
) -> None:
    tokens = sqlite_tokens(tmp_path / "pipelines" / "pay" / "labeling.db")
    secret = {role: tokens.create(role, role.value, 10**13).secret for role in Role}
    tokens.close()
    with (
        LabelingClient(server.address, "admin", token=secret[Role.ADMIN]) as admin_queue,
        LabelingAdminClient(server.address, "admin", token=secret[Role.ADMIN]) as admin,
        LabelingClient(server.address, "reviewer", token=secret[Role.REVIEWER]) as reviewer,
        LabelingAdminClient(server.address, "reviewer", token=secret[Role.REVIEWER]) as reviewing,
        LabelingClient(server.address, "annotator", token=secret[Role.ANNOTATOR]) as annotator,
        grpc.insecure_channel(server.address) as channel,
    ):
        (first,) = admin_queue.lease()
        admin_queue.submit(first, "yes")
        admin.add_gold([(first.event_id, "yes")])
        stub: Any = labeling_pb2_grpc.LabelingServiceStub(channel)
        watches = {
            role: stub.Watch(pb.WatchRequest(interval_ms=50), metadata=(("authorization", f"Bearer {secret[role]}"),))
            for role in (Role.ADMIN, Role.REVIEWER)
        }
        for watch in watches.values():
            next(watch)
        for _ in range(4):
            (task,) = annotator.lease()
            annotator.submit(task, "no")
        about: dict[Role, list[str]] = {}
        for role, watch in watches.items():
            events: list[Any] = []
            while sum(its.kind == pb.CaseEvent.KIND_ANSWERED for its in events) < (4 if role is Role.ADMIN else 2):
                events += next(watch).events
            about[role] = [its.event_id for its in events]
            watch.cancel()
        assert first.event_id in about[Role.ADMIN]
        assert first.event_id not in about[Role.REVIEWER]
        exported = [its.event_id for its in reviewing.export()]
        assert exported
        assert first.event_id not in exported
        assert first.event_id in {its.event_id for its in admin.export()}
        assert decode(Label, server.store.unpublished(0, 1)[0].message.value).event_id == first.event_id
        for _ in range(4):
            (task,) = reviewer.lease()
            reviewer.submit(task, "no")
        figures = {its.name: its.quality for its in reviewing.annotators()}
        assert figures["reviewer"].gold_answered == 0
        assert figures["annotator"].gold_answered == 1
        assert {its.name: its.quality for its in admin.annotators()}["reviewer"].gold_answered == 1
