"""The labeling service, the console and the network before it, each of which can be killed, over a Kafka with cases."""

from __future__ import annotations

import random
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

from console_world import FRAUD, fraud_cases
from msgspec.structs import replace
from offsets import read_settled

from benchmarks.console.people import PATIENCE
from benchmarks.console.relay import Relay, Weather
from benchmarks.support.flow_process import FlowProcess, wait_for
from benchmarks.support.ports import lasting_port
from labeling_grpc.client import LabelingClient
from labeling_grpc.options import find
from tidemark.errors import LabelingError
from tidemark.kafka import ensure_topics, producer
from tidemark.records import Label, decode, encode
from tidemark.records.topics import Topics, TopicSpec
from tidemark.runtime.settings import Settings

Victim = Literal["service", "console", "network"]

_GAP: Final = (5, 12)
"""Decisions between two moments."""
_DELAY: Final = 0.3
"""A moment is up to so many seconds after the decision that it is counted by."""
_DOWN: Final = 1.5
"""What was killed stays dead for up to so many seconds, and then takes its time to start."""
_START_SECONDS: Final = 90.0


@dataclass(frozen=True, slots=True)
class Moment:
    """When something is killed: seconds `delay` after so many decisions; it stays dead for `down` seconds."""

    decisions: int
    victim: Victim
    weather: Weather
    delay: float
    down: float


def plan(seed: int, count: int) -> list[Moment]:
    """The moments of a seed, each kind of victim as often as the others."""
    chance = random.Random(seed)  # noqa: S311 - seeded, no secret
    victims: list[Victim] = ["service", "console", "network"] * -(-count // 3)
    chance.shuffle(victims)
    moments, decisions = [], 0
    for victim in victims[:count]:
        decisions += chance.randint(*_GAP)
        weather: Weather = "open" if victim != "network" else chance.choice(("cut", "deaf"))
        moments.append(Moment(decisions, victim, weather, chance.random() * _DELAY, chance.random() * _DOWN))
    return moments


class Place:
    """Service, console and the network before it, over a Kafka with cases. Ended with the block."""

    def __init__(self, settings: Settings, name: str, folder: Path, cases: int) -> None:
        """name: of the pipeline, which no other has.  cases: that wait."""
        self.name = name
        self.settings = settings.model_copy(update={"state_dir": folder / "state"})
        self.topics = Topics(name)
        self._stack = ExitStack()
        self._port = lasting_port()
        self._killer: threading.Thread | None = None
        file = folder / f"{name}.toml"
        text = FRAUD.read_text(encoding="utf-8")
        file.write_text(text.replace('name = "fraud"', f'name = "{name}"').replace("fraud.raw", f"{name}.raw"))
        self.events = self._ask(cases)
        self.service = FlowProcess(self.settings, "service", "labeling_grpc", str(file), log=folder / "service.log")
        address = {"TIDEMARK_CONSOLE_ADDRESS": f"127.0.0.1:{self._port}"}
        self.console = FlowProcess(
            self.settings, "console", "console", str(file), log=folder / "console.log", **address
        )
        self.network = Relay(self._port)

    def __enter__(self) -> Self:
        for each in (self.service, self.console, self.network):
            self._stack.enter_context(each)
        wait_for(self._serves, "the service does not start", self.processes, patience=_START_SECONDS)
        up = "the console is at"
        wait_for(
            lambda: up in self.console.output, "the console does not start", self.processes, patience=_START_SECONDS
        )
        return self

    def __exit__(self, *of: object) -> None:
        self.rest()
        self._stack.close()

    @property
    def processes(self) -> list[FlowProcess]:
        """Of the service and the console."""
        return [self.service, self.console]

    @property
    def base(self) -> str:
        """Of the pipeline's pages, through the network."""
        return f"http://127.0.0.1:{self.network.port}/p/{self.name}"

    def end(self, moment: Moment) -> None:
        """Kill what the moment says when it has come, and let it live again; the call does not wait for that."""
        self.rest()
        self._killer = threading.Thread(target=self._end, args=(moment,))
        self._killer.start()

    def rest(self) -> None:
        """Return when what was killed last has been started again."""
        if self._killer is not None:
            self._killer.join()

    def _end(self, moment: Moment) -> None:
        time.sleep(moment.delay)
        if moment.victim == "network":
            self.network.turn(moment.weather)
            time.sleep(moment.down)
            self.network.turn("open")
        else:
            victim = self.service if moment.victim == "service" else self.console
            victim.kill()
            time.sleep(moment.down)
            victim.start()

    def published(self) -> None:
        """Return when all that the service has taken is in Kafka."""

        def all_sent() -> bool:
            with LabelingClient.of(self.name, "watcher", self.settings, patience=PATIENCE) as client:
                return client.stats().unpublished == 0

        wait_for(all_sent, "not all is published", self.processes, patience=PATIENCE, poll=0.2)

    def labels(self) -> list[Label]:
        """What the loop learns from."""
        return [decode(Label, message.value()) for message in read_settled(self.settings, self.topics.labels)]

    def _serves(self) -> bool:
        try:
            find(self.settings, self.name)
        except LabelingError:
            return False
        return True

    def _ask(self, count: int) -> dict[str, str]:
        """Publish candidates; event ids by the names that people see."""
        topics = (self.topics.candidates, self.topics.labels, self.topics.deadletter)
        ensure_topics(self.settings, [TopicSpec(topic, 1, {}) for topic in topics])
        known = fraud_cases().candidates
        sender = producer(self.settings)
        events = {}
        for number in range(count):
            of, name = known[number % len(known)], f"T-{number:06}"
            case = replace(
                of,
                event_id=f"{self.name}.raw-0-{number}-0a1b2c3d",
                business_id=name,
                context=of.context | {"transaction_id": name},
            )
            sender.produce(self.topics.candidates, encode(case))
            events[name] = case.event_id
        if sender.flush(60) > 0:
            raise RuntimeError("the cases can't be published")
        return events
