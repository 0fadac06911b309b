"""Ports of servers that are ended and started again."""

from __future__ import annotations

import random
from typing import Final

from tidemark.broker.layout import is_free

_PORTS: Final = range(20_000, 32_000)
"""Below those that systems give to outgoing connections: one of those could take the port between two starts."""


def lasting_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that is free again when who listens on it has ended."""
    return next(port for port in random.sample(_PORTS, len(_PORTS)) if is_free(port))
