"""Gold cases whose known answer was given when the pipeline had other classes, or a number for a label."""

from __future__ import annotations

from dataclasses import replace

import pytest
from desk import Desk, Open
from labeling import CLASSES, candidate

from labeling_grpc.commands.labeling import Accepted, AddGold, Answer, SubmitAnswers
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.quality.annotator_metrics import qualities, suspects
from tidemark.pipeline.model import LabelSpec

RULES = QueueRules(classes=CLASSES, gold_every=2)
NUMBER = LabelSpec.model_validate({"type": "number", "min": 0, "max": 100, "tolerance": 1, "delay": "1d"})
OTHERS = {
    "renamed": replace(RULES, classes=("genuine", "scam")),
    "a number": QueueRules(classes=(), number=NUMBER, gold_every=2),
}
SAID = {"renamed": "scam", "a number": "7.0"}


def with_gold(desk: Desk, label: str, count: int = 20) -> set[str]:
    """Gold cases, of closed ones."""
    desk.take_in(*(candidate(number) for number in range(count)))
    closed = desk.lease("cyd", count)
    answers = tuple(Answer(case.event_id, case.token, "answered", label) for case in closed)
    desk.store.transact([SubmitAnswers(answers)])
    desk.store.transact([AddGold(tuple((case.event_id, label) for case in closed))])
    desk.take_in(*(candidate(number) for number in range(100, 100 + 2 * count)))
    return {case.event_id for case in closed}


def reopened(opened: Open, desk: Desk, rules: QueueRules) -> Desk:
    """The same queue, under other rules."""
    desk.store.close()
    again = opened(rules)
    again.taken, again.clock.time = desk.taken, desk.clock.time + 1_000_001
    return again


def answer(desk: Desk, who: str, count: int, label: str, gold: set[str]) -> int:
    """Cases that somebody is given and answers alike; how many of them were gold."""
    given = desk.lease(who, count)
    answers = tuple(Answer(case.event_id, case.token, "answered", label) for case in given)
    (outcomes,) = desk.store.transact([SubmitAnswers(answers)]).results
    assert isinstance(outcomes, list)
    assert [outcome for outcome in outcomes if not isinstance(outcome, Accepted)] == []
    return sum(case.event_id in gold for case in given)


@pytest.mark.parametrize("how", OTHERS)
def test_a_gold_case_whose_answer_is_none_of_today_is_given_out_no_more(opened: Open, how: str) -> None:
    desk = opened(RULES)
    gold = with_gold(desk, "fraud")
    desk = reopened(opened, desk, OTHERS[how])
    assert answer(desk, "ada", 20, SAID[how], gold) == 0


@pytest.mark.parametrize("how", OTHERS)
def test_whoever_has_such_a_case_answers_it_and_is_not_measured_by_it(opened: Open, how: str) -> None:
    desk = opened(RULES)
    gold = with_gold(desk, "fraud")
    given = desk.lease("ada", 24)
    assert sum(case.event_id in gold for case in given) == 12
    desk = reopened(opened, desk, OTHERS[how])
    answers = tuple(Answer(case.event_id, case.token, "answered", SAID[how]) for case in given)
    (outcomes,) = desk.store.transact([SubmitAnswers(answers)]).results
    assert isinstance(outcomes, list)
    assert [outcome for outcome in outcomes if not isinstance(outcome, Accepted)] == []
    with desk.store.engine.connect() as connection:
        assert qualities(connection, OTHERS[how], ["ada"])["ada"].gold_answered == 0
        assert suspects(connection, OTHERS[how]) == []


def test_gold_cases_are_judged_by_their_classes_whatever_the_order_of_these_has_become(opened: Open) -> None:
    desk = opened(RULES)
    gold = with_gold(desk, "fraud")
    assert answer(desk, "ada", 24, "fraud", gold) == 12
    turned = replace(RULES, classes=("fraud", "genuine"))
    desk = reopened(opened, desk, turned)
    with desk.store.engine.connect() as connection:
        assert qualities(connection, turned, ["ada"])["ada"].gold_accuracy == 1.0
        assert suspects(connection, turned) == []


def test_gold_cases_that_may_be_given_are_found_behind_any_number_that_may_not(opened: Open) -> None:
    desk = opened(RULES)
    with_gold(desk, "fraud", 80)
    desk = reopened(opened, desk, replace(RULES, classes=("genuine", "scam", "fraud")[:2]))
    desk.take_in(*(candidate(number) for number in range(900, 910)))
    closed = desk.lease("cyd", 200)
    answers = tuple(Answer(case.event_id, case.token, "answered", "scam") for case in closed)
    desk.store.transact([SubmitAnswers(answers)])
    last = max(case.event_id for case in closed)
    desk.store.transact([AddGold(((last, "scam"),))])
    desk.take_in(*(candidate(number) for number in range(1_000, 1_010)))
    assert last in {case.event_id for case in desk.lease("ada", 10)}
