"""Dead letters repaired on the page, on a real Kafka: looked at first, sent exactly once, in the person's name."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
import pytest
from browser import Chromium, barriers
from console_visitor import Visitor
from console_world import World, world
from dead_letter_desk import kind_on, write_letters
from models import small_pipeline
from offsets import read_settled
from playwright.sync_api import expect

from console.pages.letters import editable
from tidemark.replay import Letter
from tidemark.replay.letters import Source
from tidemark.runtime.settings import Settings

_HOSTILE = '<script>alert(1)</script>\u202e"'
_RIGHT = {"key": "k1", "time": "2025-01-01T00:00:00Z", "a": 1.5, "b": 2.0, "c": 3.0}


def record(**changed: object) -> bytes:
    return json.dumps(_RIGHT | changed).encode()


@pytest.fixture
def its(kafka: Settings, unique: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Four dead letters of one kind: two with a comma for the point, one of a hostile time, one that is no object."""
    folder = tmp_path_factory.mktemp("repairs")
    settings = Settings(state_dir=folder).at(kafka.bootstrap_servers or "")
    pipeline = small_pipeline(unique)
    values = [record(a="12,5"), record(a="7,25"), record(a="3,5", time=_HOSTILE), b"{"]
    write_letters(settings, pipeline, values, "a is no number", key=b"k1")
    with world(folder, pipeline, tokens=True, settings=settings) as made:
        yield made


def post(someone: Visitor, **fields: str) -> httpx2.Response:
    headers = {"x-csrf-token": someone.csrf, "accept": "text/html, application/json"}
    return someone.http.post(f"{someone.base}/letters/repair", data=fields, headers=headers)


def looked(page: str) -> str:
    return page.split('"looked": "')[1].split('"', maxsplit=1)[0]


def test_all_of_a_kind_are_repaired_by_sql_and_what_would_come_back_is_not_sent(its: World) -> None:
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("admin", "boss"))
        kind = kind_on(someone.get("letters").text)
        way = {"kind": kind, "fields": "a = CAST(REPLACE(a, ',', '.') AS DOUBLE)\nb = 4.0"}
        seen = post(someone, do="look", **way).text
        assert "3 of 4" in seen
        assert "</span> a: 12.5</p>" in seen
        assert "1 would come back as a dead letter" in seen
        assert "1 can't be repaired so" in seen
        assert "<script>alert" not in seen
        assert read_settled(its.settings, its.pipeline.raw_topics[0]) == [], "looking sends nothing"
        assert "2 repaired and sent once more" in post(someone, do="send", looked=looked(seen), **way).text
        again = post(someone, do="send", looked=looked(seen), **way).text
        assert "no longer what you looked at" in again
        listed = someone.get(f"letters/kind/{kind}").text
        one = someone.get("letters/0/0").text
    sent = [json.loads(message.value() or b"") for message in read_settled(its.settings, its.pipeline.raw_topics[0])]
    assert sent == [_RIGHT | {"a": 12.5, "b": 4.0}, _RIGHT | {"a": 7.25, "b": 4.0}]
    assert "4 in all, 2 open" in listed
    assert "replayed, repaired, by boss" in one


def test_one_is_repaired_by_its_text_to_the_last_character(its: World) -> None:
    text = record(a=3).decode()[:-1] + ',\n "note": "\u202e<b>"}'
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("admin", "boss"))
        place = {"partition": "0", "offset": "3", "text": text.replace("\n", "\r\n"), "key": "k9"}
        seen = post(someone, do="look", **place).text
        assert "1 of 1" in seen
        assert "\u202e" not in seen
        other = post(someone, do="send", looked=looked(seen), **(place | {"key": "k8"})).text
        assert "no longer what you looked at" in other
        assert "1 repaired" in post(someone, do="send", looked=looked(seen), **place).text
        assert "It was replayed meanwhile, by boss" in post(someone, do="send", looked=looked(seen), **place).text
    (message,) = read_settled(its.settings, its.pipeline.raw_topics[0])
    assert message.value() == text.encode()
    assert message.key() == b"k9"


def test_a_key_that_is_emptied_is_no_key(its: World) -> None:
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("admin", "boss"))
        place = {"partition": "0", "offset": "3", "text": record(a=3).decode(), "key": ""}
        seen = post(someone, do="look", **place).text
        assert "1 repaired" in post(someone, do="send", looked=looked(seen), **place).text
    (message,) = read_settled(its.settings, its.pipeline.raw_topics[0])
    assert message.key() is None


def test_a_repaired_record_that_fails_again_is_shown_as_come_back(its: World) -> None:
    topic = its.pipeline.raw_topics[0]
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("admin", "boss"))
        kind = kind_on(someone.get("letters").text)
        way = {"kind": kind, "fields": "a = CAST(REPLACE(a, ',', '.') AS DOUBLE)"}
        post(someone, do="send", looked=looked(post(someone, do="look", **way).text), **way)
        assert "came back" not in someone.get(f"letters/kind/{kind}").text
        sent = read_settled(its.settings, topic)[0]
        write_letters(its.settings, its.pipeline, [sent.value() or b""], "a is no number", first=sent.offset() or 0)
        assert 'came back</span> <a class="small" href="' in someone.get(f"letters/kind/{kind}").text


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"kind": "0" * 16}, "Say what to repair"),
        ({"kind": "0" * 16, "fields": "amount"}, "write FIELD=SQL"),
        ({"kind": "0" * 16, "fields": "a = 1"}, "0 of 0"),
        ({"partition": "0", "offset": "99"}, "there is no dead letter 0-99"),
        ({"partition": "0", "offset": "-1"}, "no place of a dead letter"),
        ({"kind": "0" * 16, "fields": "a" * 4_001}, "at most 4,000 characters"),
    ],
)
def test_a_repair_that_means_nothing_is_told_so(its: World, fields: dict[str, str], told: str) -> None:
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token("admin", "boss"))
        assert told in post(someone, do="look", **fields).text
        assert post(someone, do="destroy", **fields).status_code == 400


@pytest.mark.parametrize("role", ["viewer", "reviewer", "annotator"])
def test_nobody_but_an_administrator_repairs(its: World, role: str) -> None:
    with Visitor(its.base) as someone:
        someone.sign_in(token=its.token(role, "mallory"))
        assert post(someone, do="look", kind="0" * 16, fields="a = 1").status_code == 403
        assert post(someone, do="send", partition="0", offset="0", text="{}", looked="").status_code == 403


@pytest.mark.parametrize(
    ("value", "key", "edited"),
    [
        (b'{"a": 1}', b"k", ('{"a": 1}', "k")),
        (b"\n{}\n", None, ("\n{}\n", "")),
        (b"{}\r\n", b"k", None),
        (b"{\0}", b"k", None),
        (b"\xff", b"k", None),
        (None, b"k", None),
        (b"x" * 16_001, b"k", None),
        (b"{}", b"\xff", ("{}", None)),
        ("{\u202e}".encode(), b"k", None),
        (b"{}", "\u200b".encode(), ("{}", None)),
    ],
)
def test_a_record_is_edited_where_a_form_gives_it_back_to_the_last_character(
    value: bytes | None, key: bytes | None, edited: tuple[str, str | None] | None
) -> None:
    source = Source("t", 0, 1, "i", None)
    letter = Letter(0, 0, source, "decode", "no", None, key, value, (), False, len(value or b""), None)
    assert editable(letter) == edited


def test_a_repair_is_worked_by_keyboard_and_bars_nobody(its: World, browser: Chromium) -> None:
    with browser.page(360, 800, "dark") as page:
        page.goto(its.base + "/")
        page.fill("#token", its.token("admin", "boss"))
        page.press("#token", "Enter")
        expect(page.locator("#label")).to_be_visible()
        page.goto(its.base + "/letters")
        page.get_by_role("link", name="Look at them").click()
        page.locator(".repair > summary").press("Enter")
        page.locator("#repair-fields").fill("a = CAST(REPLACE(a, ',', '.') AS DOUBLE)")
        page.get_by_role("button", name="Look at what changes").press("Enter")
        expect(page.locator("#repaired")).to_contain_text("3 of 4 open records change")
        assert barriers(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.get_by_role("button", name="Send these 2 once more").press("Enter")
        expect(page.locator("#repaired")).to_contain_text("2 repaired and sent once more")
        page.goto(its.base + "/letters/0/3")
        page.locator(".repair > summary").press("Enter")
        expect(page.locator("#repair-text")).to_have_value("{")
        page.locator("#repair-text").fill("\n" + record(a=1).decode())
        page.get_by_role("button", name="Look at what changes").click()
        page.get_by_role("button", name="Send it once more").click()
        expect(page.locator("#repaired")).to_contain_text("1 repaired and sent once more")
        assert barriers(page) == []
    assert (read_settled(its.settings, its.pipeline.raw_topics[0])[-1].value() or b"") == b"\n" + record(a=1)
