"""The Work page: reviewers see what is due when, what each person takes today, and say who is given what."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlencode

import httpx2
import pytest
from browser import Chromium, barriers
from console_visitor import Visitor
from console_world import World, fraud_cases, fraud_pipeline, world
from msgspec.structs import replace
from playwright.sync_api import expect

from console.pages import work
from labeling_grpc.client import LabelingClient
from labeling_grpc.client.administration import LabelingAdminClient
from tidemark.records import Candidate

_HOSTILE = '<script>alert(1)</script>"'
_DUE = '\n[labeling]\nsegment = "channel"\n\n[labeling.due]\ndefault = "4h"\nsegments = { web = "10m" }\n'
_PAST = 1_000_000


def cases(count: int, *, late: int = 0) -> list[Candidate]:
    """Active cases of two channels in turn, the first `late` of them long overdue."""
    found = [case for case in fraud_cases().candidates if case.inclusion_probability is None][:count]
    return [
        replace(
            case,
            time=_PAST + number if number < late else case.time,
            context=case.context | {"channel": "web" if number % 2 else "branch"},
        )
        for number, case in enumerate(found)
    ]


@pytest.fixture
def its(tmp_path: Path) -> Iterator[World]:
    """Overdue cases of two segments; the service asks for tokens."""
    with world(tmp_path, fraud_pipeline(_DUE), tokens=True) as made:
        made.take_in(*cases(6, late=6))
        yield made


def do(someone: Visitor, fields: Sequence[tuple[str, str]], query: str = "") -> httpx2.Response:
    headers = {
        "x-csrf-token": someone.csrf,
        "accept": "text/html, application/json",
        "content-type": "application/x-www-form-urlencoded",
    }
    content = urlencode(fields).encode()
    return someone.http.post(f"{someone.base}/work{query}", content=content, headers=headers)


def assign(someone: Visitor, events: Sequence[str], name: str, why: str = "knows the customer") -> httpx2.Response:
    told = (("event", event) for event in events)
    return do(someone, [("do", "assign"), *told, ("name", name), ("why", why)])


def able(someone: Visitor, name: str, skills: str = "any", quota: str = "0", absent: str = "") -> httpx2.Response:
    fields = {"do": "abilities", "name": name, "skills": skills, "quota": quota, "absent": absent}
    return do(someone, [*fields.items()])


def listed(page: str) -> list[str]:
    return re.findall(r'name="event" value="([^"]+)"', page)


def row_of(page: str, name: str) -> str:
    return next(row for row in page.split("<tr>") if f'<th scope="row">{name}</th>' in row)


def test_a_reviewer_assigns_overdue_cases_and_says_who_is_absent(its: World) -> None:
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("reviewer", "rita"))
        told = able(someone, f"ben {_HOSTILE}", "cards, stolen\r\nloans", "40")
        assert "Noted for ben" in told.text
        assert "cards, stolen · loans" in told.text
        assert "40 of 40" in told.text
        assert "<script>alert" not in told.text
        page = someone.get("work").text
        assert page.count("overdue by") == 6
        events = listed(page)
        told = assign(someone, events[:2], "ada")
        assert "2 of 2 offered to ada alone." in told.text
        assert told.text.count('data-name="assigned to">ada<') == 2
        assert assign(someone, events[:1], "ada", why="").status_code == 400
        assert assign(someone, [], "ada").status_code == 400
        told = able(someone, "ada", absent="2999-12-07T13:00")
        assert "ada is absent" in told.text
        assert 'value="2999-12-07T13:00"' in told.text, "who saves another field does not end the absence"
        assert 'data-name="assigned to">ada<' not in told.text, "what is assigned to who is absent returns"
        assert '<option value="ada"' not in told.text
        assert "is absent until" in assign(someone, events[:1], "ada").text
        assert able(someone, "ada", quota="x").status_code == 400
        assert able(someone, "ada", absent="soon").status_code == 400
        assert do(someone, [("do", "destroy")]).status_code == 400
        trail = its.token("admin", "boss")
    with LabelingAdminClient(its.server.address, its.pipeline.name, token=trail) as admin:
        assert [entry.actor for entry in admin.audit() if entry.action == "AssignCases"] == ["rita"]


def test_cases_are_listed_by_when_they_are_due_and_by_segment_page_by_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_SHOWN", 3)
    made_up = cases(8)
    with world(tmp_path, fraud_pipeline(_DUE), tokens=True) as made:
        made.take_in(*made_up)
        with Visitor(made.base) as someone:
            someone.sign_in(token=made.token("reviewer", "rita"))
            order = sorted(
                made_up, key=lambda case: case.time + (600 if case.context["channel"] == "web" else 14_400) * 10**6
            )
            pages = [listed(someone.get(f"work?page={number}").text) for number in (1, 2, 3)]
            assert [event for page in pages for event in page] == [case.event_id for case in order]
            last = someone.get("work?page=99").text
            assert listed(last) == pages[2]
            assert "page 3 of 3" in last
            assert "Due later" not in last
            web = {case.event_id for case in made_up if case.context["channel"] == "web"}
            found = [listed(someone.get(f"work?segment=web&page={number}").text) for number in (1, 2)]
            assert {event for page in found for event in page} == web
            assert "choose others above" in someone.get("work?segment=none").text
            kept = do(someone, [("do", "abilities"), ("name", "ada"), ("skills", "any"), ("quota", "0")], "?page=2")
            assert listed(kept.text) == pages[1], "who changes something stays on their page"
            assert "2 of 2 offered" in assign(someone, pages[0][:2], "ada").text
            assert listed(someone.get("work?show=assigned").text) == pages[0][:2]
            assert set(listed(someone.get("work?show=free").text)).isdisjoint(pages[0][:2])
            assert "1 of 2 offered to whoever may have it. 1 left as it is" in assign(someone, pages[0][1:3], "").text


def test_what_somebody_still_takes_today_counts_answers_skips_and_what_is_in_their_hands(its: World) -> None:
    token = its.token("annotator", "ida")
    with LabelingClient(its.server.address, "ida", token=token) as client:
        first, second, _held = client.lease(3)
        client.submit(first, "legitimate")
        client.skip(second)
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("reviewer", "rita"))
        assert 'data-name="left today">no bound<' in row_of(someone.get("work").text, "ida")
        told = row_of(able(someone, "ida", quota="5").text, "ida")
        assert 'data-name="today">3<' in told
        assert "2 of 5" in told
        assert "tag warn" not in told
        assert '"tag warn">0 of 2<' in row_of(able(someone, "ida", quota="2").text, "ida")


def test_annotators_and_viewers_allocate_nothing(its: World) -> None:
    event = its.taken[0].event_id
    for role in ("annotator", "viewer"):
        with Visitor(its.base) as someone:
            someone.sign_in(token=its.token(role, f"a {role}"))
            assert someone.get("work").status_code == 403
            assert assign(someone, [event], f"a {role}").status_code == 403
            assert able(someone, f"a {role}", quota="1").status_code == 403


def test_a_case_of_no_pipeline_is_left_and_a_hostile_query_stays_text(its: World) -> None:
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("reviewer", "rita"))
        assert "1 left as it is" in assign(someone, ["fraud.raw-0-404-0a1b2c3d"], "ada").text
        page = someone.http.get(f"{someone.base}/work", params={"segment": _HOSTILE, "show": _HOSTILE, "page": "-1"})
        assert page.status_code == 200
        assert "<script>alert" not in page.text


def test_the_page_is_worked_with_a_keyboard_and_bars_nobody(its: World, browser: Chromium) -> None:
    with LabelingAdminClient(its.server.address, its.pipeline.name, token=its.token("admin", "boss")) as admin:
        admin.update("ida", skills=["cards"], quota=40, absent_until=2**52)
        admin.update("ben", quota=3)
    for width, scheme in ((1440, "dark"), (1440, "light"), (360, "dark"), (360, "light")):
        with browser.page(width, 800, scheme) as page:
            page.goto(its.base + "/")
            page.fill("#token", its.token("admin", "boss"))
            page.press("#token", "Enter")
            expect(page.locator("#label")).to_be_visible()
            page.goto(f"{its.base}/work")
            assert barriers(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            if scheme == "dark":
                continue
            tick = page.locator("input[name=event]").first
            tick.focus()
            page.keyboard.press("Space")
            expect(tick).to_be_checked()
            page.locator("#to-why").fill("whoever is there")
            page.locator("#to-why").press("Enter")
            expect(page.locator("#list .told")).to_contain_text("1 left as it is")
            expect(page.locator("body > [role=status]")).to_contain_text("1 left as it is")
            summary = page.locator("#people summary").first
            summary.focus()
            page.keyboard.press("Enter")
            expect(page.locator("#skills-1")).to_be_visible()
            assert barriers(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
