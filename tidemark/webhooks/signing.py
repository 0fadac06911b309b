"""Signatures of requests, as the specification of Standard Webhooks has them (standardwebhooks.com).

By hand in a few lines: the library `standardwebhooks` is made for receivers, and signs with one secret alone.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Final

PREFIX: Final = "whsec_"
_LEAST: Final = 24
_MOST: Final = 64
"""Bytes of a secret, as the specification has them."""
_MOST_SECRETS: Final = 5


def new_secret() -> str:
    """A secret, chosen at random: `whsec_` and 32 bytes in Base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def keys_of(text: str) -> list[bytes]:
    """The keys in a text.

    Args:
        text: one secret, or several with spaces or line ends between, while one takes another's place.

    Returns:
        A key for each.

    Raises:
        ValueError: one of them is no secret. It is not told which characters it has.

    """
    words = text.split()
    if not 0 < len(words) <= _MOST_SECRETS:
        raise ValueError(f"holds {len(words)} secrets; write 1 to {_MOST_SECRETS}")
    return [_key(word) for word in words]


def _key(word: str) -> bytes:
    remedy = "`tidemark webhook secret` makes one"
    if not word.startswith(PREFIX):
        raise ValueError(f"is no secret of a webhook, which begins with {PREFIX}; {remedy}")
    encoded = word.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"is no Base64 behind {PREFIX}; {remedy}") from error
    if not _LEAST <= len(key) <= _MOST:
        raise ValueError(f"has {len(key)} bytes; a secret has {_LEAST} to {_MOST}: {remedy}")
    return key


def signed_headers(keys: Sequence[bytes], identity: str, at: float, body: bytes) -> dict[str, str]:
    """The headers by which a receiver knows who sent a request, and when.

    Args:
        keys: each makes a signature.
        identity: of the message, the same at each attempt.
        at: time of the attempt, s since 1970.
        body: as it is sent.

    Returns:
        Headers by name.

    """
    seconds = str(int(at))
    content = b".".join((identity.encode(), seconds.encode(), body))
    made = [base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in keys]
    return {
        "webhook-id": identity,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(f"v1,{each}" for each in made),
    }
