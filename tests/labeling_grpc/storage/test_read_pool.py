from __future__ import annotations

import asyncio
import threading

import sqlalchemy as sa

from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.storage.read_pool import PATIENCE_SECONDS, THREADS, Reader


def test_a_read_that_waited_too_long_in_line_is_refused_and_those_behind_it_are_served() -> None:
    now = 1.0
    gate, began = threading.Event(), threading.Semaphore(0)
    ran: list[str] = []
    reader = Reader(sa.create_engine("sqlite://"), lambda: now)

    def slow() -> str:
        began.release()
        assert gate.wait(30)
        return "read"

    async def crowd() -> list[object]:
        nonlocal now
        first = [asyncio.create_task(reader.apart(slow)) for _ in range(THREADS)]
        for _ in range(THREADS):
            await asyncio.to_thread(began.acquire)
        late = asyncio.create_task(reader.apart(lambda: ran.append("late")))
        await asyncio.sleep(0)  # until it is in the line
        now += PATIENCE_SECONDS + 1
        following = asyncio.create_task(reader.apart(lambda: "next"))
        await asyncio.sleep(0)
        gate.set()
        return list(await asyncio.gather(*first, late, following, return_exceptions=True))

    *read, late, following = asyncio.run(crowd())
    reader.close()
    assert read == ["read"] * THREADS
    assert isinstance(late, RefusedError)
    assert (late.reason, late.retry_after) == (Reason.TOO_MANY_CALLS, PATIENCE_SECONDS)
    assert ran == []
    assert following == "next"
