from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka import Producer
from counting import expected
from offsets import group_offsets

from benchmarks.support.flow_process import FlowProcess
from dataflows.engine.start_offsets import unpack
from support import wait_until
from tidemark.broker import EmbeddedKafka
from tidemark.kafka import ensure_topics, producer_config, read_all
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings

PARTITIONS = 4
ROWS = 5_000


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    folder = tmp_path_factory.mktemp("kafka")
    with EmbeddedKafka(folder, settings=Settings.from_environment({})) as kafka:
        yield kafka


class Storm:
    """Two processes that share a topic while it is being written, and what may happen to them."""

    def __init__(self, kafka: EmbeddedKafka, name: str, folder: Path, stack: ExitStack) -> None:
        self.kafka = kafka
        self.settings = (
            Settings.from_environment({}).at(kafka.bootstrap_servers).model_copy(update={"state_dir": folder})
        )
        self.source, self.target, self.group = f"{name}.in", f"{name}.out", f"{name}.group"
        ensure_topics(self.settings, [TopicSpec(self.source, PARTITIONS, {}), TopicSpec(self.target, PARTITIONS, {})])
        self.offsets = stack.enter_context(group_offsets(self.settings, self.group, self.source, PARTITIONS))
        self.stack = stack
        self.folder = folder
        self.random = random.Random(name)
        self.fed = 0
        self.processes = [self.add(slot) for slot in ("a", "b")]

    def add(self, slot: str) -> FlowProcess:
        command = ("counting", self.source, self.target, self.group, "session_timeout=2")
        process = FlowProcess(self.settings, slot, *command, log=self.folder / f"{slot}.log")
        return self.stack.enter_context(process)

    def feed(self, rows: int) -> None:
        """Rows out of order by up to 40 units of time, of 20 keys."""
        producer = Producer(producer_config(self.settings))
        for _ in range(rows):
            at = self.fed // 10 + self.random.randrange(40)
            producer.produce(self.source, b"%d" % at, b"k%d" % self.random.randrange(20), self.fed % PARTITIONS)
            self.fed += 1
            if self.fed % 50 == 0:
                producer.poll(0.02)
        assert producer.flush(60) == 0

    def told(self) -> str:
        return "\n".join(f"--- {process.slot}\n{process.output[-3_000:]}" for process in self.processes)


def killed(storm: Storm) -> None:
    victim = storm.processes[0]
    victim.kill()
    wait_until(lambda: storm.offsets.handled() > storm.fed * 0.9, "the other did not take over")
    victim.start()


def killed_and_started_at_once(storm: Storm) -> None:
    for victim in storm.processes:
        victim.kill()
        victim.start()


def stopped(storm: Storm) -> None:
    assert storm.processes[1].terminate() == 0, "a clean stop has status 0"


def joined(storm: Storm) -> None:
    storm.processes.append(storm.add("c"))


def broker_restarted(storm: Storm) -> None:
    storm.kafka.kill()
    storm.kafka.start_node()


FAULTS: dict[str, Callable[[Storm], None]] = {
    "killed": killed,
    "killed and started at once": killed_and_started_at_once,
    "stopped": stopped,
    "joined": joined,
    "broker restarted": broker_restarted,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_row_has_its_one_right_output_whatever_happens(
    own_kafka: EmbeddedKafka, unique: str, tmp_path: Path, fault: str
) -> None:
    with ExitStack() as stack:
        storm = Storm(own_kafka, unique, tmp_path, stack)
        storm.feed(ROWS // 2)
        wait_until(lambda: storm.offsets.handled() > 0, lambda: f"nothing is committed:\n{storm.told()}")
        feeding = threading.Thread(target=storm.feed, args=(ROWS - ROWS // 2,))
        feeding.start()
        time.sleep(storm.random.random() / 2)  # the seeded moment of the fault
        FAULTS[fault](storm)
        feeding.join()
        wait_until(
            lambda: storm.offsets.handled() == ROWS,
            lambda: f"{storm.offsets.handled()} of {ROWS} rows:\n{storm.told()}",
            40,
        )
        rows = [
            (m.partition() or 0, m.offset() or 0, m.key(), int(m.value() or b""))
            for m in read_all(storm.settings, storm.source)
        ]
        # Offsets move a moment before the markers of their transaction, or of one that died, let its outputs be seen.
        outputs: list[str] = []

        def all_seen() -> bool:
            outputs[:] = [(m.value() or b"").decode() for m in read_all(storm.settings, storm.target)]
            return len(outputs) >= ROWS

        wait_until(all_seen, lambda: f"{len(outputs)} outputs of {ROWS} rows:\n{storm.told()}", 40, 0.5)
        assert all(unpack(tp.metadata)[0] for tp in storm.offsets.committed().values())
    assert len(rows) == ROWS
    assert sorted(outputs) == sorted(expected(rows))
