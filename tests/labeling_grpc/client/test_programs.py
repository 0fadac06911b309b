"""`@labeler`: functions that answer cases, sync and async, on a running service."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from role_table import World, served

from labeling_grpc.client import Decision, LabelingAdminClient, LabelingClient, RefusedError, Task, labeler
from labeling_grpc.client.programs import Labeler, Said, _answers
from labeling_grpc.security.roles import Role
from labeling_grpc.security.tokens import TokenError
from support import wait_until
from tidemark.errors import ConfigError
from tidemark.records import Label

ROBOT = "program:rule-7"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with served(tmp_path) as its:
        yield its


def secret(world: World, who: str = ROBOT, role: Role = Role.PROGRAM) -> str:
    return world.token(role, who)[0][1].removeprefix("Bearer ")


def labels(world: World) -> list[Label]:
    with LabelingAdminClient(world.server.address, "boss", token=secret(world, "boss", Role.ADMIN)) as admin:
        return list(admin.export())


def made(world: World, function: Callable[[Task], Said] | Callable[[Task], Awaitable[Said]]) -> Labeler:
    return labeler("pay", "rule-7", address=world.server.address, token=secret(world))(function)


def numbered(event_id: str) -> int:
    return int(event_id.split("-")[2])


def rule(task: Task) -> Said:
    """Says fraud of every second case, and leaves every third to people."""
    number = numbered(task.event_id)
    return None if number % 3 == 0 else Decision("fraud" if number % 2 else "genuine", 0.75, "by the rule")


async def async_rule(task: Task) -> Said:
    await asyncio.sleep(0)
    return rule(task)


@pytest.mark.parametrize("function", [rule, async_rule])
def test_a_function_answers_cases_under_the_name_of_a_program_and_leaves_some_to_people(
    world: World, function: Callable[[Task], Said]
) -> None:
    events = {world.fresh() for _ in range(12)}
    done = made(world, function).run(most=12, at_once=5, idle=2)
    answered = {event for event in events if numbered(event) % 3}
    assert (done.answered, done.left, done.late) == (len(answered), 12 - len(answered), 0)
    found = labels(world)
    assert {label.event_id for label in found} == answered
    assert {(label.annotator, label.confidence, label.comment) for label in found} == {(ROBOT, 0.75, "by the rule")}
    assert all(label.label == ("fraud" if numbered(label.event_id) % 2 else "genuine") for label in found)
    audited = {label.event_id for label in found if label.status == "vote"}
    with LabelingClient(world.server.address, "ida", token=secret(world, "ida", Role.ANNOTATOR)) as person:
        assert {task.event_id for task in person.lease(100)} == (events - answered) | audited


def test_a_function_that_fails_gives_its_cases_back_and_ends_the_program(world: World) -> None:
    events = {world.fresh() for _ in range(3)}

    def broken(_task: Task) -> Said:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        made(world, broken).run()
    with LabelingClient(world.server.address, "ida", token=secret(world, "ida", Role.ANNOTATOR)) as person:
        assert {task.event_id for task in person.lease(100)} == events


def test_a_class_that_there_is_not_ends_the_program_with_the_services_words(world: World) -> None:
    world.fresh()
    with pytest.raises(RefusedError, match="none of the classes"):
        made(world, lambda _task: "nonsense").run()


@pytest.mark.parametrize(
    ("said", "text"),
    [(True, "True"), (np.True_, "True"), (3, "3"), (np.int64(3), "3"), (0.1, "0.1"), (1e300, "1e+300")],
)
def test_a_truth_value_is_told_as_one_and_is_no_number(said: Said, text: str) -> None:
    """Of a label that is a number, `value > 5` where `value` was meant would be an answer of 1."""
    task = cast("Task", None)
    assert [each.label for each in _answers([(task, said)])] == [text]


def test_a_program_is_stopped_from_another_thread(world: World) -> None:
    program = made(world, rule)
    thread = threading.Thread(target=program.run, kwargs={"idle": 600.0})
    thread.start()
    wait_until(lambda: bool(world.server._writer._parked), "the program does not wait for cases")
    program.stop()
    thread.join(30)
    assert not thread.is_alive()


def test_a_program_does_not_run_with_a_token_of_another_name(world: World) -> None:
    token = secret(world, "billing")
    program = labeler("pay", "rule-7", address=world.server.address, token=token)(rule)
    with pytest.raises(ConfigError, match=r"token create PIPELINE\.toml --as program:rule-7 --role program"):
        program.run()


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.PROGRAM])
def test_nobody_but_a_program_has_the_name_of_one(world: World, role: Role) -> None:
    with pytest.raises(TokenError, match="the name of a program"):
        world.tokens.create(role, ROBOT, 10**12)


def test_a_decorated_function_is_still_called_as_one() -> None:
    program = labeler("pay")(rule)
    assert program.name == "program:rule"
    assert program.__doc__ == rule.__doc__
    assert program(client_task("pay-0-4-0a1b2c3d")) == Decision("genuine", 0.75, "by the rule")


def client_task(event_id: str) -> Task:
    task = object.__new__(Task)
    object.__setattr__(task, "event_id", event_id)
    return task
