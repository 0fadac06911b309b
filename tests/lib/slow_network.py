"""A network on which the other side's first word is late."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SLOW = 1.5
"""Seconds that the service's first word takes: TLS over an ocean, or a machine that is busy."""


def _copy(source: socket.socket, target: socket.socket, after: float) -> None:
    threading.Event().wait(after)
    with suppress(OSError):  # one side has ended, or the network: told after a test, it would fail the next one
        while data := source.recv(65_536):
            target.sendall(data)


@contextmanager
def slow_network(address: str) -> Iterator[str]:
    """An address by which a service is reached whose first word is late."""
    host, _, port = address.rpartition(":")
    opened: list[socket.socket] = []

    def forward() -> None:
        while True:
            try:
                here, _ = listening.accept()
                opened.append(here)
                there = socket.create_connection((host, int(port)))
                opened.append(there)
            except OSError:  # as above
                return
            for source, target, after in ((here, there, 0.0), (there, here, SLOW)):
                threading.Thread(target=_copy, args=(source, target, after), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=forward, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        for each in opened:
            each.close()
