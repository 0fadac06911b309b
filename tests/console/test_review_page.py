"""The Review page: reviewers decide what is contested, administrators act on people, and the service rules who may."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from browser import Chromium, barriers
from console_visitor import Visitor
from console_world import World, fraud_cases, fraud_pipeline, world
from playwright.sync_api import expect

from console.pages import review
from console.shown.review_view import person_of
from labeling_grpc.client import Annotation, LabelingClient
from labeling_grpc.client.administration import Annotator, Drift, Quality

_HOSTILE = '<script>alert(1)</script>"'
"""Nothing that can't be seen: the labeling service refuses that."""


@pytest.fixture
def its(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A case that somebody has escalated, some that are answered, and some that wait; the service asks for tokens."""
    cases = fraud_cases()
    truth = {each.event_id: label for each, label in zip(cases.candidates, cases.truth, strict=True)}
    with world(tmp_path_factory.mktemp("review"), fraud_pipeline(), tokens=True) as made:
        made.take_in(*cases.candidates[:6])
        ida = made.token("annotator", "ida")
        made.answered(truth, "ida", ida)
        made.take_in(*cases.candidates[6:9])
        with LabelingClient(made.server.address, "ida", token=ida) as client:
            (task,) = client.lease(1)
            client.escalate(task, f"never seen such a terminal {_HOSTILE}")
        yield made


def do(someone: Visitor, **fields: str) -> httpx2.Response:
    headers = {"x-csrf-token": someone.csrf, "accept": "text/html, application/json"}
    return someone.http.post(f"{someone.base}/review", data=fields, headers=headers)


def contested(page: str) -> list[str]:
    return re.findall(r'value="adjudicate"><input type="hidden" name="event_id" value="([^"]+)"', page)


def test_an_escalated_case_is_shown_as_text_and_decided_in_the_reviewers_name(its: World) -> None:
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("reviewer", "rita"))
        page = someone.get("review").text
        (event,) = contested(page)
        assert "never seen such a terminal &lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "<script>alert" not in page
        told = do(someone, do="adjudicate", event_id=event, label="fraud", why="seen it before")
        again = do(someone, do="adjudicate", event_id=event, label="legitimate")
        unknown = do(someone, do="adjudicate", event_id=event, label="no such class")
        exported = someone.get("review/export")
    assert "Decided: fraud." in told.text
    assert contested(told.text) == []
    assert "was decided" in again.text
    assert unknown.status_code == 200
    labels = {each["event_id"]: each for each in map(json.loads, exported.text.splitlines())}
    assert (labels[event]["label"], labels[event]["annotator"]) == ("fraud", "rita")
    assert len(labels) == 7


def test_what_is_taken_into_hand_to_decide_one_case_waits_again_for_others(its: World) -> None:
    token = its.token("annotator", "ben")
    with LabelingClient(its.server.address, "ben", token=token) as client:
        (task,) = client.lease(1)
        client.escalate(task, "this one too")
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("reviewer", "rita"))
        first, second = contested(someone.get("review").text)
        assert "Decided" in do(someone, do="adjudicate", event_id=second, label="legitimate").text
    token = its.token("reviewer", "rita")
    with LabelingClient(its.server.address, "rita", token=token) as client:
        (task, *_) = mine = client.lease(10, review=True)
        assert task.event_id == first, "who decided the other one may have it at once"
        client.release(mine, again=True)
    with Visitor(its.base) as other:
        other.sign_in(token=its.token("reviewer", "rob"))
        assert "Decided" in do(other, do="adjudicate", event_id=first, label="legitimate").text


def test_closed_cases_are_asked_again_and_made_gold_by_those_who_may(its: World) -> None:
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("reviewer", "rita"))
        page = someone.get("review/closed").text
        events = re.findall(r'value="requeue"><input type="hidden" name="event_id" value="([^"]+)"', page)
        assert len(events) == 6
        assert "Make it gold" not in page
        assert do(someone, do="requeue", event_id=events[0]).status_code == 400
        assert "It is asked again." in do(someone, do="requeue", event_id=events[0], why="the terminal was wrong").text
        assert "notice bad" in do(someone, do="gold", event_id=events[1], label="fraud").text
    with Visitor(its.base) as boss:
        boss.sign_in(token=its.token("admin", "boss"))
        assert "Make it gold" in boss.get("review/closed").text
        assert "It is a gold case now." in do(boss, do="gold", event_id=events[1], label="fraud").text


def test_administrators_pause_people_and_the_queue_with_the_reason_and_it_is_in_the_audit_trail(its: World) -> None:
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("reviewer", "rita"))
        page = someone.get("review").text
        assert "ida" in page
        assert "Pause" not in page
        for fields in (
            {"do": "pause", "name": "ida", "why": "x"},
            {"do": "activate", "name": "ida", "why": "x"},
            {"do": "pause_queue", "why": "x"},
            {"do": "resume_queue"},
        ):
            assert "notice bad" in do(someone, **fields).text, fields
        assert someone.get("review/audit").status_code == 403
    with Visitor(its.base) as boss:
        boss.sign_in(token=its.token("admin", "boss"))
        assert "ida is given no cases." in do(boss, do="pause", name="ida", why=f"on leave {_HOSTILE}").text
        assert "on leave &lt;script&gt;" in boss.get("review").text
        assert "ida is given cases again." in do(boss, do="activate", name="ida", why="back").text
        assert do(boss, do="pause", name="ida").status_code == 400
        assert "The queue is paused: lunch" in do(boss, do="pause_queue", why="lunch").text
        assert "gives cases out again" in do(boss, do="resume_queue").text
        assert do(boss, do="destroy").status_code == 400
        trail = boss.get("review/audit").text
    for action in ("UpdateAnnotator", "PauseQueue"):
        assert action in trail
    assert "<script>alert" not in trail


def test_what_is_newest_is_shown_where_there_is_more_than_a_page_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review, "_CLOSED", 2)
    monkeypatch.setattr(review, "_PEOPLE", 1)
    monkeypatch.setattr(review, "_SHOWN_ENTRIES", 2)
    cases = fraud_cases().candidates[:6]
    with world(tmp_path, fraud_pipeline('\n[labeling.due]\ndefault = "1h"\n'), tokens=True) as made:
        made.take_in(*cases[:4])
        for who in ("ada", "ben"):
            with LabelingClient(made.server.address, who, token=made.token("annotator", who)) as client:
                client.submit_many([Annotation(task, "legitimate") for task in client.lease(2)])
        made.take_in(*cases[4:])
        with Visitor(made.base) as someone:
            someone.sign_in(token=made.token("admin", "rita"))
            for event in (cases[0].event_id, cases[1].event_id, cases[2].event_id):
                do(someone, do="requeue", event_id=event, why=f"once more {event}")
                do(someone, do="pause_queue", why=f"for {event}")
                do(someone, do="resume_queue")
            shown, closed = someone.get("review").text, someone.get("review/closed").text
            trail = someone.get("review/audit").text
            monkeypatch.setattr(review, "_ENTRIES", 3)
            cut = someone.get("review/audit").text
        assert "the newest 2 first" in trail
        assert "the newest 2 first" not in cut, "the first lines are not the newest ones"
        assert "There are newer ones" in cut
        assert cases[3].business_id is not None
        assert cases[3].business_id in closed
        assert "The first 1 by name are here" in shown
        assert "the newest 2 first" in trail
        assert "ResumeQueue" in trail
        assert "CreateToken" not in trail


def test_how_often_two_people_agree_is_counted_with_its_interval(tmp_path: Path) -> None:
    cases = fraud_cases().candidates[:4]
    with world(tmp_path, fraud_pipeline("\n[labeling]\nanswers = 2\n"), tokens=True) as made:
        made.take_in(*cases)
        for who, odd in (("ida", "fraud"), ("ben", "legitimate")):
            said = dict.fromkeys((case.event_id for case in cases[1:]), "legitimate")
            made.answered(said | {cases[0].event_id: odd}, who, made.token("annotator", who))
        with Visitor(made.base) as someone:
            someone.sign_in(token=made.token("reviewer", "rita"))
            page = someone.get("review/agreement").text
    assert page.count("<strong>75 %</strong>") == 2
    assert "30 % to 95" in page


def test_agreement_time_and_drift_of_each_person_are_told_with_their_intervals() -> None:
    quality = Quality(
        answered=240,
        skipped=1,
        gold_answered=0,
        gold_accuracy=None,
        gold_interval=None,
        consensus_accuracy=None,
        agreement=0.8,
        median_answer_ms=8_000,
        fast_answer_ms=3_000,
        drift=-0.2,
        suspicion="",
        median_interval=(7_000, 10_000),
        drifted=Drift(-0.2, -0.31, -0.08, 0.7, 0.9, 140),
        agreement_interval=(0.73, 0.86),
        agreement_answers=150,
    )
    person = Annotator("ida", "active", "", 0, None, 0, quality)
    told = person_of(person)
    assert (told.gold, told.consensus) == ("\u2013", "\u2013")
    assert (told.agreement, told.agreement_within) == ("80 %", "73 % to 86 % of 150")
    assert (told.median, told.median_within) == ("8 s", "7 s to 10 s")
    assert (told.drift, told.drifts) == ("\u221220 points", "bad")
    assert told.drift_within == "\u221231 to \u22128; 70 % of the last 100, 90 % of the 140 before"
    maybe = Drift(-0.02, -0.12, 0.08, 0.88, 0.9, 140)
    assert person_of(replace(person, quality=replace(quality, drifted=maybe))).drifts == ""
    few = person_of(replace(person, quality=replace(quality, drifted=None, median_interval=None)))
    assert (few.drift, few.drift_within, few.median_within) == ("\u2013", "", "")


def test_annotators_and_viewers_do_not_review(its: World) -> None:
    for role in ("annotator", "viewer"):
        with Visitor(its.base) as someone:
            someone.sign_in(token=its.token(role, f"a {role}"))
            for path in ("review", "review/closed", "review/agreement", "review/audit", "review/export"):
                assert someone.get(path).status_code == 403
            assert do(someone, do="adjudicate", event_id="x", label="fraud").status_code == 403


def test_the_page_is_worked_with_a_browser_and_bars_nobody(its: World, browser: Chromium) -> None:
    for width, scheme in ((1440, "dark"), (360, "light")):
        with browser.page(width, 800, scheme) as page:
            page.goto(its.base + "/")
            page.fill("#token", its.token("admin", "boss"))
            page.press("#token", "Enter")
            expect(page.locator("#label")).to_be_visible()
            for path in ("review", "review/closed", "review/agreement", "review/audit"):
                page.goto(f"{its.base}/{path}")
                assert barriers(page) == [], path
                assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            if width == 360:
                page.goto(f"{its.base}/review")
                page.get_by_role("button", name="fraud", exact=True).focus()
                page.keyboard.press("Enter")
                expect(page.locator("#list .told")).to_contain_text("Decided: fraud.")


def test_who_decides_by_keyboard_stays_where_they_were_and_is_told_what_came_of_it(
    tmp_path: Path, browser: Chromium
) -> None:
    cases = fraud_cases().candidates[:3]
    with world(tmp_path, fraud_pipeline(), tokens=True) as made:
        made.take_in(*cases)
        with LabelingClient(made.server.address, "ida", token=made.token("annotator", "ida")) as client:
            for task in client.lease(3):
                client.escalate(task, "hard")
        with browser.page() as page:
            page.goto(made.base + "/")
            page.fill("#token", made.token("reviewer", "rita"))
            page.press("#token", "Enter")
            page.goto(made.base + "/review")
            page.locator("article.contested").nth(1).get_by_role("button", name="fraud").press("Enter")
            expect(page.locator("body > [role=status]")).to_have_text("Decided: fraud.")
            expect(page.locator("article.contested")).to_have_count(2)
            focused = "[...document.querySelectorAll('article')].indexOf(document.activeElement)"
            assert page.evaluate(focused) == 1
            page.keyboard.press("Enter")
            page.keyboard.press("Tab")
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.getAttribute('placeholder')") is not None
            expect(page.locator("article.contested")).to_have_count(2)
