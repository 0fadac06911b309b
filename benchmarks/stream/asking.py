"""S11: callers who ask at a rate, each call sent when it is due, whether or not those before it were answered.

The callers are a process of their own. An answer counts from when its call was due. The figure is void where a call is
refused, or where the event of an answer has not exactly one prediction.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from typing import Any, Final

import grpc
import msgspec
import numpy as np

from benchmarks.loop.fraud_loop import PIPELINE_FILE
from benchmarks.stream.engines import TIDEMARK, Engine, EngineProcess, Run
from benchmarks.stream.pace import stamped
from benchmarks.stream.rig import Rig
from benchmarks.stream.usage import processor_seconds
from benchmarks.stream.visibility import Visibility
from benchmarks.stream.workload import send
from benchmarks.support.ports import lasting_port
from prediction_grpc.v1 import prediction_pb2 as pb
from prediction_grpc.v1 import prediction_pb2_grpc
from tidemark.kafka import read_all

TARGET: Final = (3.0, 10.0)
"""ms: p50 and p99."""
_PATIENCE: Final = 180.0
_APART: Final = 0.1
_TIMEOUT: Final = 5.0
_POSITIVE: Final = "fraud"


class _Predicted(msgspec.Struct):
    event_id: str
    probabilities: list[float]


@dataclass(frozen=True, slots=True)
class Asking:
    """How it went. latencies: ms, p50, p99, worst.  refused: calls by code.

    missing: answered events without exactly one prediction.
    apart: share of answers that differ from their event's own prediction by more than .1.
    """

    rate: int
    seconds: float
    latencies: list[float]
    refused: dict[str, int]
    missing: int
    apart: float
    micros: float

    @property
    def is_right(self) -> bool:
        """Whether each call was answered, and each event predicted once."""
        return not self.refused and self.missing == 0

    def told(self) -> dict[str, Any]:
        """For the record."""
        return {
            "rate": self.rate,
            "seconds": self.seconds,
            "ms": dict(zip(("p50", "p99", "worst"), (round(x, 2) for x in self.latencies), strict=True)),
            "refused": self.refused,
            "missing": self.missing,
            "share_apart_from_own_prediction": round(self.apart, 5),
            "processor_us_a_call": round(self.micros, 1),
        }


def asking(rig: Rig, rate: int, warm: int, warm_seconds: float, seconds: float) -> Asking:
    """Ask a stream process at a rate.

    Args:
        rig: the broker and the events.
        rate: calls a second.
        warm: events that are worked off before.
        warm_seconds: of the calls, which do not count.
        seconds: that count.

    Returns:
        How it went.

    """
    file, port = rig.folder / "asked.toml", lasting_port()
    file.write_text(f'{PIPELINE_FILE.read_text(encoding="utf-8")}\n[ask]\naddress = "127.0.0.1:{port}"\n')

    def command(_: Run) -> Sequence[str]:
        return [sys.executable, "-P", "-m", "dataflows.run", "stream", str(file)]

    count = int(rate * (warm_seconds + seconds))
    records = list(rig.workload.records(0, warm + count))
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    with rig.started(Engine(TIDEMARK, "exactly once", command)) as (process, run):
        earlier = datetime.now(UTC) - timedelta(milliseconds=warm)
        moments = (earlier + timedelta(milliseconds=number) for number in range(warm))
        told = ((key, stamped(value, moment)) for (key, value), moment in zip(records, moments, strict=False))
        send(rig.settings, run.source, told)
        visibility = Visibility(rig.admin, run.target, rig.pipeline.partitions)
        _await(visibility, warm, process)
        events = [value for _, value in records[warm:]]
        callers = spawning.Process(target=_call, args=(f"127.0.0.1:{port}", events, rate, there))
        callers.start()
        try:
            here.recv()  # connected
            time.sleep(warm_seconds)
            used = processor_seconds(process.pid)
            waited, refused, answered = here.recv()
            used = processor_seconds(process.pid) - used
        finally:
            callers.join(10)
            callers.kill()
        _await(visibility, warm + len(answered), process)
        predicted: dict[str, list[float]] = {}
        for message in read_all(rig.settings, run.target, settled=True):
            prediction = msgspec.json.decode(message.value() or b"", type=_Predicted)
            predicted.setdefault(prediction.event_id, []).append(prediction.probabilities[1])
    counted = waited[int(rate * warm_seconds) :]
    alone = {event: values[0] for event, values in predicted.items() if len(values) == 1}
    apart = [abs(alone[event] - value) > _APART for event, value in answered.items() if event in alone]
    return Asking(
        rate,
        seconds,
        [float(x) for x in np.nanpercentile(counted, (50, 99, 100))],
        refused,
        missing=len(answered) - len(apart),
        apart=float(np.mean(apart)),
        micros=used / max(len(counted), 1) * 1e6,
    )


def _await(visibility: Visibility, count: int, process: EngineProcess) -> None:
    deadline = time.monotonic() + _PATIENCE
    while visibility.look() < count:
        process.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"{count} events are not predicted:\n{process.output[-3_000:]}")
        time.sleep(0.1)


def _call(address: str, events: list[bytes], rate: int, pipe: Connection) -> None:
    asyncio.run(_calls(address, events, rate, pipe))


async def _calls(address: str, events: list[bytes], rate: int, pipe: Connection) -> None:
    """Call; tell the pipe when the first is answered, and in the end ms by call, refusals, answers by event."""
    waited = np.full(len(events), np.nan)
    refused: dict[str, int] = {}
    answered: dict[str, float] = {}
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = prediction_pb2_grpc.PredictionServiceStub(channel)
        await _ready(stub, events[0])
        pipe.send("connected")
        began = time.perf_counter()

        async def call(number: int) -> None:
            value = stamped(events[number], datetime.now(UTC))
            request = pb.PredictRequest(event=pb.AskedEvent(json=value))
            try:
                answer = await stub.Predict(request, timeout=_TIMEOUT)
            except grpc.aio.AioRpcError as error:
                refused[error.code().name] = refused.get(error.code().name, 0) + 1
                return
            waited[number] = (time.perf_counter() - began - number / rate) * 1_000
            answered[answer.event_id] = answer.prediction.probabilities[_POSITIVE]

        calls = []
        for number in range(len(events)):
            ahead = number / rate - (time.perf_counter() - began)
            if ahead > 0:
                await asyncio.sleep(ahead)
            calls.append(asyncio.create_task(call(number)))
        await asyncio.gather(*calls)
    pipe.send((waited, refused, answered))


async def _ready(stub: Any, event: bytes) -> None:  # noqa: ANN401 generated code has no types of its own
    """Until features are told: the windows are there."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        value = stamped(event, datetime.now(UTC))
        try:
            await stub.Features(pb.FeaturesRequest(event=pb.AskedEvent(json=value)), timeout=_TIMEOUT)
        except grpc.aio.AioRpcError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return
