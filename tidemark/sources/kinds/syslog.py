"""Syslog (RFC 5424) over TCP and TLS."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Sequence
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from tidemark.errors import ConfigError
from tidemark.pipeline.model import Duration
from tidemark.records.source_kinds import SourceKind, SourceOptions
from tidemark.runtime.listen_addresses import is_loopback, parted
from tidemark.runtime.safe_text import safe
from tidemark.sources.intake import Intake, Parcel, Room, weight
from tidemark.sources.listening.address import Address, check_tls, listening, server_tls
from tidemark.sources.listening.syslog_message import BadFrameError, Frames, record_of
from tidemark.sources.source import Positions, Setting, SourceRecord

_log = logging.getLogger(__name__)
_READ: Final = 1 << 16
_FULL_SECONDS: Final = 0.02
_TOGETHER: Final = 200
"""Records that are handed over at once: they fit the smallest buffer."""
_HANDSHAKE_SECONDS: Final = 10
_STOP_SECONDS: Final = 5.0


class SyslogOptions(SourceOptions):
    """Options of a `syslog` source."""

    address: Address = "127.0.0.1:6514"
    """`host:port` to listen on; port 0 takes a free one, which the log names."""
    anybody: bool = False
    """Whether whoever reaches the address may send: needed for an address that other machines reach, without
    `tls_ca`."""
    tls_cert: str | None = None
    """PEM file of the certificate; with it the source speaks TLS alone."""
    tls_key: str | None = None
    """PEM file of its key."""
    tls_ca: str | None = None
    """PEM file of who must have signed the senders' certificates."""
    max_message: Annotated[int, Field(ge=480, le=800_000)] = 65_536
    """Bytes of a message. A longer one that a newline ends is cut; one that tells its length ends the connection."""
    connections: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Most connections at once."""
    buffer: Annotated[int, Field(ge=1_000_000, le=10_000_000_000)] = 64_000_000
    """Bytes that may wait for Kafka; beyond, nothing is read from the senders."""
    message_timeout: Duration = 30_000_000
    """Time in which a message that has begun must be there, or the connection ends."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_tls(self.tls_cert, self.tls_key, self.tls_ca)
        if self.buffer < 4 * self.max_message:
            raise ValueError("buffer must be at least four times max_message")
        if not (is_loopback(parted(self.address)[0]) or self.tls_ca or self.anybody):
            raise ValueError(f"anybody could send to {self.address}: set tls_ca, or anybody = true")
        return self


class SyslogSource:
    """Listens in a thread of its own."""

    def __init__(self, setting: Setting) -> None:
        """Prepare for a setting."""
        options = setting.options
        assert isinstance(options, SyslogOptions)  # noqa: S101 by the kind
        self._setting, self._options = setting, options
        self._wanted = frozenset(setting.spec.columns.values())
        self._intake = Intake(Room(options.buffer))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread: threading.Thread | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._said: set[str] = set()
        self.port = 0

    def open(self, known: Positions) -> None:  # noqa: ARG002 connections have no positions
        """Listen; what was taken and not committed is taken again.

        Raises:
            ConfigError: the address can't be had, or a file is wrong.

        """
        if self._thread is not None:
            self._intake.again()
            return
        options, name = self._options, self._setting.name
        context: ssl.SSLContext | None = None
        if options.tls_cert is not None and options.tls_key is not None:
            files = (str(self._setting.path(options.tls_cert)), str(self._setting.path(options.tls_key)))
            context = server_tls(name, *files, self._setting.file(options.tls_ca))
        listener = listening(name, options.address)
        self.port = listener.getsockname()[1]
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listener, context)), daemon=True, name=f"syslog {name}"
        )
        self._thread.start()
        over = "TCP" if context is None else "TLS"
        _log.info("source '%s' takes syslog over %s on %s:%d", name, over, parted(options.address)[0], self.port)

    def read(self, most: int, seconds: float) -> Sequence[SourceRecord]:
        """Messages that came."""
        if self._thread is not None and not self._thread.is_alive() and not self._stop.is_set():
            raise ConfigError(f"source '{self._setting.name}' no longer listens; see the log, and start it again")
        return self._intake.take(most, seconds)

    def positions(self) -> Positions:
        """None: syslog acknowledges nothing."""
        return Positions()

    def committed(self) -> None:
        """Make room."""
        self._intake.committed()

    def drain(self) -> None:
        """Take no more from senders; what came already can be read still."""
        loop = self._loop
        if self._thread is not None and loop is not None and self._thread.is_alive():
            loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(_STOP_SECONDS)

    def close(self) -> None:
        """Stop listening."""
        self.drain()
        self._intake.close()

    # What follows runs in the thread.

    async def _serve(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        self._loop = asyncio.get_running_loop()
        handshake = None if context is None else _HANDSHAKE_SECONDS
        server = await asyncio.start_server(
            self._connected, sock=listener, ssl=context, limit=_READ, ssl_handshake_timeout=handshake
        )
        async with server:
            await self._stop.wait()
            server.close()
            for task in list(self._connections):
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 the server makes one for each connection
        peer = writer.get_extra_info("peername")
        told = f"{peer[0]}:{peer[1]}" if peer else "unknown"
        if len(self._connections) >= self._options.connections:
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            await self._messages(reader, told)
        except BadFrameError as error:
            self._say(f"{told.rpartition(':')[0]} sends what is no syslog over TCP: {error}")
        except TimeoutError:
            self._say(f"{told.rpartition(':')[0]} did not end a message that it began")
        except (OSError, ssl.SSLError):
            _log.debug("%s has gone", told)
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _messages(self, reader: asyncio.StreamReader, peer: str) -> None:
        frames = Frames(self._options.max_message)
        count = 0
        deadline: float | None = None
        while True:
            async with asyncio.timeout_at(deadline):
                data = await reader.read(_READ)
            if not data:
                return
            records = []
            for message in frames.feed(data):
                count += 1
                records.append(record_of(message, f"{peer} {count}", self._wanted))
            for begin in range(0, len(records), _TOGETHER):
                await self._hand_over(records[begin : begin + _TOGETHER])
            # The time is the whole message's: a byte now and then does not keep a connection.
            if not frames.partial:
                deadline = None
            elif deadline is None or frames.ended:
                deadline = asyncio.get_running_loop().time() + self._options.message_timeout / 1e6

    async def _hand_over(self, records: list[SourceRecord]) -> None:
        """Hand records over when there is room. Nothing more is read meanwhile, so that the sender waits."""
        held = weight(records)
        while not self._intake.room.take(held):  # noqa: ASYNC110 another thread makes room
            await asyncio.sleep(_FULL_SECONDS)
        self._intake.put(Parcel(records, held))

    def _say(self, what: str) -> None:
        if what not in self._said and len(self._said) < self._options.connections:
            self._said.add(what)
            _log.warning("source '%s': %s", self._setting.name, safe(what))


KIND: Final = SourceKind(
    meaning="Syslog messages (RFC 5424) over TCP and TLS.",
    options=SyslogOptions,
    attributes={
        "facility": "Facility of the message, a number.",
        "severity": "Severity of the message, a number from 0.",
        "time": "Timestamp of the message.",
        "host": "Host that sent the message.",
        "app": "Application that sent it.",
        "process": "Process that sent it.",
        "message_id": "Type of the message.",
        "data.": "A value of structured data, as `data.ID.NAME`.",
    },
    open=SyslogSource,
    text=True,
)
