"""Where a source listens, and TLS there."""

from __future__ import annotations

import socket
import ssl
from typing import Annotated, Final

from pydantic import AfterValidator

from tidemark.errors import ConfigError
from tidemark.runtime.listen_addresses import parted

_BACKLOG: Final = 512


def _checked(address: str) -> str:
    parted(address)
    return address


Address = Annotated[str, AfterValidator(_checked)]
"""An option that is `host:port`."""


def check_pair(certificate: str | None, key: str | None) -> None:
    """Refuse options of which one does nothing.

    Raises:
        ValueError: a certificate without its key, or a key alone.

    """
    if (certificate is None) != (key is None):
        raise ValueError("tls_cert and tls_key go together: set both, or neither")


def check_tls(certificate: str | None, key: str | None, authority: str | None) -> None:
    """Refuse options of a server's TLS of which one does nothing.

    Raises:
        ValueError: says which belong together.

    """
    check_pair(certificate, key)
    if authority is not None and certificate is None:
        raise ValueError("tls_ca needs tls_cert and tls_key")


def listening(source: str, address: str) -> socket.socket:
    """A socket that listens.

    Args:
        source: whose it is, for the error.
        address: `host:port`; port 0 takes a free one.

    Returns:
        The socket.

    Raises:
        ConfigError: the address can't be had.

    """
    host, port = parted(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"source '{source}' can't listen on {address}: {error.strerror or error}; name a free address of this "
            "machine in options.address"
        ) from error


def server_tls(source: str, certificate: str, key: str, authority: str | None) -> ssl.SSLContext:
    """TLS of a server, from PEM files.

    Args:
        source: whose it is, for the error.
        certificate: file of the certificate and its chain.
        key: file of its key.
        authority: file of who must have signed the clients' certificates; None: clients show none.

    Returns:
        The context.

    Raises:
        ConfigError: a file is missing or no PEM, or the key is not the certificate's.

    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
        if authority is not None:
            context.load_verify_locations(authority)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(path for path in (certificate, key, authority) if path is not None)
        raise ConfigError(
            f"source '{source}': {files}: {error}; each must be a PEM file, the key the certificate's"
        ) from error
    return context
