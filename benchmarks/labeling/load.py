"""Clients of the labeling service, in processes of their own, so that their work is not the service's.

`python -m benchmarks.labeling.load JSON` runs one `Load` and prints what came of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import grpc
import numpy as np

from labeling_grpc.v1 import labeling_pb2 as pb
from labeling_grpc.v1 import labeling_pb2_grpc

_CHANNEL: Final = [("grpc.use_local_subchannel_pool", 1)]
_GRACE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """`clients` connections to `addresses`, in turn, each leasing `batch` cases and answering them.

    joined: answers and the next lease are one call.  secrets: an access token for each client, where the service asks
    for one.
    """

    addresses: Sequence[str]
    clients: int
    batch: int
    seconds: float
    first: int = 0
    joined: bool = False
    secrets: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """cases: answered.  seconds: in which they were.  events: ids leased.  cpu: seconds of the clients' processes.

    leases_ms, submits_ms: latencies of all calls; those that do both are among the latter.
    """

    cases: int
    seconds: float
    leases_ms: list[float]
    submits_ms: list[float]
    events: list[str]
    cpu: float

    def p(self, share: float) -> float:
        """Quantile of the latency of a call, ms."""
        return float(np.quantile(self.leases_ms + self.submits_ms, share))


@dataclass(slots=True)
class _Found:
    """Written by all threads of a process: appending needs no lock."""

    leases_ms: list[float] = field(default_factory=list)
    submits_ms: list[float] = field(default_factory=list)
    events: list[str] = field(default_factory=list)


def _client(load: Load, number: int, deadline: float, found: _Found) -> None:
    address = load.addresses[number % len(load.addresses)]
    with grpc.insecure_channel(address, options=_CHANNEL) as channel:
        stub = labeling_pb2_grpc.LabelingServiceStub(channel)
        metadata = (("authorization", f"Bearer {load.secrets[number]}"),) if load.secrets else ()
        ask = pb.LeaseTasksRequest(annotator=f"client-{load.first + number}", max_tasks=load.batch)
        tasks: Sequence[pb.Task] = ()
        while time.perf_counter() < deadline:
            if not tasks:
                start = time.perf_counter()
                tasks = stub.LeaseTasks(ask, timeout=30, metadata=metadata).tasks
                found.leases_ms.append((time.perf_counter() - start) * 1e3)
                if not tasks:
                    return
            answers = [
                pb.Annotation(event_id=task.case.event_id, lease_token=task.lease_token, label="fraud")
                for task in tasks
            ]
            start = time.perf_counter()
            submit = pb.SubmitLabelsRequest(annotations=answers, next=ask if load.joined else None)
            response = stub.SubmitLabels(submit, timeout=30, metadata=metadata)
            found.submits_ms.append((time.perf_counter() - start) * 1e3)
            refused = [result for result in response.results if result.HasField("error")]
            if refused:
                raise RuntimeError(f"an answer was refused: {refused[0]}")
            found.events.extend(answer.event_id for answer in answers)
            tasks = response.next.tasks


def _run(load: Load) -> Outcome:
    found = _Found()
    start, before = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(load.clients) as threads:
        clients = [threads.submit(_client, load, n, start + load.seconds, found) for n in range(load.clients)]
    for client in clients:
        client.result()
    return Outcome(
        cases=len(found.events),
        seconds=time.perf_counter() - start,
        leases_ms=found.leases_ms,
        submits_ms=found.submits_ms,
        events=found.events,
        cpu=time.process_time() - before,
    )


def run_loads(loads: Sequence[Load]) -> Outcome:
    """Run each load in a process of its own, at the same time; what came of all together.

    Raises:
        RuntimeError: one failed.

    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.labeling.load", json.dumps(asdict(load))],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        for load in loads
    ]
    outcomes: list[Outcome] = []
    for process, load in zip(processes, loads, strict=True):
        out, _ = process.communicate(timeout=load.seconds + _GRACE)
        if process.returncode:
            raise RuntimeError("a process of clients failed; see above")
        outcomes.append(Outcome(**json.loads(out)))
    return Outcome(
        cases=sum(outcome.cases for outcome in outcomes),
        seconds=max(outcome.seconds for outcome in outcomes),
        leases_ms=[ms for outcome in outcomes for ms in outcome.leases_ms],
        submits_ms=[ms for outcome in outcomes for ms in outcome.submits_ms],
        events=[event for outcome in outcomes for event in outcome.events],
        cpu=sum(outcome.cpu for outcome in outcomes),
    )


if __name__ == "__main__":
    print(json.dumps(asdict(_run(Load(**json.loads(sys.argv[1]))))))
