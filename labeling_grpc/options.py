"""Options of the labeling service, from the environment: never from a pipeline's file."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self, cast

from labeling_grpc.security.oidc.settings import ISSUER, SignInRules
from labeling_grpc.security.tls import Certificates
from tidemark.errors import ConfigError, LabelingError
from tidemark.runtime.settings import Settings

PREFIX: Final = "TIDEMARK_LABELING_"
_YES: Final = {"1", "true", "yes", "on"}
_NO: Final = {"0", "false", "no", "off"}


@dataclass(frozen=True, slots=True)
class Options:
    """How the service runs.

    - `TIDEMARK_LABELING_ADDRESS`: `127.0.0.1:PORT`; port 0, the default, takes a free one (`labeling.json` in the
      pipeline's state folder then tells which)
    - `TIDEMARK_LABELING_LEASE`: default length of a lease, `5m`
    - `TIDEMARK_LABELING_MAX_OPEN`: most cases waiting or leased, 100000
    - `TIDEMARK_LABELING_RELEASE_HOLD`: how long a released case is kept from who released it, `5m`
    - `TIDEMARK_LABELING_REFLECTION`: gRPC server reflection, off
    - `TIDEMARK_LABELING_TOKENS`: every call needs an access token (`tidemark token create`), off; without it only
      this machine may be listened on
    - `TIDEMARK_LABELING_RATE`: calls a second of each caller (with tokens an annotator, else a machine), in bursts of
      twice as many; unlimited without it
    - `TIDEMARK_LABELING_DATABASE`: `postgresql://user@host/database`, which several replicas may share; without it an
      SQLite file in the pipeline's state folder.  `_FILE`: read the URL from a file
    - `TIDEMARK_OIDC_*`: people sign in by an identity provider, see `labeling_grpc.security.oidc.settings`; with tokens
    - `TIDEMARK_LABELING_TLS_CERT`, `_KEY`: PEM files; the service then speaks TLS alone.  `_CA`: callers must show a
      certificate that it signed
    """

    address: str = "127.0.0.1:0"
    lease_us: int = 300_000_000
    max_open: int = 100_000
    release_hold_us: int = 300_000_000
    reflection: bool = False
    tokens: bool = False
    tls: Certificates | None = None
    rate: int = 0
    database: str = field(default="", repr=False)
    sign_in: SignInRules | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Options from `environment`, by default the process's own. Empty variables count as unset.

        Raises:
            ConfigError: a variable is wrong; names it and the remedy.

        """
        variables = os.environ if environment is None else environment
        env = {name: value.strip() for name, value in variables.items() if value.strip()}
        default = cls()
        tls = Certificates.from_environment(env)
        tokens = _flag(env, "TOKENS", default=default.tokens)
        sign_in = SignInRules.from_environment(env)
        if sign_in is not None and not tokens:
            raise ConfigError(
                f"{ISSUER} is set, but the service asks for no tokens, so that everybody may do everything: set "
                f"{PREFIX}TOKENS=on, or unset {ISSUER}"
            )
        return cls(
            address=listened(env.get(PREFIX + "ADDRESS", default.address), guarded=tokens or tls is not None),
            lease_us=_duration(env, "LEASE", default.lease_us),
            max_open=_count(env, "MAX_OPEN", default.max_open),
            release_hold_us=_duration(env, "RELEASE_HOLD", default.release_hold_us),
            reflection=_flag(env, "REFLECTION", default=default.reflection),
            tokens=tokens,
            tls=tls,
            rate=_count(env, "RATE", 0) if PREFIX + "RATE" in env else 0,
            database=database_url(env),
            sign_in=sign_in,
        )


def listened(address: str, *, guarded: bool) -> str:
    """The address, if it is one that only this machine reaches, or tokens or TLS are configured.

    Raises:
        ConfigError: it is another's, or no `host:port`.

    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(f"the labeling service's address {address!r} is not host:port; write 127.0.0.1:50051")
    if not is_loopback(address) and not guarded:
        raise ConfigError(
            f"the labeling service can't listen on {address!r}: it has neither tokens nor TLS, so only this machine "
            "may reach it; write 127.0.0.1:PORT, or set TIDEMARK_LABELING_TOKENS=on, or "
            "TIDEMARK_LABELING_TLS_CERT and _KEY"
        )
    return address


def is_loopback(address: str) -> bool:
    """Tell whether an address is this machine's alone.

    Args:
        address: `host:port`, as gRPC takes it.

    Returns:
        True for the loopback's numbers, `localhost` and Unix sockets; False for any other name, whatever it may
        resolve to.

    """
    scheme, colon, rest = address.partition(":")
    if scheme in {"unix", "unix-abstract"}:
        return True
    if colon and scheme in {"dns", "ipv4", "ipv6"}:
        address = rest.rpartition("/")[2]
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def database_url(env: Mapping[str, str]) -> str:
    """URL of the queue's database, "" for SQLite.

    Raises:
        ConfigError: it names no PostgreSQL, or its file can't be read.

    """
    name = PREFIX + "DATABASE"
    url, file = env.get(name, ""), env.get(name + "_FILE", "")
    if file:
        try:
            url = Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(f"{name}_FILE: {error}") from error
    if url and not url.startswith(("postgresql://", "postgres://")):
        raise ConfigError(f"{name} must be the URL of a PostgreSQL: postgresql://user@host/database")
    return url


def queue_database(settings: Settings, pipeline: str, url: str) -> str | Path:
    """Where a pipeline's queue is: `url`, or a file where it is empty."""
    return url or state_folder(settings, pipeline) / "labeling.db"


def state_folder(settings: Settings, pipeline: str) -> Path:
    """Where the database and the address of a pipeline's labeling service are."""
    return settings.state_dir / "pipelines" / pipeline


def find(settings: Settings, pipeline: str) -> str:
    """Address of the service of `pipeline` on this machine.

    Raises:
        LabelingError: none runs.

    """
    path = state_folder(settings, pipeline) / "labeling.json"
    try:
        return cast("str", json.loads(path.read_text(encoding="utf-8"))["address"])
    except FileNotFoundError:
        raise LabelingError(
            f"no labeling service of pipeline {pipeline!r} runs here (there is no {path}): start the pipeline with "
            "`tidemark up`"
        ) from None


def _duration(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(PREFIX + name)
    if text is None:
        return default
    from tidemark.pipeline import parse_duration  # noqa: PLC0415 - SQL and Polars, which clients need not wait for

    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"{PREFIX}{name}: {text!r} {error}") from error


def _count(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(PREFIX + name, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{PREFIX}{name}: {text!r} is not a whole number above 0")
    return int(text)


def _flag(env: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = env.get(PREFIX + name, "on" if default else "off").lower()
    if text not in _YES | _NO:
        raise ConfigError(f"{PREFIX}{name}: {text!r} is neither on nor off")
    return text in _YES
