"""A sitting without a terminal."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

from labeling_grpc.client import AsyncLabelingClient, Progress, Stats, Task
from tidemark.cli.sitting.sitting import Sitting


class Client:
    """A service that gives one case, and then says nothing more."""

    annotator = "ada"

    async def lease(self, **_how: object) -> list[Task]:
        return [cast("Task", SimpleNamespace(event_id="pay-0-1-0a1b2c3d"))]

    async def stats(self) -> Stats:
        await asyncio.Event().wait()
        raise AssertionError

    async def release(self, tasks: list[Task]) -> int:
        return len(tasks)


def test_a_case_is_told_as_soon_as_it_is_there() -> None:
    """Told later, it would close what the person has opened for it meanwhile."""
    seen: list[str | None] = []

    async def sit() -> None:
        sitting = Sitting(cast("AsyncLabelingClient", Client()))
        told = asyncio.Event()

        def changed() -> None:
            seen.append(None if sitting.task is None else sitting.task.event_id)
            told.set()

        sitting.changed = changed
        work = asyncio.create_task(sitting.run())
        async with asyncio.timeout(10):
            await told.wait()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    asyncio.run(sit())
    assert seen[0] == "pay-0-1-0a1b2c3d"


class Agreeing(Client):
    """A service that knows how far verdicts agree with the person."""

    async def stats(self) -> Stats:
        return Stats("pay", 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, "", "", "?", (), {})

    async def progress(self) -> Progress:
        return Progress("ada", 3, 0, 120, 0, 7, 0, 0, 0.88, (0.79, 0.94), 60)


def test_own_agreement_is_looked_up_with_each_case() -> None:
    async def sit() -> str:
        sitting = Sitting(cast("AsyncLabelingClient", Agreeing()))
        told = asyncio.Event()
        sitting.changed = lambda: told.set() if sitting.agreed else None
        work = asyncio.create_task(sitting.run())
        async with asyncio.timeout(10):
            await told.wait()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        return sitting.agreed

    assert asyncio.run(sit()) == "88 % (79\u201394)"
