"""What is where on a terminal of any size."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from labeling_grpc.client import AsyncLabelingClient, CaseDetails, CaseRecord, Comment, Contribution, Stats, Task
from labeling_grpc.client.history import History, HistoryPoint
from labeling_grpc.client.values import Case, Estimate, NumberRange, Progress, SimilarCase
from tidemark.cli.sitting.case_text import reason
from tidemark.cli.sitting.decisions import Decision
from tidemark.cli.sitting.layout import Look, compose
from tidemark.cli.sitting.sitting import Sitting

SEQUENCE = re.compile(r"\x1b\[[0-9;]*m")
EVIL = "\x1b[2Jgone\u202eresu [bold red]x[/] [/nothing]"
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=60))


def case(**over: Any) -> Task:  # noqa: ANN401 - any field
    values: dict[str, Any] = {
        "event_id": "pay-0-1-0a1b2c3d",
        "business_id": "T1",
        "key": "C1",
        "time": 1_700_000_000_000_000,
        "reason": "uncertain",
        "priority": 0.5,
        "context": {"channel": "online"},
        "features": {"amount": 12.5},
        "probabilities": (0.4, 0.6),
        "uncertainty": 0.8,
        "model": "v000001-aaaaaaaa",
        "expires_at": None,
        "policy": "p",
        "tile": 1,
        "segment": "",
        "skill": "",
        "hidden_columns": (),
        "token": "t",
        "lease_expires_at": 0,
        "leases": 1,
        "review": False,
        "comments": (),
        "question": "Is this payment fraud?",
        "classes": ("genuine", "fraud"),
        "positive": "fraud",
    }
    return Task(**values | over)


def sitting(task: Task | None, ranked_by: str = "") -> Sitting:
    before = Sitting(cast("AsyncLabelingClient", None))
    before.task = task
    before.stats = Stats("pay", 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, "", "", "?", (), {}, ranked_by=ranked_by)
    return before


def details(task: Task, **over: Any) -> CaseDetails:  # noqa: ANN401 - any field
    of = {name: getattr(task, name) for name in Case.__dataclass_fields__}
    record = CaseRecord(Case(**of), "leased", "ada", None, None, 0, review=False)
    values: dict[str, Any] = {
        "comments": (),
        "history": History.of([HistoryPoint("e", 1_600_000_000_000_000, {"amount": 1.0}, "fraud", 0.25)]),
        "contributions": (Contribution("amount", 12.5, 0.7), Contribution("channel", 1.0, -0.3)),
        "base_score": 0.0,
        "contributions_model": "v000007-bbbbbbbb",
        "similar": (SimilarCase("f", "genuine", 0.5, {"amount": 3.0}, 1_500_000_000_000_000),),
        "answers": (),
        "current_probabilities": (0.9, 0.1),
    }
    return CaseDetails(record=record, **values | over)


def drawn(before: Sitting, look: Look, width: int = 80, height: int = 24) -> list[str]:
    """Lines without colours; nothing else of the kind may be in them."""
    lines = [SEQUENCE.sub("", line) for line in compose(before, look, width, height)]
    assert len(lines) <= height
    for line in lines:
        assert cell_len(line) <= width, line
        assert "\x1b" not in line
        assert "\u202e" not in line
    return lines


@given(
    st.text(min_size=1, max_size=400),
    st.dictionaries(st.text(min_size=1, max_size=40), VALUES, max_size=20),
    st.dictionaries(st.text(min_size=1, max_size=40), st.one_of(st.none(), st.floats()), max_size=20),
    st.lists(st.text(min_size=1, max_size=40), min_size=2, max_size=40, unique=True),
    st.integers(24, 200),
    st.integers(16, 60),
    st.sampled_from(["case", "more", "help"]),
)
@settings(max_examples=60, deadline=None, phases=set(Phase) - {Phase.shrink, Phase.explain})
def test_question_case_and_keys_are_on_every_page(
    question: str,
    context: dict[str, Any],
    features: dict[str, float | None],
    classes: list[str],
    width: int,
    height: int,
    page: Any,  # noqa: ANN401 - one of a few words
) -> None:
    task = case(
        question="Q" + question, context=context, features=features, classes=tuple(classes), positive=classes[0]
    )
    before = sitting(task)
    before.details = details(task)
    look = Look(page=page)
    for _ in range(3):
        lines = drawn(before, look, width, height)
        shown = "\n".join(lines)
        assert lines[0].startswith("Q")
        assert "id T1" in shown
        assert re.search(r"\b0*1\b", "\n".join(lines[-10:]))
        assert "quit" in shown
        assert "waiting" in lines[-1]
        look.scroll(look.body_height)


def test_of_a_number_what_the_model_foretells_is_shown_and_not_to_whoever_is_blind() -> None:
    hours = NumberRange("h", 0.0, 240.0, 2.0)
    task = case(number=hours, classes=(), positive="", probabilities=(), estimate=Estimate(41.234, 30.0, 52.5))
    before = sitting(task)
    shown = "\n".join(drawn(before, Look()))
    assert "41.2 h, nine times of ten 30 to 52.5 h" in shown
    assert "v000001-aaaaaaaa" in shown
    before.details = details(task, current_probabilities=(), current_estimate=Estimate(45.0, 40.0, 50.0))
    for page in ("case", "more"):
        shown = "\n".join(drawn(before, Look(page=page), width=100, height=50))
        assert "45 h, nine times of ten 40 to 50 h" in shown
        assert "v000007-bbbbbbbb, v000001-aaaaaaaa when it was asked: 41.2 h" in shown
        assert "41.2" not in "\n".join(drawn(before, Look(page=page, blind=True), width=100, height=50))
    assert "what makes the number larger (+) and smaller (−)" in shown
    none = "\n".join(drawn(sitting(case(number=hours, classes=(), probabilities=())), Look()))
    assert "model none yet" in none


def test_pages_together_show_every_feature_once() -> None:
    task = case(features={f"feature_{number:02}": float(number) for number in range(40)})
    look, seen = Look(), ""
    while True:
        seen += "\n".join(drawn(sitting(task), look))
        if look.top + look.body_height >= look.body_lines:
            break
        look.scroll(look.body_height)
    assert all(f"feature_{number:02}" in seen for number in range(40))


def test_a_category_is_shown_by_its_name_and_the_context_once() -> None:
    task = case(
        context={"channel": "online", "amount": 12.5, "hour": 3},
        features={"channel": 2.0, "amount": 12.5, "hour": 4.0, "brand": 1.0},
        categories={"channel": "online", "brand": "acme"},
    )
    text = "\n".join(drawn(sitting(task), Look()))
    assert text.count("channel") == 1
    assert text.count("12.5") == 1
    assert re.search(r"brand +acme", text)
    assert text.count("hour") == 2, "the feature is another value than the column"


@pytest.mark.parametrize(
    ("why", "model", "now", "told"),
    [
        ("cold", "none", "", "there is no model yet"),
        ("cold", "none", "v000007-b", "there was no model when it was asked; v000007-b is in force now"),
        ("uncertain", "v000007-b", "v000007-b", "the model can't tell"),
        (
            "uncertain",
            "v000001-a",
            "v000007-b",
            "model v000001-a could not tell when it was asked; v000007-b is in force now",
        ),
        ("explore", "v000001-a", "v000007-b", "drawn at random"),
    ],
)
def test_the_reason_is_told_as_of_now(why: Any, model: str, now: str, told: str) -> None:  # noqa: ANN401 - a word
    assert told in reason(case(reason=why, model=model), now, blind=False).plain


def test_what_the_model_says_is_what_it_says_now() -> None:
    task = case()
    before = sitting(task, "v000007-bbbbbbbb")
    before.details = details(task)
    text = "\n".join(drawn(before, Look()))
    assert re.search(r"fraud +\S+ +10\.0%", text)
    assert "v000001-aaaaaaaa when it was asked: fraud 60.0%" in text


def test_the_page_of_more_has_reasons_history_and_its_like() -> None:
    task = case()
    before = sitting(task)
    look = Look(page="more")
    assert "looking it up" in "\n".join(drawn(before, look))
    before.details, before.comments = details(task), [Comment("ben", "she called us", 0)]
    text = "\n".join(drawn(before, look, height=40))
    assert re.search(r"amount +12\.5 .*\+0\.70", text)
    assert re.search(r"2020-09-13 12:26:40 +fraud +25\.0%", text)
    assert re.search(r"0\.50 +1 genuine +2017-07-14 02:40:00 +amount 3", text)
    assert "ben: she called us" in text


def test_who_answers_blind_sees_nothing_of_the_model() -> None:
    task = case()
    before = sitting(task)
    before.details = details(task)
    for page in ("case", "more"):
        text = "\n".join(drawn(before, Look(page=page, blind=True), height=40))
        assert "%" not in text
        assert "uncertainty" not in text
        assert "speaks for" not in text


def test_nothing_from_outside_reaches_the_terminal_as_a_command() -> None:
    task = case(
        business_id=EVIL,
        key=EVIL,
        context={EVIL: EVIL},
        features={"brand": 1.0},
        categories={"brand": EVIL},
        classes=(EVIL, "b"),
        question=EVIL,
        comments=(Comment(EVIL, EVIL, 0),),
        model=EVIL,
        reason="cold",
    )
    before = sitting(task, EVIL)
    before.details = details(task, contributions_model=EVIL)
    before.comments = [Comment(EVIL, EVIL, 0)]
    for page in ("case", "more", "help"):
        drawn(before, Look(page=page), 120, 60)
    assert "[bold red]x[/] [/nothing]" in "\n".join(drawn(before, Look(), 120, 60))


def test_what_is_known_of_one_case_is_not_shown_of_another() -> None:
    earlier = replace(case(), business_id="T0", event_id="pay-0-0-0a1b2c3d", probabilities=(0.75, 0.25))
    before = sitting(case(), "v000007-bbbbbbbb")
    before.details = details(case())
    assert "10.0%" in "\n".join(drawn(before, Look()))
    before.looking_back = Decision(earlier, "fraud", "a", "")
    text = "\n".join(drawn(before, Look()))
    assert re.search(r"fraud +\S+ +25\.0%", text)
    assert "10.0%" not in text
    assert "looking it up" in "\n".join(drawn(before, Look(page="more")))


def test_an_earlier_case_has_keys_of_its_own() -> None:
    before = sitting(case())
    before.looking_back = Decision(replace(case(), business_id="T0"), None, "a", "")
    text = "\n".join(drawn(before, Look()))
    assert "an earlier case: T0: skipped" in text
    assert re.search(r"Backspace +take back", text)


def test_own_agreement_stands_beside_the_progress_where_there_is_one() -> None:
    before = sitting(case())
    assert not any("verdicts agree" in line for line in drawn(before, Look()))
    before.agreed = Progress("ada", 3, 0, 120, 0, 7, 0, 0, 0.88, (0.79, 0.94), 60).agreed
    assert any("verdicts agree with 88 % (79\u201394) · 3 waiting" in line for line in drawn(before, Look(), 100))
