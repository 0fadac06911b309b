"""One run of `benchmarks.labeling.chaos`: what is planned, what is started and killed, and what is left."""

from __future__ import annotations

import itertools
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Self

import grpc
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from benchmarks.labeling.chaos_clients import Call, Client
from benchmarks.labeling.chaos_invariants import Evidence, Totals
from benchmarks.labeling.chaos_service import ForkedService
from benchmarks.labeling.rig import CLASSES, pipeline_text
from benchmarks.support.ports import lasting_port
from benchmarks.support.postgres import PostgresServer
from labeling_grpc.v1 import labeling_pb2 as pb
from labeling_grpc.v1 import labeling_pb2_grpc
from tidemark.broker import EmbeddedKafka
from tidemark.kafka import consumer_config, ensure_topics, producer_config
from tidemark.records import Candidate, Label, decode, encode
from tidemark.records.topics import Topics, TopicSpec
from tidemark.registry.reading import record_of
from tidemark.runtime.settings import Settings

Victim = Literal["service", "database", "broker"]
Store = Literal["sqlite", "postgres"]

_CLIENTS: Final = 4
_STEPS: Final = 14
_SMALL: Final = 14
_BOUND: Final = 100_000
_PATIENCE: Final = 150.0
_VISIBLE: Final = 10.0
_STEP: Final = 0.002
_PAUSE: Final = 0.05
_BEFORE: Final = 3_600_000
"""How long ago (ms) the first case was asked: Kafka's timestamps go on from there, a millisecond a case."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens in the run of a seed.

    cases: to begin with.  late: that come with the first kill.  kills: after how many calls, and what.
    """

    seed: int
    cases: int
    late: int
    kills: tuple[tuple[int, Victim], ...]

    @classmethod
    def of(cls, seed: int) -> Plan:
        """The plan of a seed."""
        chance = random.Random(seed)  # noqa: S311 seeded, no secret
        victims: dict[Victim, int] = (
            {"service": 20, "database": 38, "broker": 1} if seed % 2 else {"service": 58, "broker": 1}
        )
        number = chance.choice((1, 1, 1, 2))
        killed = chance.choices(list(victims), list(victims.values()), k=number)
        moments = sorted(chance.sample(range(2, _CLIENTS * _STEPS), number))
        return cls(seed, chance.randint(8, 24), chance.randint(2, 8), tuple(zip(moments, killed, strict=True)))

    @property
    def store(self) -> Store:
        """Where the queue is."""
        return "postgres" if self.seed % 2 else "sqlite"


@dataclass(slots=True)
class Broker:
    """The Kafka that all share. lock: held by who ends it, and by who makes topics."""

    node: EmbeddedKafka
    settings: Settings
    lock: threading.Lock = field(default_factory=threading.Lock)

    def kill(self) -> None:
        """End it, and start it again."""
        with self.lock:
            self.node.kill()
            self.node.start_node()


class Lane:
    """Services over one queue, for some runs one after the other. Ended with the block."""

    _made = itertools.count()

    def __init__(self, broker: Broker, folder: Path, database: PostgresServer | None, number: int) -> None:
        """number: of the session; says how many replicas there are, and whether the queue is too small."""
        self.name = f"chaos{next(self._made)}"
        self.topics = Topics(self.name)
        self.bound = _SMALL if number % 3 == 2 else _BOUND
        self._broker = broker
        self._database = database
        self._folder = folder / self.name
        self._settings = broker.settings
        self._replicas = 1 + (number % 2 if database is not None else 0)
        self.addresses = [f"127.0.0.1:{lasting_port()}" for _ in range(self._replicas)]
        self.services: list[ForkedService] = []
        self._stack = ExitStack()
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep)
        self._ended: set[str] = set()
        self._closed = Totals(0, 0, 0)
        self._cases = 0
        self._published_before = 0
        self._clock = (time.time_ns() // 1_000_000 - _BEFORE) * 1_000
        self._producer = Producer(producer_config(self._settings, linger_ms=0))
        self._reader = Consumer(consumer_config(self._settings, group="tidemark-chaos", enable_partition_eof=True))

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        file = self._folder / "pipeline.toml"
        file.write_text(pipeline_text(self.name), encoding="utf-8")
        names = (self.topics.candidates, self.topics.labels, self.topics.deadletter)
        with self._broker.lock:
            ensure_topics(self._settings, [TopicSpec(name, 1, {}) for name in names])
        self._reader.assign([TopicPartition(name, 0, 0) for name in names[1:]])
        for index, address in enumerate(self.addresses):
            environment = {
                "TIDEMARK_LABELING_ADDRESS": address,
                "TIDEMARK_LABELING_MAX_OPEN": str(self.bound),
                "TIDEMARK_LABELING_RELEASE_HOLD": "1s",
            }
            if self._database is not None:
                environment["TIDEMARK_LABELING_DATABASE"] = self._database.url
            own = self._settings.model_copy(update={"state_dir": self._folder / f"replica{index}"})
            service = ForkedService(file, self._folder / f"replica{index}.log", own.environment() | environment)
            self.services.append(self._stack.enter_context(service))
        self._keeper.start()
        try:
            for address in self.addresses:
                _stats(address, self.log)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        self._over.set()
        self._keeper.join()
        self._stack.close()
        self._reader.close()

    def log(self) -> str:
        """What the services printed."""
        return "\n".join(service.output for service in self.services)

    def run(self, plan: Plan) -> Evidence:
        """One run, and what it left."""
        chance = random.Random(plan.seed + 1)  # noqa: S311 seeded, no secret
        printed = [len(service.output) for service in self.services]
        cases = self._candidates(plan, chance)
        early, late = cases[: plan.cases], cases[plan.cases :]
        broken = self._send(early, chance)
        calls: list[Call] = []
        give_up = time.monotonic() + _PATIENCE
        names = [f"client-{plan.seed}-{index}" for index in range(_CLIENTS + 1)]
        clients = [
            Client(name, self.addresses, CLASSES, plan.seed * 10 + index, calls, give_up)
            for index, name in enumerate(names)
        ]
        *working, last = clients
        with ThreadPoolExecutor(_CLIENTS) as threads:
            works = [threads.submit(client.work, _STEPS) for client in working]
            for moment, victim in plan.kills:
                while len(calls) < moment and not all(work.done() for work in works):
                    time.sleep(_STEP)
                self.kill(victim, chance)
                broken |= self._send(late, chance)
                late = []
            for work in works:
                work.result()
        drained = last.drain(self._is_over)
        for client in clients:
            client.close()
        return self._evidence(cases, calls, broken, drained=drained, printed=printed)

    def kill(self, victim: Victim, chance: random.Random) -> None:
        """End it as nothing can defend itself against, and start it again."""
        match victim:
            case "service":
                chance.choice(self.services).restart()
            case "database" if self._database is not None:
                self._database.stop(signal.SIGQUIT)
                self._database.start()
            case _:
                self._broker.kill()

    def _keep(self) -> None:
        """Do a supervisor's work."""
        while not self._over.wait(_PAUSE):
            for service in self.services:
                service.keep()

    def _candidates(self, plan: Plan, chance: random.Random) -> list[Candidate]:
        made = []
        for number in range(plan.cases + plan.late):
            self._clock += 1_000
            explore = chance.random() < 0.3
            made.append(
                Candidate(
                    event_id=f"{self.name}.raw-0-{plan.seed * 100 + number}-00c0ffee",
                    business_id=None,
                    key=f"C{number % 5}",
                    time=self._clock,
                    tile=plan.seed,
                    tile_count=100,
                    reason="explore" if explore else "uncertain",
                    priority=chance.random(),
                    inclusion_probability=0.1 if explore else None,
                    policy="margin-1",
                    features={"amount": float(number)},
                    context={"number": number},
                    probabilities=[0.4, 0.6],
                    uncertainty=0.8,
                    model="m1",
                    expires_at=self._clock + chance.choice((3_000, 10_000)) if chance.random() < 0.15 else None,
                )
            )
        return made

    def _send(self, cases: Sequence[Candidate], chance: random.Random) -> set[int]:
        """Send candidates, some twice, and some that can't be read; offsets of these."""
        sent = [*cases, *(case for case in cases if chance.random() < 0.1)]
        offsets: set[int] = set()

        def delivered(error: object, message: Any) -> None:  # noqa: ANN401 - confluent-kafka's
            if error is not None:
                raise RuntimeError(f"a candidate was not taken by Kafka: {error}")
            offsets.add(message.offset())

        for case in sent:
            value = encode(case)
            self._producer.produce(self.topics.candidates, value, timestamp=case.time // 1_000)
            if chance.random() < 0.05:
                self._producer.produce(self.topics.candidates, value[:-7], on_delivery=delivered)
        if self._producer.flush(_PATIENCE):
            raise RuntimeError("Kafka did not take all candidates")
        self._cases += len(cases)
        return offsets

    def _is_over(self, stats: pb.QueueStats) -> bool:
        closed = stats.answered + stats.skipped + stats.expired
        return bool(closed == self._cases and stats.unpublished == 0)

    def _evidence(
        self, cases: Sequence[Candidate], calls: list[Call], broken: set[int], *, drained: bool, printed: Sequence[int]
    ) -> Evidence:
        before, self._closed = self._closed, self._totals()
        labels, dead = self._published({call.annotation_id for call in calls} - {""}, broken)
        return Evidence(
            cases={case.event_id: case for case in cases},
            calls=calls,
            labels=labels,
            dead_letters=dead,
            broken=frozenset(broken),
            totals=Totals(
                self._closed.answered - before.answered,
                self._closed.skipped - before.skipped,
                self._closed.expired - before.expired,
            ),
            bound=self.bound,
            clock=self._clock,
            drained=drained,
            log="\n".join(each.output[start:] for each, start in zip(self.services, printed, strict=True)),
        )

    def _published(self, acknowledged: set[str], broken: set[int]) -> tuple[list[Label], list[int]]:
        """Labels, and dead letters' offsets, once what is waited for is there, or has not been for long.

        What is committed becomes visible a moment after the one who committed it knows.
        """
        labels: list[Label] = []
        dead: list[int] = []
        closed = self._closed.answered + self._closed.skipped + self._closed.expired - self._published_before
        deadline = time.monotonic() + _VISIBLE
        while time.monotonic() < deadline:
            first = sum(label.supersedes is None for label in labels)
            there = acknowledged <= {label.annotation_id for label in labels} and broken <= set(dead)
            if there and first >= closed and len(self._ended) == 2:
                break
            for message in self._reader.consume(1_000, _PAUSE):
                topic, error = message.topic() or "", message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - has no public name
                        self._ended.add(topic)
                    continue  # the broker was killed: the client finds it again
                self._ended.discard(topic)
                if topic == self.topics.labels:
                    labels.append(decode(Label, message.value()))
                else:
                    headers = dict(record_of(message)[2] or ())
                    dead.append(int(headers["source_offset"] or b""))
        self._published_before += sum(label.supersedes is None for label in labels)
        return labels, dead

    def _totals(self) -> Totals:
        """How cases were closed, once a replica that was asked for something else knows of all of them."""
        deadline = time.monotonic() + _VISIBLE
        while True:
            stats = _stats(self.addresses[0], self.log)
            if self._is_over(stats) or time.monotonic() > deadline:
                return Totals(stats.answered, stats.skipped, stats.expired)
            time.sleep(_PAUSE)


def _stats(address: str, log: Callable[[], str]) -> pb.QueueStats:
    """The numbers of a service, which may still be starting."""
    with grpc.insecure_channel(address) as channel:
        stub = labeling_pb2_grpc.LabelingServiceStub(channel)
        try:
            return stub.Stats(pb.StatsRequest(), timeout=_PATIENCE, wait_for_ready=True).stats
        except grpc.RpcError as error:
            raise RuntimeError(f"the labeling service does not answer:\n{log()[-5_000:]}") from error
