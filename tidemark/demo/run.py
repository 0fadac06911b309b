"""Runs the loop on a simulated stream: Kafka, every flow, annotators, and the measurement at the end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from tidemark.demo.account import account
from tidemark.demo.experiment import Exam, Stream, random_arms
from tidemark.demo.feed import Feed
from tidemark.demo.insight import asked, measured, reliability, weights
from tidemark.demo.pace import Pace
from tidemark.demo.result import DemoResult, ModelPoint
from tidemark.errors import TidemarkError
from tidemark.features.backfill import backfill
from tidemark.flows import FLOWS
from tidemark.kafka import read_all
from tidemark.observe import Observer, Snapshot
from tidemark.pipeline import Pipeline
from tidemark.records import Label, Metric, decode
from tidemark.registry.codec import Registry
from tidemark.registry.reading import record_of
from tidemark.runtime.settings import Settings
from tidemark.simulators import Annotator, Simulation
from tidemark.supervisor import ProcessSpec, Supervisor
from tidemark.training.headline import NAME as HEADLINE

if TYPE_CHECKING:
    import lightgbm as lgb

_READY_SECONDS = 180.0
_LOOK_SECONDS = 0.25
_QUIET_LOOKS = 12
_STUCK_SECONDS = 40.0
_STOP_SECONDS = 2.0
_TILES_UNLEARNT = 6


class Crew(Protocol):
    """Annotators who answer over gRPC until they are stopped."""

    async def open(self) -> bool:
        """Whether the labeling service can be reached now."""
        ...

    async def waiting(self) -> int:
        """Cases that wait for an answer, or whose answer is not in Kafka yet."""
        ...

    async def work(self) -> None:
        """Answer cases until cancelled."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. streamed: events that go through Kafka; the rest of the simulation is the later period."""

    pipeline: Pipeline
    simulation: Simulation
    streamed: int
    seed: int
    specs: list[ProcessSpec]
    log: Path
    annotator: Annotator


@dataclass(slots=True)
class Progress:
    """What a live view shows."""

    stage: str
    sent: int = 0
    events: int = 0
    waiting: int = 0
    snapshot: Snapshot | None = None


class DemoStoppedError(TidemarkError):
    """The demo was stopped by a person before its end."""


class _Watch:
    """An observer in a thread of its own: it is closed after a look that nobody waits for any more, not during it."""

    def __init__(self, thread: ThreadPoolExecutor, observer: Observer) -> None:
        self._thread, self._observer = thread, observer

    @classmethod
    async def open(cls, pipeline: Pipeline, settings: Settings) -> Self:
        """Connect to Kafka."""
        thread = ThreadPoolExecutor(1, "watch")
        return cls(thread, await asyncio.get_running_loop().run_in_executor(thread, Observer, pipeline, settings))

    async def look(self) -> Snapshot:
        """The pipeline now."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._observer.look)

    async def close(self) -> None:
        """Leave Kafka."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._observer.close)
        self._thread.shutdown()


async def run(
    plan: Plan, settings: Settings, crew: Crew, show: Callable[[Progress], None], stop: asyncio.Event
) -> float:
    """Run the plan against the Kafka of the settings, whose topics exist; the seconds that the stream took.

    Raises:
        DemoStoppedError: `stop` was set.
        TidemarkError: the flows did not start, or did not finish.

    """
    progress = Progress("starting the flows")
    with plan.log.open("a", encoding="utf-8") as log:
        supervisor = Supervisor(plan.specs, log, patience=_STOP_SECONDS)
        supervised = asyncio.create_task(supervisor.run())
        watch = await _Watch.open(plan.pipeline, settings)
        stopping = asyncio.create_task(stop.wait())
        loop = asyncio.create_task(_loop(plan, settings, crew, show, progress, watch))
        try:
            await asyncio.wait({loop, stopping, supervised}, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                raise DemoStoppedError("the demo was stopped")
            if not loop.done():
                raise TidemarkError(f"the flows ended too early; see {plan.log}")
            return loop.result()
        finally:
            for task in (loop, stopping):
                task.cancel()
            await asyncio.gather(loop, stopping, return_exceptions=True)
            supervisor.stop()
            await asyncio.gather(supervised, watch.close())


async def _loop(
    plan: Plan,
    settings: Settings,
    crew: Crew,
    show: Callable[[Progress], None],
    progress: Progress,
    watch: _Watch,
) -> float:
    """Feed, answer and watch until all is done; the seconds it took."""
    await _wait_until_ready(plan, crew, watch, show, progress)
    pace, halt = Pace(max_unlearnt=_TILES_UNLEARNT * plan.pipeline.selection.budget), threading.Event()
    feed = Feed(settings, plan.pipeline, plan.simulation.events.head(plan.streamed), pace)
    progress.events, progress.stage = feed.events, "streaming"
    began = time.monotonic()
    working = asyncio.create_task(crew.work())
    feeding = asyncio.create_task(asyncio.to_thread(feed.run, halt))
    last: tuple[int, ...] = ()
    quiet, deadline = 0, float("inf")
    try:
        while quiet < _QUIET_LOOKS:
            if working.done():
                working.result()
            snapshot, waiting = await watch.look(), await crew.waiting()
            lag = {flow.name: flow.lag for flow in snapshot.flows}
            pace.saw(lag=lag["stream"], unselected=lag["select"], waiting=waiting, untrained=lag["retrain"])
            progress.sent, progress.waiting, progress.snapshot = feed.sent, waiting, snapshot
            show(progress)
            if feeding.done():
                feeding.result()
                progress.stage = "answering the last cases"
                now = (snapshot.ends[plan.pipeline.topics.candidates], waiting, *lag.values())
                if now != last:
                    quiet, last, deadline = 0, now, time.monotonic() + _STUCK_SECONDS
                elif waiting == lag["stream"] == lag["select"] == lag["retrain"] == 0:
                    quiet += 1
                elif time.monotonic() > deadline:
                    raise TidemarkError(
                        f"nothing has moved for {_STUCK_SECONDS:g} s: lag {lag}, {waiting} cases wait; see {plan.log}"
                    )
            await asyncio.sleep(_LOOK_SECONDS)
        return time.monotonic() - began - _QUIET_LOOKS * _LOOK_SECONDS
    finally:
        halt.set()
        working.cancel()
        await asyncio.gather(working, feeding, return_exceptions=True)


async def _wait_until_ready(
    plan: Plan, crew: Crew, watch: _Watch, show: Callable[[Progress], None], progress: Progress
) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        snapshot = await watch.look()
        missing = {flow.name for flow in snapshot.flows if flow.members == 0} & set(FLOWS.own)
        progress.snapshot = snapshot
        show(progress)
        if not missing and await crew.open():
            return
        if time.monotonic() > deadline:
            waits = ", ".join(sorted(missing)) or "the labeling service"
            raise TidemarkError(f"{waits} did not start within {_READY_SECONDS:g} s; see {plan.log}")
        await asyncio.sleep(_LOOK_SECONDS)


def measure(plan: Plan, settings: Settings, seconds: float) -> DemoResult:
    """Measure both arms on the later period, and account for every record. seconds: that the stream took."""
    pipeline, truth = plan.pipeline, plan.simulation.truth
    features = backfill(pipeline, plan.simulation.events)
    matrix = features.select(pipeline.feature_names).to_numpy().astype(np.float64)
    times = truth["time"].to_numpy()
    positive = pipeline.label.classes.index(pipeline.label.positive)
    is_positive = (truth["label"] == pipeline.label.positive).to_numpy()
    exam = Exam(matrix[plan.streamed :], is_positive[plan.streamed :], positive)
    tiles = times[: plan.streamed] // pipeline.selection.tile
    selection = pipeline.selection
    budget = len(np.unique(tiles)) * selection.budget
    if selection.total is not None:
        budget = min(budget, selection.total)
    counted = account(pipeline, settings, budget=budget)
    labels = counted.labels
    names, classes = truth["business_id"].to_list(), truth["label"].to_list()
    stream = Stream(matrix[: plan.streamed], tiles, lambda row: plan.annotator.answer(names[row], classes[row]))
    spent = Counter(label.tile for _, label in labels)
    active, last = _active_arm(pipeline, settings, labels, exam)
    by_name = dict(zip(names, classes, strict=True))
    examples, reasons = asked(
        pipeline, counted.candidates, [label for _, label in labels], lambda name: by_name.get(name or "", "")
    )
    return DemoResult(
        seed=plan.seed,
        title=pipeline.title or pipeline.name,
        seconds=seconds,
        rate=plan.streamed / seconds,
        base_rate=float(is_positive[plan.streamed :].mean()),
        holdout=len(exam.truth),
        positive=pipeline.label.positive,
        active=active,
        draws=random_arms(pipeline, stream, spent, exam, seed=plan.seed),
        latency=counted.latency,
        accounting=counted.accounting,
        asked=examples,
        reasons=reasons,
        weights=[] if last is None else weights(last, exam.features),
        reliability=[] if last is None else reliability(exam.truth, exam.said(last)),
        measured=measured(_headlines(pipeline, settings), active),
    )


def _active_arm(
    pipeline: Pipeline, settings: Settings, labels: list[tuple[int, Label]], exam: Exam
) -> tuple[list[ModelPoint], lgb.Booster | None]:
    """Every champion in its order, by the labels that had been spent when it was trained; and the last one."""
    import lightgbm as lgb  # noqa: PLC0415 a second, which the start does not wait for

    registry = Registry()
    points: list[ModelPoint] = []
    booster: lgb.Booster | None = None
    for message in read_all(settings, pipeline.topics.models, settled=True):
        if not registry.feed(*record_of(message)) or not registry.champion:
            continue
        manifest = registry.manifests[registry.champion.version]
        known = [label for offset, label in labels if offset < manifest.trained_on[0].end]
        positives = sum(label.label == pipeline.label.positive for label in known)
        booster = lgb.Booster(model_str=registry.text(manifest.version))
        points.append(ModelPoint(manifest.version, len(known), positives, exam.average_precision(booster)))
    return points, booster


def _headlines(pipeline: Pipeline, settings: Settings) -> list[Metric]:
    """The headline each time that the loop measured it."""
    metrics = [decode(Metric, message.value()) for message in read_all(settings, pipeline.topics.metrics, settled=True)]
    return [metric for metric in metrics if metric.name == HEADLINE]
