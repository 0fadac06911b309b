"""A connection to a web server that nobody trusts: to numbers that were judged, whatever its name leads to by now."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable
from typing import Final

from tidemark.runtime.web_addresses import WebAddress

_CONNECT_SECONDS: Final = 5.0


class JudgedConnection(http.client.HTTPConnection):
    """A connection to one of some numbers, whatever the host's name leads to by now."""

    auto_open = 0

    def __init__(
        self,
        address: WebAddress,
        numbers: list[str],
        context: ssl.SSLContext | None,
        opened: Callable[[socket.socket], None],
        *,
        deadline: float,
    ) -> None:
        """Prepare.

        Args:
            address: of the server.
            numbers: of its host, each of them judged (`tidemark.runtime.web_addresses.numbers_of`).
            context: for TLS, None for plain HTTP.
            opened: called with each socket that is opened, so that another thread may shut it.
            deadline: seconds that a single read or write may take.

        """
        self.default_port = 443 if context is not None else 80
        super().__init__(address.host, address.port)
        self._numbers, self._context, self._opened, self._deadline = numbers, context, opened, deadline

    def connect(self) -> None:
        """Connect to the first number that answers.

        Raises:
            OSError: none does.

        """
        failure: OSError | None = None
        for number in self._numbers:
            family = socket.AF_INET6 if ":" in number else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                self._opened(sock)
                sock.settimeout(_CONNECT_SECONDS)
                sock.connect((number, self.port))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                sock.close()
                failure = error
            else:
                break
        else:
            raise failure or OSError("it has no address")
        sock.settimeout(self._deadline)
        self.sock = sock
        self._opened(sock)  # once more: the deadline may have passed while nothing could be shut
        if self._context is not None:
            # The handshake comes apart, so that the deadline knows of the socket by then.
            wrapped = self._context.wrap_socket(sock, server_hostname=self.host, do_handshake_on_connect=False)
            self.sock = wrapped
            self._opened(wrapped)
            wrapped.do_handshake()
