from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.runtime.web_addresses import Reach, numbers_of, reach_of, refusal, web_address

# What each address is of: the whole of it is judged, whatever a pipeline file or a name service says.
REACHES = {
    # Loopback, in all its forms.
    "127.0.0.1": Reach.loopback,
    "127.8.9.10": Reach.loopback,
    "::1": Reach.loopback,
    "::ffff:127.0.0.1": Reach.loopback,
    "64:ff9b::127.0.0.1": Reach.loopback,
    # Private networks.
    "10.0.0.1": Reach.private,
    "172.16.0.1": Reach.private,
    "172.31.255.255": Reach.private,
    "192.168.1.1": Reach.private,
    "100.64.0.1": Reach.private,
    "fc00::1": Reach.private,
    "fd12:3456::1": Reach.private,
    "::ffff:10.0.0.1": Reach.private,
    "::ffff:192.168.1.1": Reach.private,
    "64:ff9b::10.0.0.1": Reach.private,
    # Metadata of clouds, and link-local.
    "169.254.169.254": Reach.never,
    "169.254.170.2": Reach.never,
    "::ffff:169.254.169.254": Reach.never,
    "64:ff9b::169.254.169.254": Reach.never,
    "168.63.129.16": Reach.never,
    "100.100.100.200": Reach.never,
    "192.0.0.192": Reach.never,
    "fd00:ec2::254": Reach.never,
    "fd20:ce::254": Reach.never,
    "fe80::1": Reach.never,
    # No machine of anybody's.
    "0.0.0.0": Reach.never,  # noqa: S104 an address, nothing listens
    "0.1.2.3": Reach.never,
    "::": Reach.never,
    "224.0.0.1": Reach.never,
    "239.255.255.250": Reach.never,
    "ff02::1": Reach.never,
    "240.0.0.1": Reach.never,
    "255.255.255.255": Reach.never,
    "192.0.2.1": Reach.never,
    "198.51.100.1": Reach.never,
    "203.0.113.1": Reach.never,
    "198.18.0.1": Reach.never,
    "192.88.99.1": Reach.never,
    "2001:db8::1": Reach.never,
    "3fff::1": Reach.never,
    # One address within another.
    "2002:7f00:1::": Reach.never,
    "2001:0:7f00:1::": Reach.never,
    "::7f00:1": Reach.never,
    "64:ff9b:1::7f00:1": Reach.never,
    "fec0::1": Reach.never,
    # The world.
    "8.8.8.8": Reach.public,
    "172.15.255.255": Reach.public,
    "172.32.0.1": Reach.public,
    "100.63.255.255": Reach.public,
    "2606:4700::1111": Reach.public,
    "::ffff:8.8.8.8": Reach.public,
    "64:ff9b::8.8.8.8": Reach.public,
}


@pytest.mark.parametrize(("number", "reach"), REACHES.items(), ids=list(REACHES))
def test_each_number_is_of_what_it_is_of(number: str, reach: Reach) -> None:
    assert reach_of(ip_address(number)) is reach


@pytest.mark.parametrize(("number", "reach"), REACHES.items(), ids=list(REACHES))
def test_a_name_that_leads_to_a_number_is_refused_as_the_number_is(number: str, reach: Reach) -> None:
    address = web_address("https://hooks.example.com/x")

    for private, may in ((False, reach is Reach.public), (True, reach is not Reach.never)):
        if may:
            assert numbers_of(address, private=private, resolve=lambda _host, _port: [number]) == [number]
        else:
            with pytest.raises(PermissionError, match=r"hooks\.example\.com: "):
                numbers_of(address, private=private, resolve=lambda _host, _port: [number])


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "127.0.0.1.",
        "127.0.0.256",
        "127.0.0.01",
        "2852039166",
        "0xa9fea9fe",
        "[::1%25lo]",
        "[fe80::1%lo]",
        "[::ffff:127.0.0.1.]",
        "1.2.3.4.5",
        "example.0x10",
    ],
)
def test_a_number_that_programs_read_in_different_ways_is_no_host(host: str) -> None:
    with pytest.raises(ValueError, match=r"number|address|interface"):
        web_address(f"https://{host}/")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("https://user@example.com/", "holds a user or a password"),
        ("https://user:secret@example.com/", "holds a user or a password"),
        ("https://example.com@127.0.0.1/", "holds a user or a password"),
        ("https://example.com#@127.0.0.1/", "fragment"),
        ("https://example.com/#x", "fragment"),
        ("https://example.com\\@127.0.0.1/", "characters that no address has"),
        ("https://exam\nple.com/", "characters that no address has"),
        ("https://exam\tple.com/", "characters that no address has"),
        (" https://example.com/", "characters that no address has"),
        ("https://ⓔxample.com/", "characters that no address has"),
        ("https://example。com/", "characters that no address has"),
        ("https://example.com:0/", "port"),
        ("https://example.com:65536/", "is no address"),
        ("https://example.com:-1/", "is no address"),
        ("https://example.com:8x/", "is no address"),
        ("https://example.com:/", "port"),
        ("https://[::1/", "is no address"),
        ("https:///path", "names no host"),
        ("https:example.com", "is no address of the web"),
        ("//example.com/", "is no address of the web"),
        ("file:///etc/passwd", "is no address of the web"),
        ("gopher://127.0.0.1:6379/_", "is no address of the web"),
        ("ftp://example.com/", "is no address of the web"),
        ("javascript:alert(1)", "is no address of the web"),
        ("https://-example.com/", "is no host's name"),
        ("https://exa..mple.com/", "is no host's name"),
        ("https://example.com./", "is no host's name"),
        ("https://exa%2emple.com/", "is no host's name"),
        (f"https://{'a' * 64}.com/", "is no host's name"),
        (f"https://example.com/{'a' * 2_000}", "characters; write at most"),
    ],
)
def test_what_is_no_plain_address_is_refused_with_what_to_write(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        web_address(text)


@pytest.mark.parametrize(
    ("text", "origin", "path"),
    [
        ("https://Hooks.Example.com", "https://hooks.example.com", "/"),
        ("https://example.com:443/a/b?c=d&e", "https://example.com", "/a/b?c=d&e"),
        ("https://example.com:8443/", "https://example.com:8443", "/"),
        ("https://[2606:4700::1111]/x", "https://[2606:4700::1111]", "/x"),
        ("http://127.0.0.1:8000/x", "http://127.0.0.1:8000", "/x"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example", "/"),
        ("https://a_b.internal?x", "https://a_b.internal", "/?x"),
    ],
)
def test_an_address_says_where_it_leads(text: str, origin: str, path: str) -> None:
    address = web_address(text)
    assert (address.origin, address.path) == (origin, path)


def test_http_goes_to_this_machine_alone_wherever_its_name_leads() -> None:
    address = web_address("http://localhost:8000/")
    assert numbers_of(address, private=True, resolve=lambda _host, _port: ["127.0.0.1"]) == ["127.0.0.1"]
    with pytest.raises(PermissionError, match="to which only https goes"):
        numbers_of(address, private=True, resolve=lambda _host, _port: ["10.0.0.1"])
    with pytest.raises(PermissionError, match="to which only https goes"):
        numbers_of(address, private=True, resolve=lambda _host, _port: ["127.0.0.1", "8.8.8.8"])


def test_one_forbidden_number_among_others_refuses_the_name() -> None:
    address = web_address("https://example.com/")
    with pytest.raises(PermissionError, match=r'network; if it may be reached, write private_host = "example.com"$'):
        numbers_of(address, private=False, resolve=lambda _host, _port: ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(PermissionError, match="is no number"):
        numbers_of(address, private=True, resolve=lambda _host, _port: ["8.8.8.8", "hello"])
    with pytest.raises(OSError, match="has no address"):
        numbers_of(address, private=True, resolve=lambda _host, _port: [])


def test_what_the_system_reads_as_this_machine_is_refused_by_its_number() -> None:
    found = {each[4][0] for each in socket.getaddrinfo("localhost", 1, type=socket.SOCK_STREAM)}
    assert all(reach_of(ip_address(number)) is Reach.loopback for number in found)
    with pytest.raises(PermissionError, match="this machine itself"):
        numbers_of(web_address("https://localhost/"), private=False)


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_within_another_is_judged_alike(number: int) -> None:
    v4 = ip_address(number)
    assert reach_of(ip_address(f"::ffff:{v4}")) is reach_of(v4)
    assert reach_of(ip_address(f"64:ff9b::{v4}")) is reach_of(v4)
    if reach_of(v4) is Reach.public:
        assert v4.is_global
        assert refusal(v4, private=False) is None


@given(st.integers(0, 2**128 - 1))
def test_no_public_ipv6_address_is_of_a_special_network(number: int) -> None:
    v6 = ip_address(number | 1 << 120)
    if reach_of(v6) is Reach.public:
        assert v6.is_global
        assert not v6.is_private


@given(st.text(max_size=60))
def test_whatever_a_file_says_is_an_address_or_a_sentence(text: str) -> None:
    for each in (text, f"https://{text}", f"https://example.com{text}"):
        with suppress(ValueError):
            address = web_address(each)
            assert "@" not in address.host
            assert web_address(address.origin + address.path) == address
