"""The keys that the identity provider signs with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from labeling_grpc.security.oidc.kept import Kept, ProviderError
from labeling_grpc.security.oidc.provider import answer, discover
from labeling_grpc.security.oidc.settings import Provider

ALGORITHMS: Final = {"RS256": "RSA", "PS256": "RSA", "ES256": "P-256", "EdDSA": "Ed25519", "Ed25519": "Ed25519"}
"""What tokens may be signed with, and by which kind of key: none that a public key could be the secret of."""

_MOST_KEYS: Final = 100
_LONGEST_ID: Final = 256
_MODULUS: Final = range(342, 1_367)
"""Characters of an RSA key of 2,048 to 8,192 bits."""
_PUBLIC: Final = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y"), "OKP": ("kty", "crv", "x")}
PublicKey = RSAKey | ECKey | OKPKey


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key. id: "" where it has none.  kind: as in `ALGORITHMS`.  algorithm: the only one, "" for any."""

    id: str
    kind: str
    algorithm: str
    key: PublicKey

    def fits(self, algorithm: str) -> bool:
        """Whether a token of this algorithm may be signed with it."""
        return ALGORITHMS[algorithm] == self.kind and self.algorithm in {"", algorithm}


class Keys:
    """The provider's keys, kept. Lives in one event loop."""

    def __init__(self, provider: Provider, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept = Kept(lambda: read_keys(provider), clock)

    async def find(self, key_id: str, algorithm: str) -> PublicKey | None:
        """The key that a token names, or, where it names none, the only one that fits; None: there is none.

        Args:
            key_id: `kid` of the token's header, "" for none.
            algorithm: its `alg`, one of `ALGORITHMS`.

        Raises:
            ProviderError: the provider was not reached for too long.

        """
        found = _matching(await self._kept.get(), key_id, algorithm)
        if found is None:
            found = _matching(await self._kept.again(), key_id, algorithm)
        return found


async def read_keys(provider: Provider) -> tuple[SigningKey, ...]:
    """The keys that the provider serves, as far as a token may be signed with them.

    Raises:
        ProviderError: they can't be read.

    """
    discovery = await discover(provider)
    listed = (await answer(provider, discovery.jwks)).get("keys")
    if not isinstance(listed, list) or len(listed) > _MOST_KEYS:
        raise ProviderError(f"{discovery.jwks} has no list of at most {_MOST_KEYS} keys")
    return tuple(key for each in listed if isinstance(each, dict) and (key := _signing_key(each)) is not None)


def _matching(keys: tuple[SigningKey, ...], key_id: str, algorithm: str) -> PublicKey | None:
    fitting = [each for each in keys if each.fits(algorithm) and (not key_id or each.id == key_id)]
    return fitting[0].key if len(fitting) == 1 else None


def _signing_key(listed: dict[str, Any]) -> SigningKey | None:
    """A key of the list; None: it is for something else, too weak, or of no kind that is known."""
    kind, key_id, algorithm = listed.get("kty"), listed.get("kid", ""), listed.get("alg", "")
    if listed.get("use", "sig") != "sig" or kind not in _PUBLIC:
        return None
    if not isinstance(key_id, str) or len(key_id) > _LONGEST_ID or not isinstance(algorithm, str):
        return None
    values = {name: listed.get(name) for name in _PUBLIC[kind]}
    if not all(isinstance(value, str) for value in values.values()):
        return None
    try:
        return _imported(cast("dict[str, str | list[str]]", values), key_id, algorithm)
    except (JoseError, ValueError, TypeError):
        return None


def _imported(values: dict[str, str | list[str]], key_id: str, algorithm: str) -> SigningKey | None:
    if values["kty"] == "RSA":
        fits = len(values["n"]) in _MODULUS
        return SigningKey(key_id, "RSA", algorithm, RSAKey.import_key(values)) if fits else None
    if values["crv"] == "P-256" and values["kty"] == "EC":
        return SigningKey(key_id, "P-256", algorithm, ECKey.import_key(values))
    if values["crv"] == "Ed25519" and values["kty"] == "OKP":
        return SigningKey(key_id, "Ed25519", algorithm, OKPKey.import_key(values))
    return None
