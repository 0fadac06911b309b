"""Addresses on the web that a pipeline file names, and which machines may be behind them.

A pipeline file may be written by somebody who must not reach what this machine reaches: a cloud's metadata, services
that listen on loopback, a private network. So an address is judged by the numbers that a connection is made to, never
by how it is written.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

Ip = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
"""Numbers of a name, by name and port. Raises OSError where it has none."""
_LONGEST: Final = 2_000
_MOST_NUMBERS: Final = 16
_LABEL: Final = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last part of a host that makes the whole a number to programs that read addresses as C's `inet_aton` does."""


class Reach(StrEnum):
    """What an address is of."""

    public = "public"
    private = "private"
    loopback = "loopback"
    never = "never"


def _networks(*texts: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text) for text in texts)


_PRIVATE: Final = _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
_NEVER: Final = _networks(
    "168.63.129.16/32",  # Azure's agent, a public number
    "100.100.100.200/32",  # Alibaba's metadata, within a private network
    "fd00:ec2::/32",  # Amazon's metadata over IPv6
    "fd20:ce::/32",  # Google's
    "192.0.0.0/24",  # protocols, Oracle's metadata among them
    "192.88.99.0/24",  # relays of 6to4
    "3fff::/20",  # documentation
    "2001::/23",  # Teredo, and other protocols
    "2002::/16",  # 6to4: an IPv4 address within
)
_UNICAST: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class WebAddress:
    """An `http` or `https` address. host: in small letters, IPv6 without brackets.  path: with the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def number(self) -> Ip | None:
        """The host, where it is a number."""
        return _number(self.host)

    @property
    def origin(self) -> str:
        """Without path and query, which may hold a secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"http": 80, "https": 443}[self.scheme]
        return f"{self.scheme}://{host}" + ("" if self.port == usual else f":{self.port}")

    @property
    def is_loopback(self) -> bool:
        """Whether the host is written as this machine."""
        number = self.number
        return self.host == "localhost" if number is None else reach_of(number) is Reach.loopback


def web_address(text: str) -> WebAddress:
    """The address that a text is.

    Args:
        text: as `https://host:port/path?query`.

    Returns:
        It. Whether it may be reached is not looked at.

    Raises:
        ValueError: it is none, or it is one that programs read in different ways; says what to write.

    """
    if len(text) > _LONGEST:
        raise ValueError(f"has {len(text):,} characters; write at most {_LONGEST:,}")
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise ValueError(
            "has characters that no address has; write others as %20 and the like, and names of other scripts as xn--…"
        )
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"is no address ({error}); write https://host/path") from error
    if parts.scheme not in ("http", "https") or not text[len(parts.scheme) :].startswith("://"):
        raise ValueError("is no address of the web; write https://host/path")
    if "@" in parts.netloc:
        raise ValueError("holds a user or a password; remove it: each request is signed instead")
    if "#" in text:
        raise ValueError("has a fragment ('#…'), which is never sent; remove it")
    if port == 0 or parts.netloc.endswith(":"):
        raise ValueError("has a port that there is not; write one from 1 to 65535, or none")
    host = _host(parts.hostname or "", bracketed=parts.netloc.startswith("["))
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return WebAddress(parts.scheme, host, port or {"http": 80, "https": 443}[parts.scheme], path)


def _host(host: str, *, bracketed: bool) -> str:
    if bracketed:
        if "%" in host:
            raise ValueError("names a network interface ('%…'); write the address without it")
        try:
            return str(IPv6Address(host))
        except ValueError as error:
            raise ValueError(f"is no address: '[{host}]' is no IPv6 address") from error
    if not host:
        raise ValueError("names no host; write https://host/path")
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        try:
            return str(IPv4Address(host))
        except ValueError as error:
            raise ValueError(
                f"'{host}' is a number that programs read in different ways; write four decimal numbers, as 192.0.2.1"
            ) from error
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise ValueError(f"'{host[:60]}' is no host's name; write letters, digits, '-' and '.'")
    return host


def reach_of(number: Ip) -> Reach:
    """What a number is of. Numbers that hold another one (IPv4 within IPv6) are of what that is of."""
    number = _held(number)
    if number.is_loopback:
        return Reach.loopback
    if any(number in network for network in _NEVER):
        return Reach.never
    if any(number in network for network in _PRIVATE):
        return Reach.private
    special = number.is_multicast or number.is_reserved or number.is_link_local or not number.is_global
    beyond = isinstance(number, IPv6Address) and number not in _UNICAST
    return Reach.never if special or beyond else Reach.public


def _held(number: Ip) -> Ip:
    if isinstance(number, IPv6Address):
        if number.ipv4_mapped is not None:
            return number.ipv4_mapped
        if number in _NAT64:
            return IPv4Address(int(number) & 0xFFFFFFFF)
    return number


def refusal(number: Ip, *, private: bool) -> str | None:
    """Why no connection is made to a number; None where it may be.

    Args:
        number: the address.
        private: whether the pipeline file allows private networks and this machine.

    Returns:
        What it is, for a person.

    """
    reach = reach_of(number)
    if reach is Reach.public or (private and reach is not Reach.never):
        return None
    names = {
        Reach.private: f"{number} is of a private network",
        Reach.loopback: f"{number} is this machine itself",
        Reach.never: f"{number} is of a network that is never reached (link-local, metadata, multicast or reserved)",
    }
    return names[reach]


def numbers_of(address: WebAddress, *, private: bool, resolve: Resolve | None = None) -> list[str]:
    """The numbers that a connection to an address may be made to: asked for once, each of them judged.

    Args:
        address: whose host is looked up.
        private: whether private networks and this machine are allowed.
        resolve: looks a name up; by default the system does.

    Returns:
        Numbers, in the order in which to try them.

    Raises:
        PermissionError: one of them may not be reached; says which, and what it is.
        OSError: the name has none.

    """
    if address.number is not None:
        found = [str(address.number)]
    else:
        found = list((resolve or _resolved)(address.host, address.port))[:_MOST_NUMBERS]
    if not found:
        raise OSError(f"{address.host} has no address")
    for text in found:
        number = _number(text.partition("%")[0])
        why = f"{text} is no number" if number is None else refusal(number, private=private)
        if why is None and address.scheme == "http" and number is not None and reach_of(number) is not Reach.loopback:
            why = f"{number} is another machine, to which only https goes"
        if why is not None:
            if not private and number is not None and refusal(number, private=True) is None:
                why += f'; if it may be reached, write private_host = "{address.host}"'
            raise PermissionError(f"{address.host}: {why}" if text != address.host else why)
    return found


def _resolved(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def _number(text: str) -> Ip | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
