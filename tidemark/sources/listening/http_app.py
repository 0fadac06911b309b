"""The HTTP of a source: requests are let in, and answered when Kafka has what they brought."""

from __future__ import annotations

import asyncio
import hmac
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tidemark.formats.arrow_rows import ArrowRows
from tidemark.sources.intake import Intake, Parcel
from tidemark.sources.listening.http_body import Held, Refused, read_body, records_of

_SCHEME: Final = "bearer "
_RETRY_SECONDS: Final = "1"
_DISCARDED: Final = 16_000_000
_DISCARD_SECONDS: Final = 2.0


class Door:
    """Answers requests.

    Args:
        intake: takes their records.
        tokens: one of which each request must show; none: it need not.
        most_bytes: of a body.
        body_seconds: in which a body must be there.
        answer_seconds: in which Kafka must have it, or the sender is told to try again.
        batches: reads a body of Arrow.

    """

    def __init__(
        self,
        intake: Intake,
        *,
        tokens: Sequence[str],
        most_bytes: int,
        body_seconds: float,
        answer_seconds: float,
        batches: ArrowRows,
    ) -> None:
        self._intake, self._batches = intake, batches
        self._tokens = [token.encode() for token in tokens]
        self._most, self._body_seconds, self._answer_seconds = most_bytes, body_seconds, answer_seconds

    def app(self, path: str) -> Starlette:
        """The application.

        Args:
            path: where records are posted.

        """
        return Starlette(
            routes=[
                Route(path, self.post, methods=["POST"]),
                Route("/health", lambda _: PlainTextResponse("ok\n"), methods=["GET"]),
            ]
        )

    async def post(self, request: Request) -> Response:
        """Take records; 202 when they are in Kafka."""
        held = Held(self._intake.room)
        try:
            self._admit(request)
            return await self._taken(request, held)
        except Refused as refused:
            held.set(0)
            await _discard(request)
            return _refusal(refused)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        finally:
            held.set(0)

    def _admit(self, request: Request) -> None:
        if self._tokens:
            shown = request.headers.get("authorization", "")
            token = shown[len(_SCHEME) :].strip().encode() if shown[: len(_SCHEME)].lower() == _SCHEME else b""
            # Each is compared to its end, so that the time tells nothing.
            if not any([hmac.compare_digest(token, known) for known in self._tokens]):  # noqa: C419
                raise Refused(401, "send the token as `Authorization: Bearer TOKEN`")
        length = request.headers.get("content-length", "")
        if length.isascii() and length.isdecimal() and (len(length) > 18 or int(length) > self._most):
            raise Refused(413, f"more than {self._most:,} bytes; send less at once")

    async def _taken(self, request: Request, held: Held) -> Response:
        try:
            async with asyncio.timeout(self._body_seconds):
                encoding = request.headers.get("content-encoding", "")
                body = await read_body(request.stream(), encoding, held, self._most)
        except TimeoutError:
            raise Refused(408, f"the body was not there within {self._body_seconds:g} s") from None
        number = uuid.uuid4().hex
        records = records_of(body, request.headers, number, held, self._batches)
        del body
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bool] = loop.create_future()

        def settle(committed: bool) -> None:  # noqa: FBT001 as below
            if not answer.done():
                answer.set_result(committed)

        def done(committed: bool) -> None:  # noqa: FBT001 as a parcel calls it
            with suppress(RuntimeError):  # the server has ended, and with it who waits
                loop.call_soon_threadsafe(settle, committed)

        self._intake.put(Parcel(records, held.handed(), done))
        try:
            async with asyncio.timeout(self._answer_seconds):
                committed = await answer
        except TimeoutError:
            committed = False
        if not committed:
            raise Refused(503, "Kafka has not acknowledged it; send it again, it may then be there twice")
        return JSONResponse({"accepted": len(records), "request": number}, 202)


async def _discard(request: Request) -> None:
    """Read on for a while: a sender who is cut off while it still sends never reads the answer."""
    left = _DISCARDED
    with suppress(TimeoutError, RuntimeError, ClientDisconnect):
        async with asyncio.timeout(_DISCARD_SECONDS):
            async for chunk in request.stream():
                left -= len(chunk)
                if left < 0:
                    return


def _refusal(refused: Refused) -> Response:
    headers = {}
    if refused.status in {429, 503}:
        headers["retry-after"] = _RETRY_SECONDS
    if refused.status == 401:
        headers["www-authenticate"] = "Bearer"
    if refused.status in {401, 408, 413}:
        headers["connection"] = "close"  # what is left of the body is not read
    return JSONResponse({"error": refused.reason}, refused.status, headers)
