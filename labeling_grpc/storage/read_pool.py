"""Reads of the queue's database beside its writer, off the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, Final, ParamSpec, TypeVar

import sqlalchemy as sa

from labeling_grpc.contract.errors import Reason, RefusedError

THREADS: Final = 4
"""Reads at once. They have threads of their own: whoever lists all cases must not hold up the checks of tokens."""

PATIENCE_SECONDS: Final = 10.0
"""A read that has waited in line for longer is refused: its caller may be gone, and those behind it are served."""

P = ParamSpec("P")
T = TypeVar("T")


class Reader:
    """Runs queries in threads, each with a connection of its own."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds, for how long a read waits in line."""
        self.engine = engine
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="labeling-reader")

    def close(self) -> None:
        """End the threads, when what they do is done."""
        self._threads.shutdown(cancel_futures=True)

    async def ask(self, query: Callable[Concatenate[sa.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What a query gives.

        Raises:
            RefusedError: the database can't be read.

        """

        def asked() -> T:
            with self.engine.connect() as connection:
                return query(connection, *args, **kwargs)

        return await self.apart(asked)

    async def apart(self, work: Callable[[], T]) -> T:
        """What a function that reads the database gives.

        Raises:
            RefusedError: the database can't be read, or too many read it.

        """
        begun = self._clock()

        def in_turn() -> T:
            if self._clock() - begun > PATIENCE_SECONDS:
                raise RefusedError(
                    Reason.TOO_MANY_CALLS,
                    f"too many read the queue: this call waited in line for {PATIENCE_SECONDS:g} s; ask again later",
                    retry_after=PATIENCE_SECONDS,
                )
            return work()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, in_turn)
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            raise RefusedError(
                Reason.STORE_UNAVAILABLE, "the queue's database can't be read: try again in a moment"
            ) from error
