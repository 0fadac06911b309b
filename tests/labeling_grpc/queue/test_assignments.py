"""Cases that are assigned to one person, and people who are away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from desk import Desk, Open
from labeling import CLASSES, SOURCE, MovedClock, candidate

from labeling_grpc.commands.administration import AssignCases, Changed, UpdateAnnotator
from labeling_grpc.commands.labeling import (
    AddGold,
    Answer,
    Arrival,
    Escalate,
    LeaseCases,
    LeaseRef,
    Quarantine,
    ReleaseLeases,
    Rescore,
    Rescored,
    SubmitAnswers,
    TakeIn,
)
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.database import sqlite_store
from labeling_grpc.queue.sql import ASSIGNED_TO, ENDED_ASSIGNMENTS
from labeling_grpc.security.caller import Caller
from labeling_grpc.security.roles import Role
from labeling_grpc.tables.schema import audit, cases
from tidemark.pipeline.model import Due
from tidemark.records import encode
from tidemark.records.topics import Topics

MINUTE = 60_000_000
RULES = QueueRules(classes=CLASSES)
BOSS = Caller("rita", Role.REVIEWER)
WHY = "knows the customer"


def events(*numbers: int) -> tuple[str, ...]:
    return tuple(candidate(number).event_id for number in numbers)


def assign(desk: Desk, name: str, *numbers: int) -> Changed | RefusedError:
    (result,) = desk.store.transact([AssignCases(BOSS, events(*numbers), name, WHY)]).results
    assert isinstance(result, Changed | RefusedError)
    return result


def update(desk: Desk, name: str, **over: Any) -> None:  # noqa: ANN401 - any field
    values: dict[str, Any] = {"state": None, "why": "", "skills": None, "any_skill": False, "quota": None}
    desk.store.transact([UpdateAnnotator(BOSS, name, **values | over)])


def given(desk: Desk, name: str, count: int = 9) -> list[str]:
    return [case.event_id for case in desk.lease(name, count)]


def test_an_assigned_case_is_offered_to_one_person_alone_and_to_them_first(opened: Open) -> None:
    desk = opened(RULES)
    desk.take_in(*(candidate(i, priority=i / 10) for i in range(4)), candidate(9, explore=True))
    assert assign(desk, "ada", 0, 1) == Changed(events(0, 1), ())
    assert set(given(desk, "ben")) == set(events(2, 3, 9))
    tasks = desk.lease("ada", 9)
    assert [task.event_id for task in tasks] == [*events(1, 0)]
    assert all(task.assigned for task in tasks)


def test_an_assignment_that_is_taken_back_gives_the_case_to_whoever_may_have_it(opened: Open) -> None:
    desk = opened(RULES)
    desk.take_in(candidate(0))
    assign(desk, "ada", 0)
    assert given(desk, "ben") == []
    assert assign(desk, "", 0) == Changed(events(0), ())
    assert assign(desk, "", 0) == Changed((), events(0))
    assert given(desk, "ben") == [*events(0)]


def test_an_assignment_lasts_until_the_case_is_due_and_of_an_overdue_one_until_it_is_taken_back(opened: Open) -> None:
    desk = opened(QueueRules(classes=CLASSES, due=Due.model_validate({"default": "10m"})))
    asked = desk.clock.wall()
    arrived = tuple(Arrival(i, candidate(i), encode(candidate(i)), at=asked) for i in range(2))
    desk.store.transact([TakeIn(SOURCE, None, 2, arrived)])
    assign(desk, "ada", 0)
    desk.clock.time += 10 * MINUTE - 1
    (other,) = desk.lease("ben", 2)
    assert other.event_id == events(1)[0]
    desk.clock.time += 1
    assert given(desk, "ben") == [*events(0)]
    assign(desk, "ada", 1)
    desk.store.transact([ReleaseLeases((LeaseRef(other.event_id, other.token),), passed=False)])
    desk.clock.time += 1_000 * MINUTE
    assert given(desk, "ben") == []
    assert given(desk, "ada") == [*events(1)]


def test_an_assignment_ends_with_the_assignees_answer_and_with_an_escalation(opened: Open) -> None:
    desk = opened(QueueRules(classes=CLASSES, answers=2))
    desk.take_in(candidate(0), candidate(1))
    assign(desk, "ada", 0, 1)
    first, second = desk.lease("ada", 2)
    desk.store.transact([SubmitAnswers((Answer(first.event_id, first.token, "answered", "fraud"),))])
    assert given(desk, "ben") == [first.event_id], "the second answer is anybody's"
    desk.store.transact([Escalate(second.event_id, second.token, "too hard")])
    assert [case.event_id for case in desk.lease("rita", 9, review=True)] == [second.event_id]


def test_a_case_in_somebodys_hands_is_theirs_until_it_comes_back(opened: Open) -> None:
    desk = opened(RULES)
    desk.take_in(candidate(0))
    (case,) = desk.lease("ben")
    assert assign(desk, "ada", 0) == Changed(events(0), ())
    desk.clock.time = case.until
    assert given(desk, "ben") == []
    assert given(desk, "ada") == [*events(0)]


def test_neither_a_closed_an_exploration_nor_an_answered_case_nor_one_beyond_somebodys_skills_is_assigned(
    opened: Open,
) -> None:
    desk = opened(QueueRules(classes=CLASSES, skill="needs", answers=2))
    desk.take_in(candidate(0), candidate(1, explore=True), candidate(2, context={"needs": "cards"}), candidate(3))
    desk.known("ada", skills=json.dumps(["loans"]))
    tasks = {task.event_id: task for task in desk.lease("ada", 9)}
    said = Answer(events(3)[0], tasks[events(3)[0]].token, "answered", "fraud")
    desk.store.transact([SubmitAnswers((said,))])
    assert assign(desk, "ada", 0, 1, 2, 3, 4) == Changed(events(0), events(1, 2, 3, 4))


def test_what_asks_for_a_skill_that_somebody_has_no_longer_returns_and_the_rest_stays_theirs(opened: Open) -> None:
    desk = opened(QueueRules(classes=CLASSES, skill="needs"))
    desk.take_in(candidate(0, context={"needs": "cards"}), candidate(1, context={"needs": "loans"}), candidate(2))
    assign(desk, "ada", 0, 1, 2)
    update(desk, "ada", skills=("loans",))
    assert given(desk, "ben") == [*events(0)]
    update(desk, "ada", skills=())
    assert given(desk, "ben") == [*events(1)]
    assert given(desk, "ada") == [*events(2)]


def test_a_gold_case_among_those_that_are_assigned_looks_assigned(opened: Open) -> None:
    desk = opened(QueueRules(classes=CLASSES, gold_every=3))
    desk.take_in(*(candidate(number) for number in range(8)))
    closed = desk.lease("zoe", 2)
    known = {task.event_id for task in closed}
    desk.store.transact([SubmitAnswers(tuple(Answer(t.event_id, t.token, "answered", "fraud") for t in closed))])
    desk.store.transact([AddGold(tuple((event_id, "fraud") for event_id in sorted(known)), BOSS)])
    assign(desk, "ada", *(number for number in range(8) if events(number)[0] not in known))
    tasks = desk.lease("ada", 9)
    assert known & {task.event_id for task in tasks}, "no gold case among them"
    assert all(task.assigned for task in tasks)


def test_a_case_that_waits_for_the_reviewers_is_assigned_to_nobody(opened: Open) -> None:
    desk = opened(RULES)
    desk.take_in(candidate(0))
    (case,) = desk.lease("ben")
    desk.store.transact([Escalate(case.event_id, case.token, "too hard")])
    assert assign(desk, "ada", 0) == Changed((), events(0))
    assert [task.event_id for task in desk.lease("rita", 9, review=True)] == [case.event_id]


@pytest.mark.parametrize("how", ["absent", "paused", "quarantined"])
def test_who_is_away_or_stopped_gets_nothing_and_what_is_assigned_to_them_returns(opened: Open, how: str) -> None:
    desk = opened(RULES)
    desk.take_in(candidate(0))
    assign(desk, "ada", 0)
    until = desk.clock.wall() + 60 * MINUTE
    if how == "absent":
        update(desk, "ada", absent_until=until)
    elif how == "paused":
        update(desk, "ada", state="paused", why="ill")
    else:
        desk.store.transact([Quarantine("ada", "guesses")])
    (refused,) = desk.store.transact([LeaseCases("ada", 1, 1_000)]).results
    assert isinstance(refused, RefusedError)
    assert refused.reason is (Reason.ANNOTATOR_ABSENT if how == "absent" else Reason.ANNOTATOR_STOPPED)
    assert given(desk, "ben") == [*events(0)]
    again = assign(desk, "ada", 0)
    assert isinstance(again, RefusedError)
    assert again.reason is refused.reason


def test_who_was_absent_is_given_cases_from_the_moment_on_that_was_said(opened: Open) -> None:
    desk = opened(RULES)
    desk.take_in(candidate(0), candidate(1))
    until = desk.clock.wall() + 60 * MINUTE
    update(desk, "ada", absent_until=until)
    desk.clock.time += 60 * MINUTE - 1
    with pytest.raises(RefusedError, match="is absent until 2024-10-04"):
        desk.lease("ada")
    desk.clock.time += 1
    assert len(given(desk, "ada", 1)) == 1
    update(desk, "ada", absent_until=desk.clock.wall() + MINUTE)
    with pytest.raises(RefusedError):
        desk.lease("ada")
    update(desk, "ada", absent_until=0)
    assert len(given(desk, "ada", 1)) == 1


def test_no_model_withdraws_or_ranks_what_a_reviewer_assigned(opened: Open) -> None:
    desk = opened(RULES)
    desk.take_in(candidate(0), candidate(1))
    assign(desk, "ada", 0)
    with desk.store.engine.connect() as connection:
        numbers = dict(connection.execute(sa.select(cases.c.event_id, cases.c.id)).all())
    rescored = tuple(Rescored(numbers[event], event, 0.01, withdraw=True) for event in events(0, 1))
    desk.store.transact([Rescore("m2", rescored, done=True)])
    assert given(desk, "ada") == [*events(0)]


def test_who_assigned_what_to_whom_and_who_was_said_to_be_away_is_in_the_audit_trail(opened: Open) -> None:
    desk = opened(RULES)
    desk.take_in(candidate(0))
    assign(desk, "ada", 0, 5)
    update(desk, "ada", absent_until=desk.clock.wall() + MINUTE)
    with desk.store.engine.connect() as connection:
        rows = connection.execute(sa.select(audit).order_by(audit.c.number)).all()
    assert [(row.actor, row.role, row.action, row.object) for row in rows] == [
        ("rita", "reviewer", "AssignCases", "ada"),
        ("rita", "reviewer", "UpdateAnnotator", "ada"),
    ]
    assert json.loads(rows[0].detail) == {"annotator": "ada", "why": WHY, "cases": [*events(0)]}
    assert json.loads(rows[1].detail)["after"]["absent_until"] == desk.clock.wall() + MINUTE


def test_names_that_begin_alike_share_no_assignments(opened: Open) -> None:
    desk = opened(RULES)
    desk.take_in(candidate(0), candidate(1))
    one, two = "a" * 40 + "1", "a" * 40 + "2"
    assign(desk, one, 0)
    assign(desk, two, 1)
    assert given(desk, two) == [*events(1)]
    assert given(desk, one) == [*events(0)]


def test_a_lease_looks_up_ended_assignments_in_their_index_however_many_cases_wait(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path / "q.db", Topics("pay"), RULES, MovedClock())
    for statement, index in ((ENDED_ASSIGNMENTS, "queue_assigned"), (ASSIGNED_TO, "queue_assignee")):
        text = str(statement.compile(store.engine, compile_kwargs={"render_postcompile": True}))
        with store.engine.connect() as connection:
            values = (1,) * text.count("?")
            plan = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
        assert [(index in line, line.startswith("SEARCH")) for line in plan] == [(True, True)]
    store.close()
