"""Posts a body to a receiver that nobody trusts: to an address that was judged, within a time, and little is read."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from tidemark.runtime.judged_connection import JudgedConnection
from tidemark.runtime.safe_text import safe
from tidemark.runtime.web_addresses import Resolve, WebAddress, numbers_of, web_address

DEADLINE: Final = 15.0
"""Seconds of an attempt, the look-up of the name apart."""
_KEPT_SECONDS: Final = 30.0
"""Seconds for which a connection may be used again: then the name is looked up anew."""
_MOST_READ: Final = 16_384
_SHOWN: Final = 200
_LEAST_HIDDEN: Final = 8
"""Characters of a part of a path from which on it is taken for a secret."""
_LONGEST_WAIT: Final = 6 * 3_600.0
"""Seconds that a receiver may ask for with `Retry-After`."""
_AWAY: Final = frozenset({429, 502, 503, 504})
"""Answers of a receiver that takes nothing for now."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of an attempt.

    status: of the answer, None where there was none.  reason: why it failed, "" where it did not.
    away: the receiver takes nothing for now, whatever it is sent.  gone: it wants no more (410).
    retry_after: seconds after which it may be asked again, where it told so.
    """

    status: int | None = None
    reason: str = ""
    away: bool = False
    gone: bool = False
    retry_after: float | None = None

    @property
    def delivered(self) -> bool:
        """Whether the receiver has it."""
        return not self.reason


class Client:
    """Sends to one receiver, one request after the other over one connection. Used by one thread, but for `cancel`."""

    def __init__(
        self,
        address: WebAddress,
        *,
        private: bool = False,
        ca_file: str | None = None,
        resolve: Resolve | None = None,
        deadline: float = DEADLINE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            address: of the receiver.
            private: whether it may be of a private network, or this machine.
            ca_file: PEM file of the authority that signed its certificate; None: one that the system trusts.
            resolve: looks names up.
            deadline: seconds of an attempt.
            clock: seconds, for how long a connection is kept.

        Raises:
            OSError: the file can't be read, or holds no certificate.

        """
        self._address, self._private, self._resolve = address, private, resolve
        self._deadline, self._clock = deadline, clock
        self._context = ssl.create_default_context(cafile=ca_file) if address.scheme == "https" else None
        self._connection: JudgedConnection | None = None
        self._opened_at = 0.0
        self._lock = threading.RLock()  # a signal's handler may cancel in the midst of it
        self._socket: socket.socket | None = None
        self._cancelled = False
        self._late = threading.Event()

    def post(self, body: bytes, headers: Mapping[str, str]) -> Attempt:
        """Send a request, and hear whether the receiver has taken it.

        Args:
            body: of the request.
            headers: of the request.

        Returns:
            What came of it. Nothing that a receiver does raises.

        """
        if self._connection is not None and self._clock() - self._opened_at > _KEPT_SECONDS:
            self.close()
        kept = self._connection is not None
        try:
            return self._within_time(body, headers)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            self.close()
            if not kept:
                return _failed(error)
        try:  # it had closed a connection that was kept: that tells nothing of it
            return self._within_time(body, headers)
        except OSError as error:
            return _failed(error)

    def cancel(self) -> None:
        """End the attempt that is under way, and every later one. For other threads and signals."""
        self._cancelled = True
        self._shut()

    def close(self) -> None:
        """Let the connection go."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _within_time(self, body: bytes, headers: Mapping[str, str]) -> Attempt:
        late = self._late = threading.Event()

        def end() -> None:
            late.set()
            self._shut()

        timer = threading.Timer(self._deadline, end)
        timer.daemon = True
        try:
            if self._connection is None:
                numbers = numbers_of(self._address, private=self._private, resolve=self._resolve)
                self._connection = JudgedConnection(
                    self._address, numbers, self._context, self._note, deadline=DEADLINE
                )
                self._opened_at = self._clock()
                timer.start()
                self._connection.connect()
            else:
                timer.start()
            return self._asked(self._connection, body, headers, late)
        except PermissionError as error:
            self.close()
            return Attempt(reason=f"is not reached: {safe(str(error))}", away=True)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if late.is_set() or self._cancelled:
                self.close()
                return self._too_late()
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            return self._too_late() if late.is_set() else _failed(error)
        finally:
            timer.cancel()

    def _too_late(self) -> Attempt:
        return Attempt(reason=f"did not answer within {self._deadline:g} s", away=True)

    def _asked(
        self, connection: JudgedConnection, body: bytes, headers: Mapping[str, str], late: threading.Event
    ) -> Attempt:
        connection.request("POST", self._address.path, body, dict(headers))
        response = connection.getresponse()
        if late.is_set():  # its head was cut off
            self.close()
            return self._too_late()
        told, whole = b"", False
        with suppress(OSError, http.client.HTTPException, ValueError):  # the status has said all that counts
            told = response.read(_MOST_READ)
            whole = response.isclosed()
        if response.will_close or not whole:
            self.close()
        return _judged(self._address, response, told)

    def _note(self, opened: socket.socket) -> None:
        with self._lock:
            self._socket = opened
            if self._cancelled:
                raise ConnectionAbortedError("this process ends")
            if self._late.is_set():
                raise TimeoutError

    def _shut(self) -> None:
        with self._lock, suppress(OSError):
            if self._socket is not None:
                # Of a socket with TLS too: its own method would forget the session that the other thread uses.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _judged(address: WebAddress, response: http.client.HTTPResponse, told: bytes) -> Attempt:
    status = response.status
    if 200 <= status < 300:
        return Attempt(status)
    phrase = http.client.responses.get(status, "")
    reason = f"answered {status} {phrase}".rstrip()
    if 300 <= status < 400:
        reason += f"{_elsewhere(response.getheader('location'))}; redirects are not followed"
    elif text := _without_path(address, safe(told[: 4 * _SHOWN].decode(errors="replace").strip()))[:_SHOWN]:
        reason += f": {text}"
    return Attempt(
        status,
        reason,
        away=status in _AWAY,
        gone=status == http.client.GONE,
        retry_after=_seconds(response.getheader("retry-after")),
    )


def _elsewhere(location: str | None) -> str:
    """Where a redirect leads, without a path, which may hold the secret of the receiver's own address."""
    if not location:
        return ""
    try:
        return f" to {web_address(location).origin}"
    except ValueError:
        return " to another path"


def _without_path(address: WebAddress, text: str) -> str:
    """An answer that may quote the path it was asked for, which may hold a secret."""
    path, _, query = address.path.partition("?")
    parts = [address.path, path, query, *path.split("/"), *query.replace("=", "&").split("&")]
    for part in sorted(set(parts), key=len, reverse=True):
        if len(part) >= _LEAST_HIDDEN:
            text = text.replace(part, "…")
    return text


def _seconds(text: str | None) -> float | None:
    """Seconds that `Retry-After` asks for: a number, or a date."""
    text = (text or "").strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), _LONGEST_WAIT)
    try:
        wait = parsedate_to_datetime(text).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return min(max(wait, 0.0), _LONGEST_WAIT)


def _failed(error: Exception) -> Attempt:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"its certificate is not trusted ({error.verify_message})"
    elif isinstance(error, socket.gaierror):
        why = f"its name can't be looked up ({error.strerror})"
    elif isinstance(error, TimeoutError):
        why = "it does not answer"
    elif isinstance(error, OSError):
        why = error.strerror or str(error) or type(error).__name__
    else:
        why = f"its answer is no HTTP ({type(error).__name__})"
    return Attempt(reason=f"is not reached: {safe(why)[:_SHOWN]}", away=True)
