"""`Gateway`: any call of the contract for whoever's token is brought along; what is asked and answered are messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from labeling_grpc.client.channel import Asyncio, bearer, translated
from labeling_grpc.v1 import admin_pb2_grpc, labeling_pb2_grpc

_PATIENCE: Final = 1.0
"""Seconds for which a call is tried: a program that asks over HTTP tries again by itself."""


class _Stubs:
    """The calls of both services on one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stubs: tuple[Any, ...] = (
            labeling_pb2_grpc.LabelingServiceStub(channel),
            admin_pb2_grpc.LabelingAdminServiceStub(channel),
        )

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a call of either
        return next(getattr(stub, name) for stub in self._stubs if hasattr(stub, name))


class Gateway(Asyncio):
    """One connection for the calls of many people. Lives in one event loop; close it at the end."""

    stub = _Stubs

    def __init__(self, address: str | Callable[[], str]) -> None:
        """Connect to `address` (`host:port`, or what gives it now)."""
        super().__init__(address, "", patience=_PATIENCE, token="")
        self._bears = True  # some call does

    async def unary(self, method: MethodDescriptor, request: Message, token: str, wait: float = 0.0) -> Message:
        """Make a call.

        Args:
            method: which.
            request: of its kind.
            token: of the caller, "" for none.
            wait: seconds that the service may take before it answers.

        Returns:
            The response.

        Raises:
            RefusedError: the service refuses.
            UnreachableError: it can't be reached.

        """
        response: Message = await self._call(method.name, request, wait, bearer(token))
        return response

    async def stream(self, method: MethodDescriptor, request: Message, token: str) -> AsyncIterator[Message]:
        """Make a call that is answered by many messages.

        Args:
            method: which.
            request: of its kind.
            token: of the caller, "" for none.

        Yields:
            The responses.

        Raises:
            RefusedError: the service refuses.
            UnreachableError: it can't be reached, or went away.

        """
        call = None
        try:
            call = getattr(self._connect(), method.name)(request, metadata=bearer(token))
            async for response in call:
                yield response
        except grpc.RpcError as error:
            raise translated(error, self._connected) from error
        finally:
            if call is not None:
                call.cancel()
