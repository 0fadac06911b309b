"""A receiver of webhooks over HTTP, which answers as a test says: `from receiving import Receiver`."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from certificates import Files


@dataclass(frozen=True)
class Request:
    """A request that came. headers: by name in small letters.  peer: the connection that it came over."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    peer: tuple[str, int]


Answer = tuple[int, dict[str, str], bytes]
Say = Callable[[Request], Answer]


def taken(_request: Request) -> Answer:
    """The answer of a receiver that takes all."""
    return 204, {}, b""


@dataclass
class Receiver:
    """What came, and how it is answered. say: the answer to each request, which a test may exchange."""

    port: int = 0
    say: Say = taken
    requests: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def identities(self) -> list[str]:
        """Of the messages that came, in their order."""
        with self.lock:
            return [request.headers["webhook-id"] for request in self.requests]


@contextmanager
def receiving(say: Say = taken, *, tls: Files | None = None, port: int = 0) -> Iterator[Receiver]:
    """A receiver that listens on this machine.

    Args:
        say: its answers.
        tls: its certificate; without it it speaks plain HTTP.
        port: where it listens; 0: where there is room.

    Yields:
        The receiver.

    """
    receiver = Receiver(say=say)
    connections: list[socket.socket] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            connections.append(self.connection)

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = self.rfile.read(length)
            if len(body) < length:  # its sender died within it: nobody can answer it, and nobody has heard it
                self.close_connection = True
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, body, self.client_address)
            with receiver.lock:
                receiver.requests.append(request)
            status, more, content = receiver.say(request)
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST  # noqa: N815 as above

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:
            """A sender that was killed."""

    server = Server(("127.0.0.1", port), Handler)
    receiver.port = server.server_address[1]
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        thread.join()
