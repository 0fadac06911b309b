"""Clients of the labeling service: `LabelingClient` blocks, `AsyncLabelingClient` is for asyncio.

Every call is safe to repeat, so both repeat what failed because the service could not be reached, with growing pauses,
for `patience` seconds. An answer carries an idempotency key from its first try on, and so counts once.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar, cast

import grpc
from google.protobuf.message import Message
from grpc_status import rpc_status

from labeling_grpc.convert import REASONS
from labeling_grpc.options import find
from labeling_grpc.refusals import Reason, RefusedError
from labeling_grpc.security.tls import Certificates
from labeling_grpc.v1 import labeling_pb2 as pb
from labeling_grpc.v1 import labeling_pb2_grpc
from tidemark.errors import LabelingError
from tidemark.records import Reason as CaseReason
from tidemark.settings import Settings

__all__ = [
    "Annotation",
    "AsyncLabelingClient",
    "CaseEvent",
    "LabelingClient",
    "Reason",
    "RefusedError",
    "Stats",
    "Submitted",
    "Task",
    "UnreachableError",
    "Update",
]

Value = str | float | int | bool | None
EventKind = Literal["added", "leased", "returned", "answered", "skipped", "expired"]

TOKEN_VARIABLE: Final = "TIDEMARK_LABELING_TOKEN"  # noqa: S105 - the name of one
"""Environment variable of the client's access token: no option, for a command line is seen by everyone."""

_PAUSE: Final = (0.05, 1.0)
_CHANNEL: Final[list[tuple[str, Any]]] = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.enable_retries", 0),  # repeated here, where the address can be looked up again
    # Channels to the same address share one connection by default, and with it one flow of replies.
    ("grpc.use_local_subchannel_pool", 1),
]
_REASON_NAMES: Final[dict[int, CaseReason]] = {number: name for name, number in REASONS.items()}

Q = TypeVar("Q", bound=Message)
S = TypeVar("S", bound=Message)


class UnreachableError(LabelingError):
    """The labeling service could not be reached, or did not answer in time."""


@dataclass(frozen=True, slots=True)
class Task:
    """A leased case, and all that is needed to answer it. Times in µs since 1970.

    probabilities: one for each of `classes`, or empty.  time, expires_at: event time.  lease_expires_at: the service's
    clock.  leases: how often the case was leased, this time included.
    """

    event_id: str
    business_id: str | None
    key: str | None
    time: int
    reason: CaseReason
    priority: float
    context: dict[str, Value]
    features: dict[str, float | None]
    probabilities: tuple[float, ...]
    uncertainty: float | None
    model: str
    expires_at: int | None
    policy: str
    tile: int
    token: str
    lease_expires_at: int
    leases: int
    question: str
    classes: tuple[str, ...]
    positive: str


@dataclass(frozen=True, slots=True)
class Annotation:
    """An answer to a task. key: idempotency key; "" lets the lease token serve.  known_at: event time, µs."""

    task: Task
    label: str
    known_at: int | None = None
    confidence: float | None = None
    comment: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Submitted:
    """An acknowledged answer: on disk. duplicate: the service had it before."""

    annotation_id: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Stats:
    """The queue in numbers (see QueueStats in the contract). annotators: name to (answered, skipped)."""

    pipeline: str
    waiting_explore: int
    waiting_active: int
    leased: int
    answered: int
    skipped: int
    expired: int
    unpublished: int
    rejected: int
    event_clock: int
    now: int
    intake_problem: str
    publishing_problem: str
    question: str
    classes: tuple[str, ...]
    annotators: dict[str, tuple[int, int]]

    @property
    def waiting(self) -> int:
        """Cases that could be leased now."""
        return self.waiting_explore + self.waiting_active


@dataclass(frozen=True, slots=True)
class CaseEvent:
    """Something that happened to a case. at: the service's clock, µs."""

    kind: EventKind
    event_id: str
    annotator: str
    label: str | None
    at: int


@dataclass(frozen=True, slots=True)
class Update:
    """A message of `watch`. missed: events left out because they were read too slowly."""

    stats: Stats
    events: tuple[CaseEvent, ...]
    missed: int


class LabelingClient:
    """Blocking client. Safe to share among threads; close it, or use it as a context manager."""

    def __init__(
        self,
        address: str | Callable[[], str],
        annotator: str,
        *,
        pipeline: str = "",
        timeout: float = 10.0,
        patience: float = 30.0,
        token: str | None = None,
        tls: Certificates | None = None,
    ) -> None:
        """Connect to `address` (`host:port`, or what gives it now) as `annotator`.

        pipeline: refuse to talk to the queue of another; "" for any.  timeout: seconds for one try.  patience: seconds
        for which a service that can't be reached is tried again.  token: access token; None for the one in
        `TIDEMARK_LABELING_TOKEN`, if any.  tls: None for the TIDEMARK_LABELING_TLS_* of the environment, if any.
        """
        self.annotator = annotator
        self._address = address if callable(address) else lambda: address
        self._calls = _Calls(annotator, pipeline)
        self._metadata = _authorization(token)
        self._tls = tls or Certificates.from_environment(os.environ)
        self._timeout = timeout
        self._patience = patience
        self._lock = threading.Lock()
        self._connected = ""
        self._channel: grpc.Channel | None = None
        self._stub: labeling_pb2_grpc.LabelingServiceStub | None = None

    @classmethod
    def of(cls, pipeline: str, annotator: str, settings: Settings | None = None, *, patience: float = 30.0) -> Self:
        """Client of the service of `pipeline` on this machine, found again when it restarts elsewhere."""
        where = settings or Settings.from_environment()
        return cls(lambda: find(where, pipeline), annotator, pipeline=pipeline, patience=patience)

    def lease(self, count: int = 1, *, wait: float = 0.0, lease: float | None = None) -> list[Task]:
        """Up to `count` cases; waits up to `wait` seconds for the first. lease: its length in seconds.

        Raises:
            RefusedError: the service refuses.
            UnreachableError: it can't be reached.

        """
        request = self._calls.lease(count, wait, lease)
        return _tasks(self._call("LeaseTasks", request, wait))

    def submit(
        self,
        task: Task,
        label: str,
        *,
        known_at: int | None = None,
        confidence: float | None = None,
        comment: str = "",
        key: str = "",
    ) -> Submitted:
        """Answer a task; when this returns, the answer is on disk.

        Raises:
            RefusedError: unknown class, unknown or closed case, stale lease, or another answer was given before.
            UnreachableError: the service can't be reached; repeating the call is safe.

        """
        annotation = Annotation(task, label, known_at, confidence, comment, key)
        return _one(self.submit_many([annotation]))

    def submit_many(self, annotations: Sequence[Annotation]) -> list[Submitted | RefusedError]:
        """Answer up to 100 tasks, each on its own: a refused one does not hold up the others.

        Raises:
            UnreachableError: the service can't be reached; repeating the call is safe.

        """
        try:
            return _submitted(self._call("SubmitLabels", self._calls.submit(annotations)))
        except RefusedError as refusal:
            if len(annotations) == 1:
                return [refusal]
            raise

    def skip(self, task: Task, reason: str = "", *, known_at: int | None = None) -> str:
        """Close a task without an answer; the id of the annotation that says so.

        Raises:
            RefusedError: unknown or closed case, stale lease.
            UnreachableError: the service can't be reached; repeating the call is safe.

        """
        return cast("str", self._call("Skip", self._calls.skip(task, reason, known_at)).annotation_id)

    def renew(self, tasks: Sequence[Task], lease: float | None = None) -> list[int | RefusedError]:
        """Let leases end `lease` seconds from now; when each ends (µs), or why it was refused.

        Raises:
            UnreachableError: the service can't be reached.

        """
        try:
            return _renewed(self._call("RenewLease", self._calls.renew(tasks, lease)))
        except RefusedError as refusal:
            if len(tasks) == 1:
                return [refusal]
            raise

    def release(self, tasks: Sequence[Task]) -> int:
        """Give tasks back; how many leases that ended.

        Raises:
            UnreachableError: the service can't be reached.

        """
        return cast("int", self._call("Release", self._calls.release(tasks)).released) if tasks else 0

    def stats(self) -> Stats:
        """The queue in numbers.

        Raises:
            UnreachableError: the service can't be reached.

        """
        return _stats(self._call("Stats", self._calls.stats()).stats)

    def watch(self, interval: float = 1.0, *, stats_only: bool = False) -> Generator[Update, None, None]:
        """What happens, at most one update per `interval` seconds, until the service stops or the iterator is closed.

        Raises:
            UnreachableError: the service can't be reached, or went away.

        """
        stub = self._connect()
        call = stub.Watch(self._calls.watch(interval, stats_only=stats_only), metadata=self._metadata)
        try:
            for response in call:
                yield _update(response)
        except grpc.RpcError as error:
            raise _translated(error, self._connected) from error
        finally:
            call.cancel()  # type: ignore[no-untyped-call]  # the stubs leave its types out

    @contextmanager
    def hold(self, count: int = 1, *, wait: float = 0.0, lease: float = 60.0) -> Iterator[list[Task]]:
        """Lease cases and keep them for as long as the block runs; what was not answered in it is given back."""
        tasks = self.lease(count, wait=wait, lease=lease)
        done = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(list(tasks), lease, done), daemon=True)
        keeper.start()
        try:
            yield tasks
        finally:
            done.set()
            keeper.join()
            self.release(tasks)

    def _keep(self, tasks: list[Task], lease: float, done: threading.Event) -> None:
        while tasks and not done.wait(lease / 3):
            try:
                renewed = self.renew(tasks, lease)
            except UnreachableError:
                continue  # the leases may last until it is back; what is answered tells
            tasks = [task for task, outcome in zip(tasks, renewed, strict=True) if isinstance(outcome, int)]

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()
            self._channel = self._stub = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, address: str) -> grpc.Channel:
        if self._tls is None:
            return grpc.insecure_channel(address, options=_CHANNEL)
        return grpc.secure_channel(address, self._tls.of_client(), options=_CHANNEL)

    def _connect(self) -> labeling_pb2_grpc.LabelingServiceStub:
        address = self._address()
        with self._lock:
            if self._stub is None or address != self._connected:
                if self._channel is not None:
                    self._channel.close()
                self._channel = self._open(address)
                self._stub = labeling_pb2_grpc.LabelingServiceStub(self._channel)
                self._connected = address
            return self._stub

    def _call(self, method: str, request: Message, wait: float = 0.0) -> Any:  # noqa: ANN401 - the method's response
        stub = self._stub
        pauses = _Pauses(self._patience)
        while True:
            try:
                stub = stub or self._connect()
                return getattr(stub, method)(request, timeout=wait + self._timeout, metadata=self._metadata)
            except (grpc.RpcError, LabelingError) as error:
                pause = pauses.after(error)
                if pause is None:
                    raise _translated(error, self._connected) from error
                time.sleep(pause)
                stub = None


class AsyncLabelingClient:
    """Client for asyncio, with the calls of `LabelingClient`. Lives in one event loop."""

    def __init__(
        self,
        address: str | Callable[[], str],
        annotator: str,
        *,
        pipeline: str = "",
        timeout: float = 10.0,
        patience: float = 30.0,
        token: str | None = None,
        tls: Certificates | None = None,
    ) -> None:
        """As `LabelingClient`."""
        self.annotator = annotator
        self._address = address if callable(address) else lambda: address
        self._calls = _Calls(annotator, pipeline)
        self._metadata = _authorization(token)
        self._tls = tls or Certificates.from_environment(os.environ)
        self._timeout = timeout
        self._patience = patience
        self._connected = ""
        self._channel: grpc.aio.Channel | None = None
        self._stub: labeling_pb2_grpc.LabelingServiceAsyncStub | None = None

    @classmethod
    def of(cls, pipeline: str, annotator: str, settings: Settings | None = None, *, patience: float = 30.0) -> Self:
        """As `LabelingClient.of`."""
        where = settings or Settings.from_environment()
        return cls(lambda: find(where, pipeline), annotator, pipeline=pipeline, patience=patience)

    async def lease(self, count: int = 1, *, wait: float = 0.0, lease: float | None = None) -> list[Task]:
        """As `LabelingClient.lease`."""
        return _tasks(await self._call("LeaseTasks", self._calls.lease(count, wait, lease), wait))

    async def submit(
        self,
        task: Task,
        label: str,
        *,
        known_at: int | None = None,
        confidence: float | None = None,
        comment: str = "",
        key: str = "",
    ) -> Submitted:
        """As `LabelingClient.submit`."""
        return _one(await self.submit_many([Annotation(task, label, known_at, confidence, comment, key)]))

    async def submit_many(self, annotations: Sequence[Annotation]) -> list[Submitted | RefusedError]:
        """As `LabelingClient.submit_many`."""
        try:
            return _submitted(await self._call("SubmitLabels", self._calls.submit(annotations)))
        except RefusedError as refusal:
            if len(annotations) == 1:
                return [refusal]
            raise

    async def skip(self, task: Task, reason: str = "", *, known_at: int | None = None) -> str:
        """As `LabelingClient.skip`."""
        return cast("str", (await self._call("Skip", self._calls.skip(task, reason, known_at))).annotation_id)

    async def renew(self, tasks: Sequence[Task], lease: float | None = None) -> list[int | RefusedError]:
        """As `LabelingClient.renew`."""
        try:
            return _renewed(await self._call("RenewLease", self._calls.renew(tasks, lease)))
        except RefusedError as refusal:
            if len(tasks) == 1:
                return [refusal]
            raise

    async def release(self, tasks: Sequence[Task]) -> int:
        """As `LabelingClient.release`."""
        if not tasks:
            return 0
        return cast("int", (await self._call("Release", self._calls.release(tasks))).released)

    async def stats(self) -> Stats:
        """As `LabelingClient.stats`."""
        return _stats((await self._call("Stats", self._calls.stats())).stats)

    async def watch(self, interval: float = 1.0, *, stats_only: bool = False) -> AsyncGenerator[Update, None]:
        """As `LabelingClient.watch`."""
        request = self._calls.watch(interval, stats_only=stats_only)
        call = self._connect().Watch(request, metadata=self._metadata)
        try:
            async for response in call:
                yield _update(response)
        except grpc.aio.AioRpcError as error:
            raise _translated(error, self._connected) from error
        finally:
            call.cancel()

    @asynccontextmanager
    async def hold(self, count: int = 1, *, wait: float = 0.0, lease: float = 60.0) -> AsyncIterator[list[Task]]:
        """As `LabelingClient.hold`."""
        tasks = await self.lease(count, wait=wait, lease=lease)
        keeper = asyncio.create_task(self._keep(list(tasks), lease))
        try:
            yield tasks
        finally:
            keeper.cancel()
            await self.release(tasks)

    async def _keep(self, tasks: list[Task], lease: float) -> None:
        while tasks:
            await asyncio.sleep(lease / 3)
            try:
                renewed = await self.renew(tasks, lease)
            except UnreachableError:
                continue  # the leases may last until it is back; what is answered tells
            tasks = [task for task, outcome in zip(tasks, renewed, strict=True) if isinstance(outcome, int)]

    async def close(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            await self._channel.close(None)
        self._channel = self._stub = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _open(self, address: str) -> grpc.aio.Channel:
        if self._tls is None:
            return grpc.aio.insecure_channel(address, options=_CHANNEL)
        return grpc.aio.secure_channel(address, self._tls.of_client(), options=_CHANNEL)

    def _connect(self) -> labeling_pb2_grpc.LabelingServiceAsyncStub:
        address = self._address()
        if self._stub is None or address != self._connected:
            self._channel = self._open(address)
            self._stub = labeling_pb2_grpc.LabelingServiceStub(self._channel)
            self._connected = address
        return self._stub

    async def _call(self, method: str, request: Message, wait: float = 0.0) -> Any:  # noqa: ANN401 - as above
        stub = self._stub
        pauses = _Pauses(self._patience)
        while True:
            try:
                stub = stub or self._connect()
                call: Awaitable[Any] = getattr(stub, method)(
                    request, timeout=wait + self._timeout, metadata=self._metadata
                )
                return await call
            except (grpc.RpcError, LabelingError) as error:
                pause = pauses.after(error)
                if pause is None:
                    raise _translated(error, self._connected) from error
                await asyncio.sleep(pause)
                stub = None


def _authorization(token: str | None) -> tuple[tuple[str, str], ...]:
    secret = os.environ.get(TOKEN_VARIABLE, "").strip() if token is None else token
    return (("authorization", f"Bearer {secret}"),) if secret else ()


class _Pauses:
    """How long to wait before the next try; with jitter, so that clients do not come back all at once."""

    def __init__(self, patience: float) -> None:
        self._deadline = time.monotonic() + patience
        self._pause = _PAUSE[0]

    def after(self, error: Exception) -> float | None:
        """Seconds; None: no further try."""
        code = error.code() if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else None
        if isinstance(error, grpc.RpcError) and code is not grpc.StatusCode.UNAVAILABLE:
            return None
        if time.monotonic() >= self._deadline:
            return None
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        self._pause = min(2 * self._pause, _PAUSE[1])
        return pause


class _Calls:
    """Requests, the same for both clients."""

    def __init__(self, annotator: str, pipeline: str) -> None:
        self._annotator = annotator
        self._pipeline = pipeline

    def lease(self, count: int, wait: float, lease: float | None) -> pb.LeaseTasksRequest:
        return pb.LeaseTasksRequest(
            pipeline=self._pipeline,
            annotator=self._annotator,
            max_tasks=count,
            wait_ms=round(wait * 1_000),
            lease_ms=_ms(lease),
        )

    def submit(self, annotations: Sequence[Annotation]) -> pb.SubmitLabelsRequest:
        return pb.SubmitLabelsRequest(
            pipeline=self._pipeline,
            annotations=[
                pb.Annotation(
                    event_id=annotation.task.event_id,
                    lease_token=annotation.task.token,
                    label=annotation.label,
                    idempotency_key=annotation.key,
                    known_at_us=annotation.known_at,
                    confidence=annotation.confidence,
                    comment=annotation.comment,
                )
                for annotation in annotations
            ],
        )

    def skip(self, task: Task, reason: str, known_at: int | None) -> pb.SkipRequest:
        return pb.SkipRequest(
            pipeline=self._pipeline,
            lease=pb.Lease(event_id=task.event_id, lease_token=task.token),
            reason=reason,
            known_at_us=known_at,
        )

    def renew(self, tasks: Sequence[Task], lease: float | None) -> pb.RenewLeaseRequest:
        return pb.RenewLeaseRequest(pipeline=self._pipeline, leases=_leases(tasks), lease_ms=_ms(lease))

    def release(self, tasks: Sequence[Task]) -> pb.ReleaseRequest:
        return pb.ReleaseRequest(pipeline=self._pipeline, leases=_leases(tasks))

    def stats(self) -> pb.StatsRequest:
        return pb.StatsRequest(pipeline=self._pipeline)

    def watch(self, interval: float, *, stats_only: bool) -> pb.WatchRequest:
        return pb.WatchRequest(pipeline=self._pipeline, interval_ms=_ms(interval), stats_only=stats_only)


def _ms(seconds: float | None) -> int:
    return 0 if seconds is None else round(seconds * 1_000)


def _leases(tasks: Sequence[Task]) -> list[pb.Lease]:
    return [pb.Lease(event_id=task.event_id, lease_token=task.token) for task in tasks]


def _tasks(response: pb.LeaseTasksResponse) -> list[Task]:
    question = response.question
    classes = tuple(question.classes)
    return [
        Task(
            event_id=task.case.event_id,
            business_id=task.case.business_id if task.case.HasField("business_id") else None,
            key=task.case.key if task.case.HasField("key") else None,
            time=task.case.time_us,
            reason=_REASON_NAMES[task.case.reason],
            priority=task.case.priority,
            context={entry.name: _value(entry.value) for entry in task.case.context},
            features={f.name: f.value if f.HasField("value") else None for f in task.case.features},
            probabilities=tuple(task.case.probabilities),
            uncertainty=task.case.uncertainty if task.case.HasField("uncertainty") else None,
            model=task.case.model,
            expires_at=task.case.expires_at_us if task.case.HasField("expires_at_us") else None,
            policy=task.case.policy,
            tile=task.case.tile,
            token=task.lease_token,
            lease_expires_at=task.lease_expires_at_us,
            leases=task.lease_count,
            question=question.text,
            classes=classes,
            positive=question.positive,
        )
        for task in response.tasks
    ]


def _value(value: pb.Value) -> Value:
    kind = value.WhichOneof("kind")
    return None if kind is None else cast("Value", getattr(value, kind))


def _submitted(response: pb.SubmitLabelsResponse) -> list[Submitted | RefusedError]:
    return [
        RefusedError.of(result.error) or Submitted(result.annotation_id, result.duplicate)
        for result in response.results
    ]


def _renewed(response: pb.RenewLeaseResponse) -> list[int | RefusedError]:
    return [RefusedError.of(result.error) or result.lease_expires_at_us for result in response.results]


def _one(outcomes: list[Submitted | RefusedError]) -> Submitted:
    (outcome,) = outcomes
    if isinstance(outcome, RefusedError):
        raise outcome
    return outcome


def _stats(stats: pb.QueueStats) -> Stats:
    return Stats(
        pipeline=stats.pipeline,
        waiting_explore=stats.waiting_explore,
        waiting_active=stats.waiting_active,
        leased=stats.leased,
        answered=stats.answered,
        skipped=stats.skipped,
        expired=stats.expired,
        unpublished=stats.unpublished,
        rejected=stats.rejected,
        event_clock=stats.event_clock_us,
        now=stats.now_us,
        intake_problem=stats.intake_problem,
        publishing_problem=stats.publishing_problem,
        question=stats.question.text,
        classes=tuple(stats.question.classes),
        annotators={its.annotator: (its.answered, its.skipped) for its in stats.annotators},
    )


def _update(response: pb.WatchResponse) -> Update:
    return Update(
        stats=_stats(response.stats),
        events=tuple(
            CaseEvent(
                kind=cast("EventKind", pb.CaseEvent.Kind.Name(event.kind).removeprefix("KIND_").lower()),
                event_id=event.event_id,
                annotator=event.annotator,
                label=event.label or None,
                at=event.at_us,
            )
            for event in response.events
        ),
        missed=response.missed,
    )


def _translated(error: Exception, address: str) -> LabelingError:
    """The product's error for a failed call."""
    if isinstance(error, LabelingError):
        return error
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        raise TypeError(f"not the error of a call: {error!r}")
    status = rpc_status.from_call(cast("grpc.Call", error))
    refusal = None if status is None else RefusedError.of(status)
    if refusal is not None:
        return refusal
    code, details = error.code(), error.details()
    if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}:
        return UnreachableError(
            f"the labeling service at {address} does not answer ({code.name}: {details}); see `tidemark status`"
        )
    return LabelingError(f"the labeling service at {address} failed: {code.name}: {details}")
