"""What `tidemark doctor` and `tidemark check` say of the identity provider by which people sign in."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from labeling_grpc.security.oidc.settings import (
    CALLBACK,
    CLIENT_ID,
    GROUPS,
    ISSUER,
    NAME,
    ROLES,
    SECRET,
    SignInRules,
    client_secret,
    lacking,
)
from labeling_grpc.security.roles import Role
from tidemark.cli.examination import Finding
from tidemark.errors import ConfigError

_PREFIX: Final = "TIDEMARK_OIDC_"
_CONSOLE: Final = "TIDEMARK_CONSOLE_"
_NEAR: Final = 5.0
"""Seconds by which two clocks that are kept right may seem to differ: the provider tells whole ones, some time ago."""

_LABELS: Final = {Role.ANNOTATOR, Role.REVIEWER, Role.ADMIN}


@dataclass(frozen=True, slots=True)
class _SignIn:
    rules: SignInRules
    secret: str
    redirect: str


def examine_sign_in(
    environment: Mapping[str, str] | None = None, now: Callable[[], float] = time.time
) -> Iterator[Finding]:
    """Look at the identity provider; at nothing where no variable speaks of one.

    Args:
        environment: by default the process's own.
        now: wall clock, seconds.

    Yields:
        A finding for each part, in a fixed order. One that stops the others is the last.

    """
    variables = os.environ if environment is None else environment
    env = {name: value.strip() for name, value in variables.items() if value.strip()}
    named = sorted(name for name in env if name.startswith(_PREFIX))
    if not named:
        return
    try:
        sign_in = _read(env)
    except ConfigError as error:
        yield Finding("sign-in", "wrong", str(error), "correct the variable, or unset all that begin with " + _PREFIX)
        return
    if sign_in is None:
        text = f"{named[0]} is set, but {ISSUER} is not, so nobody can sign in by a provider"
        yield Finding("sign-in", "wrong", text, f"set {ISSUER}, or unset {named[0]}")
        return
    yield _roles(sign_in)
    try:
        yield from asyncio.run(_all(sign_in, now))
    except ImportError as error:
        yield Finding("sign-in", "wrong", str(lacking(error)), "install it where the labeling service and console run")


def _read(env: Mapping[str, str]) -> _SignIn | None:
    """As the service and the console read it.

    Raises:
        ConfigError: one of them would refuse to start.

    """
    from labeling_grpc.options import Options

    rules = Options.from_environment(env).sign_in
    return None if rules is None else _SignIn(rules, client_secret(env), _console(env) + CALLBACK)


def _console(env: Mapping[str, str]) -> str:
    """Where browsers find the console."""
    if public := env.get(_CONSOLE + "URL", ""):
        return public.rstrip("/")
    scheme = "https" if _CONSOLE + "TLS_CERT" in env else "http"
    return f"{scheme}://{env.get(_CONSOLE + 'ADDRESS', '127.0.0.1:8420')}"


def _roles(sign_in: _SignIn) -> Finding:
    roles = sign_in.rules.roles
    told = ", ".join(f"{group} → {role.value}" for role, group in roles)
    if not _LABELS & {role for role, _ in roles}:
        return Finding(
            "sign-in: groups",
            "wrong",
            f"{ROLES} names nobody who may answer a case ({told})",
            f"name the group of those who label: {ROLES}=annotator=GROUP, …",
        )
    return Finding("sign-in: groups", "ok", told)


async def _all(sign_in: _SignIn, now: Callable[[], float]) -> list[Finding]:
    return [finding async for finding in _asked(sign_in, now)]


async def _asked(sign_in: _SignIn, now: Callable[[], float]) -> AsyncIterator[Finding]:
    """What only the provider knows."""
    from labeling_grpc.security.oidc.kept import ProviderError
    from labeling_grpc.security.oidc.keys import read_keys
    from labeling_grpc.security.oidc.probe import Client, skew
    from labeling_grpc.security.oidc.provider import discover

    provider = sign_in.rules.provider
    begun = time.monotonic()
    try:
        discovery = await discover(provider)
    except ProviderError as error:
        remedy = f"reach it from this machine, and write {ISSUER} as the provider's own discovery document has it"
        yield Finding("sign-in: provider", "wrong", str(error), remedy)
        return
    took = 1_000 * (time.monotonic() - begun)
    yield Finding("sign-in: provider", "ok", f"{provider.issuer} tells its addresses in {took:.0f} ms")
    client = Client(provider, sign_in.secret, sign_in.redirect)
    try:
        yield _keys(len(await read_keys(provider)), discovery.algorithms)
        yield _clock(await skew(provider, now))
        yield _client(sign_in, await client.refusal(discovery))
        yield _redirect(sign_in, sent_back=await client.is_sent_back(discovery))
    except ProviderError as error:
        yield Finding("sign-in: provider", "wrong", str(error), "let the provider's administrator look at that address")
        return
    for claim, variable in ((sign_in.rules.groups_claim, GROUPS), (sign_in.rules.name_claim, NAME)):
        if discovery.claims and claim not in discovery.claims:
            yield _claim(claim, variable)


def _keys(count: int, algorithms: frozenset[str]) -> Finding:
    from labeling_grpc.security.oidc.keys import ALGORITHMS

    known = ", ".join(ALGORITHMS)
    remedy = f"let the provider sign Tidemark's ID tokens with one of {known}"
    if count == 0:
        return Finding("sign-in: keys", "wrong", "the provider serves no key that a token may be signed with", remedy)
    if algorithms and not algorithms & ALGORITHMS.keys():
        return Finding("sign-in: keys", "wrong", f"the provider signs with {', '.join(sorted(algorithms))}", remedy)
    return Finding("sign-in: keys", "ok", f"{count} that tokens may be signed with")


def _clock(seconds: float | None) -> Finding:
    from labeling_grpc.security.oidc.id_tokens import SKEW

    if seconds is None:
        return Finding("sign-in: clock", "ok", "the provider does not tell the time")
    way = "ahead of" if seconds > 0 else "behind"
    text = f"the provider's clock is {abs(seconds):.0f} s {way} this machine's"
    remedy = "let NTP set both clocks (timedatectl set-ntp true)"
    if abs(seconds) > SKEW:
        return Finding("sign-in: clock", "wrong", f"{text}, and tokens are believed within {SKEW} s", remedy)
    if abs(seconds) > _NEAR:
        return Finding("sign-in: clock", "note", text, remedy)
    return Finding("sign-in: clock", "ok", f"within {_NEAR:.0f} s of the provider's")


def _client(sign_in: _SignIn, refusal: str) -> Finding:
    name, client_id = "sign-in: client", sign_in.rules.provider.client_id
    if refusal == "invalid_grant":
        whom = "its secret" if sign_in.secret else "no secret"
        return Finding(name, "ok", f"the provider knows {client_id!r} with {whom}")
    if refusal in {"invalid_client", "unauthorized_client"} and not sign_in.secret:
        text = f"the provider does not take {client_id!r} without a secret, and {SECRET} is not set"
        return Finding(name, "wrong", text, f"write the secret into a file, and name it in {SECRET}_FILE")
    if refusal in {"invalid_client", "unauthorized_client"}:
        text = f"the provider does not take {client_id!r} with this secret"
        remedy = f"compare {CLIENT_ID} and {SECRET} with what the provider has given Tidemark"
        return Finding(name, "wrong", text, remedy)
    text = f"the provider answers {refusal!r} to a code that nobody has: whether it knows the client can't be told"
    return Finding(name, "note", text, "sign in once at the console, and see")


def _redirect(sign_in: _SignIn, *, sent_back: bool | None) -> Finding:
    name, redirect = "sign-in: redirect", sign_in.redirect
    if sent_back:
        return Finding(name, "ok", f"the provider sends browsers back to {redirect}")
    remedy = f"register {redirect} there as Tidemark's redirect address; {_CONSOLE}URL says where browsers find it"
    if sent_back is None:
        return Finding(name, "note", f"whether the provider sends browsers back to {redirect} can't be told", remedy)
    return Finding(name, "wrong", f"the provider does not send browsers back to {redirect}", remedy)


def _claim(claim: str, variable: str) -> Finding:
    text = f"the provider lists no claim {claim!r} among those that its ID tokens may have"
    remedy = f"let it put {claim!r} into Tidemark's ID tokens, or name the claim that it has in {variable}"
    return Finding("sign-in: claims", "note", text, remedy)


def sentences(environment: Mapping[str, str] | None = None) -> list[str]:
    """What is to be done at the sign-in, a sentence each, as `tidemark check` has them; that all is well, if it is."""
    findings = list(examine_sign_in(environment))
    if findings and all(finding.state == "ok" for finding in findings):
        return ["sign-in: the identity provider knows this client, and sends browsers back here"]
    return [f"{each.name}: {each.text}; {each.remedy}" for each in findings if each.state != "ok"]
