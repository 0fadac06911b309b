"""Every route of the console against every way of attack: a route that is added is in the table, or fails here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import httpx2
import plain_http
import pytest
from console_visitor import Visitor
from console_world import World, fraud_cases, fraud_pipeline, world
from starlette.routing import BaseRoute, Mount, Route

from console.app import routes
from console.security.access import PAGES, ROLES, may
from console.security.headers import HEADERS
from labeling_grpc.client import LabelingClient

NOWHERE: Final = [("GET", "/nowhere"), ("PUT", "/p/{pipeline}/label"), ("PUT", "/api/x")]
OPEN: Final = {
    "/": "leads to the first page",
    "/p/{pipeline}": "the same as the next",
    "/p/{pipeline}/": "leads to the first page of a role, or to the form",
    "/p/{pipeline}/sign-in": "the form",
    "/p/{pipeline}/sign-in/provider": "leads to the identity provider, where one is set",
    "/oidc/callback": "ends the sign-in that this browser has begun there: tests/console/test_provider.py",
    "/p/{pipeline}/signed-out": "says that nobody is signed in, where there is a provider",
    "/p/{pipeline}/signed-out/provider": "leads to where the provider signs people out",
    "/p/{pipeline}/sign-out": "takes the cookie of who has one",
    "/metrics": "asks for a token by itself: tests/console/test_loop.py",
    "/api/openapi.json": "a description, the same for everybody",
}
"""Routes that somebody who is not signed in may ask, each with what it is."""


def walked(found: list[BaseRoute], before: str = "") -> Iterator[tuple[str, str]]:
    """Verb and path of every route, those that are mounted too."""
    for route in found:
        if isinstance(route, Mount):
            yield from walked(list(route.routes or ()), before + route.path)
        else:
            assert isinstance(route, Route), "a kind of route that this test does not know"
            yield from ((verb, before + route.path) for verb in (route.methods or {"GET"}) - {"HEAD"})


ALL: Final = sorted(set(walked(routes())))
CALLS: Final = [(verb, path) for verb, path in ALL if path.startswith("/api/") and path not in OPEN]
CLOSED: Final = [(verb, path) for verb, path in ALL if not path.startswith("/api/") and path not in OPEN]
CHANGING: Final = [(verb, path) for verb, path in ALL if verb != "GET" and not path.startswith("/api/")]


def filled(path: str) -> str:
    """An address with something in the place of each parameter."""
    path = path.replace("{pipeline}", "fraud")
    return re.sub(r"\{\w+(:\w+)?\}", "0", path)


@pytest.fixture(scope="module")
def its(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service that asks for tokens, with cases."""
    with world(tmp_path_factory.mktemp("matrix"), fraud_pipeline(), tokens=True) as made:
        made.take_in(*fraud_cases().candidates[:60])
        yield made


@pytest.fixture(scope="module")
def visitors(its: World) -> Iterator[dict[str, Visitor]]:
    """Somebody of each role that has pages, signed in."""
    found = {role: Visitor(its.base) for role in ROLES if any(may(role, page) for page in PAGES)}
    for role, someone in found.items():
        someone.sign_in(token=its.token(role, f"a {role}"))
    yield found
    for someone in found.values():
        someone.http.close()


def test_every_route_is_open_for_a_reason_a_call_or_behind_the_sign_in() -> None:
    assert {path for _, path in ALL} >= OPEN.keys()
    assert len(CALLS) >= 26
    assert {path.split("/")[3] for _, path in CLOSED} == PAGES.keys()


@pytest.mark.parametrize(("verb", "path"), CLOSED)
def test_nobody_who_is_not_signed_in_gets_further_than_the_form(its: World, verb: str, path: str) -> None:
    response = plain_http.request(verb, its.url + filled(path), headers={"sec-fetch-site": "same-origin"})
    assert response.status_code in {303, 401}
    assert response.headers.get("location", "/p/fraud/sign-in") == "/p/fraud/sign-in"


@pytest.mark.parametrize(
    ("verb", "path"), [*ALL, ("GET", "/nowhere"), ("PUT", "/p/{pipeline}/label"), ("PUT", "/api/x")]
)
def test_no_response_whatever_can_be_framed_or_taken_for_another_kind(its: World, verb: str, path: str) -> None:
    response = plain_http.request(verb, its.url + filled(path), headers={"sec-fetch-site": "same-origin"})
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize(("verb", "path"), CHANGING)
@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "http://evil.example"}, {}])
def test_no_other_sites_page_makes_a_signed_in_person_change_anything(
    visitors: dict[str, Visitor], its: World, verb: str, path: str, headers: dict[str, str]
) -> None:
    someone = visitors["admin"]
    cookies = {cookie.name: str(cookie.value) for cookie in someone.http.cookies.jar}
    sent = {**headers, "x-csrf-token": someone.csrf, "accept": "application/json"}
    response = plain_http.request(
        verb, its.url + filled(path), headers=sent, cookies=cookies, data={"csrf": someone.csrf}
    )
    assert response.status_code == 403
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(("verb", "path"), [each for each in CLOSED if "/loop/events" not in each[1]])
@pytest.mark.parametrize("role", ROLES)
def test_each_role_gets_its_own_pages_and_what_belongs_to_them_alone(
    visitors: dict[str, Visitor], its: World, role: str, verb: str, path: str
) -> None:
    page = path.split("/")[3]
    someone = visitors.get(role)
    if someone is None:
        assert not may(role, page)
        return
    headers = {"x-csrf-token": someone.csrf, "accept": "application/json"}
    response = someone.http.request(verb, its.url + filled(path), headers=headers)
    assert (response.status_code == 403) >= (not may(role, page)), response.text[:200]
    assert (response.status_code in {401, 303}) is False


OBJECTS: Final = ["decide", "amend", "comment", "opinion", "renew", "release", "alike"]
OTHERS: Final = {("reviewer", "comment"), ("reviewer", "amend"), ("reviewer", "release")}
"""What reviewers may do to others' cases; administrators may do all."""


@pytest.mark.parametrize("call", OBJECTS)
@pytest.mark.parametrize("role", [role for role in ROLES if may(role, "label")])
def test_nobody_reaches_a_case_in_anothers_hands_by_naming_it(
    visitors: dict[str, Visitor], its: World, role: str, call: str
) -> None:
    with LabelingClient(its.server.address, "owner", token=its.token("annotator", "owner")) as owner:
        (task,) = owner.lease(1)
        (done,) = owner.lease(1)
        answered = owner.submit(done, "fraud").annotation_id
        lease = {"event_id": task.event_id, "token": task.token}
        said: dict[str, dict[str, object]] = {
            "decide": {**lease, "kind": "answer", "label": "fraud"},
            "amend": {"annotation_id": answered, "label": "genuine"},
            "comment": {"event_id": task.event_id, "text": "mine", "key": f"{role}"},
            "opinion": {"event_id": task.event_id},
            "alike": {"event_id": task.event_id},
            "renew": {"leases": [lease]},
            "release": {"leases": [lease]},
        }
        response = visitors[role].call(f"label/{call}", said[call])
        theirs = call == "alike"  # it is for who has the case in hand, whoever else asks
        allowed = (role == "admin" and not theirs) or (role, call) in OTHERS or (role, call) == ("reviewer", "opinion")
        refused = response.status_code in {403, 409} or response.json().get("lost") == [task.event_id]
        assert refused is not allowed, response.text
        if not allowed:
            assert owner.submit(task, "fraud").annotation_id


def test_a_session_of_one_pipeline_opens_no_other_and_a_planted_one_is_replaced(its: World) -> None:
    with Visitor(its.base) as attacker, Visitor(its.base) as victim:
        attacker.sign_in(token=its.token("annotator", "mallory"))
        name, planted = next((cookie.name, str(cookie.value)) for cookie in attacker.http.cookies.jar)
        fields = {"token": its.token("annotator", "ida")}
        signed = victim.http.post(f"{its.base}/sign-in", data=fields, headers={"cookie": f"{name}={planted}"})
        given = signed.headers["set-cookie"].partition(";")[0].partition("=")[2]
        assert given != planted
        page = plain_http.get(f"{its.base}/label", cookies={name: given}).text
        assert attacker.csrf not in page
        assert "mallory" not in page
        for forged in (planted[:-1], planted + "x", planted.replace(".", "", 1), given[:20] + planted[20:]):
            assert plain_http.get(f"{its.base}/label", cookies={name: forged}).status_code == 303


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/", "//evil.example/p/fraud/label/", "/p//evil.example/", "/p/fraud//evil.example/",
        "/%2F%2Fevil.example/", "/\\evil.example/", "/p/fraud/?next=https://evil.example/",
        "/p/https:%2F%2Fevil.example/",
        "/p/fraud/sign-in?next=//evil.example", "/p/fraud/label/", "/api//evil.example/", "/static//evil.example/..",
    ],
)  # fmt: skip
@pytest.mark.parametrize("signed_in", [False, True])
def test_no_address_leads_to_another_site(visitors: dict[str, Visitor], its: World, path: str, signed_in: bool) -> None:
    cookies = {each.name: str(each.value) for each in visitors["admin"].http.cookies.jar} if signed_in else {}
    response = plain_http.get(httpx2.URL(its.url).copy_with(raw_path=path.encode()), cookies=cookies)
    location = response.headers.get("location")
    if location is not None:
        where = urlsplit(location)
        assert where.netloc in {"", urlsplit(its.url).netloc}
        assert where.scheme in {"", "http"}
        assert where.netloc or re.match(r"/[^/\\]|/$", location)
