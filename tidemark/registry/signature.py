"""Digests of registry records: SHA-256 against accidents, HMAC-SHA-256 against anyone without the key."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from tidemark.errors import ConfigError

HEADER: Final = "digest"
"""Header of manifests, champions and tombstones: `sha256:HEX` or `hmac-sha256:HEX`."""

_VARIABLE: Final = "TIDEMARK_MODEL_KEY"
_MIN_KEY_BYTES: Final = 16
_TOMBSTONE: Final = b"deleted:"


def signing_key(environment: Mapping[str, str] | None = None) -> bytes | None:
    """Key that models are signed with: `TIDEMARK_MODEL_KEY`, or the file that `TIDEMARK_MODEL_KEY_FILE` names.

    None when neither is set: models are then protected against accidents, not against a forger.

    Raises:
        ConfigError: both are set, the file can't be read, or the key is shorter than 16 bytes.

    """
    env = os.environ if environment is None else environment
    value, path = env.get(_VARIABLE, ""), env.get(f"{_VARIABLE}_FILE", "")
    if value and path:
        raise ConfigError(f"{_VARIABLE} and {_VARIABLE}_FILE are both set; keep one of the two")
    if path:
        try:
            value = Path(path).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{_VARIABLE}_FILE names {path}, which can't be read ({error}); correct the path"
            ) from error
    key = value.strip().encode()
    if not key:
        return None
    if len(key) < _MIN_KEY_BYTES:
        raise ConfigError(f"the model key has {len(key)} bytes; use at least {_MIN_KEY_BYTES}, chosen at random")
    return key


def digest(key: bytes, value: bytes | None, secret: bytes | None) -> bytes:
    """Header value for the record of `key` and `value` (None: a tombstone); signed when there is a secret."""
    message = len(key).to_bytes(8, "big") + key + (value or b"")
    if value is None:
        message = _TOMBSTONE + message  # no value's message begins so: it would be of a key of 2**62 bytes
    if secret is None:
        return b"sha256:" + hashlib.sha256(message).hexdigest().encode()
    return b"hmac-sha256:" + hmac.new(secret, message, hashlib.sha256).hexdigest().encode()


def given(headers: Iterable[tuple[str, bytes | None]] | None) -> bytes | None:
    """The digest that a record came with; None if it came with none."""
    return next((content for name, content in headers or () if name == HEADER), None)


def refusal(key: bytes, value: bytes | None, given: bytes | None, secret: bytes | None) -> str | None:
    """Why the record's digest is not accepted, None if it is. With a secret, an unsigned record is refused."""
    if given is None:
        return f"its header {HEADER!r} is missing"
    if hmac.compare_digest(given, digest(key, value, secret)):
        return None
    if secret is not None and given.startswith(b"sha256:"):
        return f"it is not signed, and {_VARIABLE} is set here"
    if secret is None and given.startswith(b"hmac-sha256:"):
        return f"it is signed, and {_VARIABLE} is not set here"
    return f"its header {HEADER!r} does not fit its content"
