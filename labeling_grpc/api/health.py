"""`grpc.health.v1.Health`: a bounded number of watchers, none of which can hold up another.

The servicer that comes with gRPC writes to a watcher under a lock that all share: one that reads nothing would keep the
others, and the service itself, from hearing of a change.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import grpc
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1 import health_pb2_grpc

from labeling_grpc.security.token_throttle import address_of

MAX_WATCHERS: Final = 1_000
MAX_WATCHERS_OF_ADDRESS: Final = 100
"""A watcher takes some 25 kB, and nobody needs a token to be one."""

Status: TypeAlias = pb.HealthCheckResponse.ServingStatus.ValueType
_Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # its stubs leave it untyped
    """The state of each service of one server. Lives in one event loop."""

    def __init__(self, services: Iterable[str]) -> None:
        """Begin with `services` in the state UNKNOWN."""
        self._states: dict[str, Status] = dict.fromkeys(services, pb.HealthCheckResponse.UNKNOWN)
        self._watchers: set[asyncio.Event] = set()
        self._by_address: Counter[str] = Counter()

    def tell(self, state: Status) -> None:
        """Set the state of all services; watchers hear of it.

        Args:
            state: The new one.

        """
        if set(self._states.values()) == {state}:
            return
        self._states = dict.fromkeys(self._states, state)
        for changed in self._watchers:
            changed.set()

    async def Check(  # noqa: N802 - named by the contract, as the next
        self, request: pb.HealthCheckRequest, context: _Context
    ) -> pb.HealthCheckResponse:
        """State of a service."""
        state = self._states.get(request.service)
        if state is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service")
        return pb.HealthCheckResponse(status=state)

    async def Watch(  # noqa: N802
        self, request: pb.HealthCheckRequest, context: _Context
    ) -> None:
        """State of a service, now and whenever it changes."""
        address = address_of(context.peer())
        if len(self._watchers) >= MAX_WATCHERS or self._by_address[address] >= MAX_WATCHERS_OF_ADDRESS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many watch already: use Check, or come back")
        changed = asyncio.Event()
        self._watchers.add(changed)
        self._by_address[address] += 1
        last: Status | None = None
        try:
            while True:
                changed.clear()
                state = self._states.get(request.service, pb.HealthCheckResponse.SERVICE_UNKNOWN)
                if state != last:
                    await context.write(pb.HealthCheckResponse(status=state))
                last = state
                await changed.wait()
        finally:
            self._watchers.discard(changed)
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]
