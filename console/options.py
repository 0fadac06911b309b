"""Options of the console, from the environment: never from a pipeline's file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from labeling_grpc.options import is_loopback
from tidemark.errors import ConfigError

PREFIX: Final = "TIDEMARK_CONSOLE_"
DEFAULT_PORT: Final = 8420
_MOST_NAMES: Final = 20


@dataclass(frozen=True, slots=True)
class Options:
    """How the console is served.

    - `TIDEMARK_CONSOLE_ADDRESS`: `127.0.0.1:8420`; without it another free port is taken where that one is not free
    - `TIDEMARK_CONSOLE_TLS_CERT`, `_KEY`: PEM files; the console then speaks HTTPS alone. Without them only this
      machine may be listened on
    - `TIDEMARK_CONSOLE_HOSTS`: names, separated by commas, under which browsers reach the console on another machine
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    chosen: bool = False
    certificate: Path | None = None
    key: Path | None = None
    hosts: tuple[str, ...] = ()

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
        return ["127.0.0.1", "localhost", "[::1]", self.host.strip("[]"), *self.hosts]

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
        return cls(
            host=host,
            port=int(port),
            chosen=PREFIX + "ADDRESS" in env,
            certificate=None if certificate is None else Path(certificate),
            key=None if key is None else Path(key),
            hosts=hosts,
        )
