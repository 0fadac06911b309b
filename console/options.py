"""Options of the console, from the environment: never from a pipeline's file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from labeling_grpc.contract.text import is_name
from labeling_grpc.options import is_loopback
from labeling_grpc.security.oidc.settings import Provider, checked_address, client_secret
from tidemark.errors import ConfigError
from tidemark.runtime.web_addresses import web_address

PREFIX: Final = "TIDEMARK_CONSOLE_"
DEFAULT_PORT: Final = 8420
TITLE: Final = "TIDEMARK_OIDC_TITLE"
SCOPES: Final = "TIDEMARK_OIDC_SCOPES"
_LONGEST_TITLE: Final = 40
_MOST_NAMES: Final = 20


@dataclass(frozen=True)
class SignIn:
    """Signing in by an identity provider.

    secret: of the client, "" where it has none.  title: what people call the provider.  scopes: what is asked for; ():
    what the provider lists of openid, profile, email and groups.
    """

    provider: Provider
    title: str
    secret: str = field(default="", repr=False)
    scopes: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self | None:
        """What variables say of it, None where they name no provider.

        Raises:
            ConfigError: one is wrong.

        """
        provider = Provider.from_environment(env)
        if provider is None:
            return None
        title = env.get(TITLE, "").strip() or provider.address.host
        if not is_name(title, _LONGEST_TITLE):
            raise ConfigError(f"{TITLE}: write at most {_LONGEST_TITLE} characters: what people call the provider")
        scopes = tuple(env.get(SCOPES, "").split())
        if scopes and "openid" not in scopes:
            raise ConfigError(f"{SCOPES} must have openid among them: write openid profile groups")
        return cls(provider, title, client_secret(env), scopes)


@dataclass(frozen=True, slots=True)
class Options:
    """How the console is served.

    - `TIDEMARK_CONSOLE_ADDRESS`: `127.0.0.1:8420`; without it another free port is taken where that one is not free
    - `TIDEMARK_CONSOLE_TLS_CERT`, `_KEY`: PEM files; the console then speaks HTTPS alone. Without them only this
      machine may be listened on
    - `TIDEMARK_CONSOLE_URL`: where browsers find the console, `https://cases.bank.example`; the identity provider sends
      them back to it
    - `TIDEMARK_OIDC_*`: signing in by an identity provider
    - `TIDEMARK_CONSOLE_HOSTS`: names, separated by commas, under which browsers reach the console on another machine
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    chosen: bool = False
    certificate: Path | None = None
    key: Path | None = None
    hosts: tuple[str, ...] = ()
    public: str = ""
    sign_in: SignIn | None = None

    @property
    def origin(self) -> str:
        """Where browsers find the console, without a slash at the end."""
        return self.public or f"{'https' if self.secure else 'http'}://{self.host}:{self.port}"

    @property
    def secure(self) -> bool:
        """Whether pages are served over TLS."""
        return self.certificate is not None

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the console."""
        return is_loopback(f"{self.host}:{self.port}")

    @property
    def allowed_hosts(self) -> list[str]:
        """Names by which a browser may ask: of another name, a page elsewhere could have led it here."""
        public = [web_address(self.public).host] if self.public else []
        return ["127.0.0.1", "localhost", "[::1]", self.host.strip("[]"), *self.hosts, *public]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Options of the environment.

        Args:
            environment: by default the process's own.

        Returns:
            The options.

        Raises:
            ConfigError: one is wrong, or pages would be served to other machines in the clear.

        """
        variables = os.environ if environment is None else environment
        env = {name: value.strip() for name, value in variables.items() if value.strip()}
        address = env.get(PREFIX + "ADDRESS", f"127.0.0.1:{DEFAULT_PORT}")
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65_535:
            raise ConfigError(f"{PREFIX}ADDRESS: {address!r} is not host:port; write 127.0.0.1:{DEFAULT_PORT}")
        certificate, key = env.get(PREFIX + "TLS_CERT"), env.get(PREFIX + "TLS_KEY")
        if (certificate is None) != (key is None):
            raise ConfigError(f"{PREFIX}TLS_CERT and {PREFIX}TLS_KEY go together: set both, or neither")
        if certificate is None and not is_loopback(address):
            raise ConfigError(
                f"the console can't listen on {address!r} without TLS: tokens and cases could be read on the way. Set "
                f"{PREFIX}TLS_CERT and _KEY, or write 127.0.0.1:{port}"
            )
        for name in (certificate, key):
            if name is not None and not Path(name).is_file():
                raise ConfigError(f"the console's TLS file {name!r} is not there; correct {PREFIX}TLS_CERT and _KEY")
        hosts = tuple(name.strip() for name in env.get(PREFIX + "HOSTS", "").split(",") if name.strip())
        if len(hosts) > _MOST_NAMES or any("*" in name or "/" in name for name in hosts):
            raise ConfigError(f"{PREFIX}HOSTS: write at most {_MOST_NAMES} names of hosts, separated by commas")
        sign_in = SignIn.from_environment(env)
        public = env.get(PREFIX + "URL", "")
        if public:
            public = checked_address(PREFIX + "URL", public).origin
        elif sign_in is not None and not is_loopback(address):
            raise ConfigError(
                f"{PREFIX}URL is not set: the identity provider must know where it sends browsers back to; write "
                "https://HOST, as browsers reach the console"
            )
        return cls(
            host=host,
            port=int(port),
            chosen=PREFIX + "ADDRESS" in env,
            certificate=None if certificate is None else Path(certificate),
            key=None if key is None else Path(key),
            hosts=hosts,
            public=public,
            sign_in=sign_in,
        )
