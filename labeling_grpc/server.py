"""The labeling service of one pipeline, put together: store, writer, intake, publisher and gRPC server.

gRPC runs in one event loop: a long poll then costs a coroutine, not a thread, and replies of a group of commits reach
the loop in one call. (Measured beside a thread pool: see docs/explanation/labeling.md.)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from labeling_grpc.api.administration import LabelingAdminService
from labeling_grpc.api.case_details import Details
from labeling_grpc.api.health import Health
from labeling_grpc.api.interceptor import NAMES, CallInterceptor
from labeling_grpc.api.labeling import LabelingService
from labeling_grpc.api.live_stats import LiveStats
from labeling_grpc.api.paging import Pages
from labeling_grpc.api.question import question_of
from labeling_grpc.api.sign_in import SignIns
from labeling_grpc.api.validation import Checks
from labeling_grpc.api.writer_calls import WriterCalls
from labeling_grpc.assist.champion_follower import Champion
from labeling_grpc.assist.ranking import Ranker
from labeling_grpc.commands.administration import WriteDown
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.database import open_store
from labeling_grpc.kafka.leader import Bridge, Problems
from labeling_grpc.kafka.outbox_publisher import Hook, no_hook
from labeling_grpc.options import Options, is_loopback, listened, queue_database, state_folder
from labeling_grpc.quality.screening import Screener
from labeling_grpc.security import quiet
from labeling_grpc.security.audit import Act, Refusals
from labeling_grpc.security.authentication import Authenticator
from labeling_grpc.security.masks import masks
from labeling_grpc.security.quiet import Tally
from labeling_grpc.security.rates import Rates
from labeling_grpc.security.token_throttle import TokenThrottle
from labeling_grpc.security.tokens import TokenStore
from labeling_grpc.storage.base import Store
from labeling_grpc.storage.group_commit import FutureReply, Stopping, Writer
from labeling_grpc.storage.read_pool import Reader
from labeling_grpc.v1 import admin_pb2_grpc, labeling_pb2_grpc
from tidemark.broker import resolve_bootstrap
from tidemark.errors import ConfigError, LabelingError, TidemarkError
from tidemark.pipeline import Pipeline, load
from tidemark.pipeline.checked import CheckedTexts
from tidemark.records.topics import Topics
from tidemark.runtime.garbage_collection import seldom
from tidemark.runtime.private_files import private_file, private_folder
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings

MAX_REQUEST: Final = 2 * 1024 * 1024
"""Bytes of a request: a hundred annotations with the longest comments fit."""

MAX_CALLS: Final = 10_000
"""Calls under way at once, of which gRPC refuses more: long polls and watchers have lower bounds of their own."""

STOP_SECONDS: Final = 20.0
"""Until a service that was asked to stop ends as it is. One whose database answers takes some 5 s at most."""

_GRACE_SECONDS: Final = 1.0
_HEALTH_SECONDS: Final = 0.5
_START_SECONDS: Final = 30.0
_GRPC: Final[list[tuple[str, Any]]] = [
    ("grpc.max_receive_message_length", MAX_REQUEST),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.max_concurrent_streams", 2_000),
    ("grpc.so_reuseport", 0),  # a port that is taken is an error, never shared
    # A laptop whose lid was closed: its connection is found dead within half a minute, its long polls end.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
]

log = logging.getLogger(__name__)


class LabelingServer:
    """A running service. `stop` it, or use it as a context manager."""

    def __init__(
        self,
        pipeline: Pipeline,
        settings: Settings,
        store: Store,
        options: Options,
        *,
        rules: QueueRules,
        hook: Hook = no_hook,
    ) -> None:
        self.address = ""
        self.pipeline = pipeline.name
        self.store = store
        self.failed: Exception | None = None
        """What ended the service, or None."""
        self.ended = threading.Event()
        """Set when the service can't go on; `failed` tells why."""
        self._options = options
        self._masks = masks(pipeline)
        self._rules = rules
        self._pipeline = pipeline
        self._refusals = Refusals()
        topics = Topics(pipeline.name)
        self._problems = Problems(intake="starting", publishing="starting")
        self._writer = Writer(store, self._fail)
        self._champion = Champion(settings, pipeline)
        self._details = Details(pipeline, self._champion)
        ranker = Ranker(pipeline, self._writer, self._champion)
        self._bridge = Bridge(settings, topics, self._writer, self._problems, self._fail, hook, ranker)
        self._screener = Screener(self._writer, rules, self._fail)
        self._state = state_folder(settings, pipeline.name) / "labeling.json"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="labeling-grpc", daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._stopped = False
        self._tallies: tuple[Tally, ...] = ()

    def start(self) -> Self:
        """Listen, take in, publish; return when the first call can be answered.

        Raises:
            LabelingError: the address can't be bound.

        """
        self._writer.start()
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            raise LabelingError(f"the labeling service did not start within {_START_SECONDS:g} s")
        if self.failed is not None:
            self._writer.stop()
            self.store.close()
            raise self.failed
        self._bridge.start()
        self._champion.start()
        self._screener.start()
        self._write_state()
        return self

    def stop(self) -> None:
        """Answer what is under way, publish what is on disk, close; within about 5 s."""
        if self._stopped:
            return
        self._stopped = True
        self._bridge.ask_to_stop()
        self._writer.let_go()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._champion.stop()
        self._bridge.stop()
        self._screener.stop()
        self._writer.stop()
        self.store.close()
        self._state.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except (LabelingError, ConfigError) as error:
            self._fail(error)
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        refusals = Tally(log)
        self._tallies = (refusals, quiet.hush())
        checks = Checks(self.pipeline, self._options.lease_us)
        rates = Rates(self._options.rate) if self._options.rate else None
        tokens = TokenStore(self.store.engine)
        authenticator = Authenticator(tokens, self._forbidden, TokenThrottle(rates)) if self._options.tokens else None
        calls_pass = CallInterceptor(authenticator, rates, self._masks, refusals)
        server = grpc.aio.server(interceptors=[calls_pass], options=_GRPC, maximum_concurrent_rpcs=MAX_CALLS)
        reader, pages = Reader(self.store.engine), Pages(self.store.publisher)
        calls = WriterCalls(self._loop, self._writer)
        stats = LiveStats(self.pipeline, question_of(self._pipeline.label), self._writer, self._problems, reader)
        sign_ins = SignIns(self.pipeline, self._options.sign_in, calls, self._forbidden)
        service = LabelingService(checks, calls, stats, reader, pages, self._details, self._pipeline, sign_ins)
        admin = LabelingAdminService(checks, calls, stats, reader, pages, self._masks, self._rules)
        labeling_pb2_grpc.add_LabelingServiceServicer_to_server(service, server)
        admin_pb2_grpc.add_LabelingAdminServiceServicer_to_server(admin, server)
        states = Health(("", *NAMES))
        health_pb2_grpc.add_HealthServicer_to_server(states, server)
        if self._options.reflection:
            reflection.enable_server_reflection((*NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        try:
            if self._options.tls is None:
                port = server.add_insecure_port(self._options.address)
            else:
                port = server.add_secure_port(self._options.address, self._options.tls.of_server())
        except RuntimeError as error:
            raise LabelingError(
                f"the labeling service can't listen on {self._options.address}: the port is taken; choose another, or "
                "0 for a free one"
            ) from error
        host = self._options.address.rpartition(":")[0]
        self.address = f"{host}:{port}"
        await server.start()
        self._tell_health(states)
        self._ready.set()
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HEALTH_SECONDS):
                    await self._stop.wait()
            self._tell_health(states)
            for tally in self._tallies:
                tally.tell()
        states.tell(health_pb2.HealthCheckResponse.NOT_SERVING)
        service.stop()
        await server.stop(_GRACE_SECONDS)
        reader.close()

    def _tell_health(self, states: Health) -> None:
        """Whether calls should come here: not while the database fails or hangs, for another replica's may answer."""
        failing = self._writer.failing or self._writer.stalled
        state = health_pb2.HealthCheckResponse.NOT_SERVING if failing else health_pb2.HealthCheckResponse.SERVING
        states.tell(state)

    def _forbidden(self, act: Act) -> None:
        """Called by the authenticator's threads."""
        act_to_write = self._refusals.take(act)
        if act_to_write is not None:
            with contextlib.suppress(Stopping):
                self._writer.submit(WriteDown((act_to_write,)), FutureReply())

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, TidemarkError):
            log.critical("a bug ends the labeling service: %s", quiet.described(error))
        self.failed = error
        self.ended.set()

    def _write_state(self) -> None:
        private_folder(self._state.parent.parent)
        private_folder(self._state.parent)
        state = {
            "address": self.address,
            "pipeline": self.pipeline,
            "pid": os.getpid(),
            "started_at": time.time_ns() // 1_000,
        }
        fresh = self._state.with_suffix(".json.new")
        private_file(fresh).write_text(json.dumps(state) + "\n", encoding="utf-8")
        fresh.replace(self._state)


def serve(
    pipeline: Pipeline,
    settings: Settings,
    *,
    address: str | int | None = None,
    database: str | Path | None = None,
    options: Options | None = None,
    hook: Hook = no_hook,
) -> LabelingServer:
    """Start the labeling service of a pipeline.

    address: `127.0.0.1:PORT`, or a port; None for the options'.  database: a file for SQLite, or the URL of a
    PostgreSQL; None for the options', or the pipeline's state folder.
    hook: see `Publisher`.

    Raises:
        ConfigError: the address is not this machine's alone.
        StoreError: the database is in use, or not a queue's.
        LabelingError: the address can't be bound.

    """
    options = options or Options()
    if address is not None:
        options = replace(options, address=f"127.0.0.1:{address}" if isinstance(address, int) else address)
    listened(options.address, guarded=options.tokens or options.tls is not None)
    if options.tokens and options.tls is None and not is_loopback(options.address):
        log.warning(
            "tokens are taken in the clear at %s: whoever is on the way can read them; set TIDEMARK_LABELING_TLS_CERT "
            "and _KEY",
            options.address,
        )
    rules = QueueRules.of(pipeline, max_open=options.max_open, release_hold_us=options.release_hold_us)
    where = database or queue_database(settings, pipeline.name, options.database)
    store = open_store(where, Topics(pipeline.name), rules)
    return LabelingServer(pipeline, settings, store, options, rules=rules, hook=hook).start()


@contextlib.contextmanager
def bounded(seconds: float, leave: Callable[[int], object] = os._exit) -> Iterator[None]:
    """End the process if the block takes too long: a thread that waits for a database that hangs can't be ended.

    Args:
        seconds: For the block.
        leave: Ends the process, with a status.

    """

    def late() -> None:
        log.critical(
            "the labeling service does not stop within %g s, for its database or Kafka hangs: it ends as it is; what "
            "it acknowledged is on disk",
            seconds,
        )
        leave(1)

    timer = threading.Timer(seconds, late)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def main(pipeline_path: str | Path) -> int:
    """Serve a pipeline until SIGTERM or SIGINT; the exit status.

    Settings and options are the environment's.
    """
    stop = threading.Event()

    def asked(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, asked)
    try:
        settings = Settings.from_environment()
        pipeline = load(pipeline_path, CheckedTexts.of(settings.cache_dir))
        settings = settings.at(resolve_bootstrap(settings))
        server = serve(pipeline, settings, options=Options.from_environment())
    except TidemarkError as error:
        print(f"labeling: {safe(str(error), lines=True)}", file=sys.stderr)  # noqa: T201 - for the person who started it
        return 1
    log.info("labeling %s at %s", server.pipeline, server.address)
    seldom()
    while not stop.wait(0.2) and not server.ended.is_set():
        pass
    with bounded(STOP_SECONDS):
        server.stop()
    if server.failed is not None:
        print(f"labeling: {safe(str(server.failed), lines=True)}", file=sys.stderr)  # noqa: T201 - as above
        return 1
    return 0
