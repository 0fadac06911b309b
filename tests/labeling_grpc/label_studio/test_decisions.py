"""What the bridge decides by what the labeling service has, and what it shows of a case: no service runs."""

from __future__ import annotations

from typing import Any

import pytest
from bridging import bridged_pipeline
from hypothesis import given
from hypothesis import strategies as st
from labeling import PIPELINE, candidate

from labeling_grpc.client.history import History
from labeling_grpc.client.values import Case, CaseDetails, CaseRecord, CaseState, GivenAnswer
from labeling_grpc.label_studio.decisions import (
    BY_LEASE,
    Amend,
    Answer,
    Comment,
    Import,
    Nothing,
    Skip,
    Standpoint,
    Step,
    decide,
)
from labeling_grpc.label_studio.messages import Annotation, Person, Task, choice
from labeling_grpc.label_studio.statements import Names, Statement, statements
from labeling_grpc.label_studio.tasks import TaskMaker
from labeling_grpc.security.masks import masks
from labeling_grpc.security.roles import Role
from tidemark.pipeline import parse

ADA, BRIDGE = "ada", "label-studio"
NAMES = Names(("genuine", "fraud"), {"Betrug": "fraud"}, {"ada@bank.example": "ada"})


def case() -> Case:
    asked = candidate(1)
    return Case(
        **{name: getattr(asked, name) for name in ("event_id", "business_id", "key", "time", "reason", "priority")},
        **{name: getattr(asked, name) for name in ("context", "features", "uncertainty", "model", "expires_at")},
        probabilities=(0.4, 0.6),
        policy="m",
        tile=3,
        segment="",
        skill="",
        hidden_columns=(),
    )


def details(state: CaseState, *answers: GivenAnswer) -> CaseDetails:
    record = CaseRecord(case(), state, "", None, None, len(answers), review=False)
    return CaseDetails(record, (), History.of([]), (), 0.0, "", (), answers)


def given_answer(number: int, who: str, status: Any, label: str | None, supersedes: str | None = None) -> GivenAnswer:  # noqa: ANN401
    return GivenAnswer(f"a{number}", who, status, label, None, "", number, supersedes)


def said(label: str | None, at: int = 100) -> Statement:
    return Statement(7, ADA, label, "v", at)


HELD, LET_GO = Standpoint(BRIDGE, held=True), Standpoint(BRIDGE, held=False)
ANSWERED = given_answer(1, ADA, "answered", "fraud")


@pytest.mark.parametrize(
    ("now", "statement", "here", "step"),
    [
        (details("leased"), said("fraud"), HELD, Import(ADA)),
        (details("waiting"), said("fraud"), LET_GO, Import(ADA)),
        (details("leased"), said("fraud"), Standpoint(BRIDGE, held=True, spent={ADA}), Answer()),
        (details("waiting"), said("fraud"), Standpoint(BRIDGE, held=False, spent={ADA}), Import(BRIDGE)),
        (details("leased"), said(None), HELD, Skip()),
        (details("leased"), said(None), LET_GO, Nothing()),
        (details("answered", ANSWERED), said("fraud"), HELD, Nothing("a1")),
        (details("answered", ANSWERED), said("genuine"), HELD, Amend("a1")),
        (details("answered", ANSWERED), said(None), Standpoint(BRIDGE, held=False, given="a1"), Amend("a1")),
        (details("expired", given_answer(1, "", "expired", None)), said("fraud"), LET_GO, Import(ADA)),
        (details("skipped", given_answer(1, BRIDGE, "skipped", None)), said("fraud"), LET_GO, Import(ADA)),
        # a gold case has a label of somebody else, and is held
        (details("answered", given_answer(1, "ben", "answered", "fraud")), said("genuine"), HELD, Answer()),
        (details("answered", given_answer(1, "ben", "answered", "fraud")), said(None), HELD, Skip()),
        (
            details("answered", given_answer(1, "ben", "answered", "fraud")),
            said("genuine"),
            Standpoint(BRIDGE, held=True, spent={BY_LEASE}),
            Comment("the case has the label 'fraud' of ben"),
        ),
        # the same person has answered here since, and not by the bridge
        (
            details("answered", given_answer(200, ADA, "answered", "fraud")),
            said("genuine"),
            LET_GO,
            Comment("by the two clocks they have said 'fraud' here since"),
        ),
        (
            details("answered", given_answer(200, ADA, "answered", "fraud")),
            said("genuine"),
            Standpoint(BRIDGE, held=False, begun=True),
            Amend("a200"),
        ),
    ],
)
def test_each_standing_of_a_case_has_its_step(
    now: CaseDetails, statement: Statement, here: Standpoint, step: Step
) -> None:
    assert decide(now, statement, here) == step


STATES: list[CaseState] = ["waiting", "leased", "answered", "skipped", "expired", "withdrawn"]


@given(
    st.sampled_from(STATES),
    st.lists(
        st.tuples(
            st.sampled_from([ADA, "ben", BRIDGE, ""]),
            st.sampled_from(["answered", "skipped", "expired", "retracted", "commented", "requeued"]),
        ),
        max_size=5,
    ),
    st.sampled_from(["fraud", "genuine"]),
    st.booleans(),
)
def test_a_class_is_never_passed_over_in_silence(
    state: CaseState, rows: list[tuple[str, str]], label: str, held: bool
) -> None:
    """Whatever the case says, and whatever is refused: the last step is that the class stands there, or a comment."""
    answers = [
        given_answer(n, who, status, "fraud" if status == "answered" else None) for n, (who, status) in enumerate(rows)
    ]
    spent: set[str] = set()
    for _ in range(8):
        step = decide(details(state, *answers), said(label), Standpoint(BRIDGE, held, spent=spent))
        match step:
            case Import(annotator):
                spent.add(annotator)
            case Answer():
                spent.add(BY_LEASE)
            case Amend(annotation_id):
                assert any(each.annotation_id == annotation_id and each.label != label for each in answers)
                return
            case Nothing(annotation_id):
                assert any(each.annotation_id == annotation_id and each.label == label for each in answers)
                return
            case Comment():
                return
            case Skip():
                raise AssertionError(step)
    raise AssertionError("it has no end")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "from_name", "value", "choices", "id", "label"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_whatever_a_result_holds_it_says_one_class_or_why_not(result: Any) -> None:  # noqa: ANN401 - JSON
    task = Task(1, {"event_id": "e"}, [Annotation(3, 2, 2, result, updated_at="yesterday")])
    for each in statements(task, {2: Person(2, "Ada@bank.example")}, NAMES, None):
        assert (each.label in NAMES.classes) != bool(each.unclear)
        assert each.who == "ada"


def test_a_choice_stands_for_its_class_both_ways() -> None:
    task = Task(1, {}, [Annotation(3, 2, 2, [choice("Betrug")], updated_at="2026-01-01T00:00:00Z")])
    (each,) = statements(task, {2: Person(2, "ada@bank.example")}, NAMES, None)
    assert (each.label, each.unclear) == ("fraud", "")
    assert NAMES.choice("fraud") == "Betrug"


@pytest.mark.parametrize("email", ["program:rule", "consensus", "", "a\u202eb@x.example", "x" * 200])
def test_nobody_gets_a_name_that_is_not_theirs_to_have(email: str) -> None:
    assert NAMES.annotator(Person(1, email)) == ""


def test_facts_are_what_label_studios_table_can_show() -> None:
    facts = TaskMaker(bridged_pipeline(), NAMES, None)(case())["data"]["facts"]
    assert facts == {"amount": 1.0, "channel": "online", "terminal": 1, "night": "yes", "ratio": 0.5}


def test_what_annotators_may_not_see_is_in_no_task() -> None:
    text = PIPELINE.replace("NAME", "pay").replace("question =", 'context = ["amount", "customer"]\nquestion =')
    pipeline = parse(text + '[labeling.hidden]\namount = ["annotator"]\ncustomer = ["annotator"]\n', "p.toml")
    task = TaskMaker(pipeline, NAMES, masks(pipeline).get(Role.ANNOTATOR))(case())
    assert "amount" not in task["data"]["facts"]
    assert task["data"]["key"] == ""
    assert "C1" not in str(task)


def test_the_models_view_is_in_no_task_where_the_pipeline_hides_it() -> None:
    assert TaskMaker(bridged_pipeline(), NAMES, None)(case())["predictions"][0]["result"] == [choice("Betrug")]
    assert "predictions" not in TaskMaker(bridged_pipeline("[labeling]\nblind = true\n"), NAMES, None)(case())
