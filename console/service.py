"""Connections to a pipeline's labeling service, one for each person: each call bears that person's token."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from console.security.sessions import Session
from labeling_grpc.client import AsyncLabelingClient

TIMEOUT: Final = 5.0
PATIENCE: Final = 1.0
"""Seconds for which a call is tried before the page is told that the service is away; the page tries on."""
_MOST: Final = 500


class Connections:
    """Clients of one service, by who calls; the longest unused is closed where there are too many."""

    def __init__(self, address: Callable[[], str], pipeline: str) -> None:
        """address: gives the service's, as of now.  pipeline: whose queue it serves."""
        self._address = address
        self._pipeline = pipeline
        self._clients: OrderedDict[tuple[str, str], AsyncLabelingClient] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    def of(self, session: Session) -> AsyncLabelingClient:
        """The client of whoever is signed in."""
        return self.client(session.name, session.token)

    def client(self, name: str, token: str) -> AsyncLabelingClient:
        """A client. token: "" for none; the environment's is nobody's who signs in here."""
        key = name, token
        client = self._clients.get(key)
        if client is None:
            client = AsyncLabelingClient(
                self._address, name, pipeline=self._pipeline, timeout=TIMEOUT, patience=PATIENCE, token=token
            )
            self._clients[key] = client
        self._clients.move_to_end(key)
        while len(self._clients) > _MOST:
            _, oldest = self._clients.popitem(last=False)
            task = asyncio.create_task(oldest.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        return client

    async def close(self) -> None:
        """Close all."""
        clients = list(self._clients.values())
        self._clients.clear()
        await asyncio.gather(*(client.close() for client in clients), *self._closing)
