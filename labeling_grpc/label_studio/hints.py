"""Label Studio's webhooks: that something changed, and perhaps of which task. Nothing that they say is believed."""

from __future__ import annotations

import hmac
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import msgspec

HEADER: Final = "X-Tidemark-Secret"
"""Header that holds the secret which the two share."""
MOST_BYTES: Final = 1 << 20
_MOST_TASKS: Final = 1_000
_MOST_AT_ONCE: Final = 32
_SECONDS: Final = 5.0
_DIGITS: Final = 9
ACTIONS: Final = ("ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Hinted:
    """Tasks by number. all: more than these may have changed."""

    tasks: set[int] = field(default_factory=set)
    all: bool = False


class Hints:
    """What was hinted since the bridge looked last. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal's handler may wake in the midst of it
        self._hinted = Hinted()
        self._woken = threading.Event()

    def add(self, task: int | None) -> None:
        """Let the bridge look at a task soon; None: at all that changed."""
        with self._lock:
            if task is None or len(self._hinted.tasks) >= _MOST_TASKS:
                self._hinted.all = True
            else:
                self._hinted.tasks.add(task)
        self._woken.set()

    def wake(self) -> None:
        """End a wait."""
        self._woken.set()

    def take(self) -> Hinted:
        """What was hinted."""
        with self._lock:
            hinted, self._hinted = self._hinted, Hinted()
        return hinted

    def wait(self, seconds: float) -> None:
        """Wait so long, or until there is a hint."""
        self._woken.wait(seconds)
        self._woken.clear()


class _Numbered(msgspec.Struct, frozen=True):
    id: int | None = None
    task: Any = None


class _Told(msgspec.Struct, frozen=True):
    """A webhook's body, as far as it names a task."""

    task: _Numbered | None = None
    annotation: _Numbered | None = None


def task_named(body: bytes) -> int | None:
    """Number of the task that a webhook is about; None where it names none, or can't be read."""
    try:
        told = msgspec.json.decode(body, type=_Told)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    number = told.task.id if told.task is not None else None
    if number is None and told.annotation is not None:
        number = told.annotation.task
    return number if isinstance(number, int) and 0 < number < 2**63 else None


class _Server(ThreadingHTTPServer):
    """Takes as many requests at once as there are places; what finds none is polled for."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], secret: Callable[[], str], hints: Hints) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.secret, self.hints = secret, hints
        self._places = threading.BoundedSemaphore(_MOST_AT_ONCE)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the library's
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the library's
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, *_: object) -> None:
        log.debug("a request of Label Studio broke off")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _SECONDS
    server: _Server

    def version_string(self) -> str:
        return "tidemark"

    def do_POST(self) -> None:
        status = self._judged()
        self.close_connection = True
        self.send_response(status)
        self.send_header("Connection", "close")
        if status is not HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def _judged(self) -> HTTPStatus:
        shown = self.headers.get(HEADER, "").encode()
        if not hmac.compare_digest(shown, self.server.secret().strip().encode()):
            return HTTPStatus.UNAUTHORIZED
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            return HTTPStatus.LENGTH_REQUIRED
        if len(length) > _DIGITS or int(length) > MOST_BYTES:
            self.server.hints.add(None)  # it is Label Studio's by its secret; what it is about, a poll tells
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        self.server.hints.add(task_named(self.rfile.read(int(length))))
        return HTTPStatus.NO_CONTENT

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def listening(address: tuple[str, int], secret: Callable[[], str], hints: Hints) -> Iterator[int]:
    """Take webhooks.

    Args:
        address: host and port; port 0 takes a free one.
        secret: gives the secret that a request must show.
        hints: takes what they hint at.

    Yields:
        The port.

    Raises:
        OSError: the address can't be had.

    """
    with _Server(address, secret, hints) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()
