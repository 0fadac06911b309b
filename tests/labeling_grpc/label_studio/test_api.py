"""Calls of Label Studio's API: to a judged address, within bounds, as one user, some of them again."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from receiving import Answer, Request, receiving
from studio import ADA, PERSONAL, TOKEN, Studio, standing_in

from labeling_grpc.label_studio.api import AwayError, DeniedError, LabelStudioApi
from tidemark.runtime.web_addresses import WebAddress, web_address


def api(url: str | WebAddress, token: str = TOKEN, *, private: bool = True, **more: object) -> LabelStudioApi:
    address = web_address(url) if isinstance(url, str) else url
    return LabelStudioApi(address, lambda: token, private=private, sleep=lambda _: None, **more)  # type: ignore[arg-type]


def answering(status: int, content: bytes, headers: dict[str, str] | None = None) -> Callable[[Request], Answer]:
    return lambda _request: (status, headers or {}, content)


@pytest.mark.parametrize("token", [TOKEN, PERSONAL])
def test_both_kinds_of_access_tokens_are_shown_as_label_studio_wants_them(token: str) -> None:
    with standing_in() as studio:
        assert api(studio.url, token).whoami().email == "bridge@bank.example"


def test_a_personal_token_is_exchanged_once_for_many_calls_and_again_when_it_is_old() -> None:
    now = [0.0]
    with standing_in() as studio:
        client = api(studio.url, PERSONAL, clock=lambda: now[0])
        for _ in range(3):
            client.whoami()
        now[0] = 200.0
        client.whoami()
        assert [path for _, path in studio.calls].count("/api/token/refresh/") == 2


def test_a_token_that_is_none_of_its_is_said_without_the_token() -> None:
    with standing_in() as studio, pytest.raises(DeniedError, match="the token is none of its") as raised:
        api(studio.url, "wrong-token").whoami()
    assert "wrong-token" not in str(raised.value)


@pytest.mark.parametrize("paged", [True, False])
def test_users_are_all_read_also_where_they_are_parted(*, paged: bool) -> None:
    """Of a user who is not known nothing is taken."""
    people = [{"id": number, "email": f"{number}@bank.example"} for number in range(1, 8)]

    def answer(request: Request) -> Answer:
        number = int(request.path.partition("page=")[2] or 1)
        part = people[3 * number - 3 : 3 * number]
        more = f"{request.path}?page={number + 1}" if 3 * number < len(people) else None
        told = {"count": len(people), "next": more, "results": part} if paged else people
        return 200, {}, json.dumps(told).encode()

    with receiving(answer) as server:
        found = api(server.url).people()
    assert sorted(found) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_tasks_are_read_page_by_page_to_the_last_however_small_its_pages_are(size: int) -> None:
    with standing_in(Studio(page=size)) as studio:
        studio.answer("POST", "/api/projects/1/import", [{"data": {"event_id": f"e{n}"}} for n in range(3)])
        read = [task.event_id for task in api(studio.url).tasks(1)]
    assert read == [f"e{n}" for n in range(3)]


def test_what_can_be_asked_twice_is_tried_three_times_and_what_may_be_done_already_once() -> None:
    with standing_in() as studio:
        studio.answer("POST", "/api/projects/1/import", [{"data": {"event_id": "e"}}])
        (task,) = studio.tasks
        annotation = studio.annotate(task, ADA, "fraud")
        faults = iter(["lost", "503", "", "unheard", "", "unheard"])
        studio.fault = lambda _method, _path: next(faults)
        client = api(studio.url)
        assert client.whoami().id == 1
        client.delete_annotation(annotation)
        with pytest.raises(AwayError):
            client.import_tasks(1, [{"data": {"event_id": "f"}}])
        assert len(studio.of_event("f")) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_service_that_takes_nothing_for_now_is_away(status: int) -> None:
    with receiving(answering(status, b"<html>later</html>")) as receiver, pytest.raises(AwayError, match=str(status)):
        api(receiver.url).whoami()


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b'{"id": "one"}', b"\xff", b"[" * 100_000])
def test_an_answer_that_is_none_of_its_api_is_no_more_than_an_absence(content: bytes) -> None:
    with receiving(answering(200, content)) as receiver, pytest.raises(AwayError, match="what its API does not"):
        api(receiver.url).whoami()


def test_a_redirect_is_not_followed_and_the_token_goes_nowhere_else() -> None:
    with receiving() as other, receiving(answering(302, b"", {"Location": other.url})) as receiver:
        with pytest.raises(DeniedError, match="redirects are not followed"):
            api(receiver.url).whoami()
        assert other.requests == []


def test_an_answer_that_has_no_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labeling_grpc.label_studio.api._MOST", 1_000)
    content = json.dumps({"id": 1, "email": "x" * 2_000}).encode()
    with receiving(answering(200, content)) as receiver, pytest.raises(AwayError, match="has more than"):
        api(receiver.url).whoami()


@pytest.mark.parametrize("number", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::ffff:127.0.0.1"])
def test_a_name_that_leads_to_a_network_that_is_not_public_is_not_reached(number: str) -> None:
    address = WebAddress("https", "label.example.com", 443, "/")
    with pytest.raises(AwayError, match="is not reached"):
        api(address, private=False, resolve=lambda _host, _port: [number]).whoami()


def test_a_call_ends_at_once_when_the_process_is_asked_to_stop() -> None:
    with receiving() as receiver:
        client = api(receiver.url)
        client.cancel()
        with pytest.raises(AwayError):
            client.whoami()
        assert receiver.requests == []
