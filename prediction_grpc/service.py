"""`PredictionService`: calls let in, answered together, and recorded; refusals as sentences."""

from __future__ import annotations

import asyncio
import logging
import math
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, NoReturn, Protocol, TypeVar

import grpc

from prediction_grpc.tokens import Tokens
from prediction_grpc.turns import Turns
from prediction_grpc.v1 import prediction_pb2 as pb
from prediction_grpc.v1 import prediction_pb2_grpc
from tidemark.asking import Answer, Answerer, Asked, Refusal
from tidemark.asking.answerer import Opinion, Why
from tidemark.errors import TidemarkError
from tidemark.pipeline import Pipeline
from tidemark.runtime.safe_text import safe

MOST_BYTES: Final = 1_000_000
"""Of an event."""
_LONGEST: Final = 900
_CODES: Final = {
    Why.EVENT: grpc.StatusCode.INVALID_ARGUMENT,
    Why.NOT_NOW: grpc.StatusCode.UNAVAILABLE,
    Why.ELSEWHERE: grpc.StatusCode.FAILED_PRECONDITION,
}

Context = grpc.aio.ServicerContext[Any, Any]
T = TypeVar("T")
_log = logging.getLogger(__name__)


class Records(Protocol):
    """Takes events that were asked about: `tidemark.asking.Recorder`."""

    def record(self, answer: Answer, recorded: Callable[[str | Refusal], None]) -> None:
        """Append the event to its raw topic; `recorded` is told its id, or why not, from any thread."""
        ...

    def tell(self, answer: Answer, event: str) -> None:
        """Say what was answered of an event."""
        ...


class _RefusedError(Exception):
    def __init__(self, code: grpc.StatusCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class PredictionService(prediction_pb2_grpc.PredictionServiceServicer):
    """Answers calls. Made and closed in an event loop."""

    def __init__(self, pipeline: Pipeline, answerer: Answerer, recorder: Records, tokens: Tokens, calls: int) -> None:
        """Prepare. calls: most that are under way at once."""
        self._pipeline, self._recorder, self._tokens = pipeline, recorder, tokens
        self._most, self._under_way = calls, 0
        self._turns = Turns(answerer.answer)

    def close(self) -> None:
        """Answer nobody any more."""
        self._turns.close()

    async def Predict(self, request: pb.PredictRequest, context: Context) -> pb.PredictResponse:  # noqa: N802
        """What the model in force says of an event, which is recorded."""
        return await self._passed(context, lambda: self._predict(request))

    async def Features(self, request: pb.FeaturesRequest, context: Context) -> pb.FeaturesResponse:  # noqa: N802
        """The features that an event would have."""
        return await self._passed(context, lambda: self._features(request))

    async def _passed(self, context: Context, behave: Callable[[], Awaitable[T]]) -> T:
        """Let a caller in, if there is room; refusals become statuses."""
        try:
            self._admit(context)
            self._under_way += 1
            try:
                return await behave()
            finally:
                self._under_way -= 1
        except _RefusedError as refused:
            await _abort(context, refused.code, str(refused))
        except TidemarkError as error:
            await _abort(context, grpc.StatusCode.UNAVAILABLE, str(error))
        except Exception as error:  # noqa: BLE001 the edge of the service: gRPC would show its words to the caller
            frames = traceback.extract_tb(error.__traceback__)
            where = ", ".join(f"{frame.filename}:{frame.lineno}" for frame in frames)
            _log.error("a bug, at a call: %s, by %s", type(error).__name__, where)  # its words may hold the event's
            await _abort(context, grpc.StatusCode.INTERNAL, "a bug in the stream process: its log tells")

    def _admit(self, context: Context) -> None:
        if not self._tokens.admit(context.invocation_metadata() or ()):
            raise _RefusedError(
                grpc.StatusCode.UNAUTHENTICATED, "show a token of the pipeline as `authorization: Bearer TOKEN`"
            )
        if self._under_way >= self._most:
            raise _RefusedError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{self._most} calls are under way, as many as ask.calls allows; ask again in a moment",
            )

    async def _predict(self, request: pb.PredictRequest) -> pb.PredictResponse:
        answer = await self._answered(request.event, request.pipeline)
        event = "" if answer.known else await self._recorded(answer)
        if event:
            self._recorder.tell(answer, event)
        response = pb.PredictResponse(
            event_id=event, seen=_seen(answer, features=request.with_features), known=answer.known
        )
        response.prediction.CopyFrom(self._said(answer))
        if (beside := answer.shadow) is not None:
            response.shadow.CopyFrom(self._said(beside))
        return response

    def _said(self, said: Answer | Opinion) -> pb.ModelPrediction:
        label, told = self._pipeline.label, said.probabilities
        named = {} if told is None else dict(zip(label.classes, told, strict=True))
        found = pb.ModelPrediction(model=said.model, probabilities=named, uncertainty=said.uncertainty)
        if said.estimate is not None:
            value, low, high = said.estimate
            found.estimate.CopyFrom(pb.EstimatedNumber(value=value, low=low, high=high, unit=label.unit or ""))
        return found

    async def _features(self, request: pb.FeaturesRequest) -> pb.FeaturesResponse:
        answer = await self._answered(request.event, request.pipeline)
        return pb.FeaturesResponse(seen=_seen(answer, features=True), known=answer.known)

    async def _answered(self, event: pb.AskedEvent, pipeline: str) -> Answer:
        """The answer to a call, once it is its turn. One whose deadline passes meanwhile is not looked at."""
        if pipeline not in {"", self._pipeline.name}:
            raise _RefusedError(
                grpc.StatusCode.NOT_FOUND, f"this process answers for pipeline '{self._pipeline.name}', no other"
            )
        topic = event.topic or self._pipeline.raw_topics[0]
        if topic not in self._pipeline.raw_topics:
            raise _RefusedError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"event.topic: the pipeline's raw topics are {', '.join(self._pipeline.raw_topics)}",
            )
        if len(event.json) > MOST_BYTES:
            raise _RefusedError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"event.json has {len(event.json):,} bytes, and at most {MOST_BYTES:,} are taken; leave out what no "
                "column reads",
            )
        given = await self._turns.answered(Asked(topic, event.json))
        if isinstance(given, Refusal):
            raise _RefusedError(_CODES[given.why], given.reason)
        return given

    async def _recorded(self, answer: Answer) -> str:
        """The id of the event, once Kafka has it."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[str | Refusal] = loop.create_future()

        def settle(event: str | Refusal) -> None:
            if not told.done():
                told.set_result(event)

        def recorded(event: str | Refusal) -> None:
            with suppress(RuntimeError):  # the loop has ended, and with it who waits
                loop.call_soon_threadsafe(settle, event)

        self._recorder.record(answer, recorded)
        event = await told
        if isinstance(event, Refusal):
            raise _RefusedError(_CODES[event.why], event.reason)
        return event


def _seen(answer: Answer, *, features: bool) -> pb.SeenWindows:
    seen = pb.SeenWindows(
        late=answer.late,
        windows=[
            pb.SeenWindow(topic=each.partition.topic, partition=each.partition.index, follows=each.follows)
            for each in answer.windows
        ],
        lag=answer.lag,
    )
    if features:
        seen.features.update({name: value for name, value in answer.features.items() if not math.isnan(value)})
    return seen


async def _abort(context: Context, code: grpc.StatusCode, reason: str) -> NoReturn:
    """End a call; one whose caller went away meanwhile as well, which gRPC would log with a stack for each."""
    try:
        await context.abort(code, safe(reason[:_LONGEST]))
    except (grpc.aio.InternalError, grpc.aio.UsageError) as error:
        raise asyncio.CancelledError from error
