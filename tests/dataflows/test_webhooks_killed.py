"""A webhook's process on a real Kafka, killed again and again: nothing is lost, doubles have the same identity."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from pathlib import Path

import pytest
from hooking import SECRET, events_told, hooked, hooked_text, labels, produce, verified
from receiving import Answer, Request, receiving

from benchmarks.support.flow_process import FlowProcess
from support import wait_until
from tidemark.kafka import read_all
from tidemark.runtime.settings import Settings

LABELS = 400


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_and_doubles_have_one_identity_whenever_the_process_is_killed(
    kafka: Settings, unique: str, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    kill_at = sorted(chance.sample(range(5, LABELS), 8))
    killed: list[int] = []
    came = threading.Event()
    process: FlowProcess

    def say(_request: Request) -> Answer:
        """Take most, refuse some; the process dies at seeded requests, before or behind the answer."""
        number = len(receiver.requests)
        if kill_at and number >= kill_at[0] and process.runs:
            kill_at.pop(0)
            killed.append(number)
            if chance.random() < 0.5:
                threading.Timer(chance.random() * 0.05, came.set).start()
            else:
                came.set()
                time.sleep(0.2)  # it is dead by then: no answer reaches it
        return (500 if chance.random() < 0.05 else 204), {}, b""

    with receiving(say) as receiver:
        pipeline, settings, file = hooked(
            kafka, tmp_path, hooked_text(unique, ("w", receiver.url, ["label.completed"]))
        )
        log = tmp_path / "webhook.log"
        process = FlowProcess(settings, "w", "dataflows.webhooks", str(file), "w", log=log, HOOK_SECRET=SECRET)
        with process:
            # Where it begins is committed before anything is read, and only then there is something to lose.
            wait_until(lambda: _began(settings, pipeline.topics.webhooks), lambda: process.output, 60)
            produce(settings, labels(pipeline, 0, LABELS))
            deadline = time.monotonic() + 150
            while len(set(events_told(receiver))) < LABELS or kill_at:
                assert time.monotonic() < deadline, process.output[-3_000:]
                if came.wait(0.05):
                    came.clear()
                    process.kill()
                    process.start()
                assert process.runs, process.output[-3_000:]
            receiver.say = lambda _request: (204, {}, b"")
            assert process.terminate() == 0
        told = events_told(receiver)
        identities = defaultdict(set)
        for request in receiver.requests:
            identities[request.headers["webhook-id"]].add(verified(request)["data"]["event_id"])
    assert len(killed) == 8
    assert set(told) == {f"e{number}" for number in range(LABELS)}
    assert len(identities) == LABELS
    assert all(len(events) == 1 for events in identities.values()), "an identity is of one event"
    assert len(told) < 2 * LABELS, "and few come twice"


def _began(settings: Settings, topic: str) -> bool:
    return any((message.key() or b"") == b"w" for message in read_all(settings, topic))
