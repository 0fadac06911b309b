"""Signed requests of one webhook."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tidemark.webhooks.client import Attempt
from tidemark.webhooks.signing import signed_headers


class Sender(Protocol):
    """What requests go through: `tidemark.webhooks.client.Client`."""

    def post(self, body: bytes, headers: Mapping[str, str]) -> Attempt:
        """Send a request."""
        ...

    def cancel(self) -> None:
        """End what is under way."""
        ...

    def close(self) -> None:
        """Let the connection go."""
        ...


class Requests:
    """Signs and sends. Used by one thread, but for `cancel`."""

    def __init__(self, sender: Sender, keys: Callable[[], Sequence[bytes]], agent: str) -> None:
        """Begin.

        Args:
            sender: of the requests.
            keys: reads the keys, each of which signs.
            agent: what requests say of who sends them.

        Raises:
            ConfigError: the keys can't be had.

        """
        self._sender, self._read, self._agent = sender, keys, agent
        self._keys = keys()

    def renew(self) -> None:
        """Sign by the keys as they are now.

        Raises:
            ConfigError: they can't be had; those from before are kept.

        """
        self._keys = self._read()

    def send(self, identity: str, body: bytes, at: float) -> Attempt:
        """Send a message.

        Args:
            identity: of the message, the same at each attempt.
            body: its JSON.
            at: time of the attempt, s since 1970.

        Returns:
            What came of it.

        """
        own = {"Content-Type": "application/json", "User-Agent": self._agent}
        return self._sender.post(body, own | signed_headers(self._keys, identity, at, body))

    def cancel(self) -> None:
        """End the request that is under way, from another thread or a signal's handler."""
        self._sender.cancel()

    def close(self) -> None:
        """Let the connection go."""
        self._sender.close()
