"""Pages of a pipeline whose answers are numbers: typed, corrected, told apart by people, decided by a reviewer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Chromium, barriers
from console_visitor import Visitor
from console_world import World, cases_alike, fraud_cases, world
from playwright.sync_api import Page, expect
from wear_world import foretold, tell, wear_desk, wear_model, wear_pipeline

from labeling_grpc.client.values import Estimate, NumberRange
from support import wait_until
from tidemark.records import Label, decode


@pytest.fixture
def wear(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, wear_pipeline()) as its:
        wear_desk(its, answered=30)
        yield its


def sign_in(page: Page, its: World, name: str = "ada") -> None:
    page.goto(its.base + "/")
    page.fill("#name", name)
    page.press("#name", "Enter")
    expect(page.locator("article.case")).to_be_visible()


def labels(its: World, annotator: str = "ada") -> list[Label]:
    rows = its.server.store.unpublished(0, 10_000)
    found = [decode(Label, row.message.value) for row in rows]
    return [label for label in found if label.annotator == annotator]


def test_a_number_is_typed_sent_by_enter_and_corrected_by_keyboard_alone(wear: World, browser: Chromium) -> None:
    with browser.page() as page:
        sign_in(page, wear)
        expect(page.locator("#number-hint")).to_have_text("0 to 500 h, usually 22 to 76 h")
        first = page.locator("#case-name").inner_text()
        page.keyboard.type("41.50")
        expect(page.locator("#number-text")).to_have_value("41.50")
        page.keyboard.press("Enter")
        expect(page.locator("#said")).to_contain_text(f"{first}: 41.5 h")
        assert page.locator("#case-name").inner_text() != first
        expect(page.locator("#number-text")).to_have_value("")
        page.keyboard.type("480")
        page.keyboard.press("Enter")
        expect(page.locator("#said")).to_contain_text("480 h, where 22 to 76 h is usual")
        page.keyboard.press("z")
        page.keyboard.press("z")
        expect(page.locator("#banner-text")).to_contain_text("You answered 41.5 h. Another answer corrects it.")
        expect(page.locator("#number-text")).to_have_value("41.5")
        wait_until(lambda: len(labels(wear)) == 2, "the answers did not come")
        page.keyboard.type("42")
        page.keyboard.press("Enter")
        wait_until(lambda: len(labels(wear)) == 3, "the correction did not come")
        page.keyboard.press("z")
        expect(page.locator("#banner-text")).to_contain_text("480 h")
        page.keyboard.press("Backspace")
        wait_until(lambda: len(labels(wear)) == 4, "it was not taken back")
    given, far, corrected, retracted = labels(wear)
    assert (given.label, far.label, corrected.label) == ("41.5", "480.0", "42.0")
    assert (corrected.supersedes, retracted.supersedes) == (given.annotation_id, far.annotation_id)
    assert retracted.status == "retracted"


def test_what_is_no_number_within_the_bounds_stays_in_the_field_and_is_said(wear: World, browser: Chromium) -> None:
    with browser.page() as page:
        sign_in(page, wear)
        name = page.locator("#case-name").inner_text()
        for typed, said in (
            ("501", "501 is no number from 0 to 500 h."),
            ("1,5", "Write a point for decimals"),
            ("-3", "-3 is no number"),
            ("..", ".. is no number"),
        ):
            page.locator("#number-text").fill("")
            page.keyboard.type(typed)
            page.keyboard.press("Enter")
            expect(page.locator("#said")).to_contain_text(said)
            expect(page.locator("#number-text")).to_have_value(typed)
        assert page.locator("#case-name").inner_text() == name
        page.locator("#number-text").fill("1e")
        page.keyboard.type("2")
        page.keyboard.press("Enter")
        wait_until(lambda: len(labels(wear)) == 1, "the answer did not come")
        page.keyboard.press("s")
        expect(page.locator("#ask")).to_be_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        expect(page.locator("#help")).to_contain_text("type the number, from 0 to 500 h")
        expect(page.locator("#help")).not_to_contain_text("class")
    assert labels(wear)[0].label == "100.0"


def test_cases_alike_are_given_one_number_together(tmp_path: Path, browser: Chromium) -> None:
    with world(tmp_path, wear_pipeline()) as its:
        its.take_in(*cases_alike(5))
        with browser.page() as page:
            sign_in(page, its)
            page.keyboard.press("b")
            expect(page.locator("#bulk")).to_be_visible()
            page.locator("#bulk-number").fill("900")
            page.keyboard.press("Enter")
            expect(page.locator("#bulk-problem")).to_have_text("900 is no number from 0 to 500 h.")
            assert barriers(page) == []
            page.locator("#bulk-number").fill("90")
            page.keyboard.press("Enter")
            wait_until(lambda: len(labels(its)) >= 3, "the bulk did not come")
        assert {label.label for label in labels(its)} == {"90.0"}
        assert len({label.bulk for label in labels(its)}) == 1


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1440, "dark"), (360, "light")])
def test_the_page_bars_nobody_and_fits_any_screen(wear: World, browser: Chromium, width: int, scheme: str) -> None:
    with browser.page(width, 800, scheme) as page:
        sign_in(page, wear)
        page.keyboard.type("41.5")
        assert barriers(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        box = page.locator("#number-text").bounding_box()
        assert box is not None
        assert box["height"] >= 40
        assert page.locator("[data-label]").count() == 0, "there is no class to choose"


def test_the_page_shows_what_the_model_foretells_its_interval_and_what_moved_it(
    tmp_path: Path, browser: Chromium
) -> None:
    pipeline = wear_pipeline()
    asked_by, now = wear_model(pipeline), wear_model(pipeline, "v000004-89abcdef")
    with world(tmp_path, pipeline) as its:
        cases = foretold(pipeline, asked_by, fraud_cases().candidates[:16])
        its.take_in(*cases)
        with browser.page() as page:
            sign_in(page, its)
            shown = page.locator(".opinion")
            expect(shown.locator(".foretold strong")).to_have_text(re.compile(r"^\d+(\.\d+)? h$"))
            expect(shown.locator(".foretold")).to_contain_text("nine times of ten")
            assert barriers(page) == []
            its.use(now)
            page.reload()
            expect(shown.locator("header")).to_contain_text("v000004-89abcdef")
            expect(shown.locator("header")).to_contain_text(re.compile(r"v000003-89abcdef said \d+(\.\d+)? h when"))
            expect(shown.get_by_role("heading", name="What makes it less and more")).to_be_visible()
            name = page.locator("#case-name").inner_text()
            case = next(case for case in cases if str(case.business_id) in name)
            assert case.value is not None
            assert case.low is not None
            assert case.high is not None
            said, hours = Estimate(case.value, case.low, case.high), NumberRange("h", 0, 500, 1)
            expect(shown.locator(".foretold strong")).to_have_text(hours.foretold(said))
            expect(shown.locator(".foretold")).to_contain_text(hours.between(said))
            assert shown.locator(".ends span").all_inner_texts() == ["0 h", "500 h"]
            added = [
                float(text.replace("\u2212", "-")) for text in shown.locator(".parts td:last-child").all_inner_texts()
            ]
            assert max(map(abs, added)) == abs(added[0])
            assert barriers(page) == []


def test_what_the_model_foretells_is_hidden_until_the_case_is_answered_where_labeling_is_blind(
    tmp_path: Path, browser: Chromium
) -> None:
    pipeline = wear_pipeline(blind=True)
    model = wear_model(pipeline)
    with world(tmp_path, pipeline) as its:
        its.take_in(*foretold(pipeline, model, fraud_cases().candidates[:16]))
        its.use(model)
        with browser.page() as page:
            sign_in(page, its)
            expect(page.locator("[data-blind]")).to_contain_text("Hidden until you have answered")
            assert page.locator(".foretold").count() == 0
            assert "uncertainty" not in page.locator("article.case").inner_text()
            page.keyboard.type("31")
            page.keyboard.press("Enter")
            expect(page.locator("#said")).to_contain_text("31 h")
            page.keyboard.press("z")
            expect(page.locator(".foretold")).to_contain_text("nine times of ten")


def review_three_that_disagree(its: World, page: Page) -> None:
    """Ten, sixty and 300 hours, said of one case, before a reviewer."""
    wear_desk(its, waiting=1)
    for who, number in (("ada", "10"), ("ben", "60"), ("cyd", "300")):
        tell(its, who, [number], its.token("annotator", who))
    page.goto(its.base + "/")
    page.fill("#token", its.token("reviewer", "rita"))
    page.press("#token", "Enter")
    expect(page.locator("#label")).to_be_visible()
    page.goto(f"{its.base}/review")


def test_numbers_that_disagree_are_side_by_side_and_a_reviewer_decides(tmp_path: Path, browser: Chromium) -> None:
    with world(tmp_path, wear_pipeline(answers=2, max_answers=3), tokens=True) as its:
        with browser.page() as page:
            review_three_that_disagree(its, page)
            expect(page.locator(".side .tag")).to_have_text(["10 h", "60 h", "300 h"])
            assert barriers(page) == []
            page.get_by_label("The right number, 0 to 500 h").fill("501")
            page.keyboard.press("Enter")
            expect(page.locator("#list .told")).to_contain_text("expected a number from 0 to 500 h")
            page.get_by_label("The right number, 0 to 500 h").fill("61")
            page.keyboard.press("Enter")
            expect(page.locator("#list .told")).to_contain_text("Decided: 61 h.")
        decided = [label for label in labels(its, "rita") if label.status == "answered"]
        assert [(label.label, label.source) for label in decided] == [("61.0", "review")]


def test_a_form_is_sent_as_any_other_though_it_came_a_moment_ago(tmp_path: Path, browser: Chromium) -> None:
    with world(tmp_path, wear_pipeline(answers=2, max_answers=3), tokens=True) as its, browser.page() as page:
        review_three_that_disagree(its, page)
        field = page.get_by_label("The right number, 0 to 500 h")
        expect(field).to_be_visible()
        page.evaluate("""() => new MutationObserver((_, observer) => {
                const field = document.querySelector("input[name=label]");
                if (field === null) return;
                observer.disconnect();
                field.value = "61";
                field.form.requestSubmit();
            }).observe(document.body, {childList: true, subtree: true})""")
        field.fill("501")
        page.keyboard.press("Enter")
        expect(page.locator("#list .told")).to_contain_text("Decided: 61 h.")


def test_how_often_two_people_agree_is_counted_within_the_tolerance(tmp_path: Path) -> None:
    with world(tmp_path, wear_pipeline(answers=2), tokens=True) as its:
        wear_desk(its, waiting=4)
        tell(its, "ada", ["10", "20", "30", "40"], its.token("annotator", "ada"))
        tell(its, "ben", ["12", "20.5", "30", "43"], its.token("annotator", "ben"))
        with Visitor(its.base) as someone:
            someone.sign_in(token=its.token("reviewer", "rita"))
            page = someone.get("review/agreement").text
            closed = someone.get("review/closed").text
    assert page.count("<strong>75 %</strong>") == 2
    assert set(re.findall(r'class="tag">([^<]+)<', closed)) == {"11 h", "20.25 h", "30 h", "41.5 h"}


def test_no_page_is_refused_because_the_label_is_a_number(wear: World) -> None:
    with Visitor(wear.base) as someone:
        someone.sign_in(name="ada")
        for page in ("loop", "models", "why", "why?event=x", "review"):
            answer = someone.get(page)
            assert answer.status_code == 200, page
            assert "needs classes" not in answer.text
