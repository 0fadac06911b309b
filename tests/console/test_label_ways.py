"""The Label page for whoever has no keys, a long name or no network: every act has a button, and one thing is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import Chromium, barriers
from console_world import World, cases_alike, fraud_cases, fraud_pipeline, world
from playwright.sync_api import Page, expect

from labeling_grpc.client import LabelingClient
from support import wait_until


def sign_in(page: Page, its: World, name: str = "ada") -> None:
    page.goto(its.base + "/")
    page.fill("#name", name)
    page.press("#name", "Enter")
    expect(page.locator("article.case")).to_be_visible()


def test_whoever_has_no_keys_tells_others_and_gives_a_case_back(tmp_path: Path, browser: Chromium) -> None:
    with world(tmp_path, fraud_pipeline()) as its, browser.page(360, 740) as page:
        its.take_in(*fraud_cases().candidates[:2])
        sign_in(page, its)
        page.get_by_role("button", name="more").click()
        expect(page.locator("#help")).to_be_visible()
        assert page.evaluate("document.getElementById('help').scrollTop") == 0
        assert barriers(page) == []
        page.locator("#help").get_by_role("button", name="Tell others").click()
        page.locator("#ask-text").fill("the terminal is ours")
        page.locator("#ask-yes").click()
        expect(page.locator("#said")).to_have_text("Told.")
        name = page.locator("#case-name").inner_text()
        page.get_by_role("button", name="more").click()
        page.locator("#help").get_by_role("button", name="Give the case back").click()
        expect(page.locator("#said")).to_contain_text(f"{name}: given back")
        told: dict[str | None, list[str]] = {}
        with LabelingClient(its.server.address, "ben") as client:

            def given() -> bool:
                told.update({task.business_id: [each.text for each in task.comments] for task in client.lease(2)})
                return name in told

            wait_until(given, lambda: f"the case that was given back comes to nobody else, but {told}")
        assert told[name] == ["the terminal is ours"]


def test_a_page_without_network_says_once_and_rightly_how_much_it_keeps(tmp_path: Path, browser: Chromium) -> None:
    with world(tmp_path, fraud_pipeline()) as its, browser.page() as page:
        its.take_in(*fraud_cases().candidates[:8])
        sign_in(page, its)
        expect(page.locator("#waiting")).to_have_text("5")
        page.context.set_offline(True)
        page.keyboard.press("1")
        expect(page.locator("#banner-text")).to_contain_text("Your last answer is kept here")
        page.keyboard.press("2")
        expect(page.locator("#banner-text")).to_contain_text("Your last 2 answers are kept here")
        page.keyboard.press("1")
        expect(page.get_by_role("heading", name="The service is away")).to_be_visible()
        expect(page.locator("#case")).to_contain_text("Your last 3 answers are kept here")
        expect(page.locator("#banner")).to_be_hidden()
        page.keyboard.press("1")
        expect(page.locator("#said")).to_have_text("The service is away.")
        page.keyboard.press("z")
        expect(page.locator("#banner-text")).to_contain_text("You answered legitimate")
        page.keyboard.press("Escape")
        expect(page.locator("#case")).to_contain_text("Your last 3 answers are kept here")
        expect(page.locator("#banner")).to_be_hidden()
        page.context.set_offline(False)
        expect(page.locator("article.case")).to_be_visible()
        expect(page.locator("#today")).to_have_text("3")


def test_it_is_said_how_many_cases_one_answer_is_for(tmp_path: Path, browser: Chromium) -> None:
    with world(tmp_path, fraud_pipeline()) as its, browser.page() as page:
        its.take_in(*cases_alike(4))
        sign_in(page, its)
        page.keyboard.press("b")
        expect(page.locator("#bulk")).to_be_visible()
        boxes = page.locator("#bulk-list input")
        count = boxes.count()
        expect(page.locator("#bulk-count")).to_have_text(
            f"{count + 1} cases are answered: the one in hand and {count} like it."
        )
        for number in range(count):
            boxes.nth(number).uncheck()
        expect(page.locator("#bulk-count")).to_have_text("The case in hand alone is answered.")


@pytest.mark.parametrize("width", [360, 800, 1440])
def test_a_long_name_covers_no_page_of_the_menu(tmp_path: Path, browser: Chromium, width: int) -> None:
    with world(tmp_path, fraud_pipeline()) as its, browser.page(width) as page:
        its.take_in(*fraud_cases().candidates[:1])
        sign_in(page, its, "W" * 120)
        boxes = [
            page.locator(each).bounding_box()
            for each in (".head nav a:last-child", ".head .who", ".head .who .button", ".head")
        ]
        menu, who, out, head = (box for box in boxes if box is not None)
        beside = menu["x"] + menu["width"] <= who["x"] + 1
        assert beside or who["y"] + who["height"] <= menu["y"] + 1
        assert out["height"] < 50
        name = page.locator(".head .who span").bounding_box()
        assert name is not None
        assert name["width"] > 40, "and the name itself is there"
        assert head["height"] <= 110
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_who_has_reached_the_quota_is_told_when_the_next_day_begins(tmp_path: Path, browser: Chromium) -> None:
    with world(tmp_path, fraud_pipeline()) as its, browser.page() as page:
        its.take_in(*fraud_cases().candidates[:4])
        sign_in(page, its)
        page.clock.set_fixed_time("2026-07-01T20:40:00Z")
        page.route(
            "**/label/next",
            lambda route: route.fulfill(json={"cases": [], "state": "quota", "why": "4 of 4", "progress": None}),
        )
        for _ in range(4):
            page.keyboard.press("u")
        expect(page.get_by_role("heading", name="That was all for today")).to_be_visible()
        expect(page.locator("#case")).to_contain_text(
            "at midnight UTC, which is 02:00 in Europe/Berlin, in 3 h 20 min."
        )
