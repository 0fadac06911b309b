"""Connections to a pipeline's labeling service, one for each person: each call bears that person's token."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from console.security.sessions import Session
from labeling_grpc.client import AsyncLabelingClient, Caller, SignedIn
from labeling_grpc.client.administration import AsyncLabelingAdminClient

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
        """A client of somebody whom the service knows. token: "" for none; the environment's is nobody's here."""
        client = self._clients.get((name, token)) or self._made(name, token)
        self._keep(name, token, client)
        return client

    @asynccontextmanager
    async def introduced(self, name: str, token: str) -> AsyncIterator[tuple[AsyncLabelingClient, Caller]]:
        """A client for a token that anybody may have made up: it takes no place until the service knows the token.

        Args:
            name: of the client.
            token: as a stranger gave it.

        Yields:
            The client, and who the service says it is. A client without a place is closed afterwards.

        Raises:
            RefusedError: the service does not know the token.
            UnreachableError: it does not answer.

        """
        kept = self._clients.get((name, token))
        if kept is not None:
            caller = await kept.caller()
            if (name, token) in self._clients:
                self._clients.move_to_end((name, token))
            yield kept, caller
            return
        client = self._made(name, token)
        try:
            caller = await client.caller()
            if caller.known and (name, token) not in self._clients:
                self._keep(name, token, client)
            yield client, caller
        finally:
            if self._clients.get((name, token)) is not client:
                await client.close()

    @asynccontextmanager
    async def administration(self, session: Session) -> AsyncIterator[AsyncLabelingAdminClient]:
        """The queue's administration, asked as whoever is signed in. It is asked seldom: a connection for each time."""
        client = AsyncLabelingAdminClient(
            self._address,
            session.name,
            pipeline=self._pipeline,
            timeout=TIMEOUT,
            patience=PATIENCE,
            token=session.token,
        )
        try:
            yield client
        finally:
            await client.close()

    async def exchange(self, id_token: str, nonce: str) -> SignedIn:
        """The access token of who has signed in by the identity provider.

        Args:
            id_token: as the provider gave it.
            nonce: of the sign-in.

        Raises:
            RefusedError: the service does not take it.
            UnreachableError: it does not answer.

        """
        client = self._made("", "")
        try:
            return await client.exchange_token(id_token, nonce)
        finally:
            await client.close()

    def _made(self, name: str, token: str) -> AsyncLabelingClient:
        return AsyncLabelingClient(
            self._address, name, pipeline=self._pipeline, timeout=TIMEOUT, patience=PATIENCE, token=token
        )

    def _keep(self, name: str, token: str, client: AsyncLabelingClient) -> None:
        self._clients[name, token] = client
        self._clients.move_to_end((name, token))
        while len(self._clients) > _MOST:
            _, oldest = self._clients.popitem(last=False)
            task = asyncio.create_task(oldest.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all."""
        clients = list(self._clients.values())
        self._clients.clear()
        await asyncio.gather(*(client.close() for client in clients), *self._closing)
