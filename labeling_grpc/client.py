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
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast

import grpc
from google.protobuf.message import Message
from grpc_status import rpc_status

from labeling_grpc.client_messages import Calls, amended, one, renewed, stats_of, submitted, tasks, turned, update_of
from labeling_grpc.client_types import Annotation, CaseEvent, Stats, Submitted, Task, Turn, Update
from labeling_grpc.options import find
from labeling_grpc.refusals import Reason, RefusedError
from labeling_grpc.security.tls import Certificates
from labeling_grpc.v1 import labeling_pb2_grpc
from tidemark.errors import LabelingError
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
    "Turn",
    "UnreachableError",
    "Update",
]

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

Q = TypeVar("Q", bound=Message)
S = TypeVar("S", bound=Message)


class UnreachableError(LabelingError):
    """The labeling service could not be reached, or did not answer in time."""


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
        self._calls = Calls(annotator, pipeline)
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
        return tasks(self._call("LeaseTasks", request, wait))

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
        return one(self.submit_many([annotation]))

    def submit_many(self, annotations: Sequence[Annotation]) -> list[Submitted | RefusedError]:
        """Answer up to 100 tasks, each on its own: a refused one does not hold up the others.

        Raises:
            UnreachableError: the service can't be reached; repeating the call is safe.

        """
        try:
            return submitted(self._call("SubmitLabels", self._calls.submit(annotations)))
        except RefusedError as refusal:
            if len(annotations) == 1:
                return [refusal]
            raise

    def submit_and_lease(
        self, annotations: Sequence[Annotation], count: int = 1, *, wait: float = 0.0, lease: float | None = None
    ) -> Turn:
        """Answer up to 100 tasks and lease the next `count`, in one call: `submit_many` and then `lease`.

        Raises:
            RefusedError: the call as a whole is refused; nothing was taken.
            UnreachableError: the service can't be reached; repeating the call is safe.

        """
        following = self._calls.lease(count, wait, lease)
        return turned(self._call("SubmitLabels", self._calls.submit(annotations, following), wait))

    def skip(self, task: Task, reason: str = "", *, known_at: int | None = None) -> str:
        """Close a task without an answer; the id of the annotation that says so.

        Raises:
            RefusedError: unknown or closed case, stale lease.
            UnreachableError: the service can't be reached; repeating the call is safe.

        """
        return cast("str", self._call("Skip", self._calls.skip(task, reason, known_at)).annotation_id)

    def amend(
        self,
        annotation_id: str,
        label: str,
        *,
        known_at: int | None = None,
        confidence: float | None = None,
        comment: str = "",
    ) -> Submitted:
        """Correct an answer or a skip, by the id that it was given; both stay published, and the newer one counts.

        Raises:
            RefusedError: unknown annotation or class, or it was amended before.
            UnreachableError: the service can't be reached; repeating the call is safe.

        """
        return amended(self._call("AmendLabel", self._calls.amend(annotation_id, label, known_at, confidence, comment)))

    def retract(self, annotation_id: str, comment: str = "", *, known_at: int | None = None) -> Submitted:
        """Take an answer or a skip back; nothing takes its place.

        Raises:
            RefusedError: unknown annotation, or it was amended before.
            UnreachableError: the service can't be reached; repeating the call is safe.

        """
        return amended(self._call("AmendLabel", self._calls.amend(annotation_id, None, known_at, None, comment)))

    def renew(self, tasks: Sequence[Task], lease: float | None = None) -> list[int | RefusedError]:
        """Let leases end `lease` seconds from now; when each ends (µs), or why it was refused.

        Raises:
            UnreachableError: the service can't be reached.

        """
        try:
            return renewed(self._call("RenewLease", self._calls.renew(tasks, lease)))
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
        return stats_of(self._call("Stats", self._calls.stats()).stats)

    def watch(self, interval: float = 1.0, *, stats_only: bool = False) -> Generator[Update, None, None]:
        """What happens, at most one update per `interval` seconds, until the service stops or the iterator is closed.

        Raises:
            UnreachableError: the service can't be reached, or went away.

        """
        stub = self._connect()
        call = stub.Watch(self._calls.watch(interval, stats_only=stats_only), metadata=self._metadata)
        try:
            for response in call:
                yield update_of(response)
        except grpc.RpcError as error:
            raise _translated(error, self._connected) from error
        finally:
            call.cancel()  # type: ignore[no-untyped-call]  # the stubs leave its types out

    @contextmanager
    def hold(self, count: int = 1, *, wait: float = 0.0, lease: float = 60.0) -> Iterator[list[Task]]:
        """Lease cases and keep them for as long as the block runs; what was not answered in it is given back."""
        with self.keep(self.lease(count, wait=wait, lease=lease), lease=lease) as tasks:
            yield tasks

    @contextmanager
    def keep(self, tasks: list[Task], *, lease: float = 60.0) -> Iterator[list[Task]]:
        """Keep leased cases for as long as the block runs; what was not answered in it is given back."""
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
        self._calls = Calls(annotator, pipeline)
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
        return tasks(await self._call("LeaseTasks", self._calls.lease(count, wait, lease), wait))

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
        return one(await self.submit_many([Annotation(task, label, known_at, confidence, comment, key)]))

    async def submit_many(self, annotations: Sequence[Annotation]) -> list[Submitted | RefusedError]:
        """As `LabelingClient.submit_many`."""
        try:
            return submitted(await self._call("SubmitLabels", self._calls.submit(annotations)))
        except RefusedError as refusal:
            if len(annotations) == 1:
                return [refusal]
            raise

    async def submit_and_lease(
        self, annotations: Sequence[Annotation], count: int = 1, *, wait: float = 0.0, lease: float | None = None
    ) -> Turn:
        """As `LabelingClient.submit_and_lease`."""
        following = self._calls.lease(count, wait, lease)
        return turned(await self._call("SubmitLabels", self._calls.submit(annotations, following), wait))

    async def skip(self, task: Task, reason: str = "", *, known_at: int | None = None) -> str:
        """As `LabelingClient.skip`."""
        return cast("str", (await self._call("Skip", self._calls.skip(task, reason, known_at))).annotation_id)

    async def amend(
        self,
        annotation_id: str,
        label: str,
        *,
        known_at: int | None = None,
        confidence: float | None = None,
        comment: str = "",
    ) -> Submitted:
        """As `LabelingClient.amend`."""
        request = self._calls.amend(annotation_id, label, known_at, confidence, comment)
        return amended(await self._call("AmendLabel", request))

    async def retract(self, annotation_id: str, comment: str = "", *, known_at: int | None = None) -> Submitted:
        """As `LabelingClient.retract`."""
        return amended(await self._call("AmendLabel", self._calls.amend(annotation_id, None, known_at, None, comment)))

    async def renew(self, tasks: Sequence[Task], lease: float | None = None) -> list[int | RefusedError]:
        """As `LabelingClient.renew`."""
        try:
            return renewed(await self._call("RenewLease", self._calls.renew(tasks, lease)))
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
        return stats_of((await self._call("Stats", self._calls.stats())).stats)

    async def watch(self, interval: float = 1.0, *, stats_only: bool = False) -> AsyncGenerator[Update, None]:
        """As `LabelingClient.watch`."""
        request = self._calls.watch(interval, stats_only=stats_only)
        call = self._connect().Watch(request, metadata=self._metadata)
        try:
            async for response in call:
                yield update_of(response)
        except grpc.aio.AioRpcError as error:
            raise _translated(error, self._connected) from error
        finally:
            call.cancel()

    @asynccontextmanager
    async def hold(self, count: int = 1, *, wait: float = 0.0, lease: float = 60.0) -> AsyncIterator[list[Task]]:
        """As `LabelingClient.hold`."""
        async with self.keep(await self.lease(count, wait=wait, lease=lease), lease=lease) as tasks:
            yield tasks

    @asynccontextmanager
    async def keep(self, tasks: list[Task], *, lease: float = 60.0) -> AsyncIterator[list[Task]]:
        """As `LabelingClient.keep`."""
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
        if time.monotonic() >= self._deadline:
            return None
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            status = rpc_status.from_call(cast("grpc.Call", error))
            refusal = None if status is None else RefusedError.of(status)
            return None if refusal is None or not refusal.retry_after else refusal.retry_after
        if isinstance(error, grpc.RpcError) and code is not grpc.StatusCode.UNAVAILABLE:
            return None
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        self._pause = min(2 * self._pause, _PAUSE[1])
        return pause


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
