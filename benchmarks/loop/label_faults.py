"""`make bench-faults`, row F2: the labeling service, the retrain flow and the monitor flow killed while labels flow.

F2: violations of any promise (`benchmarks.loop.label_invariants`) after SIGKILLs at seeded moments: each acknowledged
label is in the labels topic once, each model in the registry names the labels it was made of and is made of them again
byte by byte, and models, verdicts, dead letters and last figures are those of a run without a fault.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.loop.annotators import Annotators
from benchmarks.loop.fraud_loop import PIPELINE_FILE, RecordFeed, own_kafka
from benchmarks.loop.label_invariants import Evidence, gather, positions, violations
from benchmarks.loop.label_stream import LabelStream, label_stream
from benchmarks.support.flow_process import FlowProcess, wait_for
from benchmarks.support.report import write
from labeling_grpc.client import LabelingClient
from tidemark.cli.up import prepare
from tidemark.kafka import read_all
from tidemark.pipeline import Pipeline, load
from tidemark.records import Metric, decode
from tidemark.runtime.settings import Settings

SERVICE: Final = "labeling"
FLOWS: Final = ("retrain", "monitor")
_PATIENCE: Final = 180.0
_STEP: Final = 0.05
_ANNOTATORS: Final = 4
_READY: Final = {SERVICE: "labeling_grpc.server: labeling", "retrain": "replaying up to", "monitor": "replaying up to"}
"""What a process prints when it has begun to work."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens in a run.

    cases: events that people are asked about.  every: new labels that bring a training.  power_cuts: all three
    processes at once.  gap: most seconds between two faults; horizon: seconds over which most cases come.
    """

    seed: int
    cases: int
    every: int
    service_kills: int
    retrain_kills: int
    monitor_kills: int
    power_cuts: int
    gap: float
    horizon: float

    @property
    def kills(self) -> int:
        """SIGKILLs in all."""
        return self.service_kills + self.retrain_kills + self.monitor_kills + 3 * self.power_cuts

    def faults(self) -> list[tuple[str, ...]]:
        """The processes that each fault kills, in their seeded order."""
        named: dict[tuple[str, ...], int] = {
            (SERVICE,): self.service_kills,
            ("retrain",): self.retrain_kills,
            ("monitor",): self.monitor_kills,
            (SERVICE, *FLOWS): self.power_cuts,
        }
        order = [killed for killed, count in named.items() for _ in range(count)]
        random.Random(self.seed).shuffle(order)  # noqa: S311 seeded, no secret
        return order


FULL: Final = Plan(1, 5_200, 125, 6, 5, 4, 1, gap=6.0, horizon=150.0)
QUICK: Final = Plan(1, 320, 50, 1, 1, 1, 0, gap=2.0, horizon=10.0)


@dataclass(slots=True)
class Storm:
    """One process of each kind, and what happens to them."""

    settings: Settings
    pipeline: Pipeline
    processes: dict[str, FlowProcess]
    random: random.Random
    read_from: dict[str, int] = field(default_factory=dict)

    def wait_ready(self, names: tuple[str, ...]) -> None:
        """Until each of these has begun to work since it was started last."""
        wait_for(
            lambda: all(_READY[name] in self.processes[name].output[self.read_from.get(name, 0) :] for name in names),
            f"{names} did not begin to work",
            self.processes.values(),
            patience=_PATIENCE,
        )

    def strike(self, names: tuple[str, ...], gap: float) -> None:
        """Kill these at a seeded moment of their work, and start them again."""
        self.wait_ready(names)
        time.sleep(self.random.random() * gap)
        for name in names:
            self.processes[name].kill()
        for name in names:
            self.read_from[name] = len(self.processes[name].output)
            self.processes[name].start()

    def settle(self, cases: int) -> None:
        """Return when all is answered, published, learnt from and measured, or has not been for long.

        What is missing then is for the checks to count.
        """
        deadline = time.monotonic() + _PATIENCE
        steps: tuple[Callable[[], bool], ...] = (lambda: self._published(cases), self._caught_up)
        for step in steps:
            while not step() and time.monotonic() < deadline:
                time.sleep(10 * _STEP)
        since = time.time_ns() // 1_000
        while not self._measured(since) and time.monotonic() < deadline:
            time.sleep(10 * _STEP)

    def end(self) -> None:
        """Stop each process, which must end cleanly."""
        for process in self.processes.values():
            if (status := process.terminate()) != 0:
                raise RuntimeError(f"{process.slot} ended with status {status}:\n{process.output[-3_000:]}")

    def _published(self, cases: int) -> bool:
        with LabelingClient.of(self.pipeline.name, "watcher", self.settings, patience=_PATIENCE) as client:
            stats = client.stats()
        return stats.answered + stats.skipped >= cases and stats.unpublished == 0

    def _caught_up(self) -> bool:
        return not any(position.behind for position in positions(self.settings, self.pipeline))

    def _measured(self, since: int) -> bool:
        """Whether the monitor has measured the rate since then (µs), which it does with all else."""
        values = [message.value() for message in read_all(self.settings, self.pipeline.topics.metrics)]
        metrics = (decode(Metric, value) for value in values)
        return any(metric.name == "prediction_rate" and metric.at > since for metric in metrics)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left. seconds: of the run, without the checks."""

    pipeline: Pipeline
    evidence: Evidence
    faults: list[tuple[str, ...]]
    seconds: float


def pipeline_file(folder: Path, plan: Plan) -> Path:
    """The fraud pipeline, which trains after as many new labels as the plan says."""
    text = PIPELINE_FILE.read_text(encoding="utf-8")
    changed = text.replace("\nevery = 50\n", f"\nevery = {plan.every}\n")
    if f"\nevery = {plan.every}\n" not in changed:
        raise RuntimeError(f"{PIPELINE_FILE}: no line 'every = 50' to change")
    path = folder / f"fraud-{plan.cases}.toml"
    path.write_text(changed, encoding="utf-8")
    return path


def run(plan: Plan, folder: Path) -> Outcome:
    """One run on a Kafka of its own.

    Raises:
        RuntimeError: a process or an annotator ended by itself, or something never happened.

    """
    began = time.monotonic()
    with ExitStack() as stack:
        _, settings = stack.enter_context(own_kafka(folder))
        file = pipeline_file(folder, plan)
        pipeline = load(file)
        prepare(pipeline, settings)
        stream = label_stream(pipeline, plan.seed, plan.cases)
        commands: dict[str, tuple[str, ...]] = {SERVICE: ("labeling_grpc", str(file))}
        commands |= {flow: ("dataflows.run", flow, str(file)) for flow in FLOWS}
        processes = {
            name: stack.enter_context(FlowProcess(settings, name, *command, log=folder / f"{name}.log"))
            for name, command in commands.items()
        }
        seeded = random.Random(plan.seed + 1)  # noqa: S311 seeded, no secret
        storm = Storm(settings, pipeline, processes, seeded)
        storm.wait_ready((SERVICE, *FLOWS))
        annotators = Annotators(
            pipeline.name, settings, _ANNOTATORS, lambda task, _: stream.answers[task.event_id], seed=plan.seed
        )
        try:
            _strike_all(storm, plan, stream)
            storm.settle(plan.cases)
        finally:
            annotators.stop()
        if annotators.failures:
            raise RuntimeError("an annotator gave up") from annotators.failures[0]
        storm.end()
        seconds = time.monotonic() - began
        evidence = gather(settings, pipeline, stream.answers, annotators.acknowledged)
        return Outcome(pipeline, evidence, plan.faults(), seconds)


def _strike_all(storm: Storm, plan: Plan, stream: LabelStream) -> None:
    """Feed the stream, and let the faults come meanwhile."""
    feed = RecordFeed(storm.settings, stream.records)
    over = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        feeding = thread.submit(feed.send_until, over, plan.horizon)
        try:
            for killed in plan.faults():
                storm.strike(killed, plan.gap)
        finally:
            over.set()
        feeding.result()


def row(plan: Plan, *, quick: bool) -> dict[str, Any]:
    """F2."""
    with tempfile.TemporaryDirectory(prefix="tidemark-bench-") as folder:
        outcome = run(plan, Path(folder))
    evidence = outcome.evidence
    found = violations(outcome.pipeline, evidence)
    return {
        "id": "F2",
        "value": sum(found.values()),
        "unit": "violations",
        "target": 0,
        "reached": not any(found.values()),
        "detail": {
            "quick": quick,
            "cases": plan.cases,
            "seed": plan.seed,
            "kills": plan.kills,
            "faults": ["+".join(killed) for killed in outcome.faults],
            "seconds": round(outcome.seconds, 1),
            "checks": found,
            "labels acknowledged": len(evidence.acknowledged),
            "labels published": len(evidence.labels),
            "models": len(evidence.manifests),
            "labels of the last model": max((each.used for each in evidence.manifests.values()), default=0),
            "metrics": len(evidence.metrics),
            "dead letters": len(evidence.dead_letters),
        },
    }


def main(arguments: list[str]) -> None:
    """Run and write `benchmarks/results/label_faults.json`; `label_faults.quick.json` for a quick run."""
    parser = argparse.ArgumentParser("python -m benchmarks.loop.label_faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="320 cases and a kill of each")
    quick: bool = parser.parse_args(arguments).quick
    write("label_faults.quick" if quick else "label_faults", [row(QUICK if quick else FULL, quick=quick)])


if __name__ == "__main__":
    main(sys.argv[1:])
