"""`make bench-labeling-fuzz`: every call of the contract with any request, by the hundred thousand (rows G.fuzz).

Many calls are under way at once, over the network, some given up half way. What counts as a violation: a status that
the contract does not name, a refusal without a machine-readable reason, words of the service's inside in what a caller
is told, a call without an answer, a bug in the service's log, a case that is not there at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import grpc
import numpy as np
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status

from benchmarks.labeling.requests import Requests, waits
from benchmarks.labeling.rig import CLASSES, NAME, Service, issue, services
from benchmarks.support.postgres import PostgresServer
from benchmarks.support.report import earlier, write
from labeling_grpc.contract.errors import RefusedError
from labeling_grpc.security.roles import SERVICES, Role
from labeling_grpc.server import MAX_REQUEST
from labeling_grpc.v1 import labeling_pb2 as pb
from labeling_grpc.v1 import labeling_pb2_grpc

REFUSALS: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    }
)
"""What a request may be refused with while nothing fails."""

INSIDE: Final = ("Traceback", ".py", "sqlalchemy", "psycopg", "sqlite3", "object at 0x", "Error(", "SELECT ")
"""What is never in the words to a caller."""

WORDS: Final = (NAME, "ada", "ben", *CLASSES)
_ROOT: Final = Path(__file__).parents[2]
_CASES: Final = 100_000
_ROUND: Final = 250_000
_AT_ONCE: Final = 64
_CHANNELS: Final = 8
_PATIENCE: Final = 60.0
_SHORT: Final = 0.3
_STREAMED: Final = 3
_GIVEN_UP: Final = 0.02
_HUGE: Final = 0.0001
_KEPT: Final = 20
_FLAT_MB: Final = 16.0
"""Most that a service may grow in the second half of a round: SQLite's page cache, bounded at 64 MiB, still fills."""

_CHANNEL: Final = [("grpc.use_local_subchannel_pool", 1)]
_HOLDERS: Final = [(role, who) for role in (Role.ADMIN, *Role) for who in ("ada", "ben")]
"""Of access tokens; an administrator first."""

Metadata = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Found:
    """What came of the calls. codes: by method and status.  violations: as a person reads them, the first ones."""

    calls: int = 0
    codes: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: int = 0
    violations: list[str] = field(default_factory=list)

    def violation(self, what: str) -> None:
        """Count one."""
        self.wrong += 1
        if len(self.violations) < _KEPT:
            self.violations.append(what)


class Fuzz:
    """Calls of one seed to the service at `address`. secrets: access tokens to call with; none: without one."""

    def __init__(self, address: str, seed: int, words: Sequence[str], secrets: Sequence[str] = ()) -> None:
        self.found = Found()
        self.patience = _PATIENCE
        """Seconds for a call that does not wait for anything."""
        self._address = address
        self._requests = Requests(SERVICES, seed, words)
        self._chance = random.Random(seed)  # noqa: S311 seeded, no secret
        known: list[Metadata] = [(("authorization", f"Bearer {secret}"),) for secret in secrets]
        self._metadata: list[Metadata] = [*4 * known, (("authorization", "Bearer no"),), ()] if known else [()]

    def run(self, calls: int) -> Found:
        """Make that many calls, and return when all are over."""
        asyncio.run(self._run(calls))
        return self.found

    async def _run(self, calls: int) -> None:
        channels = [grpc.aio.insecure_channel(self._address, options=_CHANNEL) for _ in range(_CHANNELS)]
        try:
            async with asyncio.TaskGroup() as group:
                for worker in range(_AT_ONCE):
                    group.create_task(self._work(channels[worker % _CHANNELS], calls))
        finally:
            for channel in channels:
                await channel.close(None)

    async def _work(self, channel: grpc.aio.Channel, calls: int) -> None:
        while self.found.calls < calls:
            self.found.calls += 1
            method, sent = self._requests.next()
            if self._chance.random() < _HUGE:
                sent += b"\x00" * MAX_REQUEST
            await self._call(channel, method, sent)

    async def _call(self, channel: grpc.aio.Channel, method: MethodDescriptor, sent: bytes) -> None:
        long = waits(method, sent)
        given_up = self._chance.random() < _GIVEN_UP
        limit = self._chance.random() * 0.01 if given_up else _SHORT if long else self.patience
        metadata = self._chance.choice(self._metadata)
        try:
            answer = await _response(channel, method, sent, metadata, limit)
        except grpc.aio.AioRpcError as error:
            code = error.code()
            if not (code is grpc.StatusCode.DEADLINE_EXCEEDED and (long or given_up)):
                self._check(method, sent, error)
        else:
            code = grpc.StatusCode.OK
            if answer is not None:
                self._requests.learn(method, sent, answer)
        self.found.codes[method.name, code.name] += 1

    def _check(self, method: MethodDescriptor, sent: bytes, error: grpc.aio.AioRpcError) -> None:
        code, details = error.code(), error.details() or ""
        told = f"{method.name}({sent[:500].hex()}): {code.name}: {details}"
        if code not in REFUSALS:
            self.found.violation(f"not in the contract: {told}")
        elif any(word in details for word in INSIDE):
            self.found.violation(f"shows its inside: {told}")
        elif len(sent) <= MAX_REQUEST and not _explained(error):  # gRPC itself refuses what is larger
            self.found.violation(f"no machine-readable reason: {told}")


def _explained(error: grpc.aio.AioRpcError) -> bool:
    try:
        status = rpc_status.from_call(cast("grpc.Call", error))
    except ValueError:  # the status in the details is another than the call's
        return False
    return status is not None and RefusedError.of(status) is not None


async def _response(
    channel: grpc.aio.Channel, method: MethodDescriptor, sent: bytes, metadata: Metadata, limit: float
) -> Message | None:
    """The answer; of a stream the first of its answers, after which some more are read; None: it had none."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    parse = GetMessageClass(method.output_type).FromString
    if not method.server_streaming:
        answer = await channel.unary_unary(path, bytes, parse)(sent, metadata=metadata, timeout=limit)
        return cast("Message", answer)
    call = channel.unary_stream(path, bytes, parse)(sent, metadata=metadata, timeout=limit)
    first: Message | None = None
    try:
        for _ in range(_STREAMED):
            answer = await call.read()
            if not isinstance(answer, Message):  # the stream's end
                break
            first = first or answer
    except grpc.aio.AioRpcError as error:
        if first is None or error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
            raise
    finally:
        call.cancel()
    return first


@dataclass(slots=True)
class Memory:
    """Resident memory of a service while calls are made. samples: calls made, MB."""

    samples: list[tuple[int, float]] = field(default_factory=list)

    def at(self, share: float) -> float:
        """MB when about this share of the calls was made: the median of a tenth of the samples around it."""
        mb = [mb for _, mb in self.samples]
        middle, half = share * len(mb), max(1, len(mb) // 20)
        return float(np.median(mb[max(0, int(middle) - half) : int(middle) + half]))

    @property
    def growth(self) -> float:
        """MB from the middle to the end: before it caches fill."""
        return self.at(1.0) - self.at(0.5)


@contextmanager
def measured(service: Service, fuzz: Fuzz) -> Iterator[Memory]:
    """The service's memory, twice a second, while the block runs."""
    memory, over = Memory(), threading.Event()

    def sample() -> None:
        while not over.wait(0.5):
            memory.samples.append((fuzz.found.calls, service.rss_mb()))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield memory
    finally:
        over.set()
        thread.join()


def gone(address: str, cases: int, metadata: Metadata = ()) -> int:
    """How many of `cases`, and of those that were imported, a queue does not have, or does not count; 0 is right."""
    known, page = 0, ""
    with grpc.insecure_channel(address) as channel:
        stub = labeling_pb2_grpc.LabelingServiceStub(channel)
        stats = stub.Stats(pb.StatsRequest(), timeout=_PATIENCE, metadata=metadata).stats
        while True:
            request = pb.ListCasesRequest(page_size=500, page_token=page)
            listed = stub.ListCases(request, timeout=_PATIENCE, metadata=metadata)
            known, page = known + len(listed.records), listed.next_page_token
            if not page:
                break
    open_ = stats.waiting_explore + stats.waiting_active + stats.leased
    counted = open_ + stats.answered + stats.skipped + stats.expired + stats.withdrawn
    return max(0, cases - known) + abs(known - int(counted))


@dataclass(frozen=True, slots=True)
class Round:
    """What is fuzzed: one service in one store, with access tokens or without."""

    postgres: bool = False
    tokens: bool = False

    @property
    def name(self) -> str:
        """As in the row's id."""
        return ("postgres" if self.postgres else "sqlite") + (".tokens" if self.tokens else "")


ROUNDS: Final = {
    each.name: each for each in (Round(), Round(postgres=True), Round(tokens=True), Round(postgres=True, tokens=True))
}


def fuzzed(kind: Round, calls: int, seed: int, *, cases: int) -> dict[str, Any]:
    """The row of one round."""
    if not kind.postgres:
        return _fuzzed(kind, calls, seed, cases, None)
    with PostgresServer() as database:
        return _fuzzed(kind, calls, seed, cases, database.url)


def _fuzzed(kind: Round, calls: int, seed: int, cases: int, database: str | None) -> dict[str, Any]:
    secrets: list[str] = []
    before: Callable[[str | Path], None] | None = partial(issue, secrets, _HOLDERS) if kind.tokens else None
    options = {"TIDEMARK_LABELING_LEASE": "2s", "TIDEMARK_LABELING_TOKENS": "on" if kind.tokens else "off"}
    with services(1, cases=cases, database=database, before=before, environment=options) as (service,):
        fuzz = Fuzz(service.address, seed, WORDS, secrets)
        began = time.perf_counter()
        with measured(service, fuzz) as memory:
            found = fuzz.run(calls)
        seconds = time.perf_counter() - began
        admin: Metadata = (("authorization", f"Bearer {secrets[0]}"),) if secrets else ()
        if lost := gone(service.address, cases, admin):
            found.violation(f"{lost} of {cases} cases are gone")
        log = service.process.output
    for word in ("Traceback", "a bug"):
        if word in log:
            told = log[log.index(word) :][:2_000].replace(f"{_ROOT}/", "")
            found.violation(f"the service's log says {word!r}: {told}")
    for violation in found.violations:
        print(violation, file=sys.stderr)
    codes: dict[str, dict[str, int]] = {}
    for (method, code), count in sorted(found.codes.items()):
        codes.setdefault(method, {})[code] = count
    return {
        "id": f"G.fuzz.{kind.name}",
        "value": found.wrong,
        "unit": f"violations in {found.calls:,} calls",
        "target": 0,
        "reached": found.wrong == 0 and memory.growth <= _FLAT_MB,
        "detail": {
            "seed": seed,
            "calls": found.calls,
            "at_once": _AT_ONCE,
            "calls_a_second": round(found.calls / seconds),
            "codes": codes,
            "violations": found.violations,
            "rss_mb": {share: round(memory.at(float(share)), 1) for share in ("0.1", "0.5", "1.0")},
            "rss_growth_in_the_second_half_mb": round(memory.growth, 1),
        },
    }


def main(arguments: list[str]) -> None:
    """Run the rounds and write `benchmarks/results/labeling_fuzz.json`; a round by itself changes its own row alone."""
    parser = argparse.ArgumentParser("python -m benchmarks.labeling.fuzz", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2,000 calls a round")
    parser.add_argument("--round", choices=sorted(ROUNDS), action="append", help="this one alone; may be repeated")
    parser.add_argument("--calls", type=int, default=_ROUND, help=f"calls a round ({_ROUND:,})")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that services and servers end with it
    calls, cases = (2_000, 500) if given.quick else (given.calls, _CASES)
    name = "labeling_fuzz.quick" if given.quick else "labeling_fuzz"
    rows = [fuzzed(ROUNDS[each], calls, given.seed, cases=cases) for each in given.round or ROUNDS]
    made = {row["id"] for row in rows}
    kept = [row for row in earlier(name) if row["id"] not in made] if given.round else []
    write(name, sorted([*kept, *rows], key=lambda row: str(row["id"])))
    if any(row["value"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
