"""What every call passes between gRPC's bytes and the service's methods, and its refusals on their way to statuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, NoReturn, TypeVar, cast

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status

from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.security.authentication import Authenticator
from labeling_grpc.security.caller import STRANGER, Caller, caller
from labeling_grpc.security.masks import Mask
from labeling_grpc.security.quiet import Tally, described
from labeling_grpc.security.rates import Rates
from labeling_grpc.security.roles import OPEN, SERVICES, Role
from labeling_grpc.security.token_throttle import address_of

NAMES: Final = tuple(service.full_name for service in SERVICES)

Q = TypeVar("Q", bound=Message)
Context = grpc.aio.ServicerContext[Any, Any]
Admitted = Callable[[bytes, Context], Awaitable[tuple[Message, Mask | None]]]
Failed = Callable[[Context, Exception], Awaitable[NoReturn]]

log = logging.getLogger(__name__)


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stubs alone
    """What every call of the labeling services passes: who calls and how often, its bytes, its refusal.

    Requests are parsed here, not by gRPC, which answers bytes that are no message with UNKNOWN and the parser's words.
    Methods find who calls in `caller`. Responses leave without what the caller's role may not see.
    """

    def __init__(
        self,
        authenticator: Authenticator | None,
        rates: Rates | None,
        masks: Mapping[Role, Mask],
        tally: Tally | None = None,
    ) -> None:
        """Let calls pass.

        Args:
            authenticator: Checks tokens; None where whoever reaches the service may call.
            rates: Calls a second of each address, where there is no authenticator; None for no bound.
            masks: What roles may not see.
            tally: Where refusals are counted.

        """
        self._authenticator = authenticator
        self._rates = rates
        self._masks = masks
        self._tally = tally or Tally(log)
        self._methods = {
            f"/{service.full_name}/{method.name}": method for service in SERVICES for method in service.methods
        }
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Give a generated handler, wrapped; those of other services (health, reflection) as they are."""
        name = handler_call_details.method
        handler = self._handlers.get(name)
        if handler is None:
            handler = await continuation(handler_call_details)
            if name in self._methods and handler is not None:
                handler = self._handlers[name] = self._wrapped(self._methods[name], handler)
        return handler

    def _wrapped(
        self, method: MethodDescriptor, handler: grpc.RpcMethodHandler[Any, Any]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        kind: type[Message] = GetMessageClass(method.input_type)
        serialize = handler.response_serializer

        async def admitted(sent: bytes, context: Context) -> tuple[Message, Mask | None]:
            address = address_of(context.peer())
            if self._authenticator is not None and method.name in OPEN:
                self._authenticator.throttle.spend(address)
                caller.set(STRANGER)
                return _parsed(kind, sent), None
            if self._authenticator is None:  # this machine alone reaches the service, or whoever has a certificate
                who = Caller(address, Role.ADMIN, known=False)
                if self._rates is not None:
                    self._rates.spend(address)
                request = _parsed(kind, sent)
            else:
                attempt = self._authenticator.attempt(context.invocation_metadata() or (), address)
                request = _parsed(kind, sent)
                who = await self._authenticator.admit(method.name, request, attempt)
            caller.set(who)
            mask = self._masks.get(who.role)
            if mask is not None:
                mask.request(request)
            return request, mask

        async def failed(context: Context, error: Exception) -> NoReturn:
            if isinstance(error, RefusedError):
                self._tally.count(f"{method.name} refused: {error.reason.value}")
                await _abort(context, error)
            log.error("a bug, at a %s: %s", kind.DESCRIPTOR.name, described(error))
            await _abort(context, grpc.StatusCode.INTERNAL)

        if method.server_streaming:
            behave = cast("Callable[..., AsyncIterator[Message]]", handler.unary_stream)
            return grpc.unary_stream_rpc_method_handler(_stream(failed, admitted, behave), None, serialize)
        answer = cast("Callable[..., Awaitable[Message]]", handler.unary_unary)
        if self._authenticator is not None and method.name in OPEN:
            answer = _given_back(answer, self._authenticator)
        return grpc.unary_unary_rpc_method_handler(_unary(failed, admitted, answer), None, serialize)


def _given_back(
    behave: Callable[..., Awaitable[Message]], authenticator: Authenticator
) -> Callable[..., Awaitable[Message]]:
    """A call that needs no token, and counts as one that was refused unless it is answered."""

    async def call(request: Message, context: Context) -> Message:
        response = await behave(request, context)
        authenticator.throttle.give_back(address_of(context.peer()))
        return response

    return call


def _unary(
    failed: Failed, admitted: Admitted, behave: Callable[..., Awaitable[Message]]
) -> Callable[[bytes, Context], Awaitable[Message]]:
    async def call(sent: bytes, context: Context) -> Message:
        try:
            request, mask = await admitted(sent, context)
            return _masked(await behave(request, context), mask)
        except Exception as error:  # noqa: BLE001 - the edge of the service: gRPC would show its words to the caller
            await failed(context, error)

    return call


def _stream(
    failed: Failed, admitted: Admitted, behave: Callable[..., AsyncIterator[Message]]
) -> Callable[[bytes, Context], AsyncIterator[Message]]:
    async def call(sent: bytes, context: Context) -> AsyncIterator[Message]:
        try:
            request, mask = await admitted(sent, context)
            async for response in behave(request, context):
                yield _masked(response, mask)
        except Exception as error:  # noqa: BLE001 - the edge of the service: gRPC would show its words to the caller
            await failed(context, error)

    return call


def _masked(response: Message, mask: Mask | None) -> Message:
    if mask is not None:
        mask.message(response)
    return response


def _parsed(kind: type[Q], sent: bytes) -> Q:
    try:
        return kind.FromString(sent)
    except DecodeError as error:
        raise RefusedError(
            Reason.INVALID_FIELD, f"the request is no {kind.DESCRIPTOR.full_name} message", field="(request)"
        ) from error


async def _abort(context: Context, why: RefusedError | grpc.StatusCode) -> NoReturn:
    """End a call; one whose caller went away meanwhile as well, which gRPC would log with a stack for each."""
    try:
        if isinstance(why, RefusedError):
            rich = rpc_status.to_status(why.status())
            await context.abort(why.code, str(why), trailing_metadata=rich.trailing_metadata)
        await context.abort(grpc.StatusCode.INTERNAL, "a bug in the labeling service: its log tells")
    except (grpc.aio.InternalError, grpc.aio.UsageError) as error:
        raise asyncio.CancelledError from error
