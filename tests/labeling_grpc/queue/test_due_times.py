"""Due times: when a case is due, which one is given first, and what that leaves as it was."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from desk import Desk, Open
from labeling import CLASSES, SOURCE, candidate, pipeline, place_of_exploration

from labeling_grpc.client import AsyncLabelingClient, LabelingClient
from labeling_grpc.commands.administration import RequeueCases
from labeling_grpc.commands.labeling import AddGold, Answer, Arrival, SubmitAnswers, TakeIn
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.queue.error_costs import WINDOW
from labeling_grpc.queue.queries import overview
from labeling_grpc.security.caller import SERVICE
from labeling_grpc.server import serve
from labeling_grpc.tables.schema import confusion
from tidemark.pipeline.model import Due
from tidemark.records import Candidate, encode
from tidemark.runtime.settings import Settings

MINUTE = 60_000_000
DUE = Due.model_validate({"default": "4h", "segments": {"north": "10m", "south": "1h"}})
RULES = QueueRules(classes=CLASSES, segment="area", skill="needs", due=DUE)
WITHIN = {"north": 10 * MINUTE, "south": 60 * MINUTE, "west": 240 * MINUTE}


def at(number: int, area: str, **over: Any) -> Candidate:  # noqa: ANN401 - any field
    return candidate(number, **{"context": {"area": area}} | over)


def take_in(desk: Desk, *candidates: Candidate, asked: int) -> None:
    start = desk.taken or None
    desk.taken += len(candidates)
    arrived = tuple(Arrival((start or 0) + i, each, encode(each), at=asked) for i, each in enumerate(candidates))
    desk.store.transact([TakeIn(SOURCE, start, desk.taken, arrived)])


def areas(desk: Desk, count: int, annotator: str = "ada") -> list[str]:
    return [case.segment for case in desk.lease(annotator, count)]


def test_a_case_is_due_its_segments_time_after_it_was_asked(opened: Open) -> None:
    desk = opened(RULES)
    asked = desk.clock.wall()
    drawn = at(4, "north", explore=True)
    take_in(desk, at(1, "north"), at(2, "south"), at(3, "west"), drawn, asked=asked)
    due = {case.event_id: case.due for case in desk.lease("ada", 4)}
    area = {1: "north", 2: "south", 3: "west", 4: "north"}
    assert due == {candidate(number).event_id: asked + WITHIN[name] for number, name in area.items()}


def test_without_due_times_a_case_has_none_and_priority_counts_alone(opened: Open) -> None:
    desk = opened(replace(RULES, due=None))
    take_in(desk, at(1, "west", priority=0.1), at(2, "west", priority=0.9), asked=desk.clock.wall())
    assert [(case.event_id, case.due) for case in desk.lease("ada", 2)] == [
        (candidate(2).event_id, None),
        (candidate(1).event_id, None),
    ]


def test_what_is_due_first_is_given_first_whatever_its_priority_and_whose_turn_it_is(opened: Open) -> None:
    desk = opened(RULES)
    began = desk.clock.wall()
    take_in(desk, *(at(i, "south", priority=0.9) for i in range(3)), asked=began)
    desk.clock.time += 51 * MINUTE  # what comes now from the north is due after them, what came from the south before
    take_in(desk, *(at(10 + i, "north", priority=0.1) for i in range(3)), asked=desk.clock.wall())
    assert areas(desk, 3) == ["south"] * 3
    desk.clock.time += 30 * MINUTE  # the north is overdue
    take_in(desk, *(at(20 + i, "south", priority=0.9) for i in range(3)), asked=desk.clock.wall())
    assert areas(desk, 6) == ["north"] * 3 + ["south"] * 3


def test_before_the_lead_priority_counts_and_segments_take_turns(opened: Open) -> None:
    desk = opened(replace(RULES, due=DUE.model_copy(update={"lead": 5 * MINUTE})))
    take_in(desk, *(at(i, "north", priority=i / 10) for i in range(4)), asked=desk.clock.wall())
    take_in(desk, *(at(10 + i, "south", priority=i / 10) for i in range(4)), asked=desk.clock.wall())
    assert areas(desk, 4) == ["north", "south", "north", "south"]
    desk.clock.time += 6 * MINUTE  # 4 minutes are left for the north
    assert areas(desk, 3) == ["north", "north", "south"]


def test_due_times_move_no_exploration_case_and_take_no_turn_of_theirs(opened: Open) -> None:
    """A sample that went by due times would show the segments of short ones, and its oldest tiles, alone."""
    desk = opened(RULES)
    drawn = [at(i, ("north", "south", "west")[i % 3], explore=True) for i in range(12)]
    take_in(desk, *drawn, *(at(100 + i, "north") for i in range(12)), asked=desk.clock.wall())
    desk.clock.time += 600 * MINUTE  # all is overdue
    given = [case.event_id for case in desk.lease("ada", 24)]
    by_hash = sorted((each.event_id for each in drawn), key=place_of_exploration)
    assert given[::2] == by_hash
    assert set(given[1::2]).isdisjoint(by_hash)


def test_a_case_that_is_put_back_is_due_anew_from_then(opened: Open) -> None:
    desk = opened(RULES)
    take_in(desk, at(1, "north"), asked=desk.clock.wall())
    (case,) = desk.lease("ada")
    desk.store.transact([SubmitAnswers((Answer(case.event_id, case.token, "answered", "fraud"),))])
    desk.clock.time += 300 * MINUTE
    desk.store.transact([RequeueCases(SERVICE, (case.event_id,), "look again")])
    (again,) = desk.lease("ben")
    assert again.due is not None
    assert 0 <= again.due - desk.clock.wall() - WITHIN["north"] < MINUTE


def test_what_is_overdue_is_counted_whether_it_waits_or_is_in_somebodys_hands(opened: Open) -> None:
    desk = opened(RULES)
    began = desk.clock.wall()
    take_in(desk, at(1, "north"), at(2, "north"), at(3, "south"), at(4, "north", explore=True), asked=began)
    desk.lease("ada")

    def counted(minutes: int) -> tuple[int, int]:
        with desk.store.engine.connect() as connection:
            found = overview(connection, began + minutes * MINUTE)
        return found.overdue, found.first_due - began

    assert counted(9) == (0, WITHIN["north"])
    assert counted(10) == (3, WITHIN["north"])
    assert counted(60) == (4, WITHIN["north"])


def test_a_lease_reads_no_more_cases_than_it_gives_however_many_wait(opened: Open) -> None:
    desk = opened(RULES)
    take_in(desk, *(at(i, "north") for i in range(300)), asked=desk.clock.wall())
    read = 0

    def count(_connection: object, cursor: Any, statement: str, *_: object) -> None:  # noqa: ANN401 - a driver's
        nonlocal read
        read += cursor.rowcount if "due_at <=" in statement and cursor.rowcount > 0 else 0

    sa.event.listen(desk.store.engine, "after_cursor_execute", count)
    assert len(desk.lease("ada")) == 1
    assert read <= 3
    if desk.store.engine.dialect.name == "sqlite":
        with desk.store.engine.connect() as connection:
            plan = connection.execute(
                sa.text(
                    "EXPLAIN QUERY PLAN SELECT case_id FROM queue WHERE state = 0 AND lane = 1 AND tier = 0 AND "
                    "segment = 'north' AND audience = char(10) AND due_at <= 5 ORDER BY due_at, rank, case_id"
                )
            ).all()
        assert [("queue_due" in row.detail, "TEMP" in row.detail) for row in plan] == [(True, False)]


def test_a_gold_case_seems_due_about_when_the_true_one_beside_it_is(opened: Open) -> None:
    desk = opened(replace(RULES, gold_every=2))
    began = desk.clock.wall()
    take_in(desk, *(at(i, "south") for i in range(6)), asked=began - 100 * MINUTE)
    closed = desk.lease("cyd", 6)
    desk.store.transact(
        [SubmitAnswers(tuple(Answer(case.event_id, case.token, "answered", "fraud") for case in closed))]
    )
    desk.store.transact([AddGold(tuple((case.event_id, "fraud") for case in closed))])
    take_in(desk, *(at(20 + i, "south") for i in range(6)), asked=began)
    known = {case.event_id for case in closed}
    given = desk.lease("ada", 8)
    gold = [case for case in given if case.event_id in known]
    assert len(gold) == 4
    for case in gold:
        assert case.due is not None
        assert 0 <= began + WITHIN["south"] - case.due < WITHIN["south"] // 100


def test_clients_are_told_due_times_and_what_is_overdue(tmp_path: Path) -> None:
    served = pipeline("pay")
    served = served.model_copy(
        update={"labeling": served.labeling.model_copy(update={"due": Due.model_validate({"default": "4h"})})}
    )
    late, early = 1_000_000, 2**60
    cases = {late: candidate(1), early: candidate(2, explore=True)}
    arrived = tuple(Arrival(i, each, encode(each), at=asked) for i, (asked, each) in enumerate(cases.items()))

    async def overdue(address: str) -> list[str]:
        async with AsyncLabelingClient(address, "ben", pipeline="pay") as other:
            return [found.case.event_id async for found in other.cases(overdue=True)]

    with serve(served, Settings(state_dir=tmp_path).at("127.0.0.1:9")) as server:
        server._writer.call(TakeIn(SOURCE, None, 2, arrived))
        with LabelingClient(server.address, "ada", pipeline="pay") as client:
            due = {task.event_id: task.due for task in client.lease(2)}
            assert due == {each.event_id: asked + WITHIN["west"] for asked, each in cases.items()}
            stats = client.stats()
            assert (stats.overdue, stats.first_due) == (1, late + WITHIN["west"])
            (record,) = client.cases(overdue=True)
            assert (record.case.event_id, record.due) == (cases[late].event_id, late + WITHIN["west"])
            assert client.case(cases[early].event_id).record.due == early + WITHIN["west"]
        assert asyncio.run(overdue(server.address)) == [cases[late].event_id]


COSTLY = replace(RULES, gold_every=5, due=Due.model_validate({"default": "4h", "error_cost": "stake"}))


def staked(*stakes: object) -> list[Candidate]:
    return [candidate(number, context={"stake": stake}) for number, stake in enumerate(stakes)]


def known_of(desk: Desk, name: str, answers: int, right: int) -> None:
    for said, count in (("fraud", right), ("genuine", answers - right)):
        row = {"annotator": name, "truth": "fraud", "said": said, "weight": 1_000_000 * count}
        desk.write(confusion.insert().values(row))


def given(desk: Desk, annotator: str, count: int) -> list[int]:
    numbers = {candidate(number).event_id: number for number in range(100)}
    return [numbers[case.event_id] for case in desk.lease(annotator, count)]


def test_who_errs_less_gets_the_cases_whose_error_costs_most_and_who_errs_more_the_others(opened: Open) -> None:
    desk = opened(COSTLY)
    known_of(desk, "ada", 40, 39)
    known_of(desk, "ben", 40, 25)
    known_of(desk, "cyd", 19, 19)
    take_in(desk, *staked(5, 80, None, 2.5, 80, "much", True, -9), asked=desk.clock.wall())
    assert given(desk, "ada", 2) == [1, 4]
    assert given(desk, "ben", 2) == [2, 5]
    assert given(desk, "cyd", 1) == [0], "nineteen answers tell too little: by due time"
    assert given(desk, "dan", 1) == [3]


def test_a_case_is_not_passed_over_for_one_that_is_due_much_later(opened: Open) -> None:
    desk = opened(replace(COSTLY, due=COSTLY.due.model_copy(update={"together": 5 * MINUTE}) if COSTLY.due else None))
    known_of(desk, "ada", 40, 39)
    began = desk.clock.wall()
    take_in(desk, *staked(1), asked=began)
    take_in(desk, candidate(1, context={"stake": 7}), asked=began + 5 * MINUTE)
    take_in(desk, candidate(2, context={"stake": 99}), asked=began + 6 * MINUTE)
    assert given(desk, "ada", 3) == [1, 0, 2]


def test_no_more_cases_are_compared_than_a_bound_however_many_are_due(opened: Open) -> None:
    desk = opened(COSTLY)
    known_of(desk, "ada", 40, 39)
    take_in(desk, *staked(*range(WINDOW + 4)), asked=desk.clock.wall())
    assert given(desk, "ada", 5) == [WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + 2, WINDOW + 3]
    assert given(desk, "ada", 1) == [WINDOW - 2]


def test_priority_and_turns_are_as_they_are_where_nothing_is_due_yet(opened: Open) -> None:
    due = Due.model_validate({"default": "4h", "lead": "5m", "error_cost": "stake"})
    desk = opened(replace(COSTLY, due=due))
    known_of(desk, "ada", 40, 39)
    cases = [candidate(number, priority=number / 10, context={"stake": 9 - number}) for number in range(4)]
    take_in(desk, *cases, asked=desk.clock.wall())
    assert given(desk, "ada", 2) == [3, 2]
    desk.clock.time += 236 * MINUTE
    assert given(desk, "ada", 2) == [0, 1]
