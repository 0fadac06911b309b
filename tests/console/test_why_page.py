"""The Why page on a real Kafka: any event is told, as text, to those whose role sees records as they came."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from browser import Chromium, barriers
from console_visitor import Visitor
from console_world import World, world
from lineage_world import LineageWorld, run_shop
from playwright.sync_api import expect

from tidemark.pipeline import Pipeline
from tidemark.records import Label, encode
from tidemark.runtime.processor import Output
from tidemark.runtime.settings import Settings

_HOSTILE = '<script>alert(1)</script>\u202e"'


@pytest.fixture(scope="module")
def ran(kafka: Settings, tmp_path_factory: pytest.TempPathFactory) -> LineageWorld:
    """A pipeline that has run, with a hostile comment and a hostile outcome on its first candidate."""
    its = run_shop(kafka, f"page-{tmp_path_factory.mktemp('page').name}", 120)
    first = its.candidates[0]
    label: Label = its.label(first, comment=_HOSTILE, annotator=f"eve {_HOSTILE}")
    outcome = {"event_id": first.event_id, "label": _HOSTILE, "known_at": first.time}
    topics = its.pipeline.topics
    its.produce([Output(topics.labels, encode(label)), Output(topics.outcomes, msgspec.json.encode(outcome))])
    return its


@pytest.fixture(scope="module")
def its(ran: LineageWorld, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("why-console")
    settings = Settings(state_dir=folder).at(ran.settings.bootstrap_servers or "")
    with world(folder, ran.pipeline, tokens=True, settings=settings) as made:
        yield made


def test_an_event_is_told_and_its_texts_are_text(its: World, ran: LineageWorld) -> None:
    first = ran.candidates[0]
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("reviewer", "rita"))
        empty = someone.get("why")
        by_id = someone.get(f"why?event={first.event_id}").text
        by_name = someone.get(f"why?event={first.business_id}").text
        unknown = someone.get("why?event=%3Cscript%3Ealert(1)%3C%2Fscript%3E").text
        too_long = someone.get(f"why?event={'x' * 2_000}")
    assert (empty.status_code, too_long.status_code) == (200, 400)
    for page in (by_id, by_name):
        assert "figures that were derived again equal what was recorded" in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u202e" in page
        assert first.event_id in page
        assert "</strong>, the word of a person who was asked." in page
    assert "no event" in unknown
    for page in (by_id, by_name, unknown):
        assert "<script>alert" not in page
        assert "\u202e" not in page


def test_what_differs_stands_on_top(its: World, ran: LineageWorld) -> None:
    second = ran.candidates[1]
    false = msgspec.structs.replace(second, features={**second.features, "who_count": 77.0})
    ran.produce([Output(ran.pipeline.topics.candidates, encode(false))])
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("admin", "boss"))
        page = someone.get(f"why?event={second.event_id}").text
    assert "figures come out otherwise than they were recorded" in page
    assert "feature who_count" in page


@pytest.mark.parametrize("role", ["viewer", "annotator"])
def test_records_as_they_came_are_not_for_everybody(role: str, its: World, ran: LineageWorld) -> None:
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token(role, f"a {role}"))
        assert someone.get(f"why?event={ran.candidates[0].event_id}").status_code == 403


def test_where_a_column_is_hidden_from_the_role_nothing_is_shown(
    ran: LineageWorld, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("why-hidden")
    labeling = ran.pipeline.labeling.model_copy(update={"hidden": {"amount": ["reviewer"]}})
    pipeline: Pipeline = ran.pipeline.model_copy(update={"labeling": labeling})
    settings = Settings(state_dir=folder).at(ran.settings.bootstrap_servers or "")
    with world(folder, pipeline, tokens=True, settings=settings) as made, Visitor(made.base) as someone:
        someone.sign_in(token=made.token("reviewer", "rita"))
        refused = someone.get(f"why?event={ran.candidates[0].event_id}")
    assert refused.status_code == 403
    assert "columns are hidden from the role reviewer" in refused.text


def test_the_page_is_worked_with_a_browser_and_bars_nobody(its: World, ran: LineageWorld, browser: Chromium) -> None:
    first = ran.candidates[0]
    for width, scheme in ((1440, "dark"), (360, "light")):
        with browser.page(width, 800, scheme) as page:
            page.goto(its.base + "/")
            page.fill("#token", its.token("reviewer", "rita"))
            page.press("#token", "Enter")
            expect(page.locator("#label")).to_be_visible()
            page.goto(its.base + "/why")
            assert barriers(page) == []
            page.fill("#event", first.event_id)
            page.press("#event", "Enter")
            expect(page.get_by_text("equal what was recorded")).to_be_visible()
            page.locator("summary").first.focus()
            page.keyboard.press("Enter")
            expect(page.locator("details[open]").first).to_be_visible()
            assert barriers(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_number_is_told_with_its_unit_interval_and_what_moved_it(
    kafka: Settings, tmp_path: Path, browser: Chromium
) -> None:
    ran = run_shop(kafka, "minutes", 90, number=True)
    case = next(each for each in ran.candidates if each.value is not None)
    ran.learn(ran.label(case))
    settings = Settings(state_dir=tmp_path).at(ran.settings.bootstrap_servers or "")
    with world(tmp_path, ran.pipeline, tokens=True, settings=settings) as its:
        for width, scheme in ((1440, "light"), (360, "dark")):
            with browser.page(width, 900, scheme) as page:
                page.goto(its.base + "/")
                page.fill("#token", its.token("reviewer", "rita"))
                page.press("#token", "Enter")
                expect(page.locator("h1").first).to_be_visible()
                page.goto(f"{its.base}/why?event={case.event_id}")
                expect(page.get_by_text("figures that were derived again equal what was recorded")).to_be_visible()
                expect(page.get_by_role("row", name="interval from")).to_contain_text(" min")
                expect(page.get_by_role("heading", name="What makes it less and more")).to_be_visible()
                expect(page.get_by_text("The verdict is 2.5 min")).to_be_visible()
                assert barriers(page) == []
                assert page.evaluate("document.documentElement.scrollWidth") <= width
