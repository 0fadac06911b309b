"""From gRPC's bytes to the service's methods, and from its refusals to statuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, NoReturn, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status

from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.security.caller import Caller, caller
from labeling_grpc.security.door import address_of
from labeling_grpc.security.gate import Gate
from labeling_grpc.security.masks import Mask
from labeling_grpc.security.quiet import Tally, described
from labeling_grpc.security.rates import Rates
from labeling_grpc.security.roles import SERVICES, Role

NAMES: Final = tuple(service.full_name for service in SERVICES)

Q = TypeVar("Q", bound=Message)
Context = grpc.aio.ServicerContext[Any, Any]
Admitted = Callable[[bytes, Context], Awaitable[tuple[Message, Mask | None]]]
Failed = Callable[[Context, Exception], Awaitable[NoReturn]]

log = logging.getLogger(__name__)


def handler(
    descriptor: ServiceDescriptor,
    servicer: object,
    gate: Gate | None = None,
    rates: Rates | None = None,
    masks: Mapping[Role, Mask] | None = None,
    tally: Tally | None = None,
) -> grpc.GenericRpcHandler[bytes, Message]:
    """Handler of all methods of one service; each call passes `gate` first, where there is one, else `rates`.

    Requests are parsed here, not by gRPC, which answers bytes that are no message with UNKNOWN and the parser's words.
    Methods find who calls in `caller`. Responses leave without what `masks` says that the caller's role may not see.
    Refusals are counted in `tally`.
    """
    methods = {
        method.name: _method(method, getattr(servicer, method.name), gate, rates, masks or {}, tally or Tally(log))
        for method in descriptor.methods
    }
    return grpc.method_handlers_generic_handler(descriptor.full_name, methods)


def _method(
    method: MethodDescriptor,
    behave: Callable[..., Any],
    gate: Gate | None,
    rates: Rates | None,
    masks: Mapping[Role, Mask],
    tally: Tally,
) -> grpc.RpcMethodHandler[bytes, Message]:
    kind: type[Message] = GetMessageClass(method.input_type)
    serialize = GetMessageClass(method.output_type).SerializeToString

    async def admitted(sent: bytes, context: Context) -> tuple[Message, Mask | None]:
        address = address_of(context.peer())
        if gate is None:  # this machine alone reaches the service, or whoever has a certificate
            who = Caller(address, Role.ADMIN, known=False)
            if rates is not None:
                rates.spend(address)
            request = _parsed(kind, sent)
        else:
            knock = gate.knock(context.invocation_metadata() or (), address)
            request = _parsed(kind, sent)
            who = await gate.admit(method.name, request, knock)
        caller.set(who)
        mask = masks.get(who.role)
        if mask is not None:
            mask.request(request)
        return request, mask

    async def failed(context: Context, error: Exception) -> NoReturn:
        if isinstance(error, RefusedError):
            tally.count(f"{method.name} refused: {error.reason.value}")
            await _abort(context, error)
        log.error("a bug, at a %s: %s", kind.DESCRIPTOR.name, described(error))
        await _abort(context, grpc.StatusCode.INTERNAL)

    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(_stream(failed, admitted, behave), None, serialize)
    return grpc.unary_unary_rpc_method_handler(_unary(failed, admitted, behave), None, serialize)


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
