"""What an address on the web that a pipeline file names must be: `url`, with `private_host` and `ca_file` beside it."""

from __future__ import annotations

from collections.abc import Iterator

from tidemark.pipeline.problem import Problem
from tidemark.runtime.web_addresses import WebAddress, refusal, web_address


def address_problems(key: str, url: str, private_host: str | None, ca_file: str | None) -> Iterator[Problem]:
    """What is wrong with an address.

    Args:
        key: of the table that names it.
        url: the address.
        private_host: its host, where it may be of a private network.
        ca_file: of the authority that signed its certificate.

    Yields:
        The problems.

    """
    try:
        address = web_address(url)
    except ValueError as error:
        yield Problem(f"{key}.url", str(error))
        return
    if private_host is not None and private_host.lower() != address.host:
        yield Problem(f"{key}.private_host", f"'{private_host}' is not the host of url; write '{address.host}'")
    if address.scheme == "http" and not address.is_loopback:
        yield Problem(f"{key}.url", "http is not encrypted; write https, as for everything on another machine")
    elif why := _refused(address, private=private_host is not None):
        yield Problem(f"{key}.url", why)
    if ca_file is not None and address.scheme == "http":
        yield Problem(f"{key}.ca_file", "http has no certificates; remove it")


def _refused(address: WebAddress, *, private: bool) -> str | None:
    """Why an address is refused by how it is written; others are judged when a connection is made."""
    number = address.number
    if number is None:
        if address.is_loopback and not private:
            return f'{address.host} is this machine itself; allow it by private_host = "{address.host}"'
        return None
    why = refusal(number, private=private)
    if why is None or refusal(number, private=True) is not None:
        return why
    return f'{why}; allow it by private_host = "{address.host}"'
