"""Routes of the calls: who asks is whose token comes along, and the labeling service rules on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, cast

from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

import labeling_grpc.v1
from console.api.messages import MOST_BYTES, json_of, lines_of, request_of
from console.security.requests import RejectedError, body, is_foreign, media_type
from console.site import Site
from labeling_grpc.client import Reason, RefusedError
from labeling_grpc.contract.http_rules import HttpRule, rules
from labeling_grpc.v1 import admin_pb2
from labeling_grpc.v1 import labeling_pb2 as pb

DESCRIPTION: Final = Path(labeling_grpc.v1.__file__).parent / "openapi.json"
_OWN: Final = {"same-origin", "none"}
_TOKEN: Final = 512
_LARGE: Final = 64 * 1024
"""Bytes of a message that is turned into JSON beside the event loop."""
_GONE: Final = 499
"""Nobody reads this status: whoever asked has gone."""
_LINES: Final = "application/x-ndjson"
Answer = Callable[[HttpRule, Request, str], Awaitable[Response]]


def routes() -> list[BaseRoute]:
    """Every call's route, and the description of them all."""
    return [
        Route("/openapi.json", _described, methods=["GET"]),
        *(Route(rule.path, _endpoint(rule), methods=[rule.verb], name=rule.method.name) for rule in rules()),
    ]


def _endpoint(rule: HttpRule) -> Callable[[Request], Awaitable[Response]]:
    answer: Answer = _streamed if rule.streams else _answered
    if "pipeline" not in rule.places:
        answer = _gathered

    async def called(request: Request) -> Response:
        _refuse_pages(request)
        return await answer(rule, request, _token(request))

    return called


async def _described(_request: Request) -> Response:
    return FileResponse(DESCRIPTION, media_type="application/json")


async def _answered(rule: HttpRule, request: Request, token: str) -> Response:
    site = _site(request)
    await _admit(request, site, token)
    asked = await _asked(rule, request)
    return await _unless_gone(request, _called(rule, site, asked, token))


async def _called(rule: HttpRule, site: Site, asked: Message, token: str) -> Response:
    response = await site.gateway.unary(rule.method, asked, token, _wait(asked))
    return await _json(response)


async def _streamed(rule: HttpRule, request: Request, token: str) -> Response:
    site = _site(request)
    await _admit(request, site, token)
    asked = await _asked(rule, request)
    messages = cast("AsyncGenerator[Message]", site.gateway.stream(rule.method, asked, token))
    try:
        first = await anext(messages, None)  # a refusal still has its status
    except BaseException:
        await messages.aclose()
        raise
    if request.method == "HEAD":  # nobody reads the lines, which may have no end
        await messages.aclose()
        return Response(media_type=_LINES)
    lines = _lines(rule, first, messages, request.app.state.stopping)
    return StreamingResponse(lines, media_type=_LINES)


async def _lines(
    rule: HttpRule, first: Message | None, messages: AsyncGenerator[Message], stopping: asyncio.Event
) -> AsyncIterator[bytes]:
    """Lines of a stream; one that never ends by itself ends when the console does.

    A list does not: cut short so, it would look whole. What is left of it when the server can't wait any longer breaks
    off.
    """
    endless = not rule.response
    stopped = asyncio.create_task(stopping.wait() if endless else asyncio.Event().wait())
    following: asyncio.Task[Message | None] | None = None
    message = first
    try:
        while message is not None:
            yield b"".join(await asyncio.to_thread(list, lines_of(rule, message)))
            following = asyncio.create_task(_following(messages))
            await asyncio.wait({following, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                return
            message = following.result()
    finally:
        stopped.cancel()
        if following is None or following.done():
            await messages.aclose()
        else:
            following.cancel()  # it ends the call


async def _following(messages: AsyncGenerator[Message]) -> Message | None:
    return await anext(messages, None)


async def _gathered(rule: HttpRule, request: Request, token: str) -> Response:
    """The pipelines of all services here that let the caller in."""
    asked = await _asked(rule, request)
    found = admin_pb2.ListPipelinesResponse()
    refusal: RefusedError | RejectedError | None = None
    for site in request.app.state.sites.values():
        try:
            await _admit(request, site, token)
            response = cast("admin_pb2.ListPipelinesResponse", await site.gateway.unary(rule.method, asked, token))
            found.pipelines.extend(response.pipelines)
        except (RefusedError, RejectedError) as error:
            if not _shut_out(error):
                raise  # without it the list would look whole
            refusal = error
    if refusal is not None and not found.pipelines:
        raise refusal
    return await _json(found)


def _shut_out(error: RefusedError | RejectedError) -> bool:
    """Whether a service does not let the caller in."""
    if isinstance(error, RefusedError):
        return error.reason in {Reason.UNAUTHENTICATED, Reason.FORBIDDEN}
    return error.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


async def _asked(rule: HttpRule, request: Request) -> Message:
    content = None
    if rule.body:
        if media_type(request) != "application/json":
            raise RejectedError(415, "write JSON, and say so: content-type: application/json")
        content = await body(request, MOST_BYTES)
    made = (rule, request.path_params, request.query_params, content)
    return request_of(*made) if len(content or b"") < _LARGE else await asyncio.to_thread(request_of, *made)


def _refuse_pages(request: Request) -> None:
    """Refuse what a page in somebody's browser sends, our own excepted.

    Where the service asks for no token, whatever comes from this machine may do all, and a browser on it would send
    what any page makes it send.

    Raises:
        RejectedError: a page of another site sends it.

    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    foreign = origin is not None and is_foreign(request, origin)
    if foreign or (site is not None and site not in _OWN):
        raise RejectedError(403, "these calls are for programs: a page of another site can't make them", "FORBIDDEN")


def _token(request: Request) -> str:
    told = request.headers.get("authorization", "")
    scheme, _, token = told.partition(" ")
    token = token.strip()
    if told and (scheme.lower() != "bearer" or not token):
        raise RejectedError(401, "send a token of the labeling service: Authorization: Bearer TOKEN", "UNAUTHENTICATED")
    if len(token) > _TOKEN or not (token.isascii() and token.isprintable()):
        raise RejectedError(401, "this is no token", "UNAUTHENTICATED")
    return token


async def _admit(request: Request, site: Site, token: str) -> None:
    """Let nobody from another machine in where the service asks for no tokens.

    Raises:
        RejectedError: somebody is.
        RefusedError: the token opens nothing.

    """
    if request.app.state.options.local:
        return
    stats = pb.DESCRIPTOR.services_by_name["LabelingService"].methods_by_name["Stats"]
    response = cast("pb.StatsResponse", await site.gateway.unary(stats, pb.StatsRequest(), token))
    if not response.caller.known:
        raise RejectedError(403, "without access tokens calls are taken from this machine alone", "FORBIDDEN")


def _site(request: Request) -> Site:
    name = request.path_params["pipeline"]
    site: Site | None = request.app.state.sites.get(name)
    if site is None:
        raise RefusedError(Reason.UNKNOWN_PIPELINE, "no such pipeline is served here", field="pipeline")
    return site


def _wait(asked: Message) -> float:
    """Seconds that a call for cases waits for the first."""
    lease = asked.next if isinstance(asked, pb.SubmitLabelsRequest) else asked
    return lease.wait_ms / 1_000 if isinstance(lease, pb.LeaseTasksRequest) and lease.wait_ms > 0 else 0.0


async def _json(response: Message) -> Response:
    large = response.ByteSize() > _LARGE
    content = await asyncio.to_thread(json_of, response) if large else json_of(response)
    return Response(content, media_type="application/json")


async def _unless_gone(request: Request, call: Any) -> Response:  # noqa: ANN401 a coroutine
    """The response of a call, which ends when whoever asked has gone: cases are not leased to nobody."""
    made, gone = asyncio.create_task(call), asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({made, gone}, return_when=asyncio.FIRST_COMPLETED)
        if made.done():
            response: Response = made.result()
            return response
        made.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await made
        return Response(status_code=_GONE)
    finally:
        made.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
