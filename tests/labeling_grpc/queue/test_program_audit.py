"""Programs' answers: a known share of their cases goes to people too, whose answer counts."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import sqlalchemy as sa
from desk import Desk, Open
from hypothesis import given
from hypothesis import strategies as st
from labeling import CLASSES, candidate, pipeline

from labeling_grpc.commands.labeling import Accepted, Answer, LeasedCase, SubmitAnswers
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.queue.program_audit import ProgramAudit
from labeling_grpc.tables.schema import answers

ROBOT, OTHER_ROBOT = "program:rule-7", "program:rule-8"
ALL = QueueRules(classes=CLASSES, programs_audited=1.0)
NONE = QueueRules(classes=CLASSES, programs_audited=0.0)


def answer(desk: Desk, cases: Iterable[LeasedCase], label: str) -> None:
    given = tuple(Answer(case.event_id, case.token, "answered", label) for case in cases)
    (results,) = desk.store.transact([SubmitAnswers(given)]).results
    assert isinstance(results, list)
    assert all(isinstance(each, Accepted) for each in results)


def said(desk: Desk, number: int = 1) -> list[tuple[str, str, str | None]]:
    query = sa.select(answers.c.annotator, answers.c.status, answers.c.label).where(
        answers.c.event_id == candidate(number).event_id
    )
    with desk.store.engine.connect() as connection:
        return [(row[0], row[1], row[2]) for row in connection.execute(query.order_by(answers.c.answered_at))]


def test_an_audited_case_goes_to_people_too_and_their_answer_counts(opened: Open) -> None:
    desk = opened(ALL)
    desk.take_in(candidate(1))
    answer(desk, desk.lease(ROBOT), "fraud")
    assert desk.store.counts.answered == 0
    desk.clock.time += 1_000_001
    answer(desk, desk.lease("ida"), "genuine")
    assert said(desk) == [(ROBOT, "vote", "fraud"), ("ida", "answered", "genuine")]
    assert desk.store.counts.answered == 1


def test_no_number_of_programs_ends_an_audited_case(opened: Open) -> None:
    desk = opened(ALL)
    desk.take_in(candidate(1))
    for robot in (ROBOT, OTHER_ROBOT):
        desk.clock.time += 1_000_001
        answer(desk, desk.lease(robot), "fraud")
        desk.clock.time += 1_000_001
        assert desk.lease(robot) == []
    answer(desk, desk.lease("ida"), "fraud")
    assert [status for _, status, _ in said(desk)] == ["vote", "vote", "answered"]


def test_where_several_answers_are_asked_for_programs_alone_give_no_verdict(opened: Open) -> None:
    desk = opened(QueueRules(classes=CLASSES, answers=2, max_answers=3, programs_audited=1.0))
    desk.take_in(candidate(1))
    for robot in (ROBOT, OTHER_ROBOT):
        desk.clock.time += 1_000_001
        answer(desk, desk.lease(robot), "fraud")
    assert desk.store.counts.answered == 0
    desk.clock.time += 1_000_001
    answer(desk, desk.lease("ida", review=True), "fraud")
    assert desk.store.counts.answered == 1


@pytest.mark.parametrize(("rules", "who"), [(NONE, ROBOT), (ALL, "ida"), (ALL, "programmer")])
def test_what_is_not_audited_is_ended_by_its_answer(opened: Open, rules: QueueRules, who: str) -> None:
    desk = opened(rules)
    desk.take_in(candidate(1))
    answer(desk, desk.lease(who), "fraud")
    assert said(desk) == [(who, "answered", "fraud")]


def test_repeating_an_audited_answer_changes_nothing(opened: Open) -> None:
    desk = opened(ALL)
    desk.take_in(candidate(1))
    (case,) = desk.lease(ROBOT)
    answer(desk, [case], "fraud")
    answer(desk, [case], "fraud")
    assert said(desk) == [(ROBOT, "vote", "fraud")]


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_the_share_that_is_audited_is_the_one_that_was_asked_for(share: float) -> None:
    audit = ProgramAudit("a secret", share)
    drawn = sum(audit.draws(f"pay.raw-0-{number}-0a1b2c3d", ROBOT) for number in range(20_000))
    assert abs(drawn - 20_000 * share) < 5 * (20_000 * share * (1 - share)) ** 0.5


@given(st.text(), st.text(), st.floats(0, 1))
def test_a_case_is_audited_whichever_program_answers_it_and_for_no_person(event: str, name: str, share: float) -> None:
    audit = ProgramAudit("a secret", share)
    assert audit.draws(event, ROBOT) == audit.draws(event, OTHER_ROBOT)
    assert not audit.draws(event, "p" + name) or ("p" + name).startswith("program:")
    assert ProgramAudit("a secret", 1.0).draws(event, ROBOT)


def test_the_pipelines_file_says_the_share_and_a_tenth_where_it_does_not() -> None:
    pay = pipeline("pay")
    assert QueueRules.of(pay).programs_audited == 0.1
    labeling = pay.labeling.model_copy(update={"programs_audited": 0.25})
    assert QueueRules.of(pay.model_copy(update={"labeling": labeling})).programs_audited == 0.25
