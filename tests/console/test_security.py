"""What every response says, what no request may do, and which role sees which page."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import plain_http
import pytest
from console_visitor import Visitor
from console_world import World, console, fraud_pipeline, world
from starlette.requests import Request
from starlette.routing import Mount, Route

from console.app import routes
from console.options import Options
from console.pages.problems import failed
from console.security.access import PAGES, ROLES, menu
from console.security.headers import HEADERS
from labeling_grpc.client import AsyncLabelingClient, UnreachableError
from labeling_grpc.database import sqlite_tokens
from tidemark.errors import ConfigError, LabelingError, TidemarkError

_GET = [route.path for route in routes() if isinstance(route, Route) and "GET" in (route.methods or ())]
_POST = [route.path for route in routes() if isinstance(route, Route) and "POST" in (route.methods or ())]


def filled(path: str) -> str:
    """An address with something in the place of each parameter."""
    for name, value in (("pipeline", "fraud"), ("kind", "0"), ("partition:int", "0"), ("offset:int", "0")):
        path = path.replace(f"{{{name}}}", value)
    return path


_INLINE = re.compile(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|javascript:|https?://(?!127)")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service that asks for tokens."""
    with world(tmp_path_factory.mktemp("guarded"), fraud_pipeline(), tokens=True) as its:
        yield its


@pytest.fixture(scope="module")
def open_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service that asks for none."""
    with world(tmp_path_factory.mktemp("open"), fraud_pipeline()) as its:
        yield its


@pytest.fixture
def visitor(open_world: World) -> Iterator[Visitor]:
    with Visitor(open_world.base) as someone:
        someone.sign_in(name="ada")
        yield someone


def test_the_test_below_knows_every_address() -> None:
    assert [route for route in routes() if not isinstance(route, Route | Mount)] == []
    assert {path.rpartition("/")[2] for path in _GET} >= {"sign-in", *PAGES}


@pytest.mark.parametrize("path", [*_GET, "/nowhere", "/p/other/label"])
def test_every_page_forbids_what_is_not_ours_and_holds_no_script_or_style_of_its_own(
    path: str, visitor: Visitor, open_world: World
) -> None:
    with visitor.http.stream("GET", open_world.url + filled(path)) as response:
        text = "" if path.endswith("/events") else response.read().decode()
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS
    assert response.headers["cache-control"] == "no-store"
    assert "server" not in response.headers
    assert _INLINE.findall(text) == []


@pytest.mark.parametrize("path", _POST)
@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "", "origin": "http://evil.example"},
        {"sec-fetch-site": "same-origin", "origin": "null"},
    ],
    ids=["cross-site", "same-site", "origin", "null-origin"],
)
def test_no_other_sites_page_changes_anything(path: str, headers: dict[str, str], visitor: Visitor) -> None:
    url = visitor.base.removesuffix("/p/fraud") + filled(path)
    response = visitor.http.post(url, headers=headers | {"x-csrf-token": visitor.csrf}, content=b"{}")
    assert response.status_code == 403
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize("path", [path for path in _POST if "sign-in" not in path])
def test_nothing_changes_without_the_sessions_secret(path: str, visitor: Visitor) -> None:
    url = visitor.base.removesuffix("/p/fraud") + filled(path)
    for wrong in ("", "x" * 32):
        headers = {"x-csrf-token": wrong, "accept": "application/json"}
        response = visitor.http.post(url, data={"csrf": wrong}, headers=headers)
        assert response.status_code == 403, path
        assert response.json()["error"]["reason"] == "EARLIER_SIGN_IN", path


@pytest.mark.parametrize("path", [path for path in _POST if "sign-in" not in path and "sign-out" not in path])
def test_nothing_is_done_for_who_is_not_signed_in(path: str, open_world: World) -> None:
    url = open_world.url + filled(path)
    response = plain_http.post(url, json={}, headers={"sec-fetch-site": "same-origin", "accept": "application/json"})
    assert response.status_code == 401


def test_a_name_that_leads_here_by_another_sites_will_is_refused(open_world: World) -> None:
    response = plain_http.get(open_world.url, headers={"host": "evil.example"})
    assert response.status_code == 400


def test_the_cookie_is_hidden_from_scripts_and_other_sites_and_holds_for_its_pipeline_alone(open_world: World) -> None:
    with Visitor(open_world.base) as someone:
        cookie = someone.sign_in(name="ada").headers["set-cookie"].lower()
    assert {"httponly", "samesite=strict", "path=/p/fraud"} <= set(cookie.split("; "))


def test_signing_in_replaces_whatever_cookie_was_planted_and_a_forged_one_opens_nothing(open_world: World) -> None:
    with Visitor(open_world.base) as someone:
        name = someone.sign_in(name="ada").headers["set-cookie"].partition("=")[0]
        before = someone.http.cookies[name]
        assert someone.sign_in(name="ben").headers["set-cookie"].partition(";")[0] != f"{name}={before}"
    for forged in ("x", before[:-4] + "AAAA", "e30.e30.e30"):
        response = plain_http.get(f"{open_world.base}/label", cookies={name: forged})
        assert response.headers["location"] == "/p/fraud/sign-in"


def test_a_large_request_is_refused_before_it_is_read(visitor: Visitor) -> None:
    response = visitor.call("label/comment", {"event_id": "x", "text": "y" * 100_000, "key": "k"})
    assert response.status_code == 413


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"count": "x"}', b'{"count": 1, "more": 2}', b"\xff"])
def test_a_request_that_is_no_such_thing_is_told_so(content: bytes, visitor: Visitor) -> None:
    headers = {"x-csrf-token": visitor.csrf, "accept": "application/json", "content-type": "application/json"}
    response = visitor.http.post(f"{visitor.base}/label/next", content=content, headers=headers)
    assert response.status_code == 400


@pytest.mark.parametrize("role", ROLES)
def test_each_role_sees_its_pages_and_no_other(role: str, guarded: World) -> None:
    with Visitor(guarded.base) as someone:
        response = someone.sign_in(token=guarded.token(role, f"a {role}"))
        if not menu(role):
            assert response.status_code == 403
            assert "no pages here" in response.text
            return
        assert response.headers["location"] == f"/p/fraud/{menu(role)[0]}"
        for page, roles in PAGES.items():
            assert someone.get(page).status_code == (200 if role in roles else 403), page
        shown = re.findall(r'<a href="/p/fraud/([a-z-]+)"', someone.get(menu(role)[0]).text)
        assert shown == menu(role)


@pytest.mark.parametrize("token", ["", "tdm_nobody", "x" * 600, "tdm_\x00", "é"])
def test_a_token_that_opens_nothing_signs_nobody_in(token: str, guarded: World) -> None:
    response = plain_http.post(
        f"{guarded.base}/sign-in", data={"token": token}, headers={"sec-fetch-site": "same-origin"}
    )
    assert response.status_code in {400, 403}
    assert "set-cookie" not in response.headers
    assert token == "" or token not in response.text


class _Counted(AsyncLabelingClient):
    """A client that is on a list while it is open."""

    open: ClassVar[list[_Counted]] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as the client has them
        super().__init__(*args, **kwargs)
        self.open.append(self)

    async def close(self) -> None:
        self.open.remove(self)
        await super().close()


def test_tokens_that_open_nothing_take_nobodys_connection(guarded: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.service.AsyncLabelingClient", _Counted)
    monkeypatch.setattr("console.service._MOST", 4)
    monkeypatch.setattr(_Counted, "open", [])
    with console([guarded.site()]) as url, Visitor(f"{url}/p/fraud") as someone:
        someone.sign_in(token=guarded.token("annotator", "ida"))
        before = list(_Counted.open)
        for number in range(6):
            headers = {"authorization": f"Bearer tdm_nobody{number}", "accept": "application/json"}
            assert plain_http.get(f"{url}/metrics", headers=headers).status_code == 401
            with Visitor(someone.base) as stranger:
                assert stranger.sign_in(token=f"tdm_nobody{number}").status_code == 403
        assert _Counted.open == before
        assert someone.call("label/next", {"count": 1}).status_code == 200


def test_where_no_tokens_are_asked_for_a_made_up_one_takes_nobodys_connection(
    open_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.service.AsyncLabelingClient", _Counted)
    monkeypatch.setattr(_Counted, "open", [])
    with console([open_world.site()]) as url:
        for number in range(2):
            plain_http.get(f"{url}/metrics", headers={"authorization": f"Bearer tdm_nobody{number}"}, timeout=60)
        assert _Counted.open == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LabelingError("the labeling service failed: INTERNAL"), 503),
        (UnreachableError("away"), 503),
        (ConfigError("x"), 409),
    ],
)
def test_a_failure_of_the_service_is_no_refusal(error: TidemarkError, status: int) -> None:
    request = Request(
        {"type": "http", "path": "/p/fraud/label", "query_string": b"", "headers": [(b"accept", b"application/json")]}
    )
    assert asyncio.run(failed(request, error)).status_code == status


def test_nobody_signs_in_by_name_where_tokens_are_asked_for(guarded: World) -> None:
    with Visitor(guarded.base) as someone:
        assert someone.sign_in(name="root").status_code == 400
        assert "Access token" in someone.get("sign-in").text


def test_a_revoked_token_ends_the_session_with_the_next_call(guarded: World) -> None:
    secret = guarded.token("annotator", "zoe")
    with Visitor(guarded.base) as someone:
        someone.sign_in(token=secret)
        assert someone.call("label/next", {"count": 1}).status_code == 200
        tokens = sqlite_tokens(guarded.folder / "pipelines" / "fraud" / "labeling.db")
        found = tokens.find(secret)
        assert found is not None
        tokens.revoke(found.id)
        tokens.close()
        response = someone.call("label/next", {"count": 1})
    assert response.status_code == 401
    assert response.json()["error"]["reason"] == "UNAUTHENTICATED"


def test_who_signs_out_is_signed_out(open_world: World) -> None:
    with Visitor(open_world.base) as someone:
        someone.sign_in(name="ada")
        someone.http.post(f"{open_world.base}/sign-out", data={"csrf": someone.csrf})
        assert someone.get("label").headers["location"] == "/p/fraud/sign-in"


def test_the_console_is_served_to_other_machines_over_tls_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without TLS"):
        Options.from_environment({"TIDEMARK_CONSOLE_ADDRESS": "0.0.0.0:8420"})
    certificate = tmp_path / "c.pem"
    certificate.touch()
    env = {
        "TIDEMARK_CONSOLE_ADDRESS": "0.0.0.0:8420",
        "TIDEMARK_CONSOLE_TLS_CERT": str(certificate),
        "TIDEMARK_CONSOLE_TLS_KEY": str(certificate),
        "TIDEMARK_CONSOLE_HOSTS": "cases.bank.example",
    }
    options = Options.from_environment(env)
    assert options.secure
    assert not options.local
    assert "cases.bank.example" in options.allowed_hosts


@pytest.mark.parametrize(
    "env",
    [
        {"ADDRESS": "127.0.0.1"},
        {"ADDRESS": "127.0.0.1:99999"},
        {"TLS_CERT": "c.pem"},
        {"TLS_CERT": "no.pem", "TLS_KEY": "no.pem"},
        {"HOSTS": "*"},
    ],
)
def test_a_wrong_option_is_told_with_its_name(env: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="TIDEMARK_CONSOLE_"):
        Options.from_environment({f"TIDEMARK_CONSOLE_{name}": value for name, value in env.items()})
