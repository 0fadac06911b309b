"""What is had from elsewhere and kept for a while: asked for anew now and then, and gone on with while that fails."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from tidemark.errors import LabelingError
from tidemark.runtime.safe_text import safe

FRESH: Final = 600.0
"""Seconds for which what was read is not read again. A key that the provider has withdrawn is believed that long."""

STALE: Final = 24 * 3_600.0
"""Seconds for which what was read is gone on with while the provider is away."""

AGAIN: Final = 30.0
"""Seconds between two readings that somebody's token asks for: with a key that nobody knows."""

RETRY: Final = 5.0
"""Seconds after a failure in which there is no further try."""

Kind = TypeVar("Kind")

log = logging.getLogger(__name__)


class ProviderError(LabelingError):
    """The identity provider can't be reached, or says something that can't be right. Tells what, in one sentence."""


class Kept(Generic[Kind]):
    """Something of the provider's. Lives in one event loop; whoever asks while it is read waits for the same."""

    def __init__(self, read: Callable[[], Awaitable[Kind]], clock: Callable[[], float] = time.monotonic) -> None:
        """Keep what `read` gives.

        Args:
            read: has it from the provider, within a time; raises ProviderError.
            clock: seconds.

        """
        self._read = read
        self._clock = clock
        self._lock = asyncio.Lock()
        self._value: Kind | None = None
        self._read_at = 0.0
        self._tried_at: float | None = None
        self._failure: ProviderError | None = None

    async def get(self) -> Kind:
        """It, of `FRESH` seconds ago at most; while the provider is away, of `STALE` seconds ago at most.

        Raises:
            ProviderError: there is none as new.

        """
        async with self._lock:
            if self._value is None or self._clock() - self._read_at >= FRESH:
                await self._renew(RETRY)
            return self._kept()

    async def again(self) -> Kind:
        """It, read anew, unless that was tried in the last `AGAIN` seconds.

        Raises:
            ProviderError: as `get`.

        """
        async with self._lock:
            await self._renew(AGAIN)
            return self._kept()

    async def _renew(self, pause: float) -> None:
        now = self._clock()
        if self._tried_at is not None and now - self._tried_at < pause:
            return
        self._tried_at = now
        try:
            self._value = await self._read()
        except ProviderError as error:
            self._failure = error
            log.warning("the identity provider: %s", safe(str(error)))
        else:
            self._read_at, self._failure = self._clock(), None

    def _kept(self) -> Kind:
        if self._value is None or (self._failure is not None and self._clock() - self._read_at > STALE):
            raise self._failure or ProviderError("it was not asked yet")
        return self._value
