"""From gRPC's bytes to the service's methods, and from its refusals to statuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NoReturn, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status

from labeling_grpc.refusals import Reason, RefusedError
from labeling_grpc.security.gate import Gate
from labeling_grpc.security.rates import Rates
from labeling_grpc.v1 import labeling_pb2 as pb
from labeling_grpc.v1 import labeling_pb2_grpc

SERVICE: Final = pb.DESCRIPTOR.services_by_name["LabelingService"]

Q = TypeVar("Q", bound=Message)
Context = grpc.aio.ServicerContext[Any, Any]
Admitted = Callable[[bytes, Context], Awaitable[Message]]

log = logging.getLogger(__name__)


def handler(
    service: labeling_pb2_grpc.LabelingServiceServicer, gate: Gate | None = None, rates: Rates | None = None
) -> grpc.GenericRpcHandler[bytes, Message]:
    """Handler of all methods of the service; each call passes `gate` and `rates` first, where there are any.

    Requests are parsed here, not by gRPC, which answers bytes that are no message with UNKNOWN and the parser's words.
    """
    methods = {method.name: _method(method, getattr(service, method.name), gate, rates) for method in SERVICE.methods}
    return grpc.method_handlers_generic_handler(SERVICE.full_name, methods)


def _method(
    method: MethodDescriptor, behave: Callable[..., Any], gate: Gate | None, rates: Rates | None
) -> grpc.RpcMethodHandler[bytes, Message]:
    kind: type[Message] = GetMessageClass(method.input_type)
    serialize = GetMessageClass(method.output_type).SerializeToString

    async def admitted(sent: bytes, context: Context) -> Message:
        request = _parsed(kind, sent)
        caller = context.peer().rpartition(":")[0]  # without the port: a machine, where nobody has a name
        if gate is not None:
            caller = await gate.admit(method.name, request, context.invocation_metadata() or ())
        if rates is not None:
            rates.spend(caller)
        return request

    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(_stream(kind, admitted, behave), None, serialize)
    return grpc.unary_unary_rpc_method_handler(_unary(kind, admitted, behave), None, serialize)


def _unary(
    kind: type[Message], admitted: Admitted, behave: Callable[..., Awaitable[Message]]
) -> Callable[[bytes, Context], Awaitable[Message]]:
    async def call(sent: bytes, context: Context) -> Message:
        try:
            return await behave(await admitted(sent, context), context)
        except RefusedError as refusal:
            await _abort(context, refusal)
        except Exception as bug:  # noqa: BLE001 - the edge of the service: gRPC would show its words to the caller
            await _abort_bug(context, kind, bug)

    return call


def _stream(
    kind: type[Message], admitted: Admitted, behave: Callable[..., AsyncIterator[Message]]
) -> Callable[[bytes, Context], AsyncIterator[Message]]:
    async def call(sent: bytes, context: Context) -> AsyncIterator[Message]:
        try:
            async for response in behave(await admitted(sent, context), context):
                yield response
        except RefusedError as refusal:
            await _abort(context, refusal)
        except Exception as bug:  # noqa: BLE001 - the edge of the service: gRPC would show its words to the caller
            await _abort_bug(context, kind, bug)

    return call


def _parsed(kind: type[Q], sent: bytes) -> Q:
    try:
        return kind.FromString(sent)
    except DecodeError as error:
        raise RefusedError(
            Reason.INVALID_FIELD, f"the request is no {kind.DESCRIPTOR.full_name} message", field="(request)"
        ) from error


async def _abort(context: Context, refusal: RefusedError) -> NoReturn:
    rich = rpc_status.to_status(refusal.status())
    try:
        await context.abort(refusal.code, str(refusal), trailing_metadata=rich.trailing_metadata)
    except grpc.aio.InternalError as error:  # the caller went away meanwhile, and gRPC would log it as a bug
        raise asyncio.CancelledError from error


async def _abort_bug(context: Context, kind: type[Message], bug: Exception) -> NoReturn:
    log.error("a bug, at a %s", kind.DESCRIPTOR.name, exc_info=bug)
    await context.abort(grpc.StatusCode.INTERNAL, "a bug in the labeling service: its log tells")
