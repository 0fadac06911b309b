"""The Label page's calls, on a real labeling service: what they do, and what they may not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from console_visitor import Visitor
from console_world import World, console, fraud_cases, fraud_pipeline, world
from labeling import candidate

from labeling_grpc.client import AsyncLabelingClient, LabelingAdminClient, LabelingClient
from support import wait_until
from tidemark.pipeline import parse
from tidemark.records import Label, decode

_HOSTILE = "<script>alert(1)</script>\u202egnp.exe\u200b\x1b[2J'\"&{{7919*7907}}"


@pytest.fixture
def ada(desk: World) -> Iterator[Visitor]:
    with Visitor(desk.base) as someone:
        someone.sign_in(name="ada")
        yield someone


def published(its: World) -> list[Label]:
    return [decode(Label, row.message.value) for row in its.server.store.unpublished(0, 10_000)]


def test_an_answer_is_recorded_once_under_the_persons_name_though_it_is_sent_twice(ada: Visitor, desk: World) -> None:
    (case,) = ada.cases()
    before = len(published(desk))
    first = ada.decide(case, label="fraud", text="card was stolen").json()
    assert ada.decide(case, label="fraud", text="card was stolen").json() == first
    (label,) = published(desk)[before:]
    assert (label.event_id, label.annotator, label.label) == (case["event_id"], "ada", "fraud")


def test_what_was_decided_is_corrected_and_taken_back(ada: Visitor, desk: World) -> None:
    (case,) = ada.cases()
    first = ada.decide(case, label="fraud").json()["annotation_id"]
    second = ada.call("label/amend", {"annotation_id": first, "label": "legitimate"}).json()["annotation_id"]
    ada.call("label/amend", {"annotation_id": second, "label": None})
    mine = [label for label in published(desk) if label.annotator == "ada"]
    assert [(label.label, label.supersedes) for label in mine][:2] == [("fraud", None), ("legitimate", first)]
    assert (mine[2].status, mine[2].supersedes) == ("retracted", second)


def test_a_case_is_skipped_escalated_remarked_on_and_given_back(ada: Visitor, desk: World) -> None:
    skipped, escalated, returned = ada.cases(3)
    assert ada.decide(skipped, "skip", text="no data").status_code == 200
    assert ada.decide(escalated, "escalate", text="needs the file").status_code == 200
    assert ada.call("label/comment", {"event_id": returned["event_id"], "text": "look", "key": "k1"}).status_code == 200
    assert ada.decide(returned, "release").status_code == 200
    with LabelingClient(desk.server.address, "rey") as client:
        states = {record.case.event_id: record for record in client.cases()}
    assert states[skipped["event_id"]].state == "skipped"
    assert states[escalated["event_id"]].review
    assert states[returned["event_id"]].state == "waiting"


def test_leases_are_kept_and_those_that_are_lost_are_named(ada: Visitor) -> None:
    kept, lost = ada.cases(2)
    ada.decide(lost, "release")
    leases = [{"event_id": case["event_id"], "token": case["token"]} for case in (kept, lost)]
    assert ada.call("label/renew", {"leases": leases}).json() == {"lost": [lost["event_id"]]}
    assert ada.call("label/release", {"leases": leases[:1]}).json() == {"released": 1}
    refused = ada.decide(kept, label="fraud")
    assert refused.status_code == 409
    assert refused.json()["error"]["reason"] == "STALE_LEASE"


def test_a_paused_queue_a_quota_and_a_stopped_annotator_are_states_of_the_page(ada: Visitor, desk: World) -> None:
    with LabelingAdminClient(desk.server.address, "boss") as admin:
        admin.pause("the feed is being mended")
        told = ada.call("label/next", {"count": 1}).json()
        assert (told["state"], told["cases"]) == ("paused", [])
        assert "the feed is being mended" in told["why"]
        admin.resume()
        ada.decide(ada.cases()[0], label="fraud")
        admin.update("ada", quota=1)
        wait_until(lambda: state(ada) == "quota", "the quota is not told")
        admin.update("ada", state="paused", why="on leave", quota=0)
        wait_until(lambda: state(ada) == "stopped", "the pause is not told")
    assert "on leave" in ada.call("label/next", {"count": 1}).json()["why"]


def state(visitor: Visitor) -> str:
    return str(visitor.call("label/next", {"count": 1}).json()["state"])


def test_the_case_shows_its_facts_in_the_pipelines_units_and_zone_and_marks_what_is_unusual(ada: Visitor) -> None:
    pages = "".join(case["html"] for case in ada.cases(5))
    assert "EUR" in pages
    assert "CET" in pages
    assert "usually" in pages
    assert "v000012-89abcdef" in pages
    assert "Labeled cases like it" in pages
    assert "earlier cases from" in pages


def test_text_from_outside_is_text_wherever_the_case_shows_it(tmp_path: Path) -> None:
    with world(tmp_path, fraud_pipeline()) as its, Visitor(its.base) as someone:
        case = fraud_cases().candidates[0]
        context = dict.fromkeys(case.context, _HOSTILE)
        hostile = candidate(
            1, event_id="fraud.raw-0-1-0a1b2c3d", business_id=_HOSTILE, key=_HOSTILE, context=context, model=_HOSTILE,
            features=case.features, probabilities=[0.4, 0.6], explore=True,
        )  # fmt: skip
        earlier = candidate(0, event_id="fraud.raw-0-0-0a1b2c3d", key=_HOSTILE, features=case.features, time=1)
        its.take_in(earlier)
        its.answered({earlier.event_id: "fraud"}, by=_HOSTILE.replace("\x1b", "").replace("\u200b", "")[:20])
        its.take_in(hostile)
        someone.sign_in(name="eve <b>")
        someone.call("label/comment", {"event_id": hostile.event_id, "text": _HOSTILE, "key": "k"})
        (shown,) = someone.cases()
        page = shown["html"] + someone.get("label").text
    for raw in ("<script>alert", "\u202e", "\u200b", "\x1b", "<b>", "62615533"):
        assert raw not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u202egnp.exe" in page
    assert "{{7919*7907}}" in page


def test_hidden_columns_and_what_follows_from_them_are_not_on_the_page(tmp_path: Path) -> None:
    pipeline = fraud_pipeline('\n[labeling.hidden]\ncustomer_id = ["annotator"]\n')
    with world(tmp_path, pipeline, tokens=True) as its, Visitor(its.base) as someone:
        case = fraud_cases().candidates[0]
        its.take_in(case)
        someone.sign_in(token=its.token("annotator"))
        (shown,) = someone.cases()
    assert "not for your role" in shown["html"]
    assert str(case.context["customer_id"]) not in shown["html"]


def test_where_the_pipeline_says_so_the_model_is_silent_until_the_answer(tmp_path: Path) -> None:
    pipeline = fraud_pipeline("\n[labeling]\nblind = true\n")
    with world(tmp_path, pipeline) as its, Visitor(its.base) as someone:
        cases = fraud_cases()
        its.use(cases.model)
        its.take_in(cases.candidates[0])
        someone.sign_in(name="ada")
        (shown,) = someone.cases()
        asked = {"event_id": shown["event_id"]}
        before = someone.call("label/opinion", asked)
        someone.decide(shown, label="fraud")
        after = someone.call("label/opinion", asked).json()["html"]
    assert before.status_code == 403
    assert "speaks against and for fraud" in after
    assert "Hidden until you have answered" in shown["html"]
    assert "uncertainty" not in shown["html"]
    assert "speaks against" not in shown["html"]


def test_nobody_answers_a_case_in_anothers_hands(tmp_path: Path) -> None:
    with world(tmp_path, fraud_pipeline(), tokens=True) as its, Visitor(its.base) as ada, Visitor(its.base) as ben:
        its.take_in(fraud_cases().candidates[0])
        ada.sign_in(token=its.token("annotator", "ada"))
        ben.sign_in(token=its.token("annotator", "ben"))
        (case,) = ada.cases()
        refused = ben.decide(case, label="fraud")
        assert refused.status_code == 403
        assert ada.decide(case, label="fraud").status_code == 200
        annotation = ada.decide(case, label="fraud").json()["annotation_id"]
        assert ben.call("label/amend", {"annotation_id": annotation, "label": "legitimate"}).status_code == 403


def test_a_zone_that_is_none_is_refused_with_its_place() -> None:
    text = (Path(__file__).parents[2] / "pipelines" / "fraud.toml").read_text(encoding="utf-8")
    for wrong in ("Mars/Olympus", "../etc/passwd", "Europe"):
        with pytest.raises(Exception, match=r"label\.zone"):
            parse(text.replace("[label]\n", f'[label]\nzone = "{wrong}"\n'), "fraud.toml")


def test_a_page_that_closes_while_it_waits_for_a_case_is_given_none(tmp_path: Path) -> None:
    with world(tmp_path, fraud_pipeline()) as its, Visitor(its.base) as someone:
        someone.sign_in(name="ada")
        someone.http.timeout = httpx2.Timeout(1.0)
        with pytest.raises(httpx2.ReadTimeout):
            someone.call("label/next", {"count": 1, "wait": 10})
        its.take_in(fraud_cases().candidates[0])
        with LabelingClient(its.server.address, "ben") as client:
            wait_until(lambda: client.lease(1), "the case was given to a page that is gone")


def test_a_console_that_stops_while_a_page_waits_says_so_and_logs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = threading.Event()

    async def never(*_: object, **__: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    with world(tmp_path, fraud_pipeline()) as its, ThreadPoolExecutor(1) as beside:
        with console([its.site()]) as url:
            someone = Visitor(f"{url}/p/fraud")
            someone.sign_in(name="ada")
            monkeypatch.setattr(AsyncLabelingClient, "lease_with_details", never)
            answer = beside.submit(someone.call, "label/next", {"count": 1, "wait": 10})
            assert asked.wait(30)
            capfd.readouterr()
        assert answer.result(30).json()["error"]["reason"] == "AWAY"
        someone.http.close()
    assert "Traceback" not in capfd.readouterr().err
