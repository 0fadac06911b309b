"""The Label page in a real browser: by keyboard alone, while the service is away, on a phone, for everybody."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from browser import Chromium, barriers
from console_world import World, cases_alike, console, fraud_cases, fraud_pipeline, world
from labeling import SOURCE
from msgspec.structs import replace
from playwright.sync_api import Page, expect

from console.shown.formatting import due_in
from labeling_grpc.client import LabelingClient, Task
from labeling_grpc.commands.labeling import Arrival, TakeIn
from labeling_grpc.options import Options
from labeling_grpc.server import serve
from support import wait_until
from tidemark.pipeline import parse
from tidemark.records import Candidate, Label, decode, encode


def sign_in(page: Page, its: World, name: str = "ada") -> None:
    page.goto(its.base + "/")
    page.fill("#name", name)
    page.press("#name", "Enter")
    expect(page.locator("article.case")).to_be_visible()


def labels(its: World, annotator: str = "ada") -> list[Label]:
    rows = its.server.store.unpublished(0, 10_000)
    found = [decode(Label, row.message.value) for row in rows]
    return [label for label in found if label.annotator == annotator]


def name_of(page: Page) -> str:
    return page.locator("#case-name").inner_text()


def test_cases_are_answered_skipped_and_undone_by_keyboard_alone(desk: World, browser: Chromium) -> None:
    with browser.page() as page:
        sign_in(page, desk)
        first = name_of(page)
        page.keyboard.press("2")
        assert name_of(page) != first, "the next case is painted before the service has answered"
        page.keyboard.press("s")
        page.keyboard.type("no data")
        page.keyboard.press("Enter")
        wait_until(lambda: len(labels(desk)) == 2, "the answer and the skip did not come")
        page.keyboard.press("z")
        page.keyboard.press("z")
        expect(page.locator("#banner-text")).to_contain_text("You answered fraud")
        assert name_of(page) == first
        page.keyboard.press("1")
        wait_until(lambda: len(labels(desk)) == 3, "the correction did not come")
        expect(page.locator("#banner")).to_be_hidden()
        page.keyboard.press("?")
        expect(page.locator("#help")).to_be_visible()
        page.keyboard.press("1")
        page.keyboard.press("Escape")
    answered, skipped, corrected = labels(desk)[:3]
    assert (answered.label, skipped.status) == ("fraud", "skipped")
    assert (corrected.label, corrected.supersedes) == ("legitimate", answered.annotation_id)
    assert len(labels(desk)) == 3, "a key for the help's window is no answer"


def test_cases_alike_are_looked_at_answered_together_and_taken_back_together(tmp_path: Path, browser: Chromium) -> None:
    with world(tmp_path, fraud_pipeline()) as its:
        its.take_in(*cases_alike(8))
        with browser.page() as page:
            sign_in(page, its)
            first = name_of(page)
            page.keyboard.press("b")
            dialog = page.locator("#bulk")
            expect(dialog).to_be_visible()
            rows = dialog.locator("tbody tr")
            expect(rows.first).to_contain_text(first)
            count = dialog.locator("input[type=checkbox]").count()
            assert count == 5, "two more are held to be shown next"
            assert barriers(page) == []
            page.keyboard.press("Space")
            page.keyboard.press("2")
            expect(dialog).to_be_hidden()
            wait_until(lambda: len(labels(its)) == count, "the bulk did not come")
            assert name_of(page) != first
            with LabelingClient(its.server.address, "ben") as client:
                left: list[Task] = []

                def came() -> bool:
                    left.extend(client.lease(10))
                    return bool(left)

                wait_until(came, "the one that was left out does not wait for others")
                assert len(left) == 1
            page.keyboard.press("z")
            expect(page.locator("#banner-text")).to_contain_text(f"You answered fraud, with {count - 1} like it.")
            page.keyboard.press("Backspace")
            wait_until(
                lambda: len(labels(its)) == 2 * count,
                lambda: f"the bulk was not taken back: {page.locator('#said').inner_text()}",
            )
            expect(page.locator("#banner")).to_be_hidden()
            # Its answer may reach the page after what is asked next has: it would then stand in place of that.
            expect(page.locator("#said")).to_contain_text(f"taken back, with {count - 1} like it")
            page.keyboard.press("b")
            expect(page.locator("#said")).to_contain_text("No case that waits is much like this one.")
            page.keyboard.press("1")
            wait_until(lambda: len(labels(its)) == 2 * count + 1, "the answer did not come")
        given = labels(its)
    bulks = {label.bulk for label in given[:count]}
    assert len(bulks) == 1
    assert None not in bulks
    assert {label.bulk for label in given[count : 2 * count]} == bulks
    assert {label.status for label in given[count : 2 * count]} == {"retracted"}
    assert given[-1].bulk is None


def test_who_leaves_the_list_of_cases_alike_gives_them_back(tmp_path: Path, browser: Chromium) -> None:
    with world(tmp_path, fraud_pipeline()) as its:
        its.take_in(*cases_alike(8))
        with browser.page(360, 740) as page:
            sign_in(page, its)
            page.get_by_role("button", name="alike").click()
            expect(page.locator("#bulk")).to_be_visible()
            assert barriers(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            page.keyboard.press("Escape")
            expect(page.locator("#bulk")).to_be_hidden()
            with LabelingClient(its.server.address, "ben") as client:
                wait_until(lambda: client.stats().leased == 3, "they were not given back")
        assert labels(its) == []


def test_a_comment_goes_with_the_answer_and_an_escalation_needs_its_reason(desk: World, browser: Chromium) -> None:
    with browser.page() as page:
        sign_in(page, desk)
        page.keyboard.press("c")
        page.keyboard.type("1 card, 2 countries")
        page.keyboard.press("Enter")
        page.keyboard.press("2")
        page.keyboard.press("!")
        page.keyboard.press("Enter")
        expect(page.locator("#ask-problem")).to_be_visible()
        page.keyboard.type("needs the file")
        page.keyboard.press("Enter")
        wait_until(lambda: len(labels(desk)) >= 1, "the answer did not come")
        wait_until(_reviewed(desk), "the escalation did not come")
    assert [label.label for label in labels(desk) if label.status == "answered"] == ["fraud"]


def _reviewed(its: World) -> Callable[[], bool]:
    def asked() -> bool:
        with LabelingClient(its.server.address, "rey") as client:
            return any(record.review for record in client.cases(states=["waiting"]))

    return asked


def test_the_page_says_how_long_a_case_has_and_counts_on(tmp_path: Path, browser: Chromium) -> None:
    case, now = fraud_cases().candidates[0], time.time_ns() // 1_000
    with world(tmp_path, fraud_pipeline('\n[labeling.due]\ndefault = "1h"\n')) as its:
        arrived = (Arrival(0, case, encode(case), at=now - 30 * 60_000_000),)
        its.server._writer.call(TakeIn(SOURCE, None, 1, arrived))
        with browser.page() as page:
            sign_in(page, its)
            tag = page.locator(".case-head [data-due]")
            expect(tag).to_have_text(re.compile(r"^due in (29|30) min$"))
            tag.evaluate("(node) => { node.dataset.due = Date.now() - 61_000; }")
            expect(tag).to_have_text("overdue by 1 min", timeout=20_000)
            expect(tag).to_have_class("tag bad")
            script = page.locator('script[src*="label.js"]').get_attribute("src") or ""
            address = script.replace("label.js", "due.js")
            for seconds in (86_400 * 3 + 7_300, 3_661, 3_600, 119, 60, 59, 0, -1, -60, -3_720, -90_000):
                told = page.evaluate(f"async (s) => (await import('{address}')).dueIn(s)", seconds)
                assert told == due_in(seconds)


def test_a_held_key_answers_one_case(desk: World, browser: Chromium) -> None:
    with browser.page() as page:
        sign_in(page, desk)
        page.keyboard.down("1")
        page.keyboard.down("1")
        page.keyboard.down("1")
        page.keyboard.up("1")
        expect(page.locator("#today")).to_have_text("1")
    assert len(labels(desk)) == 1


def test_answers_given_while_the_service_is_away_are_sent_when_it_is_back_though_the_page_is_loaded_anew(
    tmp_path: Path, browser: Chromium
) -> None:
    with _away(tmp_path, browser) as (its, page, back):
        page.keyboard.press("1")
        page.keyboard.press("2")
        expect(page.locator("#banner-text")).to_contain_text("2 answers are kept here")
        with back():
            wait_until(lambda: len(labels(its)) == 2, "what was answered while it was away was lost")
            expect(page.locator("article.case")).to_be_visible()
            assert [label.label for label in labels(its)] == ["legitimate", "fraud"]


_SENT = "Object.entries(sessionStorage).every(([key, kept]) => !key.startsWith('tidemark-outbox') || kept === '[]')"


@contextmanager
def _away(
    tmp_path: Path, browser: Chromium, answer: str = ""
) -> Iterator[tuple[World, Page, Callable[[], AbstractContextManager[None]]]]:
    """A page whose service is away, and how the page is loaded anew and the service comes back.

    answer: key of an answer that the service has taken before.
    """
    pipeline = fraud_pipeline()
    with world(tmp_path, pipeline) as its:
        its.take_in(*fraud_cases().candidates[-8:])
        port = int(its.server.address.rpartition(":")[2])

        @contextmanager
        def back() -> Iterator[None]:
            page.on("dialog", lambda dialog: dialog.accept())
            page.reload()
            with serve(pipeline, its.settings, options=Options(), address=port) as again:
                its.server = again
                yield

        with browser.page() as page:
            sign_in(page, its)
            expect(page.locator("#waiting")).to_have_text("5")
            if answer:
                page.keyboard.press(answer)
                wait_until(lambda: len(labels(its)) == 1, "the answer was not taken")
                wait_until(lambda: page.evaluate(_SENT), "the answer stays kept")
            its.server.stop()
            yield its, page, back


def test_an_outage_leaves_the_words_of_who_looks_back_at_a_decision(tmp_path: Path, browser: Chromium) -> None:
    with _away(tmp_path, browser) as (its, page, back):
        page.keyboard.press("2")
        expect(page.locator("#banner-text")).to_contain_text("answer is kept here")
        page.keyboard.press("z")
        for _ in range(2):  # the second tells that the page has dealt with the first
            with page.expect_response("**/label/decide"):
                pass
        expect(page.locator("#banner-text")).to_contain_text("You answered fraud")
        page.keyboard.press("Escape")
        expect(page.locator("#banner-text")).to_contain_text("answer is kept here")
        with back():
            wait_until(lambda: len(labels(its)) == 1, "the answer was lost")


_SLOW = """() => {
    const real = window.fetch;
    window.come = new Promise((resolve) => (window.letCome = resolve));
    window.fetch = async (url, options) => {
        const response = await real(url, options);
        if (url.endsWith("/label/decide")) await window.come;
        return response;
    };
}"""


@pytest.mark.parametrize("key", ["Backspace", "1"])
def test_what_is_changed_before_the_service_has_said_that_it_was_taken_is_changed_behind_it(
    desk: World, browser: Chromium, key: str
) -> None:
    with browser.page() as page:
        sign_in(page, desk)
        page.evaluate(_SLOW)
        page.keyboard.press("2")
        wait_until(lambda: len(labels(desk)) == 1, "the answer did not come")
        page.keyboard.press("z")
        expect(page.locator("#banner-text")).to_contain_text("You answered fraud")
        page.keyboard.press(key)
        expect(page.locator("#said")).to_contain_text("as soon as the answer has arrived")
        expect(page.locator("#banner")).to_be_hidden()
        page.evaluate("window.letCome()")
        wait_until(lambda: len(labels(desk)) == 2, "the change was lost")
        expect(page.locator("#said")).to_contain_text("taken back" if key == "Backspace" else "corrected to legitimate")
    answered, changed = labels(desk)
    assert changed.supersedes == answered.annotation_id
    assert (changed.status, changed.label) == (
        ("retracted", None) if key == "Backspace" else ("answered", "legitimate")
    )


_TAKEN_AND_NOT_TOLD = """() => {
    const real = window.fetch;
    let first = true;
    window.fail = new Promise((resolve) => (window.letFail = resolve));
    window.fetch = async (url, options) => {
        const response = await real(url, options);
        if (!first || !url.endsWith("/label/amend")) return response;
        first = false;
        await window.fail;
        return new Response("{}", { status: 503 });
    };
}"""


def test_a_correction_that_was_taken_and_not_told_so_is_changed_once_more(desk: World, browser: Chromium) -> None:
    with browser.page() as page:
        sign_in(page, desk)
        page.evaluate(_TAKEN_AND_NOT_TOLD)
        page.keyboard.press("2")
        wait_until(lambda: len(labels(desk)) == 1, "the answer did not come")
        wait_until(lambda: page.evaluate(_SENT), "the answer stays kept")
        page.keyboard.press("z")
        page.keyboard.press("1")
        wait_until(lambda: len(labels(desk)) == 2, "the correction did not come")
        page.keyboard.press("z")
        expect(page.locator("#banner-text")).to_contain_text("You answered")
        page.keyboard.press("Backspace")
        page.evaluate("window.letFail()")
        wait_until(lambda: len(labels(desk)) == 3, "what the correction was changed to was lost")
        expect(page.locator("#said")).to_contain_text("taken back")
    answered, corrected, retracted = labels(desk)
    assert [label.status for label in (answered, corrected, retracted)] == ["answered", "answered", "retracted"]
    assert retracted.supersedes == corrected.annotation_id


def test_what_is_changed_while_the_service_is_away_is_changed_when_it_is_back_though_the_page_is_loaded_anew(
    tmp_path: Path, browser: Chromium
) -> None:
    with _away(tmp_path, browser) as (its, page, back):
        page.keyboard.press("2")
        expect(page.locator("#banner-text")).to_contain_text("answer is kept here")
        page.keyboard.press("z")
        page.keyboard.press("1")
        with back():
            wait_until(lambda: len(labels(its)) == 2, "the change was lost")
            answered, corrected = labels(its)
    assert (answered.label, corrected.label) == ("fraud", "legitimate")
    assert corrected.supersedes == answered.annotation_id


def test_an_answer_that_was_taken_is_corrected_while_the_service_is_away_though_the_page_is_loaded_anew(
    tmp_path: Path, browser: Chromium
) -> None:
    with _away(tmp_path, browser, answer="2") as (its, page, back):
        page.keyboard.press("z")
        expect(page.locator("#banner-text")).to_contain_text("You answered fraud")
        page.keyboard.press("1")
        expect(page.locator("#banner-text")).to_contain_text("The service is away", timeout=30_000)
        with back():
            wait_until(lambda: len(labels(its)) == 2, "the correction was lost")
            answered, corrected = labels(its)
    assert (answered.label, corrected.label) == ("fraud", "legitimate")
    assert corrected.supersedes == answered.annotation_id


def test_who_leaves_while_the_console_is_away_and_comes_back_has_the_same_case_at_once(
    tmp_path: Path, browser: Chromium
) -> None:
    with world(tmp_path, fraud_pipeline()) as its, browser.page() as page:
        its.take_in(fraud_cases().candidates[0])
        sign_in(page, its)
        name = name_of(page)
        page.context.set_offline(True)
        page.goto("about:blank")
        page.context.set_offline(False)
        page.goto(its.base + "/label")
        expect(page.locator("#case-name")).to_have_text(name)


def test_who_loads_the_page_anew_has_the_same_cases(tmp_path: Path, browser: Chromium) -> None:
    with world(tmp_path, fraud_pipeline()) as its, browser.page() as page:
        its.take_in(fraud_cases().candidates[0])
        sign_in(page, its)
        name = name_of(page)
        for _ in range(2):
            page.reload()
            expect(page.locator("#case-name")).to_have_text(name)


_FAILING = """told => {
    const [real, later] = [window.fetch, window.setTimeout];
    window.setTimeout = (call, ms) => later(call, ms / 20);
    window.failing = {told, always: null};
    window.fetch = (url, options) => {
        const decides = url.endsWith("/label/decide");
        const each = JSON.parse(options.body).event_id;
        if (decides && window.failing.always === "") window.failing.always = each;
        const always = decides && window.failing.always === each;
        if (!always && !(decides && told.length > 0)) return real(url, options);
        const [status, body] = always ? [500, "{}"] : told.shift();
        return Promise.resolve(new Response(body, {status}));
    };
}"""
"""The page's answers meet these failures first, and its pauses are short. always: a case whose answers always fail."""


def test_an_answer_that_meets_a_failure_of_whatever_lies_between_is_sent_again(desk: World, browser: Chromium) -> None:
    with browser.page() as page:
        sign_in(page, desk)
        error = '{"error": {"status": 500, "reason": "", "text": "a page failed"}}'
        failures = [[500, error], [429, "slow down"], [504, "<html>"], [502, error], [503, error]]
        of_proxies = [[403, "<html>"], [404, '"no such host"'], [413, '{"error": "too large"}'], [400, "null"]]
        page.evaluate(_FAILING, [*failures, *of_proxies])
        page.keyboard.press("2")
        wait_until(lambda: len(labels(desk)) == 1, "the answer was lost")
        expect(page.locator("#banner")).to_be_hidden()


def test_an_outage_that_ends_with_a_refusal_is_over(desk: World, browser: Chromium) -> None:
    with browser.page() as page:
        sign_in(page, desk)
        refusal = '{"error": {"status": 409, "reason": "STALE_LEASE", "text": "given to somebody else"}}'
        page.evaluate(_FAILING, [[503, "{}"], [409, refusal]])
        page.keyboard.press("2")
        expect(page.locator("#said")).to_contain_text("given to somebody else")
        expect(page.locator("#banner")).to_be_hidden()


def test_an_answer_that_always_fails_is_kept_and_bars_no_other(desk: World, browser: Chromium) -> None:
    kept = (
        "JSON.parse(sessionStorage.getItem(Object.keys(sessionStorage).find(key => key.startsWith('tidemark-outbox'))))"
    )
    with browser.page() as page:
        sign_in(page, desk)
        page.evaluate(_FAILING, [])
        page.evaluate("window.failing.always = ''")
        page.keyboard.press("2")
        page.keyboard.press("1")
        wait_until(lambda: len(labels(desk)) == 1, "an answer waits for one that always fails")
        wait_until(lambda: page.evaluate(f"{kept}.length === 1"), "another number of answers is kept")
        page.evaluate("window.failing.always = null")
        wait_until(lambda: len(labels(desk)) == 2, "the answer that failed was lost")
    assert [label.label for label in labels(desk)] == ["legitimate", "fraud"]


def test_an_answer_from_a_page_of_an_earlier_sign_in_is_kept_and_sent_by_the_page_that_is_loaded_again(
    desk: World, browser: Chromium
) -> None:
    with browser.page() as page:
        sign_in(page, desk)
        again = "fetch('sign-in', {method: 'POST', body: new URLSearchParams({name: 'ada'})}).then(told => told.ok)"
        assert page.evaluate(again)
        page.keyboard.press("2")
        expect(page.locator("#case")).to_contain_text("Your last answers are sent when you have signed in again")
        page.reload()
        wait_until(lambda: len(labels(desk)) == 1, "the answer was lost")


def test_the_page_says_calmly_that_nothing_waits_and_shows_the_case_that_comes(
    tmp_path: Path, browser: Chromium
) -> None:
    with world(tmp_path, fraud_pipeline()) as its, browser.page() as page:
        page.goto(its.base + "/")
        page.fill("#name", "ada")
        page.press("#name", "Enter")
        expect(page.get_by_role("heading", name="No case is waiting")).to_be_visible(timeout=30_000)
        its.take_in(fraud_cases().candidates[0])
        expect(page.locator("article.case")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_nothing_bars_anybody_and_nothing_is_wider_than_the_screen(
    width: int, scheme: str, desk: World, browser: Chromium
) -> None:
    with browser.page(width, 800, scheme) as page:
        page.goto(desk.base + "/")
        assert barriers(page) == []
        sign_in(page, desk)
        assert barriers(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.keyboard.press("2")
        page.keyboard.press("z")
        assert barriers(page) == []
        page.keyboard.press("Escape")
        page.keyboard.press("s")
        assert barriers(page) == []


def test_what_happens_is_told_to_a_screen_reader(desk: World, browser: Chromium) -> None:
    with browser.page() as page:
        sign_in(page, desk)
        first = name_of(page)
        page.keyboard.press("2")
        second = name_of(page)
        expect(page.locator("#live")).to_have_text(re.compile(f"Case {second}.*{first}: fraud"))


def test_a_pipeline_of_many_classes_is_answered_by_number_and_by_name(tmp_path: Path, browser: Chromium) -> None:
    names = [f"kind {chr(97 + i)}" for i in range(12)]
    text = (Path(__file__).parents[2] / "pipelines" / "fraud.toml").read_text(encoding="utf-8")

    pipeline = parse(
        text.replace('["legitimate", "fraud"]', str(names)).replace('positive = "fraud"', 'positive = "kind b"'),
        "f.toml",
    )
    with world(tmp_path, pipeline) as its, browser.page() as page:
        its.take_in(*[_without_model(i) for i in range(4)])
        sign_in(page, its)
        page.keyboard.type("12")
        page.keyboard.press("/")
        page.keyboard.type("kind c")
        page.keyboard.press("Enter")
        page.keyboard.press("3")
        page.keyboard.press("Enter")
        wait_until(lambda: len(labels(its)) == 3, "not all answers came")
        assert [label.label for label in labels(its)] == ["kind l", "kind c", "kind c"]


def _without_model(number: int) -> Candidate:
    return replace(fraud_cases().candidates[number], probabilities=None, uncertainty=None, model="none")


def test_the_console_that_is_started_anew_finds_people_signed_in(desk: World, browser: Chromium) -> None:
    with browser.page() as page:
        with console([desk.site()]) as url:
            port = int(url.rpartition(":")[2])
            page.goto(f"{url}/p/fraud/")
            page.fill("#name", "ada")
            page.press("#name", "Enter")
            expect(page.locator("article.case")).to_be_visible()
        with console([desk.site()], port):
            page.goto(f"{url}/p/fraud/label")
            expect(page.locator("article.case")).to_be_visible()
