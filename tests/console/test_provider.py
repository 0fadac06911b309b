"""Signing in at the console by an identity provider: the way there and back, and what is tried on it."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx2
import plain_http
import pytest
from console_visitor import Visitor
from console_world import World, console, fraud_pipeline, world
from identity_provider import CLIENT, SECRET, IdentityProvider, providing

from console.options import Options, SignIn
from console.security.attempts import SECONDS, attempt
from labeling_grpc.database import sqlite_tokens
from tidemark.errors import ConfigError

_number = itertools.count()
TITLE = "the bank's login"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, IdentityProvider]]:
    with providing() as idp:
        sign_in = idp.rules(name_claim="preferred_username"), SignIn(idp.provider, TITLE, SECRET)
        with world(tmp_path_factory.mktemp("provider"), fraud_pipeline(), tokens=True, sign_in=sign_in) as its:
            yield its, idp


@pytest.fixture
def its(made: tuple[World, IdentityProvider]) -> World:
    return made[0]


@pytest.fixture
def idp(made: tuple[World, IdentityProvider]) -> IdentityProvider:
    provider = made[1]
    number = next(_number)
    provider.person = {"sub": f"u-{number}", "groups": ["fraud-analysts"], "preferred_username": f"person-{number}"}
    provider.claims, provider.refusal = {}, ""
    provider.said.clear()
    provider.document.clear()
    return provider


@pytest.fixture
def visitor(its: World) -> Iterator[Visitor]:
    with Visitor(its.base) as someone:
        yield someone


def begun(visitor: Visitor) -> str:
    """Where the provider sends the browser back to, with the answer in it."""
    started = visitor.get("sign-in/provider")
    assert started.status_code == 303, started.text
    return str(plain_http.get(started.headers["location"]).headers["location"])


def back(visitor: Visitor, address: str) -> httpx2.Response:
    return visitor.http.get(address, headers={"sec-fetch-site": "cross-site"})


def signed_in(visitor: Visitor) -> bool:
    return visitor.get("label").status_code == 200


def test_the_way_to_the_provider_and_back(its: World, idp: IdentityProvider, visitor: Visitor) -> None:
    assert f"Sign in with {TITLE}".replace("'", "&#39;") in visitor.get("sign-in").text
    started = visitor.get("sign-in/provider")
    asked = parse_qs(urlsplit(started.headers["location"]).query)
    assert asked["redirect_uri"] == [f"{its.url}/oidc/callback"]
    assert (asked["response_type"], asked["client_id"], asked["code_challenge_method"]) == (
        ["code"],
        [CLIENT],
        ["S256"],
    )
    assert asked["scope"] == ["openid profile groups"]
    assert asked["nonce"][0].startswith("fraud.")
    cookie = started.headers["set-cookie"].lower()
    assert {"httponly", "samesite=lax", "path=/oidc/callback", f"max-age={SECONDS}"} <= set(cookie.split("; "))
    response = back(visitor, str(plain_http.get(started.headers["location"]).headers["location"]))
    assert response.status_code == 200
    assert '<meta http-equiv="refresh" content="0;url=/p/fraud/label">' in response.text
    cookies = response.headers.get_list("set-cookie")
    session = next(each.lower() for each in cookies if "path=/p/fraud" in each.lower())
    assert {"httponly", "samesite=strict"} <= set(session.split("; "))
    assert any("sign-in" in each and "Max-Age=0" in each for each in cookies), "a sign-in is ended once"
    page = visitor.get("label").text
    assert f"{idp.person['preferred_username']} · annotator" in page


def test_signing_out_ends_the_token_and_leads_to_the_providers_own_way_out(
    its: World, idp: IdentityProvider, visitor: Visitor
) -> None:
    back(visitor, begun(visitor))
    csrf = re.search(r'name="csrf" value="([^"]+)"', visitor.get("label").text)
    assert csrf is not None
    kept = dict(visitor.http.cookies)
    response = visitor.http.post(f"{its.base}/sign-out", data={"csrf": csrf[1]})
    assert response.headers["location"] == "/p/fraud/signed-out"
    page = visitor.get("signed-out").text
    assert 'href="/p/fraud/signed-out/provider"' in page
    there = visitor.get("signed-out/provider")
    assert there.status_code == 303
    assert there.headers["location"] == f"{idp.issuer}/logout?client_id={CLIENT}"
    stolen = plain_http.post(
        f"{its.base}/label/next",
        json={"count": 1},
        cookies=kept,
        headers={"sec-fetch-site": "same-origin", "x-csrf-token": csrf[1], "accept": "application/json"},
    )
    assert stolen.status_code == 401, "a cookie that was copied before opens nothing"
    tokens = sqlite_tokens(its.folder / "pipelines" / "fraud" / "labeling.db")
    name = idp.person["preferred_username"]
    assert all(token.revoked_at is not None for token in tokens.all() if token.annotator == name)
    tokens.close()


def test_a_token_is_still_taken_where_there_is_a_provider(its: World, idp: IdentityProvider, visitor: Visitor) -> None:
    assert idp.issuer
    assert visitor.sign_in(token=its.token("viewer", "vic")).headers["location"] == "/p/fraud/loop"
    response = visitor.http.post(f"{its.base}/sign-out", data={"csrf": visitor.csrf})
    assert response.headers["location"] == "/p/fraud/sign-in"
    with Visitor(its.base) as again:
        assert again.sign_in(token=its.token("viewer", "vic")).is_redirect


# --- attacks


def test_an_answer_is_taken_once(idp: IdentityProvider, visitor: Visitor) -> None:
    assert idp.issuer
    answer = begun(visitor)
    cookie = next(each for each in visitor.http.cookies.jar if "sign-in" in each.name)
    back(visitor, answer)
    with Visitor(visitor.base) as thief:
        assert back(thief, answer).status_code == 400
        thief.http.cookies.set(cookie.name, str(cookie.value), path="/oidc/callback")
        response = back(thief, answer)
        assert response.status_code == 403
        assert "was used before" in response.text
        assert not signed_in(thief)


def test_an_answer_to_another_browsers_sign_in_is_not_taken(idp: IdentityProvider, visitor: Visitor) -> None:
    """Login CSRF: the attacker's own answer, brought to somebody who has begun a sign-in, or has not."""
    assert idp.issuer
    with Visitor(visitor.base) as attacker:
        answer = begun(attacker)
    assert back(visitor, answer).status_code == 400
    begun(visitor)
    response = back(visitor, answer)
    assert response.status_code == 403
    assert "another sign-in" in response.text
    assert not signed_in(visitor)


def test_a_code_that_was_injected_into_another_sign_in_is_worth_nothing(
    idp: IdentityProvider, visitor: Visitor
) -> None:
    with Visitor(visitor.base) as victim:
        code = parse_qs(urlsplit(begun(victim)).query)["code"][0]
    answer = re.sub(r"code=[^&]+", f"code={code}", begun(visitor))
    asked = idp.asked["/token"]
    assert back(visitor, answer).status_code == 403, "PKCE: the verifier is the other browser's"
    assert idp.asked["/token"] == asked + 1
    assert not signed_in(visitor)


@pytest.mark.parametrize("issuer", ["https://login.evil.example", "", None])
def test_an_answer_of_another_provider_is_not_taken(
    idp: IdentityProvider, visitor: Visitor, issuer: str | None
) -> None:
    answer = begun(visitor)
    answer = re.sub(r"&iss=[^&]+", "" if issuer is None else f"&iss={issuer}", answer)
    asked = idp.asked["/token"]
    response = back(visitor, answer)
    assert response.status_code == 403
    assert idp.asked["/token"] == asked, "no code goes to the wrong place"
    assert not signed_in(visitor)


@pytest.mark.parametrize("where", ["https://evil.example/", "//evil.example", "/p/fraud/\nx", "javascript:alert(1)"])
def test_nothing_in_an_address_says_where_a_sign_in_leads(idp: IdentityProvider, visitor: Visitor, where: str) -> None:
    assert idp.issuer
    params = {"next": where, "redirect_uri": where, "return_to": where, "onward": where}
    started = visitor.http.get(f"{visitor.base}/sign-in/provider", params=params)
    asked = parse_qs(urlsplit(started.headers["location"]).query)
    assert asked["redirect_uri"] == [visitor.base.replace("/p/fraud", "/oidc/callback")]
    answer = str(plain_http.get(started.headers["location"]).headers["location"])
    text = visitor.http.get(f"{answer}&{httpx2.QueryParams(params)}").text
    assert "evil" not in text
    assert "javascript" not in text
    assert "url=/p/fraud/label" in text


def test_the_providers_answer_is_expected_where_the_operator_says_and_never_where_a_request_says(
    its: World, idp: IdentityProvider
) -> None:
    assert idp.issuer
    for header in ("x-forwarded-host", "x-original-host", "forwarded"):
        started = plain_http.get(f"{its.base}/sign-in/provider", headers={header: "host=evil.example"})
        assert "evil" not in started.headers["location"]
    port = urlsplit(its.url).port
    other = plain_http.get(f"http://localhost:{port}/p/fraud/sign-in/provider")
    assert other.headers["location"] == f"{its.base}/sign-in/provider", "cookies are of one name of the machine"
    assert "set-cookie" not in other.headers


def test_a_session_that_was_planted_is_replaced(its: World, idp: IdentityProvider, visitor: Visitor) -> None:
    assert idp.issuer
    with Visitor(its.base) as attacker:
        attacker.sign_in(token=its.token("annotator", "eve"))
        (planted,) = attacker.http.cookies.jar
        csrf = attacker.csrf
    visitor.http.cookies.set(planted.name, str(planted.value), domain="127.0.0.1", path="/p/fraud")
    visitor.http.cookies.set(planted.name, "x", domain="127.0.0.1", path="/p/fraud")
    back(visitor, begun(visitor))
    page = visitor.get("label").text
    assert idp.person["preferred_username"] in page
    assert csrf not in page
    assert str(planted.value) not in {str(each.value) for each in visitor.http.cookies.jar}


def test_a_sign_in_that_was_forged_or_is_another_purposes_opens_nothing(its: World, idp: IdentityProvider) -> None:
    assert idp.issuer
    with Visitor(its.base) as someone:
        answer = begun(someone)
        cookie = next(each for each in someone.http.cookies.jar if "sign-in" in each.name)
    with Visitor(its.base) as other:
        other.sign_in(token=its.token("annotator", "mallory"))
        (session,) = other.http.cookies.jar
    forged = str(cookie.value)
    for value in (forged[:-4] + "AAAA", str(session.value), "e30.e30.e30", "x" * 5_000, ""):
        response = plain_http.get(answer, headers={"cookie": f"{cookie.name}={value}"})
        assert response.status_code == 400


def test_a_sign_in_to_one_pipeline_opens_no_other(its: World, idp: IdentityProvider) -> None:
    started, other = attempt("fraud"), attempt("pay")
    assert started.nonce.startswith("fraud.")
    assert other.nonce.startswith("pay.")
    assert len({started.state, started.nonce, started.verifier, other.state, other.nonce, other.verifier}) == 6
    with Visitor(its.base) as someone:
        back(someone, begun(someone))
        (session,) = [each for each in someone.http.cookies.jar if each.path == "/p/fraud"]
    assert idp.issuer
    response = plain_http.get(f"{its.url}/p/other/label", headers={"cookie": f"{session.name}={session.value}"})
    assert response.status_code == 404


FORGED: dict[str, dict[str, object]] = {
    "of another client": {"aud": "wiki"},
    "of another issuer": {"iss": "https://login.evil.example"},
    "with another nonce": {"nonce": "fraud.another-sign-in-16"},
    "that has expired": {"exp": 1},
}


@pytest.mark.parametrize("what", list(FORGED))
def test_an_id_token_that_does_not_hold_signs_nobody_in(idp: IdentityProvider, visitor: Visitor, what: str) -> None:
    idp.claims = dict(FORGED[what])
    response = back(visitor, begun(visitor))
    assert response.status_code == 403
    assert calm(response.text) == 1
    assert not signed_in(visitor)


def calm(text: str) -> int:
    """How many problems a page tells; each in at most four lines, nothing of it the program's inside."""
    found = re.findall(r'role="alert"[^>]*>([^<]*)<', text)
    assert all(len(each) < 360 for each in found), found
    assert not re.search(r"Traceback|Error\(|httpx|object at", text)
    return len(found)


HOSTILE = "<script>alert(1)</script>\u202e" + "x" * 200


@pytest.mark.parametrize(
    ("said", "told"),
    [("access_denied", "did not let you in"), ("server_error", "has failed"), (HOSTILE, "refuses the sign-in")],
)
def test_what_the_provider_refuses_is_a_calm_page(
    idp: IdentityProvider, visitor: Visitor, said: str, told: str
) -> None:
    idp.refusal = said
    response = back(visitor, begun(visitor))
    assert response.status_code == 403
    assert told in response.text
    assert "<script>alert" not in response.text
    assert "\u202e" not in response.text
    assert calm(response.text) == 1
    assert f"Sign in with {TITLE}".replace("'", "&#39;") in response.text, "one can try again"


def test_who_has_no_role_reads_what_to_ask_for(idp: IdentityProvider, visitor: Visitor) -> None:
    idp.person["groups"] = ["strangers"]
    response = back(visitor, begun(visitor))
    assert response.status_code == 403
    assert "ask for one of the groups" in response.text
    assert calm(response.text) == 1


def test_a_hostile_name_is_refused_and_shown_as_text(idp: IdentityProvider, visitor: Visitor) -> None:
    idp.person["preferred_username"] = "<b>ada</b>\u202e"
    response = back(visitor, begun(visitor))
    assert response.status_code == 403
    assert "<b>ada" not in response.text
    assert "\u202e" not in response.text
    idp.person["preferred_username"] = f"<i>{next(_number)}</i>"
    back(visitor, begun(visitor))
    assert "<i>" not in visitor.get("label").text


@pytest.mark.parametrize(
    "answer",
    [
        (500, {}, b"oops"),
        (200, {}, b"<html>"),
        (200, {"content-type": "application/json"}, b"[]"),
        (200, {"content-type": "application/json"}, b'{"access_token": "at"}'),
        (200, {"content-type": "application/json"}, json.dumps({"id_token": 7, "access_token": "at"}).encode()),
        (200, {"content-type": "application/json"}, b'{"id_token": "' + b"x" * 400_000 + b'"}'),
        (302, {"location": "http://169.254.169.254/"}, b""),
        (400, {"content-type": "application/json"}, b'{"error": "invalid_client"}'),
    ],
    ids=["failure", "html", "list", "no token", "number", "oversized", "redirect", "refused"],
)
def test_a_token_endpoint_that_answers_wrongly_is_a_calm_page(
    idp: IdentityProvider, visitor: Visitor, answer: tuple[int, dict[str, str], bytes]
) -> None:
    address = begun(visitor)
    idp.said["/token"] = answer
    response = back(visitor, address)
    assert response.status_code == 403
    assert calm(response.text) == 1
    assert SECRET not in response.text


def test_while_the_provider_is_away_the_page_says_so_and_a_token_still_opens(its: World, idp: IdentityProvider) -> None:
    sign_in = SignIn(idp.provider, TITLE, SECRET)
    idp.said["/.well-known/openid-configuration"] = (503, {}, b"")
    with console([its.site()], sign_in=sign_in) as url, Visitor(f"{url}/p/fraud") as someone:
        response = someone.get("sign-in/provider")
        assert response.status_code == 503
        assert "can&#39;t be reached" in response.text
        assert "set-cookie" not in response.headers
        assert someone.sign_in(token=its.token("viewer", "vic")).is_redirect
        assert "Sign out of" not in someone.get("signed-out").text


def test_without_a_provider_there_is_no_way_to_one(its: World) -> None:
    with console([its.site()]) as url:
        assert plain_http.get(f"{url}/p/fraud/sign-in/provider").status_code == 404
        assert plain_http.get(f"{url}/oidc/callback?code=x&state=y").status_code == 400
        assert "Sign in with" not in plain_http.get(f"{url}/p/fraud/sign-in").text


SET = {"TIDEMARK_OIDC_ISSUER": "https://login.bank.example", "TIDEMARK_OIDC_CLIENT_ID": "tidemark"}


def test_the_secret_is_in_nothing_that_is_printed(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("secret") / "secret"
    file.write_text("hush\n")
    for env in ({"TIDEMARK_OIDC_CLIENT_SECRET": "hush"}, {"TIDEMARK_OIDC_CLIENT_SECRET_FILE": str(file)}):
        options = Options.from_environment(SET | env)
        assert options.sign_in is not None
        assert (options.sign_in.secret, options.sign_in.title) == ("hush", "login.bank.example")
        assert "hush" not in repr(options)
    with pytest.raises(ConfigError, match="_FILE"):
        Options.from_environment(SET | {"TIDEMARK_OIDC_CLIENT_SECRET_FILE": "/nowhere"})


def test_the_public_address_is_declared_where_other_machines_come_from(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    pem = tmp_path_factory.mktemp("tls") / "c.pem"
    pem.touch()
    far = {
        "TIDEMARK_CONSOLE_ADDRESS": "0.0.0.0:8420",
        "TIDEMARK_CONSOLE_TLS_CERT": str(pem),
        "TIDEMARK_CONSOLE_TLS_KEY": str(pem),
    }
    with pytest.raises(ConfigError, match="TIDEMARK_CONSOLE_URL"):
        Options.from_environment(SET | far)
    options = Options.from_environment(SET | far | {"TIDEMARK_CONSOLE_URL": "https://cases.bank.example/"})
    assert options.origin == "https://cases.bank.example"
    assert "cases.bank.example" in options.allowed_hosts
    assert Options.from_environment(SET).origin == "http://127.0.0.1:8420"
    for wrong in ("http://cases.bank.example", "cases", "https://a:b@c"):
        with pytest.raises(ConfigError, match="TIDEMARK_CONSOLE_URL"):
            Options.from_environment(SET | {"TIDEMARK_CONSOLE_URL": wrong})
    with pytest.raises(ConfigError, match="openid"):
        Options.from_environment(SET | {"TIDEMARK_OIDC_SCOPES": "profile"})
