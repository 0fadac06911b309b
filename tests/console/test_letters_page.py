"""The Dead letters page on a real Kafka: records as they came, as text, for administrators; replayed exactly once."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx2
import pytest
from browser import Chromium, barriers
from console_visitor import Visitor
from console_world import World, world
from dead_letter_desk import HOSTILE, kind_on, write_letters
from models import small_pipeline
from offsets import read_settled
from playwright.sync_api import expect

from tidemark.runtime.settings import Settings


@pytest.fixture
def its(kafka: Settings, unique: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A pipeline with three dead letters of one kind; the service asks for tokens."""
    folder = tmp_path_factory.mktemp("letters")
    settings = Settings(state_dir=folder).at(kafka.bootstrap_servers or "")
    pipeline = small_pipeline(unique, extra='[labeling.hidden]\na = ["reviewer"]', label='context = ["a"]')
    write_letters(settings, pipeline, [f'{{"a": "{HOSTILE} {i}"}}'.encode() for i in range(3)], f"no number {HOSTILE}")
    with world(folder, pipeline, tokens=True, settings=settings) as made:
        yield made


def do(someone: Visitor, **fields: str) -> httpx2.Response:
    headers = {"x-csrf-token": someone.csrf, "accept": "text/html, application/json"}
    return someone.http.post(f"{someone.base}/letters", data=fields, headers=headers)


def test_letters_are_grouped_looked_at_and_replayed_exactly_once_in_the_persons_name(its: World) -> None:
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("admin", "boss"))
        listed = someone.get("letters").text
        kind = kind_on(listed)
        group = someone.get(f"letters/kind/{kind}").text
        one = someone.get("letters/0/0").text
        assert "3 sent once more" in do(someone, do="replay", kind=kind).text
        assert "0 sent once more" in do(someone, do="replay", kind=kind).text
        marked = someone.get("letters/0/0").text
        missing = someone.get("letters/0/99")
    assert "3 open" in listed
    for page in (listed, group, one):
        assert "<script>alert" not in page
        assert "\u202e" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u202e\\u200b" in one
    assert "replayed by boss" in marked
    assert missing.status_code == 404
    sent = read_settled(its.settings, its.pipeline.raw_topics[0])
    assert [message.value() for message in sent] == [f'{{"a": "{HOSTILE} {i}"}}'.encode() for i in range(3)]


@pytest.mark.parametrize(("name", "most"), [("MOST", 2), ("MOST_BYTES", 40)])
def test_of_more_letters_than_one_act_deals_with_the_next_act_deals_with_the_rest(
    its: World, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    monkeypatch.setattr(f"console.dead_letters.{name}", most)
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("admin", "boss"))
        kind = kind_on(someone.get("letters").text)
        assert "3 in all, 3 open" in someone.get(f"letters/kind/{kind}").text
        first = 2 if name == "MOST" else 1
        assert f"{first} sent once more" in do(someone, do="replay", kind=kind).text
        assert f"3 in all, {3 - first} open" in someone.get(f"letters/kind/{kind}").text
        for _ in range(2):
            do(someone, do="replay", kind=kind)
        assert "3 in all, 0 open" in someone.get(f"letters/kind/{kind}").text
    sent = read_settled(its.settings, its.pipeline.raw_topics[0])
    assert [message.value() for message in sent] == [f'{{"a": "{HOSTILE} {i}"}}'.encode() for i in range(3)]


def test_letters_of_more_kinds_than_are_kept_apart_are_dealt_with_together(
    its: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemark.replay.grouping._MOST", 1)
    write_letters(its.settings, its.pipeline, [b"1"], "no text", first=20)
    write_letters(its.settings, its.pipeline, [b"2"], "no time", first=21)
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("admin", "boss"))
        listed = someone.get("letters").text
        assert "2 open" in listed
        kind = kind_on(listed.split("(others)", 1)[1])
        page = someone.get(f"letters/kind/{kind}").text
        assert "(others)" in page
        assert "2 in all, 2 open" in page
        own = re.search(r"letters/kind/[0-9a-f]{16}", someone.get("letters/0/4").text)
        assert own is not None
        assert "1 in all, 1 open" in someone.get(own[0]).text
        assert "2 sent once more" in do(someone, do="replay", kind=kind).text
    sent = read_settled(its.settings, its.pipeline.raw_topics[0])
    assert [message.value() for message in sent] == [b"1", b"2"]


def test_letters_are_resolved_with_the_reason_and_nothing_is_sent(its: World) -> None:
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("admin", "boss"))
        kind = kind_on(someone.get("letters").text)
        assert do(someone, do="resolve", kind=kind).status_code == 400
        assert do(someone, do="destroy", kind=kind).status_code == 400
        assert "3 resolved" in do(someone, do="resolve", kind=kind, note="a test of the producer").text
        assert "a test of the producer" in someone.get("letters/0/1").text
    assert read_settled(its.settings, its.pipeline.raw_topics[0]) == []


@pytest.mark.parametrize("role", ["viewer", "reviewer", "annotator"])
def test_records_as_they_came_are_for_administrators_alone(role: str, its: World) -> None:
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token(role, "mallory"))
        for path in ("letters", "letters/0/0", "letters/kind/0"):
            assert someone.get(path).status_code == 403
        assert do(someone, do="replay", kind="0").status_code == 403


def test_where_a_column_is_hidden_from_administrators_no_record_is_shown(
    kafka: Settings, unique: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("hidden")
    settings = Settings(state_dir=folder).at(kafka.bootstrap_servers or "")
    pipeline = small_pipeline(unique, extra='[labeling.hidden]\na = ["admin"]', label='context = ["a"]')
    write_letters(settings, pipeline, [b"{"], "secret")
    with world(folder, pipeline, tokens=True, settings=settings) as made, Visitor(made.base) as someone:
        someone.sign_in(token=made.token("admin", "boss"))
        for path in ("letters", "letters/0/0"):
            response = someone.get(path)
            assert response.status_code == 403
            assert "columns are hidden from the role admin" in response.text


def test_the_page_is_worked_with_a_browser_and_bars_nobody(its: World, browser: Chromium) -> None:
    with browser.page(360, 800, "dark") as page:
        page.goto(its.base + "/")
        page.fill("#token", its.token("admin", "boss"))
        page.press("#token", "Enter")
        expect(page.locator("#label")).to_be_visible()
        page.goto(its.base + "/letters")
        assert barriers(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.get_by_role("link", name="Look at them").click()
        assert barriers(page) == []
        page.get_by_role("link", name=re.compile(r"\.raw\[0\] 8")).click()
        expect(page.get_by_label("The record as it came")).to_contain_text("alert(1)")
        assert barriers(page) == []
        page.goto(its.base + "/letters")
        page.get_by_label("Why nothing more is needed").fill("known")
        page.get_by_role("button", name="Resolve").click()
        expect(page.locator("#list .told")).to_contain_text("3 resolved.")
