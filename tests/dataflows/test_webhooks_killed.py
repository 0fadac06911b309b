"""A webhook's process on a real Kafka, killed again and again: nothing is lost, doubles have the same identity."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import defaultdict
from pathlib import Path

import pytest
from feeding import close_feeders
from hooking import SECRET, events_told, hooked, hooked_text, labels, produce, verified
from receiving import Answer, Request, receiving

from benchmarks.support.flow_process import FlowProcess
from support import wait_until
from tidemark.broker import EmbeddedKafka
from tidemark.kafka import read_all
from tidemark.runtime.settings import Settings

LABELS = 400


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_and_doubles_have_one_identity_whenever_the_process_is_killed(
    kafka: Settings, unique: str, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    kill_at = sorted(chance.sample(range(5, LABELS), 8))
    killed: list[int] = []
    came, dead = threading.Event(), threading.Event()
    taken: set[str] = set()
    process: FlowProcess

    def say(request: Request) -> Answer:
        """Take most, refuse some; the process dies at seeded requests, before or behind the answer."""
        number = len(receiver.requests)
        if kill_at and number >= kill_at[0] and process.runs:
            kill_at.pop(0)
            killed.append(number)
            if chance.random() < 0.5:
                threading.Timer(chance.random() * 0.05, came.set).start()
            else:
                dead.clear()
                came.set()
                assert dead.wait(60)  # no answer reaches it: what this request tells is not taken
                return 500, {}, b""
        if chance.random() < 0.05:
            return 500, {}, b""
        taken.add(verified(request)["data"]["event_id"])
        return 204, {}, b""

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
            deadline = time.monotonic() + 300
            while len(taken) < LABELS or kill_at:
                assert time.monotonic() < deadline, process.output[-3_000:]
                if came.wait(0.05):
                    came.clear()
                    process.kill()
                    dead.set()
                    process.start()
                assert process.runs, process.output[-3_000:]
            assert process.terminate() == 0
        told = events_told(receiver)
        identities = defaultdict(set)
        for request in receiver.requests:
            identities[request.headers["webhook-id"]].add(verified(request)["data"]["event_id"])
    assert len(killed) == 8
    assert taken == {f"e{number}" for number in range(LABELS)}
    assert len(identities) == LABELS
    assert all(len(events) == 1 for events in identities.values()), "an identity is of one event"
    assert len(told) < 2 * LABELS, "and few come twice"


def test_what_a_kill_cut_off_is_no_request_that_came() -> None:
    with receiving() as receiver, socket.create_connection(("127.0.0.1", receiver.port)) as sender:
        sender.sendall(b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        sender.shutdown(socket.SHUT_WR)
        assert sender.recv(1_000) == b"", "nobody is told that it was taken"
        assert receiver.requests == []


def test_a_broker_that_dies_and_comes_back_loses_no_delivery(unique: str, tmp_path: Path) -> None:
    with (
        EmbeddedKafka(tmp_path / "kafka", settings=Settings.from_environment({})) as kafka,
        receiving() as receiver,
    ):
        pipeline, settings, file = hooked(
            Settings.from_environment({}).at(kafka.bootstrap_servers),
            tmp_path,
            hooked_text(unique, ("w", receiver.url, ["label.completed"])),
        )
        process = FlowProcess(
            settings, "w", "dataflows.webhooks", str(file), "w", log=tmp_path / "w.log", HOOK_SECRET=SECRET
        )

        def kept_running(count: int) -> bool:
            if not process.runs:  # as its supervisor does
                assert process.status in (0, 1), process.output[-3_000:]
                process.start()
            return len(set(events_told(receiver))) >= count

        with process:
            wait_until(lambda: _began(settings, pipeline.topics.webhooks), lambda: process.output, 60)
            produce(settings, labels(pipeline, 0, 50))
            wait_until(lambda: kept_running(50), lambda: process.output, 60)
            kafka.kill()
            for _ in range(20):  # it reads, tries to commit what came last, and is without Kafka for a while
                kept_running(0)
                time.sleep(0.1)
            kafka.start_node()
            produce(settings, labels(pipeline, 50, 100))
            wait_until(lambda: kept_running(100), lambda: process.output[-3_000:], 90)
        assert set(events_told(receiver)) == {f"e{number}" for number in range(100)}
        close_feeders()


def _began(settings: Settings, topic: str) -> bool:
    return any((message.key() or b"") == b"w" for message in read_all(settings, topic))
