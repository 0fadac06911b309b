"""ID tokens: each attack on them, and what the provider may do while it is away or changes its keys."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from certificates import certificate
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from identity_provider import CLIENT, IdentityProvider, providing, segment
from joserfc import jwt
from joserfc.jwk import RSAKey
from receiving import Answer

from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.security.oidc.id_tokens import LONGEST, MOST_AGE, SKEW, Verifier
from labeling_grpc.security.oidc.kept import AGAIN, FRESH, RETRY, STALE, ProviderError
from labeling_grpc.security.oidc.keys import Keys
from labeling_grpc.security.oidc.person import Person
from labeling_grpc.security.oidc.provider import discover
from labeling_grpc.security.oidc.settings import Provider, SignInRules
from labeling_grpc.security.roles import Role
from tidemark.errors import ConfigError

NONCE = "pay.0123456789abcdef"
Forge = Callable[[IdentityProvider], str]


@pytest.fixture
def idp() -> Iterator[IdentityProvider]:
    with providing() as its:
        yield its


def verified(idp: IdentityProvider, token: str, **rules: Any) -> Person:  # noqa: ANN401 - as the rules have them
    its = idp.rules(**rules)
    return asyncio.run(Verifier(its, Keys(its.provider)).person(token, NONCE))


def refusal(idp: IdentityProvider, token: str, **rules: Any) -> RefusedError:  # noqa: ANN401
    with pytest.raises(RefusedError) as caught:
        verified(idp, token, **rules)
    return caught.value


@pytest.mark.parametrize("key", ["rsa", "ec", "ed"])
def test_a_token_of_the_provider_tells_who_has_signed_in(idp: IdentityProvider, key: str) -> None:
    person = verified(idp, idp.token(NONCE, key=key, groups=["other", "fraud-leads", "fraud-analysts"]))
    assert (person.annotator, person.role, person.subject) == ("u-1", Role.REVIEWER, "u-1")
    assert time.time() < person.proof_until / 1e6 < time.time() + 300 + SKEW + 1


def _unsigned(idp: IdentityProvider) -> str:
    return f"{segment({'alg': 'none'})}.{idp.token(NONCE).split('.')[1]}."


def _public_key_as_secret(idp: IdentityProvider) -> str:
    key: Any = idp.keys["rsa"]
    pem = key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{segment({'alg': 'HS256', 'kid': 'rsa'})}.{idp.token(NONCE).split('.')[1]}"
    signature = hmac.digest(pem, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _own_key(idp: IdentityProvider) -> str:
    idp.keys["mine"] = RSAKey.generate_key(2_048)
    token = idp.token(NONCE, key="mine", headers={"kid": "rsa"})
    del idp.keys["mine"]
    return token


def _own_key_brought_along(idp: IdentityProvider) -> str:
    mine = RSAKey.generate_key(2_048)
    idp.keys["mine"] = mine
    token = idp.token(NONCE, key="mine", headers={"kid": None, "jwk": mine.as_dict(private=False)})
    del idp.keys["mine"]
    return token


def _changed(idp: IdentityProvider) -> str:
    head, _, tail = idp.token(NONCE).split(".")
    claims = jwt.decode(idp.token(NONCE), idp.keys["rsa"]).claims | {"groups": ["tidemark-admins"]}
    return f"{head}.{segment(claims)}.{tail}"


def _times(**shifts: int) -> Forge:
    def forged(idp: IdentityProvider) -> str:
        claims: dict[str, Any] = {claim: int(time.time()) + shift for claim, shift in shifts.items()}
        return idp.token(NONCE, **claims)

    return forged


def _claims(**claims: Any) -> Forge:  # noqa: ANN401 - a claim is anything
    return lambda idp: idp.token(NONCE, **claims)


ATTACKS: dict[str, Forge] = {
    "no signature (alg none)": _unsigned,
    "HS256 with the public key as the secret": _public_key_as_secret,
    "a key of the attacker's under the provider's kid": _own_key,
    "a key that the token brings along": _own_key_brought_along,
    "changed claims": _changed,
    "an unknown kid": lambda idp: idp.token(NONCE, headers={"kid": "nobody's"}),
    "a kid of another kind": lambda idp: idp.token(NONCE, headers={"kid": "ec"}),
    "another kid's algorithm": lambda idp: idp.token(NONCE, headers={"alg": "PS256"}),
    "an algorithm that is not allowed": lambda idp: idp.token(NONCE, headers={"alg": "RS512"}),
    "a critical header": lambda _: f"{segment({'alg': 'RS256', 'crit': ['x'], 'x': 1})}.e30.AA",
    "an access token": lambda idp: idp.token(NONCE, headers={"typ": "at+jwt"}),
    "another audience": _claims(aud="wiki"),
    "no audience": _claims(aud=None),
    "several audiences without azp": _claims(aud=[CLIENT, "wiki"]),
    "another azp": _claims(azp="wiki"),
    "several audiences with another azp": _claims(aud=[CLIENT, "wiki"], azp="wiki"),
    "another issuer (IdP mix-up)": _claims(iss="https://login.evil.example"),
    "no issuer": _claims(iss=None),
    "another nonce": _claims(nonce="pay.another"),
    "no nonce": _claims(nonce=None),
    "expired": _times(exp=-SKEW - 5),
    "never expires": _claims(exp=None),
    "not yet valid": _times(nbf=SKEW + 30),
    "issued in the future": _times(iat=SKEW + 30),
    "issued long ago": _times(iat=-MOST_AGE - SKEW - 30),
    "never issued": _claims(iat=None),
    "times that are no numbers": _claims(iat="now", exp="later"),
    "endless times": _claims(exp=float("inf")),
    "times that are nothing": _claims(iat=float("nan")),
    "no subject": _claims(sub=None),
    "a subject of no text": _claims(sub=7),
    "a hostile subject": _claims(sub="u\u202e1"),
    "groups as a table": _claims(groups={"tidemark-admins": True}),
    "groups as a number": _claims(groups=7),
    "groups of no text": _claims(groups=["fraud-analysts", {"tidemark-admins": 1}]),
    "10,000 groups": _claims(groups=[f"group-{number:05}" for number in range(10_000)]),
    "10,000 short groups": _claims(groups=["g"] * 10_000),
    "too long": lambda _: "e30.e30." + "A" * LONGEST,
    "empty": lambda _: "",
    "no token": lambda _: "hello",
    "four parts": lambda idp: idp.token(NONCE) + ".AA",
    "not ASCII": lambda _: "é.é.é",
    "a header that is no object": lambda _: "W10.e30.AA",
    "a header of brackets": lambda _: f"{segment('x')}.e30.AA".replace(segment("x"), "W1tbW1tbW1tb" * 400),
}


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_a_token_that_does_not_hold_signs_nobody_in(idp: IdentityProvider, attack: str) -> None:
    token = ATTACKS[attack](idp)
    why = refusal(idp, token)
    assert why.reason is Reason.UNAUTHENTICATED
    assert str(why).startswith("the identity provider's token is not taken: ")
    assert not token or token not in str(why)


@pytest.mark.parametrize("groups", [None, [], ["strangers"], "strangers", ["Fraud-Analysts"]])
def test_nobody_without_a_mapped_group_gets_in(idp: IdentityProvider, groups: object) -> None:
    why = refusal(idp, idp.token(NONCE, groups=groups))
    assert why.reason is Reason.FORBIDDEN
    assert "ask for one of the groups" in str(why)


HOSTILE = ["", " ada", "ada ", "a" * 129, "ada\u202e", "a\u200bda", "ada\x00", "ada\n", "cafe\u0301", 7, None, ["ada"]]


@pytest.mark.parametrize("name", [*HOSTILE, "consensus", " Consensus", "\uff43onsensus", "program:rules"])
def test_a_name_that_nobody_may_have_is_refused(idp: IdentityProvider, name: object) -> None:
    token = idp.token(NONCE, preferred_username=name)
    assert refusal(idp, token, name_claim="preferred_username").reason is Reason.FORBIDDEN


def test_an_address_that_the_provider_has_not_verified_names_nobody(idp: IdentityProvider) -> None:
    for verified_address in (None, False, "true"):
        token = idp.token(NONCE, email="ada@bank.example", email_verified=verified_address)
        assert "has not verified" in str(refusal(idp, token, name_claim="email"))
    token = idp.token(NONCE, email="ada@bank.example", email_verified=True)
    assert verified(idp, token, name_claim="email").annotator == "ada@bank.example"


class Moved:
    """A clock that a test moves, seconds."""

    time = 1_000.0

    def __call__(self) -> float:
        return self.time


KEYS, DOCUMENT = "/keys", "/.well-known/openid-configuration"
DOWN: Answer = (503, {}, b"")


def test_keys_are_read_once_and_anew_after_a_while(idp: IdentityProvider) -> None:
    clock = Moved()
    keys = Keys(idp.provider, clock)

    async def scenario() -> None:
        await asyncio.gather(*(keys.find("rsa", "RS256") for _ in range(20)))
        assert idp.asked[KEYS] == 1
        clock.time += FRESH
        assert await keys.find("rsa", "RS256") is not None
        assert idp.asked[KEYS] == 2

    asyncio.run(scenario())


def test_a_key_that_is_new_is_found_and_one_that_is_unknown_makes_us_ask_seldom(idp: IdentityProvider) -> None:
    clock = Moved()
    keys = Keys(idp.provider, clock)

    async def scenario() -> None:
        assert await keys.find("rsa", "RS256") is not None
        clock.time += AGAIN
        idp.keys["new"] = RSAKey.generate_key(2_048, {"kid": "new"})
        assert await keys.find("new", "RS256") is not None
        for _ in range(50):
            assert await keys.find("nobody's", "RS256") is None
        assert idp.asked[KEYS] == 2
        clock.time += AGAIN
        assert await keys.find("nobody's", "RS256") is None
        assert idp.asked[KEYS] == 3

    asyncio.run(scenario())


def test_keys_are_gone_on_with_while_the_provider_is_away_up_to_a_bound(idp: IdentityProvider) -> None:
    clock = Moved()
    keys = Keys(idp.provider, clock)

    async def scenario() -> None:
        assert await keys.find("rsa", "RS256") is not None
        idp.said[KEYS] = DOWN
        clock.time += STALE - 1
        assert await keys.find("rsa", "RS256") is not None
        asked = idp.asked[KEYS]
        assert await keys.find("rsa", "RS256") is not None
        assert idp.asked[KEYS] == asked, "asked again at once"
        clock.time += RETRY + 1
        with pytest.raises(ProviderError):
            await keys.find("rsa", "RS256")
        del idp.said[KEYS]
        clock.time += RETRY
        assert await keys.find("rsa", "RS256") is not None

    asyncio.run(scenario())


def test_nobody_is_signed_in_while_there_are_no_keys(idp: IdentityProvider) -> None:
    idp.said[KEYS] = DOWN
    assert refusal(idp, idp.token(NONCE)).reason is Reason.PROVIDER_UNAVAILABLE


def _document(**entries: object) -> Callable[[IdentityProvider], None]:
    return lambda idp: idp.document.update(entries)


def _said(path: str, status: int, headers: dict[str, str], body: bytes) -> Callable[[IdentityProvider], None]:
    return lambda idp: idp.said.update({path: (status, headers, body)})


WRONGS: dict[str, Callable[[IdentityProvider], None]] = {
    "oversized keys": _said(KEYS, 200, {}, b'{"keys": [], "x": "' + b"x" * 300_000 + b'"}'),
    "packed keys": _said(KEYS, 200, {"content-encoding": "gzip"}, b"\x1f\x8b"),
    "keys elsewhere": _said(KEYS, 302, {"location": "http://169.254.169.254/keys"}, b""),
    "too many keys": _said(KEYS, 200, {}, json.dumps({"keys": [{}] * 101}).encode()),
    "no keys": _said(KEYS, 200, {}, b"{}"),
    "keys that are no JSON": _said(KEYS, 200, {}, b"<html>"),
    "keys of brackets": _said(KEYS, 200, {}, b'{"keys": ' + b"[" * 100_000),
    "a discovery document elsewhere": _said(DOCUMENT, 301, {"location": "http://evil.example/"}, b""),
    "another issuer's document": _document(issuer="https://login.evil.example"),
    "no issuer": _document(issuer=None),
    "an issuer of no text": _document(issuer=7),
    "keys over http from elsewhere": _document(jwks_uri="http://login.evil.example/keys"),
    "keys from a file": _document(jwks_uri="file:///etc/passwd"),
    "no address of keys": _document(jwks_uri=None),
    "an address with a password": _document(authorization_endpoint="https://a:b@login.example/"),
}


@pytest.mark.parametrize("wrong", list(WRONGS))
def test_a_provider_that_says_what_can_not_be_right_is_not_believed(idp: IdentityProvider, wrong: str) -> None:
    WRONGS[wrong](idp)
    assert refusal(idp, idp.token(NONCE)).reason is Reason.PROVIDER_UNAVAILABLE


WEAK_MODULUS = base64.urlsafe_b64encode(
    rsa.generate_private_key(65_537, 1_024).public_key().public_numbers().n.to_bytes(128, "big")  # noqa: S505 - that is the point
).decode()
WEAK = {
    "a secret": {"kty": "oct", "kid": "rsa", "k": "c2VjcmV0"},
    "a weak key": {"kty": "RSA", "kid": "rsa", "n": WEAK_MODULUS, "e": "AQAB"},
    "an endless key": {"kty": "RSA", "kid": "rsa", "n": "A" * 200_000, "e": "AQAB"},
    "a key for encryption": {**RSAKey.generate_key(2_048).as_dict(private=False), "kid": "rsa", "use": "enc"},
    "a key of no form": {"kty": "RSA", "kid": "rsa", "n": "!", "e": "AQAB"},
    "a key of no kind": {"kid": "rsa"},
}


@pytest.mark.parametrize("what", list(WEAK))
def test_a_key_that_is_not_fit_to_sign_is_none(idp: IdentityProvider, what: str) -> None:
    idp.said[KEYS] = 200, {}, json.dumps({"keys": [WEAK[what]]}).encode()
    assert refusal(idp, idp.token(NONCE)).reason is Reason.UNAUTHENTICATED


def test_a_provider_that_does_not_answer_is_waited_for_a_bounded_time(
    idp: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labeling_grpc.security.oidc.provider.SECONDS", 0.3)
    idp.said[DOCUMENT] = 200, {"content-length": "100"}, b"{"  # the rest never comes
    with pytest.raises(ProviderError, match="can't be read"):
        asyncio.run(discover(idp.provider))


def test_a_certificate_is_believed_where_its_authority_is_named(tmp_path: Any) -> None:  # noqa: ANN401
    files = certificate(tmp_path)
    named = Provider.from_environment(
        {
            "TIDEMARK_OIDC_ISSUER": "https://localhost",
            "TIDEMARK_OIDC_CLIENT_ID": "x",
            "TIDEMARK_OIDC_CA": str(files.certificate),
        }
    )
    assert named is not None
    assert len(named.trust.get_ca_certs()) == 1


SET = {
    "TIDEMARK_OIDC_ISSUER": "https://login.bank.example",
    "TIDEMARK_OIDC_CLIENT_ID": "tidemark",
    "TIDEMARK_OIDC_ROLES": "admin=tidemark-admins, reviewer=leads, annotator=a=b",
}


def test_the_rules_are_what_is_set() -> None:
    rules = SignInRules.from_environment(SET | {"TIDEMARK_OIDC_LIFETIME": "8h", "TIDEMARK_OIDC_NAME": "email"})
    assert rules is not None
    assert rules.roles == ((Role.ADMIN, "tidemark-admins"), (Role.REVIEWER, "leads"), (Role.ANNOTATOR, "a=b"))
    assert (rules.lifetime_us, rules.name_claim, rules.groups_claim) == (8 * 3_600_000_000, "email", "groups")
    assert rules.role(frozenset({"leads", "a=b"})) is Role.REVIEWER
    assert SignInRules.from_environment({}) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"TIDEMARK_OIDC_ISSUER": "http://login.bank.example"}, "write https"),
        ({"TIDEMARK_OIDC_ISSUER": "http://localhost.example"}, "write https"),
        ({"TIDEMARK_OIDC_ISSUER": "login"}, "TIDEMARK_OIDC_ISSUER"),
        ({"TIDEMARK_OIDC_ISSUER": ""}, "set both"),
        ({"TIDEMARK_OIDC_CLIENT_ID": ""}, "TIDEMARK_OIDC_CLIENT_ID"),
        ({"TIDEMARK_OIDC_CA": "/nowhere/ca.pem"}, "TIDEMARK_OIDC_CA"),
        ({"TIDEMARK_OIDC_ROLES": ""}, "nobody could sign in"),
        ({"TIDEMARK_OIDC_ROLES": "program=bots"}, "no role with its group"),
        ({"TIDEMARK_OIDC_ROLES": "admin"}, "no role with its group"),
        ({"TIDEMARK_OIDC_ROLES": "admin="}, "no role with its group"),
        ({"TIDEMARK_OIDC_LIFETIME": "13h"}, "1m to 12h"),
        ({"TIDEMARK_OIDC_LIFETIME": "soon"}, "TIDEMARK_OIDC_LIFETIME"),
        ({"TIDEMARK_OIDC_NAME": "a\u202eb"}, "TIDEMARK_OIDC_NAME"),
    ],
)
def test_a_setting_that_can_not_be_right_is_refused_by_name(change: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        SignInRules.from_environment(SET | change)


def test_http_goes_to_this_machine_alone() -> None:
    for issuer in ("http://127.0.0.1:5000", "http://localhost:5000", "http://[::1]:5000"):
        assert Provider.from_environment(SET | {"TIDEMARK_OIDC_ISSUER": issuer}) is not None
