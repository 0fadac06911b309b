"""`tidemark doctor` and `tidemark check` on the identity provider: each finding says what to do."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from identity_provider import CLIENT, SECRET, IdentityProvider, providing
from receiving import Answer
from typer.testing import CliRunner

from tidemark.cli import sign_in_checks
from tidemark.cli.app import app
from tidemark.cli.examination import Finding
from tidemark.cli.sign_in_checks import examine_sign_in, sentences

ROOT = Path(__file__).parents[3]
VARIABLE = "TIDEMARK_OIDC_CLIENT_SECRET"
REDIRECT = "https://cases.bank.example/oidc/callback"


@pytest.fixture
def idp() -> Iterator[IdentityProvider]:
    with providing() as provider:
        yield provider


def environment(idp: IdentityProvider, **over: str) -> dict[str, str]:
    variables = {
        "TIDEMARK_OIDC_ISSUER": idp.issuer,
        "TIDEMARK_OIDC_CLIENT_ID": CLIENT,
        VARIABLE: SECRET,
        "TIDEMARK_OIDC_ROLES": "reviewer=fraud-leads, annotator=fraud-analysts",
        "TIDEMARK_LABELING_TOKENS": "on",
        "TIDEMARK_CONSOLE_URL": "https://cases.bank.example",
    }
    return variables | over


def found(variables: dict[str, str]) -> dict[str, Finding]:
    findings = list(examine_sign_in(variables))
    for finding in findings:
        assert finding.state == "ok" or finding.remedy, finding
    return {finding.name.removeprefix("sign-in: "): finding for finding in findings}


def test_nothing_is_said_of_a_sign_in_that_nobody_has_set_up() -> None:
    assert list(examine_sign_in({"TIDEMARK_CONSOLE_URL": "https://cases.bank.example"})) == []
    assert sentences({}) == []


def test_a_provider_that_is_set_up_rightly_has_no_line_but_good_ones(idp: IdentityProvider) -> None:
    findings = found(environment(idp))
    assert {name: finding.state for name, finding in findings.items()} == dict.fromkeys(
        ["groups", "provider", "keys", "clock", "client", "redirect"], "ok"
    )
    assert "fraud-analysts → annotator" in findings["groups"].text
    assert REDIRECT in findings["redirect"].text
    assert idp.asked["/token"] == 1
    assert SECRET not in str(findings)
    assert sentences(environment(idp)) == [
        "sign-in: the identity provider knows this client, and sends browsers back here"
    ]


def test_a_provider_that_does_not_answer_is_named(idp: IdentityProvider) -> None:
    findings = found(environment(idp, TIDEMARK_OIDC_ISSUER="http://127.0.0.1:9"))
    assert findings["provider"].state == "wrong"
    assert "http://127.0.0.1:9/.well-known/openid-configuration can't be read" in findings["provider"].text
    assert "client" not in findings


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"issuer": "https://elsewhere.example"}, "is of the issuer 'https://elsewhere.example'"),
        ({"jwks_uri": None}, "has no jwks_uri"),
        ({"token_endpoint": "http://elsewhere.example/token"}, "is http"),
    ],
)
def test_a_discovery_document_that_is_wrong_is_told(idp: IdentityProvider, document: dict[str, str], told: str) -> None:
    idp.document = document
    assert told in found(environment(idp))["provider"].text


def test_keys_that_no_token_may_be_signed_with_are_wrong(idp: IdentityProvider) -> None:
    idp.keys = {}
    assert found(environment(idp))["keys"].state == "wrong"


def test_a_provider_that_signs_with_a_shared_secret_is_wrong(idp: IdentityProvider) -> None:
    idp.document = {"id_token_signing_alg_values_supported": ["HS256"]}
    finding = found(environment(idp))["keys"]
    assert (finding.state, "HS256" in finding.text, "RS256" in finding.remedy) == ("wrong", True, True)


def test_a_secret_that_the_provider_does_not_take_is_wrong(idp: IdentityProvider) -> None:
    finding = found(environment(idp, **{VARIABLE: "another"}))["client"]
    assert (finding.state, "with this secret" in finding.text) == ("wrong", True)


def test_a_secret_that_is_missing_is_told_where_the_provider_wants_one(idp: IdentityProvider) -> None:
    variables = environment(idp)
    del variables[VARIABLE]
    idp.said["/token"] = (401, {"content-type": "application/json"}, b'{"error": "invalid_client"}')
    finding = found(variables)["client"]
    assert finding.state == "wrong"
    assert "TIDEMARK_OIDC_CLIENT_SECRET_FILE" in finding.remedy


def test_a_file_of_the_secret_that_can_t_be_read_is_wrong(idp: IdentityProvider) -> None:
    finding = found(environment(idp, **{f"{VARIABLE}_FILE": "/nowhere/secret"}))["sign-in"]
    assert (finding.state, "/nowhere/secret" in finding.text) == ("wrong", True)


def test_an_answer_to_a_made_up_code_that_tells_nothing_is_a_note(idp: IdentityProvider) -> None:
    idp.said["/token"] = (400, {"content-type": "application/json"}, b'{"error": "slow_down"}')
    assert found(environment(idp))["client"].state == "note"


@pytest.mark.parametrize("content", [b"<html>", b"{}", b'{"error": 7}'])
def test_an_answer_that_is_none_of_oauths_is_wrong(idp: IdentityProvider, content: bytes) -> None:
    idp.said["/token"] = (500, {}, content)
    assert found(environment(idp))["provider"].state == "wrong"


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ((400, {}, b"redirect_uri is not registered"), "wrong"),
        ((404, {}, b""), "wrong"),
        ((403, {"content-type": "text/html"}, b"are you a robot?"), "note"),
        ((429, {}, b""), "note"),
        ((200, {"content-type": "text/html"}, b"<form>"), "note"),
        ((302, {"location": "https://elsewhere.example/"}, b""), "note"),
        ((302, {"location": f"{REDIRECT}?state=of-somebody-else"}, b""), "note"),
    ],
)
def test_a_redirect_address_that_the_provider_does_not_know_is_told(
    idp: IdentityProvider, answer: Answer, state: str
) -> None:
    idp.said["/authorize"] = answer
    finding = found(environment(idp))["redirect"]
    assert finding.state == state
    assert f"register {REDIRECT}" in finding.remedy


@pytest.mark.parametrize(("seconds", "state"), [(-3_600, "wrong"), (90, "wrong"), (20, "note"), (0, "ok")])
def test_a_clock_that_is_another_than_the_providers_is_told(idp: IdentityProvider, seconds: int, state: str) -> None:
    findings = examine_sign_in(environment(idp), lambda: time.time() + seconds)
    clock = next(each for each in findings if each.name == "sign-in: clock")
    assert clock.state == state, clock
    assert clock.state == "ok" or clock.remedy


@pytest.mark.parametrize(
    ("ahead", "age", "state"), [(1_200, "1200", "ok"), (1_200, "", "wrong"), (0, "9" * 40, "ok"), (0, "-5", "ok")]
)
def test_a_clock_is_not_told_by_an_answer_that_a_cache_has_kept(
    idp: IdentityProvider, ahead: int, age: str, state: str
) -> None:
    document = json.dumps(idp._discovery()).encode()
    headers = {"content-type": "application/json"} | ({"age": age} if age else {})
    idp.said["/.well-known/openid-configuration"] = 200, headers, document
    findings = examine_sign_in(environment(idp), lambda: time.time() + ahead)
    clock = next(each for each in findings if each.name == "sign-in: clock")
    assert clock.state == state, clock


def test_roles_by_which_nobody_may_answer_a_case_are_wrong(idp: IdentityProvider) -> None:
    finding = found(environment(idp, TIDEMARK_OIDC_ROLES="viewer=auditors"))["groups"]
    assert (finding.state, "annotator=GROUP" in finding.remedy) == ("wrong", True)


def test_claims_that_the_provider_does_not_list_are_told(idp: IdentityProvider) -> None:
    idp.document = {"claims_supported": ["sub", "email"]}
    assert "'groups'" in found(environment(idp))["claims"].text
    idp.document = {"claims_supported": ["sub", "groups"]}
    assert "claims" not in found(environment(idp))


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("TIDEMARK_OIDC_ISSUER", "", "TIDEMARK_OIDC_ISSUER is not"),
        ("TIDEMARK_OIDC_CLIENT_ID", "", "TIDEMARK_OIDC_CLIENT_ID"),
        ("TIDEMARK_OIDC_ROLES", "", "TIDEMARK_OIDC_ROLES is not set"),
        ("TIDEMARK_LABELING_TOKENS", "off", "asks for no tokens"),
    ],
)
def test_variables_that_do_not_go_together_are_told(
    idp: IdentityProvider, variable: str, value: str, told: str
) -> None:
    assert told in found(environment(idp, **{variable: value}))["sign-in"].text


def test_doctor_and_check_tell_it(idp: IdentityProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path))
    for name, value in environment(idp, **{VARIABLE: "another"}).items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    states = {each["name"]: each["state"] for each in json.loads(result.stdout)}
    assert (result.exit_code, states["sign-in: client"], states["sign-in: redirect"]) == (1, "wrong", "ok")
    told = CliRunner().invoke(app, ["check", str(ROOT / "pipelines" / "fraud.toml")])
    assert told.exit_code == 0
    assert "sign-in: client: the provider does not take 'tidemark' with this secret" in told.output


def test_packages_that_are_missing_are_told(idp: IdentityProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lacks(*_: object) -> list[Finding]:
        raise ModuleNotFoundError(name="joserfc")

    monkeypatch.setattr(sign_in_checks, "_all", lacks)
    assert "pip install 'tidemark[oidc]'" in found(environment(idp))["sign-in"].text
