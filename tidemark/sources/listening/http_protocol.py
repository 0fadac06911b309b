"""HTTP/1.1 connections of uvicorn, bounded: their number, and the time that a request's head may take."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle


class Bounded(H11Protocol):
    """A connection.

    Attributes:
        most: connections at once; one more is closed.
        head_seconds: time from the connection, or from the last answer, in which the head of a request must be
            complete.

    """

    most: ClassVar[int] = 500
    head_seconds: ClassVar[float] = 10.0
    _head: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, most: int) -> type[Bounded]:
        """The class for another number of connections."""
        return type("Bounded", (cls,), {"most": most})

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 as uvicorn has it
        """Wait for a request, or close what is one too many."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
            return
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._wait_for_head()

    def _wait_for_head(self) -> None:
        self._stop()
        self._head = self.loop.call_later(self.head_seconds, self._late)

    def _stop(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _late(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle  # None until the first request, whatever uvicorn declares
        if cycle is None or cycle.response_complete:
            self.transport.abort()
