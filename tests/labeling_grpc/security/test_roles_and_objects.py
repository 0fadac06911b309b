"""The table role x call x object: each cell is called on a running service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_status import rpc_status
from role_table import CELLS, TABLE, World, served

from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.security.roles import MATRIX, Role, Scope
from labeling_grpc.v1 import admin_pb2


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with served(tmp_path_factory.mktemp("state")) as its:
        yield its


@pytest.mark.parametrize(("call", "about", "role"), CELLS)
def test_each_role_may_do_to_each_object_what_the_table_says_and_no_more(
    world: World, call: str, about: str, role: Role
) -> None:
    (allowed, made) = next((allowed, made) for c, a, allowed, made in TABLE if (c, a) == (call, about))
    request = made(world)
    refusal = refused(lambda: world.ask(world.token(role), call, request))
    world.ask(world.token(Role.ADMIN), "ResumeQueue", admin_pb2.ResumeQueueRequest())
    assert (None if refusal is None else refusal.reason) == (None if role in allowed else Reason.FORBIDDEN)


def refused(call: Callable[[], object]) -> RefusedError | None:
    try:
        call()
    except grpc.RpcError as error:
        failed: Any = error
        status = rpc_status.from_call(failed)
        refusal = None if status is None else RefusedError.of(status)
        if refusal is None:
            raise
        return refusal
    return None


@pytest.mark.parametrize("call", [call for call, row in MATRIX.items() if Scope.OWN in row.values()])
def test_each_call_that_knows_own_objects_is_in_the_table_with_own_and_others(call: str) -> None:
    seen = {len(allowed) for c, _, allowed, _ in TABLE if c == call}
    assert len(seen) > 1, "some object is more people's than another"


def test_a_call_that_was_forbidden_is_in_the_audit_trail(tmp_path: Path) -> None:
    with served(tmp_path) as world:
        eve = world.token(Role.VIEWER, "eve")
        for _ in range(3):
            with pytest.raises(grpc.RpcError):
                world.ask(eve, "PauseQueue", admin_pb2.PauseQueueRequest(why="x"))
        entries = world.ask(world.token(Role.ADMIN), "ListAudit", admin_pb2.ListAuditRequest(page_size=500)).entries
    forbidden = [(entry.actor, entry.role, entry.object) for entry in entries if entry.action == "forbidden"]
    assert forbidden == [("eve", "viewer", "PauseQueue")]
