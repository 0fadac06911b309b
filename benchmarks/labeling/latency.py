"""Latency of a lease with few and with many waiting cases, in turn, so that the machine's moods meet all alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

import grpc

from benchmarks.labeling.rig import Service, services
from labeling_grpc.v1 import labeling_pb2 as pb
from labeling_grpc.v1 import labeling_pb2_grpc


def lease_latencies(depths: Sequence[int], leases: int, rounds: int) -> dict[int, list[list[float]]]:
    """By number of waiting cases: the latencies (ms) of the `leases` leases of each round."""
    found: dict[int, list[list[float]]] = {depth: [] for depth in depths}
    with ExitStack() as stack:
        running = {depth: stack.enter_context(services(1, cases=depth))[0] for depth in depths}
        for service in running.values():
            _lease(service, leases)
        for _ in range(rounds):
            for depth, service in running.items():
                found[depth].append(_lease(service, leases))
    return found


def _lease(service: Service, leases: int) -> list[float]:
    """Lease one by one and give back, so that as many wait at the end as at the beginning."""
    taken: list[float] = []
    held: list[pb.Lease] = []
    with grpc.insecure_channel(service.address) as channel:
        stub = labeling_pb2_grpc.LabelingServiceStub(channel)
        ask = pb.LeaseTasksRequest(annotator=f"a{time.monotonic_ns()}")
        for _ in range(leases):
            start = time.perf_counter()
            (task,) = stub.LeaseTasks(ask, timeout=30).tasks
            taken.append((time.perf_counter() - start) * 1e3)
            held.append(pb.Lease(event_id=task.case.event_id, lease_token=task.lease_token))
        for first in range(0, leases, 100):
            stub.Release(pb.ReleaseRequest(leases=held[first : first + 100]), timeout=30)
    return taken
