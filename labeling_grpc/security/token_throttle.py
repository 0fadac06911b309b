"""What a call is asked before anything is read for it: a flood of calls must cost no look into the database.

Secrets are known here by their digests alone. What is remembered of them decides nothing but how soon a call is looked
up: whether a token is valid is read from the database at each call that gets so far.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.security.rates import Rates
from labeling_grpc.security.tokens import PREFIX, digest

STRANGERS_RATE: Final = 20.0
"""Look-ups a second of tokens that one address shows for the first time; twice as many at once. Valid ones are not
counted."""

ALL_STRANGERS_RATE: Final = 200.0
"""The same, of all addresses together."""

_MOST: Final = 10_000
"""Digests that are remembered of each kind."""

_LONGEST: Final = 128
"""Characters of a secret; ours have 47."""

_IPV6_SITE: Final = 64
"""Bits of an IPv6 address that tell callers apart: whoever has one address has all that begin so."""


@dataclass(frozen=True, slots=True)
class TokenAttempt:
    """A call that shows a token. name: whose it was when it was looked up last, "" for one that is seen first."""

    secret: str
    digest: str
    address: str
    name: str


class TokenThrottle:
    """Remembers which tokens were valid and which were not. Lives in one thread."""

    def __init__(self, rates: Rates | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Admit as fast as `rates` says, None: without a bound for those whose tokens are valid.

        Args:
            rates: Calls a second of each annotator.
            clock: Seconds.

        """
        self._rates = rates
        self._by_address = Rates(STRANGERS_RATE, clock)
        self._all = Rates(ALL_STRANGERS_RATE, clock)
        self._valid: OrderedDict[str, str] = OrderedDict()
        self._invalid: OrderedDict[str, None] = OrderedDict()

    def attempt(self, secret: str, address: str) -> TokenAttempt:
        """Let a call go on to the database.

        Args:
            secret: What it shows as its token, "" for nothing.
            address: Where it comes from, as `address_of` tells it.

        Returns:
            The call, to be told to `accepted` or `rejected`.

        Raises:
            RefusedError: The token can't be valid, or calls come too fast.

        """
        if not secret.startswith(PREFIX) or len(secret) > _LONGEST or not secret.isascii():
            raise no_token()
        shown = digest(secret)
        if shown in self._invalid:
            self._invalid.move_to_end(shown)
            raise no_token()
        name = self._valid.get(shown, "")
        if not name:
            # Counted before the look-up, for many may be under way at once; given back if it turns out valid.
            self.spend(address)
        elif self._rates is not None:
            self._rates.spend(name)
        return TokenAttempt(secret, shown, address, name)

    def accepted(self, attempt: TokenAttempt, name: str) -> None:
        """Note a token that is valid.

        Args:
            attempt: The call.
            name: Whose token it is.

        Raises:
            RefusedError: The annotator makes too many calls, which could not be known before.

        """
        self._valid[attempt.digest] = name
        self._valid.move_to_end(attempt.digest)
        if len(self._valid) > _MOST:
            self._valid.popitem(last=False)
        if attempt.name:
            return
        self.give_back(attempt.address)
        if self._rates is not None:
            self._rates.spend(name)

    def spend(self, address: str) -> None:
        """Count a call of somebody who is not known: a first look-up, or the exchange of another kind of token.

        Args:
            address: Where it comes from.

        Raises:
            RefusedError: Such calls come too fast.

        """
        self._by_address.spend(address)
        try:
            self._all.spend("")
        except RefusedError:
            self._by_address.give_back(address)
            raise

    def give_back(self, address: str) -> None:
        """Count a call as not made, for it was somebody's after all.

        Args:
            address: Where it came from.

        """
        self._by_address.give_back(address)
        self._all.give_back("")

    def rejected(self, attempt: TokenAttempt) -> None:
        """Note a token that is not valid: one that was revoked, or ended, or never was, is so for good.

        Args:
            attempt: The call.

        """
        self._valid.pop(attempt.digest, None)
        self._invalid[attempt.digest] = None
        if len(self._invalid) > _MOST:
            self._invalid.popitem(last=False)


def no_token() -> RefusedError:
    """Refuse a call whose token opens nothing."""
    return RefusedError(
        Reason.UNAUTHENTICATED,
        "the call has no valid access token: send the metadata `authorization: Bearer TOKEN`; "
        "`tidemark token create` makes one",
    )


def address_of(peer: str) -> str:
    """Tell callers apart by where they come from.

    Args:
        peer: As gRPC names it: `ipv4:127.0.0.1:50000`, `ipv6:%5B::1%5D:50000`, `unix:…`.

    Returns:
        The address without its port; of IPv6, the site.

    """
    kind, _, rest = peer.partition(":")
    host = rest.rpartition(":")[0]
    return _site(host) if kind == "ipv6" else f"{kind}:{host}"


@lru_cache(maxsize=1_024)
def _site(host: str) -> str:
    """Of an address of IPv6; asked at each call."""
    try:
        address = ipaddress.IPv6Address(host.replace("%5B", "").replace("%5D", "").strip("[]").partition("%")[0])
    except ValueError:
        return f"ipv6:{host}"
    if address.ipv4_mapped is not None:
        return f"ipv4:{address.ipv4_mapped}"
    return f"ipv6:{ipaddress.IPv6Network((int(address), _IPV6_SITE), strict=False)}"
