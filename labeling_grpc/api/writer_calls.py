"""Commands put to the writer from the event loop, and their results brought back, a group at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from labeling_grpc.commands.labeling import Command, LeasedCase, Result
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.storage.base import StoreError, UnfitError
from labeling_grpc.storage.group_commit import Outcome, Reply, Stopping, Writer


class WriterCalls:
    """Brings results from the writer's thread into the event loop, a group at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, writer: Writer) -> None:
        self._loop = loop
        self._writer = writer

    @property
    def writer(self) -> Writer:
        """The writer."""
        return self._writer

    async def call(self, command: Command, wait: float = 0.0) -> Result:
        """Result of a command; see `together`."""
        (result,) = await self.together((command, wait))
        return result

    async def together(self, *asked: tuple[Command, float]) -> list[Result]:
        """Results of commands of one transaction, each with its `wait`.

        When the caller goes away, what was leased for it meanwhile is given back.

        Raises:
            RefusedError: the service is stopping, or its database fails.

        """
        if self._writer.stalled:
            raise RefusedError(
                Reason.STORE_UNAVAILABLE, "the queue's database hangs: nothing was changed; try again in a moment"
            )
        replies = [_Reply(self) for _ in asked]
        try:
            self._writer.submit_together(
                (command, reply, wait) for (command, wait), reply in zip(asked, replies, strict=True)
            )
            if len(replies) == 1:
                return [await replies[0].future]
            return await asyncio.gather(*(reply.future for reply in replies))
        except asyncio.CancelledError:
            for reply in replies:
                reply.abandoned = True
                if not reply.future.cancel() and not reply.future.cancelled() and not reply.future.exception():
                    _give_back(self._writer, reply.future.result())
            raise
        except Stopping:
            raise RefusedError(Reason.STOPPING, "the service is stopping: repeat the call in a moment") from None
        except UnfitError as error:
            raise RefusedError(Reason.INVALID_FIELD, str(error), field="(request)") from error
        except StoreError as error:
            raise RefusedError(
                Reason.STORE_UNAVAILABLE, "the queue's database can't be written: nothing was changed; try again"
            ) from error

    def future(self) -> asyncio.Future[Result]:
        """A future of the loop's."""
        return self._loop.create_future()

    def deliver(self, pairs: list[tuple[Reply, Outcome]]) -> None:
        """Called by the writer's thread."""
        self._loop.call_soon_threadsafe(self._settle, pairs)

    def _settle(self, pairs: list[tuple[Reply, Outcome]]) -> None:
        for reply, outcome in pairs:
            future = cast("_Reply", reply).future
            if future.done():
                _give_back(self._writer, outcome)
            elif isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)


class _Reply:
    __slots__ = ("_calls", "abandoned", "future")

    def __init__(self, calls: WriterCalls) -> None:
        self._calls = calls
        self.abandoned = False
        self.future = calls.future()

    def courier(self) -> Callable[[list[tuple[Reply, Outcome]]], None]:
        return self._calls.deliver


def _give_back(writer: Writer, outcome: Outcome) -> None:
    if isinstance(outcome, list):
        leased = [case for case in outcome if isinstance(case, LeasedCase)]
        if leased:
            writer.give_back(leased)
