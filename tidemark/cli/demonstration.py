"""The whole loop on a simulated stream: Kafka, flows, annotators at the labeling service, and what came of it."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from rich.live import Live

from labeling_grpc.client import Annotation, AsyncLabelingClient, Task, UnreachableError
from tidemark.broker import EmbeddedKafka, broker_dir
from tidemark.cli.compiling import Compiling
from tidemark.cli.console import err, out
from tidemark.cli.console_pages import console_process
from tidemark.cli.pipeline_file import load
from tidemark.cli.up import prepare, processes
from tidemark.demo.result import DemoResult
from tidemark.demo.run import DemoStoppedError, Plan, Progress, measure, run
from tidemark.demo.view import View
from tidemark.errors import LabelingError, TidemarkError
from tidemark.pipeline import Pipeline
from tidemark.runtime.settings import Settings
from tidemark.simulators import Annotator, Simulation
from tidemark.training.first import FirstModel, publish_first

ERRORS = {"fraud": 0.05, "legitimate": 0.002}
"""Of the demo's annotators, by the true class."""


@dataclass(slots=True)
class GrpcCrew:
    """Annotators at the labeling service, who know the stream's truth and err now and then.

    wait_for_truth: their answers count from when the truth was known (`known_at`), not from the annotator's delay on.
    """

    pipeline: Pipeline
    settings: Settings
    simulation: Simulation
    annotator: Annotator
    wait_for_truth: bool = False
    batch: int = 20
    _client: AsyncLabelingClient | None = None
    _truth: dict[str, tuple[str, int]] = field(default_factory=dict)

    async def open(self) -> bool:
        """Whether the service answers."""
        if self._client is None:
            truth = self.simulation.truth
            rows = truth.select("business_id", "label", "known_at").iter_rows()
            self._truth = {business_id: (label, known_at) for business_id, label, known_at in rows}
            try:
                self._client = AsyncLabelingClient.of(self.pipeline.name, self.annotator.name, self.settings)
            except TidemarkError:
                return False  # it has not written its address yet
        try:
            await self._client.stats()
        except UnreachableError:
            return False
        return True

    async def waiting(self) -> int:
        """Cases without an answer in Kafka."""
        if self._client is None:
            return 0
        stats = await self._client.stats()
        return stats.waiting + stats.leased + stats.unpublished

    async def work(self) -> None:
        """Answer what is asked."""
        if self._client is None:
            raise LabelingError("the labeling service was not reached before its annotators began")
        while True:
            tasks = await self._client.lease(self.batch, wait=2.0)
            if tasks:
                await self._client.submit_many([self._answer(task) for task in tasks])

    async def close(self) -> None:
        """Leave the service."""
        if self._client is not None:
            await self._client.close()

    def _answer(self, task: Task) -> Annotation:
        business_id = task.business_id or ""
        truth, known_at = self._truth[business_id]
        answered_at = task.time + self.annotator.delay
        return Annotation(
            task,
            self.annotator.answer(business_id, truth),
            known_at=max(known_at, answered_at) if self.wait_for_truth else answered_at,
        )


@dataclass(frozen=True, slots=True)
class Show:
    """What to demonstrate. streamed: events that go through Kafka; later ones are what both arms are measured on.

    errors: of the annotators, by the true class.  wait_for_truth: as in `GrpcCrew`.
    first: champion from the beginning on; without one, labels must first suffice for one.
    console: host and port of the console's pages; "": they are not served.
    """

    file: Path
    simulation: Simulation
    streamed: int
    seed: int
    errors: Mapping[str, float]
    wait_for_truth: bool = False
    first: FirstModel | None = None
    console: str = ""


def demonstrate(
    show: Show, *, view: bool, inspect: Callable[[Pipeline, Settings], None] = lambda _pipeline, _settings: None
) -> DemoResult:
    """Run a whole loop in a state folder of its own, which is removed afterwards.

    inspect: called with what is in Kafka at the end.

    Raises:
        DemoStoppedError: stopped by Ctrl-C or SIGTERM while the flows ran.
        KeyboardInterrupt: stopped by them before or after.
        TidemarkError: Kafka, a flow or the service failed.

    """
    take_sigterm_for_ctrl_c()
    pipeline = load(show.file)
    annotator = Annotator(name="demo", classes=pipeline.label.classes, errors=show.errors)
    with tempfile.TemporaryDirectory(prefix="tidemark-demo-", ignore_cleanup_errors=True) as home:
        state = Path(home)
        own = Settings.from_environment().model_copy(update={"state_dir": state, "bootstrap_servers": None})
        with (
            Compiling(own, out) if view else nullcontext() as compilation,  # while Kafka starts
            EmbeddedKafka(broker_dir(own), settings=own) as kafka,
        ):
            settings = own.at(kafka.bootstrap_servers)
            prepare(pipeline, settings)
            if show.first is not None:
                publish_first(settings, pipeline, show.first)
            pages = [console_process(show.file, settings, show.file.parent, show.console)] if show.console else []
            plan = Plan(
                pipeline=pipeline,
                simulation=show.simulation,
                streamed=show.streamed,
                seed=show.seed,
                specs=[*processes(show.file, settings), *pages],
                log=state / "demo.log",
                annotator=annotator,
            )
            crew = GrpcCrew(pipeline, settings, show.simulation, annotator, show.wait_for_truth)
            if compilation is not None:
                compilation.wait()
            try:
                result = _watched(plan, settings, crew, view=view)
                inspect(pipeline, settings)
            except (DemoStoppedError, KeyboardInterrupt):
                kafka.kill()  # its data goes with the folder: nobody has to wait until it is safe
                raise
            except TidemarkError:
                if plan.log.exists():
                    err.print("".join(plan.log.read_text().splitlines(keepends=True)[-30:]))
                raise
            return result


def _watched(plan: Plan, settings: Settings, crew: GrpcCrew, *, view: bool) -> DemoResult:
    if not view:
        return _streamed_and_measured(plan, settings, crew, lambda _progress: None)
    shown = View(plan.pipeline)
    with Live(console=out, auto_refresh=False, transient=False) as live:
        return _streamed_and_measured(
            plan, settings, crew, lambda progress: live.update(shown.render(progress), refresh=True)
        )


def _streamed_and_measured(
    plan: Plan, settings: Settings, crew: GrpcCrew, show: Callable[[Progress], None]
) -> DemoResult:
    last = Progress("")

    def seen(progress: Progress) -> None:
        nonlocal last
        last = progress
        show(progress)

    seconds = asyncio.run(_until_stopped(plan, settings, crew, seen))
    take_sigterm_for_ctrl_c()  # the event loop had its own handlers and took them along
    last.stage = "measuring both arms on the later period"
    show(last)
    return measure(plan, settings, seconds)


def take_sigterm_for_ctrl_c() -> None:
    """Let SIGTERM stop what runs as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


async def _until_stopped(plan: Plan, settings: Settings, crew: GrpcCrew, show: Callable[[Progress], None]) -> float:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        return await run(plan, settings, crew, show, stop)
    finally:
        await crew.close()
