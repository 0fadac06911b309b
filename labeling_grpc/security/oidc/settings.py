"""Settings of the sign-in by an identity provider, from the environment: never from a pipeline's file."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Self

from labeling_grpc.contract.text import is_name
from labeling_grpc.security.roles import Role
from tidemark.errors import ConfigError
from tidemark.runtime.web_addresses import WebAddress, web_address

ISSUER: Final = "TIDEMARK_OIDC_ISSUER"
CLIENT_ID: Final = "TIDEMARK_OIDC_CLIENT_ID"
CA: Final = "TIDEMARK_OIDC_CA"
SECRET: Final = "TIDEMARK_OIDC_CLIENT_SECRET"  # noqa: S105 - the name of one
NAME: Final = "TIDEMARK_OIDC_NAME"
GROUPS: Final = "TIDEMARK_OIDC_GROUPS"
ROLES: Final = "TIDEMARK_OIDC_ROLES"
LIFETIME: Final = "TIDEMARK_OIDC_LIFETIME"
LONGEST_LIFETIME: Final = 12 * 3_600 * 1_000_000
"""µs: a shift."""

CALLBACK: Final = "/oidc/callback"
"""Where the provider sends browsers back to, behind the console's address."""

SHORTEST_LIFETIME: Final = 60 * 1_000_000
_HIGHEST_FIRST: Final = (Role.ADMIN, Role.REVIEWER, Role.ANNOTATOR, Role.VIEWER)
"""Of what a person may be given by their groups; a program has a token of its own."""

_LONGEST: Final = 255


@dataclass(frozen=True)
class Provider:
    """The identity provider. issuer: as its tokens name it.  client_id: of Tidemark there.

    ca_file: PEM file of the authority that signed its certificate; None: one that the system trusts.
    """

    issuer: str
    client_id: str
    ca_file: Path | None = None

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self | None:
        """The provider that variables name, None where they name none.

        Raises:
            ConfigError: one is missing or wrong.

        """
        issuer, client_id, ca_file = (env.get(name, "").strip() for name in (ISSUER, CLIENT_ID, CA))
        if not issuer:
            if client_id:
                raise ConfigError(f"{CLIENT_ID} is set, but {ISSUER} is not: set both, or neither")
            return None
        if not is_name(client_id, _LONGEST):
            raise ConfigError(f"{CLIENT_ID}: write the id that the provider has given Tidemark")
        provider = cls(issuer, client_id, Path(ca_file) if ca_file else None)
        checked_address(ISSUER, issuer)
        try:
            _ = provider.trust
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(f"{CA}: {ca_file!r} is no PEM file of an authority ({error})") from error
        return provider

    @property
    def address(self) -> WebAddress:
        """Where it is."""
        return web_address(self.issuer)

    @cached_property
    def trust(self) -> ssl.SSLContext:
        """Whose certificates are believed. Made once: what the system trusts is read at each making."""
        return ssl.create_default_context(cafile=self.ca_file)


@dataclass(frozen=True)
class SignInRules:
    """Who gets in, as whom and for how long.

    name_claim, groups_claim: claims of the ID token: the annotator's id, and what the person belongs to.
    roles: what each group makes of its members; the highest counts.  lifetime_us: of a sign-in.
    """

    provider: Provider
    roles: tuple[tuple[Role, str], ...]
    name_claim: str = "sub"
    groups_claim: str = "groups"
    lifetime_us: int = LONGEST_LIFETIME

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self | None:
        """The rules that variables tell, None where they name no provider.

        Raises:
            ConfigError: one is missing or wrong.

        """
        provider = Provider.from_environment(env)
        if provider is None:
            return None
        return cls(
            provider,
            _roles(env.get(ROLES, "")),
            _claim(env, NAME, "sub"),
            _claim(env, GROUPS, "groups"),
            _lifetime(env.get(LIFETIME, "").strip()),
        )

    def role(self, groups: frozenset[str]) -> Role | None:
        """The highest role that some groups have, None: none has one."""
        given = {role for role, group in self.roles if group in groups}
        return next((role for role in _HIGHEST_FIRST if role in given), None)


def lacking(error: ImportError) -> ConfigError:
    """What to tell where a package of the extra is missing."""
    return ConfigError(
        f"signing in by an identity provider needs a package that is not installed ({error.name}): "
        "pip install 'tidemark[oidc]'"
    )


def client_secret(env: Mapping[str, str]) -> str:
    """The secret that the provider has given Tidemark, "" for none.

    Raises:
        ConfigError: the file that holds it can't be read.

    """
    file = env.get(f"{SECRET}_FILE", "").strip()
    if not file:
        return env.get(SECRET, "").strip()
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{SECRET}_FILE names {file!r}, which can't be read; correct the path") from error


def checked_address(what: str, text: str, *, loopback: bool = True) -> WebAddress:
    """An address that secrets are sent to, or keys are had from.

    Args:
        what: names it, for the error.
        text: the address.
        loopback: whether `http` may go to this machine.

    Returns:
        The address.

    Raises:
        ConfigError: it is none, or what goes there could be read and changed on the way.

    """
    try:
        address = web_address(text)
    except ValueError as error:
        raise ConfigError(f"{what}: {text[:_LONGEST]!r} {error}") from error
    if address.scheme != "https" and not (loopback and address.is_loopback):
        raise ConfigError(
            f"{what}: {text[:_LONGEST]!r} is http, so that keys and names could be changed on the way; write https://…"
        )
    return address


def _claim(env: Mapping[str, str], variable: str, default: str) -> str:
    text = env.get(variable, "").strip() or default
    if not is_name(text, _LONGEST):
        raise ConfigError(f"{variable}: {text[:_LONGEST]!r} is no name of a claim; write {default}")
    return text


def _roles(text: str) -> tuple[tuple[Role, str], ...]:
    known = ", ".join(role.value for role in _HIGHEST_FIRST)
    found: list[tuple[Role, str]] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        role, _, group = (piece.strip() for piece in part.partition("="))
        if role not in {each.value for each in _HIGHEST_FIRST} or not is_name(group, _LONGEST):
            raise ConfigError(
                f"{ROLES}: {part[:_LONGEST]!r} is no role with its group; write admin=GROUP, reviewer=GROUP, "
                f"annotator=GROUP (roles: {known})"
            )
        found.append((Role(role), group))
    if not found:
        raise ConfigError(f"{ROLES} is not set, so nobody could sign in: write annotator=GROUP, reviewer=GROUP")
    return tuple(found)


def _lifetime(text: str) -> int:
    if not text:
        return LONGEST_LIFETIME
    from tidemark.pipeline import parse_duration  # noqa: PLC0415 - SQL and Polars, which clients need not wait for

    try:
        lifetime = parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"{LIFETIME}: {text!r} {error}") from error
    if not SHORTEST_LIFETIME <= lifetime <= LONGEST_LIFETIME:
        raise ConfigError(f"{LIFETIME}: {text!r} is not from 1m to 12h")
    return lifetime
