"""Names of models: `v000012-89abcdef`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from tidemark.errors import ModelError

_VERSION: Final = re.compile(r"(?!champion$)[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SERIAL: Final = re.compile(r"v([0-9]{6,12})-[0-9a-f]{8}")


def is_version(text: str) -> bool:
    """Whether a text can name a version."""
    return _VERSION.fullmatch(text) is not None


def serial_of(version: str) -> int:
    """Number of a version such as `v000012-89abcdef`; 0 for a name without one."""
    match = _SERIAL.fullmatch(version)
    return int(match[1]) if match else 0


def next_version(known: Iterable[str], content_sha256: str) -> str:
    """One more than the highest known, and the first digits of what it was trained on.

    Args:
        known: versions that there are.
        content_sha256: hex digits, at least eight.

    Returns:
        The version.

    Raises:
        ModelError: there is no higher one; somebody else has written a version that ends the line.

    """
    serial = max(map(serial_of, known), default=0) + 1
    version = f"v{serial:06d}-{content_sha256[:8]}"
    if serial_of(version) != serial:
        raise ModelError(f"no model can come after serial {serial - 1:,}; re-create the models topic and train again")
    return version
