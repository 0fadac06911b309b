"""How long a case takes from Kafka to somebody who waits for it, and an answer from its acknowledgement to Kafka."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.labeling.rig import NAME, Service, case
from labeling_grpc.v1 import labeling_pb2 as pb
from labeling_grpc.v1 import labeling_pb2_grpc
from tidemark.kafka import consumer_config, ensure_topics, producer_config
from tidemark.records import encode
from tidemark.records.topics import Topics, TopicSpec
from tidemark.runtime.settings import Settings

_TOPICS: Final = Topics(NAME)
_WAIT_MS: Final = 60_000
_PACE_SECONDS: Final = 0.02


def topics(kafka: Settings) -> None:
    """Make the topics that a service reads and writes."""
    names = (_TOPICS.candidates, _TOPICS.labels, _TOPICS.deadletter)
    ensure_topics(kafka, [TopicSpec(name, 1, {}) for name in names])


def published(service: Service, kafka: Settings, number: int) -> list[float]:
    """Milliseconds from the acknowledgement of each of `number` answers until a reader of `P.labels` has it."""
    with _ask(kafka, range(number)), grpc.insecure_channel(service.address) as channel:
        stub = labeling_pb2_grpc.LabelingServiceStub(channel)
        acknowledged: dict[str, float] = {}
        seen: dict[str, float] = {}
        reader = threading.Thread(target=_read, args=(kafka, seen, number))
        reader.start()
        for _ in range(number):
            (task,) = stub.LeaseTasks(pb.LeaseTasksRequest(annotator="ada", wait_ms=_WAIT_MS), timeout=90).tasks
            answer = pb.Annotation(event_id=task.case.event_id, lease_token=task.lease_token, label="fraud")
            stub.SubmitLabels(pb.SubmitLabelsRequest(annotations=[answer]), timeout=30)
            acknowledged[task.case.event_id] = time.perf_counter()
            time.sleep(_PACE_SECONDS)  # one person's answers, not a flood: this is about latency
        reader.join(60)
    if len(seen) < number:
        raise RuntimeError(f"{number - len(seen)} of {number} labels did not come: {service.process.output[-3_000:]}")
    return [max(0.0, seen[event] - at) * 1e3 for event, at in acknowledged.items()]


@contextmanager
def _ask(kafka: Settings, numbers: range) -> Iterator[None]:
    producer = Producer(producer_config(kafka, linger_ms=0))
    for number in numbers:
        producer.produce(_TOPICS.candidates, encode(case(number)))
    producer.flush(30)
    yield


def _read(kafka: Settings, seen: dict[str, float], number: int) -> None:
    consumer = Consumer(consumer_config(kafka, group="bench-labels"))
    consumer.assign([TopicPartition(_TOPICS.labels, 0, 0)])
    deadline = time.monotonic() + 120
    while len(seen) < number and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            seen[(message.key() or b"").decode()] = time.perf_counter()
    consumer.close()


def delivered(service: Service, kafka: Settings, *, polls: int, watchers: int, cases: int) -> tuple[list[float], float]:
    """Milliseconds from each of `cases` candidates' being sent to Kafka until one who waits has it; resident MB."""
    return asyncio.run(_Crowd(service, kafka, polls, watchers, cases).run())


class _Crowd:
    def __init__(self, service: Service, kafka: Settings, polls: int, watchers: int, cases: int) -> None:
        self._service = service
        self._producer = Producer(producer_config(kafka, linger_ms=0))
        self._polls = polls
        self._watchers = watchers
        self._cases = cases
        self._got: asyncio.Queue[tuple[str, float]] = asyncio.Queue()

    async def run(self) -> tuple[list[float], float]:
        async with grpc.aio.insecure_channel(self._service.address) as channel:
            stub: Any = labeling_pb2_grpc.LabelingServiceStub(channel)
            tasks = [asyncio.create_task(self._poll(stub, number)) for number in range(self._polls)]
            tasks += [asyncio.create_task(_watch(stub)) for _ in range(self._watchers)]
            try:
                await asyncio.sleep(3.0)  # until all are there
                return await self._send(), self._service.rss_mb()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _poll(self, stub: Any, number: int) -> None:  # noqa: ANN401 - the stubs leave asyncio's out
        ask = pb.LeaseTasksRequest(annotator=f"waiter-{number}", wait_ms=_WAIT_MS)
        while True:
            response = await stub.LeaseTasks(ask)
            for task in response.tasks:
                self._got.put_nowait((task.case.event_id, time.perf_counter()))

    async def _send(self) -> list[float]:
        taken: list[float] = []
        for number in range(-1, self._cases):  # the first opens connections
            asked = case(1_000_000 + number)
            start = time.perf_counter()
            self._producer.produce(_TOPICS.candidates, encode(asked))
            self._producer.poll(0)
            event, at = await asyncio.wait_for(self._got.get(), 30)
            if event != asked.event_id:
                raise RuntimeError(f"{event} was delivered where {asked.event_id} was expected")
            if number >= 0:
                taken.append((at - start) * 1e3)
            await asyncio.sleep(_PACE_SECONDS)
        return taken


async def _watch(stub: Any) -> None:  # noqa: ANN401 - the stubs leave asyncio's out
    async for _ in stub.Watch(pb.WatchRequest()):
        pass
