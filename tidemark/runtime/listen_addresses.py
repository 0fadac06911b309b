"""Addresses at which a process listens: `host:port`."""

from __future__ import annotations

from ipaddress import ip_address


def parted(address: str) -> tuple[str, int]:
    """Host and port of `host:port`.

    Raises:
        ValueError: it is none.

    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdecimal()) or int(port) > 65_535:
        raise ValueError(f"{address[:60]!r} is not host:port; write 127.0.0.1:8080")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone; no name but `localhost` is, whatever it may resolve to."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
