"""Connections of clients to the labeling service, one that blocks and one for asyncio: what fails is tried again."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, ClassVar, Final, Self, cast

import grpc
from google.protobuf.message import Message
from grpc_status import rpc_status

from labeling_grpc.client.messages import Calls
from labeling_grpc.contract.errors import RefusedError
from labeling_grpc.options import find, is_loopback
from labeling_grpc.security.tls import Certificates
from tidemark.errors import ConfigError, LabelingError
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings

TOKEN_VARIABLE: Final = "TIDEMARK_LABELING_TOKEN"  # noqa: S105 - the name of one
"""Environment variable of the client's access token: no option, for a command line is seen by everyone."""

_PAUSE: Final = (0.05, 1.0)
_CHANNEL: Final[list[tuple[str, Any]]] = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Not a pause, whatever its name: how long an attempt may take, with TLS and HTTP/2's first words. An attempt that
    # is given up too early is never followed by one that is given longer.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.enable_retries", 0),  # repeated here, where the address can be looked up again
    # Channels to the same address share one connection by default, and with it one flow of replies.
    ("grpc.use_local_subchannel_pool", 1),
]


IN_THE_CLEAR: Final = "TIDEMARK_LABELING_TOKEN_IN_THE_CLEAR"
"""Environment variable: `on` sends a token without TLS to another machine, where who is on the way can read it."""

log = logging.getLogger(__name__)


class UnreachableError(LabelingError):
    """The labeling service could not be reached, or did not answer in time."""


class _Client:
    """Who calls, where to, and how patiently: what clients of either kind know."""

    stub: ClassVar[Any]
    """What makes the calls of one service on a channel."""

    def __init__(
        self,
        address: str | Callable[[], str],
        annotator: str,
        *,
        pipeline: str = "",
        timeout: float = 10.0,
        patience: float = 30.0,
        token: str | None = None,
        tls: Certificates | None = None,
    ) -> None:
        """Connect to `address` (`host:port`, or what gives it now) as `annotator`.

        pipeline: refuse to talk to the queue of another; "" for any.  timeout: seconds for one try.  patience: seconds
        for which a service that can't be reached is tried again.  token: access token; None for the one in
        `TIDEMARK_LABELING_TOKEN`, if any.  tls: None for the TIDEMARK_LABELING_TLS_* of the environment, if any.
        """
        self.annotator = annotator
        self._address = address if callable(address) else lambda: address
        self._calls = Calls(annotator, pipeline)
        self._metadata = _authorization(token)
        self._bears = bool(self._metadata)
        self._exposed = _flagged(IN_THE_CLEAR)
        self._tls = tls or Certificates.from_environment(os.environ)
        self._timeout = timeout
        self._patience = patience
        self._lock = threading.Lock()  # of the connection, which threads may share
        self._connected = ""
        self._stub: Any = None

    def _bear(self) -> None:
        """Keep what is sent from now on from being read on the way: what a token is given for, as a token itself."""
        self._bears = True
        self._guard(self._address())

    def _guard(self, address: str) -> None:
        """Keep a token from being sent where others can read it.

        Raises:
            ConfigError: It would be, and nobody said that it may.

        """
        if not self._bears or self._tls is not None or is_loopback(address):
            return
        if not self._exposed:
            raise ConfigError(
                f"the labeling service at {address!r} is not on this machine: without TLS the access token could be "
                "read on the way. Set TIDEMARK_LABELING_TLS_CA to the authority of its certificate, or "
                f"{IN_THE_CLEAR}=on where the network is yours alone"
            )
        log.warning("the access token is sent to %s in the clear: whoever is on the way can read it", safe(address))

    @classmethod
    def of(cls, pipeline: str, annotator: str, settings: Settings | None = None, *, patience: float = 30.0) -> Self:
        """Client of the service of `pipeline` on this machine, found again when it restarts elsewhere."""
        where = settings or Settings.from_environment()
        return cls(lambda: find(where, pipeline), annotator, pipeline=pipeline, patience=patience)


class Blocking(_Client):
    """A client that blocks. Safe to share among threads; close it, or use it as a context manager."""

    _channel: grpc.Channel | None = None

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()
            self._channel = self._stub = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, address: str) -> grpc.Channel:
        self._guard(address)
        if self._tls is None:
            return grpc.insecure_channel(address, options=_CHANNEL)
        return grpc.secure_channel(address, self._tls.of_client(), options=_CHANNEL)

    def _connect(self) -> Any:  # noqa: ANN401 - a stub of the service
        address = self._address()
        with self._lock:
            if self._stub is None or address != self._connected:
                if self._channel is not None:
                    self._channel.close()
                self._channel = self._open(address)
                self._stub = type(self).stub(self._channel)
                self._connected = address
            return self._stub

    def _call(self, method: str, request: Message, wait: float = 0.0) -> Any:  # noqa: ANN401 - the method's response
        stub = self._stub
        pauses = _Pauses(self._patience)
        while True:
            try:
                stub = stub or self._connect()
                return getattr(stub, method)(request, timeout=wait + self._timeout, metadata=self._metadata)
            except (grpc.RpcError, LabelingError) as error:
                pause = pauses.after(error)
                if pause is None:
                    raise translated(error, self._connected) from error
                time.sleep(pause)
                stub = None

    def _paged(self, method: str, request: Any, field: str) -> Iterator[Any]:  # noqa: ANN401 - as above
        """What a list gives, page by page. field: of the response, that holds it."""
        for response in self._pages(method, request):
            yield from getattr(response, field)

    def _pages(self, method: str, request: Any) -> Iterator[Any]:  # noqa: ANN401 - as above
        """The responses of a list, page by page."""
        while True:
            response = self._call(method, request)
            yield response
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token


class Asyncio(_Client):
    """A client for asyncio. Lives in one event loop; close it, or use it as a context manager."""

    _channel: grpc.aio.Channel | None = None

    async def close(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            await self._channel.close(None)
        self._channel = self._stub = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _open(self, address: str) -> grpc.aio.Channel:
        self._guard(address)
        if self._tls is None:
            return grpc.aio.insecure_channel(address, options=_CHANNEL)
        return grpc.aio.secure_channel(address, self._tls.of_client(), options=_CHANNEL)

    def _connect(self) -> Any:  # noqa: ANN401 - as above
        address = self._address()
        if self._stub is None or address != self._connected:
            self._channel = self._open(address)
            self._stub = type(self).stub(self._channel)
            self._connected = address
        return self._stub

    async def _call(
        self, method: str, request: Message, wait: float = 0.0, metadata: tuple[tuple[str, str], ...] | None = None
    ) -> Any:  # noqa: ANN401 - as above
        stub = self._stub
        sent = self._metadata if metadata is None else metadata
        pauses = _Pauses(self._patience)
        while True:
            try:
                stub = stub or self._connect()
                call: Awaitable[Any] = getattr(stub, method)(request, timeout=wait + self._timeout, metadata=sent)
                return await call
            except (grpc.RpcError, LabelingError) as error:
                pause = pauses.after(error)
                if pause is None:
                    raise translated(error, self._connected) from error
                await asyncio.sleep(pause)
                stub = None

    async def _paged(self, method: str, request: Any, field: str) -> AsyncIterator[Any]:  # noqa: ANN401 - as above
        """As `Blocking._paged`."""
        async for response in self._pages(method, request):
            for record in getattr(response, field):
                yield record

    async def _pages(self, method: str, request: Any) -> AsyncIterator[Any]:  # noqa: ANN401 - as above
        """As `Blocking._pages`."""
        while True:
            response = await self._call(method, request)
            yield response
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token


def _authorization(token: str | None) -> tuple[tuple[str, str], ...]:
    secret = os.environ.get(TOKEN_VARIABLE, "").strip() if token is None else token
    if not secret.isascii() or not secret.isprintable():
        raise ConfigError(f"the access token (see {TOKEN_VARIABLE}) has characters that no token has: copy it anew")
    return bearer(secret)


def bearer(secret: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call that shows an access token, "" for none."""
    return (("authorization", f"Bearer {secret}"),) if secret else ()


def _flagged(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() in {"1", "true", "yes", "on"}


class _Pauses:
    """How long to wait before the next try; with jitter, so that clients do not come back all at once."""

    def __init__(self, patience: float) -> None:
        self._deadline = time.monotonic() + patience
        self._pause = _PAUSE[0]

    def after(self, error: Exception) -> float | None:
        """Seconds; None: no further try."""
        code = error.code() if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else None
        if time.monotonic() >= self._deadline:
            return None
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            status = rpc_status.from_call(cast("grpc.Call", error))
            refusal = None if status is None else RefusedError.of(status)
            return None if refusal is None or not refusal.retry_after else refusal.retry_after
        if isinstance(error, grpc.RpcError) and code is not grpc.StatusCode.UNAVAILABLE:
            return None
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        self._pause = min(2 * self._pause, _PAUSE[1])
        return pause


def translated(error: Exception, address: str) -> LabelingError:
    """The product's error for a failed call."""
    if isinstance(error, LabelingError):
        return UnreachableError(str(error))  # no address of it was found
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        raise TypeError(f"not the error of a call: {error!r}")
    status = rpc_status.from_call(cast("grpc.Call", error))
    refusal = None if status is None else RefusedError.of(status)
    if refusal is not None:
        return refusal
    code, details = error.code(), error.details()
    if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}:
        return UnreachableError(
            f"the labeling service at {address} does not answer ({code.name}: {details}); see `tidemark status`"
        )
    return LabelingError(f"the labeling service at {address} failed: {code.name}: {details}")
