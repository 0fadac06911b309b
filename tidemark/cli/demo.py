"""`tidemark demo`: the whole loop on a simulated stream of card payments, with a report at the end."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live

from labeling_grpc.client import Annotation, AsyncLabelingClient, UnreachableError
from tidemark.broker import EmbeddedKafka, broker_dir
from tidemark.cli.console import err, out, told
from tidemark.cli.up import prepare, processes
from tidemark.demo.report import write_report
from tidemark.demo.result import DemoResult
from tidemark.demo.run import DemoStoppedError, Plan, Progress, measure, run
from tidemark.demo.view import View
from tidemark.errors import LabelingError, TidemarkError
from tidemark.pipeline import Pipeline, load
from tidemark.settings import Settings
from tidemark.simulators import Annotator, Simulation, simulate

app = typer.Typer(add_completion=False)
_STOPPED = 130
_ERRORS = {"fraud": 0.05, "legitimate": 0.002}
"""Of the demo's annotators, by the true class."""


@dataclass(slots=True)
class GrpcCrew:
    """Annotators at the labeling service, who know the simulation's truth and err now and then."""

    pipeline: Pipeline
    settings: Settings
    simulation: Simulation
    annotator: Annotator
    batch: int = 20
    _client: AsyncLabelingClient | None = None
    _truth: dict[str, str] = field(default_factory=dict)

    async def open(self) -> bool:
        """Whether the service answers."""
        if self._client is None:
            truth = self.simulation.truth
            self._truth = dict(zip(truth["business_id"].to_list(), truth["label"].to_list(), strict=True))
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
            answers = [
                Annotation(task, self._answer(task.business_id or ""), known_at=task.time + self.annotator.delay)
                for task in tasks
            ]
            if answers:
                await self._client.submit_many(answers)

    async def close(self) -> None:
        """Leave the service."""
        if self._client is not None:
            await self._client.close()

    def _answer(self, business_id: str) -> str:
        return self.annotator.answer(business_id, self._truth[business_id])


@app.command()
def demo(
    pipeline: Annotated[Path, typer.Option(help="The fraud pipeline's file.")] = Path("pipelines/fraud.toml"),
    events: Annotated[int, typer.Option(min=1_000, help="Events to stream.")] = 150_000,
    later: Annotated[int, typer.Option(min=1_000, help="Later events that both arms are measured on.")] = 40_000,
    seed: Annotated[int, typer.Option(help="Seed of the simulation.")] = 1,
    to: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("demo"),
) -> None:
    """Watch a model learn card fraud from a stream with a handful of labels, on a real Kafka."""
    with told():
        try:
            result = demonstrate(load(pipeline), pipeline, events=events, later=later, seed=seed, view=True)
            report = write_report(result, to)
        except (DemoStoppedError, KeyboardInterrupt):
            err.print("stopped; nothing is left running")
            raise typer.Exit(_STOPPED) from None
        reached = result.labels_to_match
        if reached is not None:
            spent = result.random[-1].labels
            out.print(f"[bold]{reached:,}[/] labels, well chosen, did the work of [bold]{spent:,}[/] random ones")
        out.print(f"lost {result.accounting.lost}, doubled {result.accounting.doubled}; report: [bold]{report}[/]")


def demonstrate(pipeline: Pipeline, file: Path, *, events: int, later: int, seed: int, view: bool) -> DemoResult:
    """Run the demo in a state folder of its own, which is removed afterwards.

    Raises:
        DemoStoppedError: stopped by Ctrl-C or SIGTERM while the flows ran.
        KeyboardInterrupt: stopped by them before or after.
        TidemarkError: Kafka, a flow or the service failed.

    """
    _take_sigterm_for_ctrl_c()
    simulation = simulate("fraud", seed, events + later)
    annotator = Annotator(name="demo", classes=pipeline.label.classes, errors=_ERRORS)
    with tempfile.TemporaryDirectory(prefix="tidemark-demo-", ignore_cleanup_errors=True) as home:
        state = Path(home)
        own = Settings.from_environment().model_copy(update={"state_dir": state, "bootstrap_servers": None})
        with EmbeddedKafka(broker_dir(own), settings=own) as kafka:
            settings = own.at(kafka.bootstrap_servers)
            prepare(pipeline, settings)
            plan = Plan(
                pipeline=pipeline,
                simulation=simulation,
                streamed=events,
                seed=seed,
                specs=processes(file, settings),
                log=state / "demo.log",
                annotator=annotator,
            )
            crew = GrpcCrew(pipeline, settings, simulation, annotator)
            try:
                return _watched(plan, settings, crew, view=view)
            except (DemoStoppedError, KeyboardInterrupt):
                kafka.kill()  # its data goes with the folder: nobody has to wait until it is safe
                raise
            except TidemarkError:
                if plan.log.exists():
                    err.print("".join(plan.log.read_text().splitlines(keepends=True)[-30:]), markup=False)
                raise


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
    _take_sigterm_for_ctrl_c()  # the event loop had its own handlers and took them along
    last.stage = "measuring both arms on the later period"
    show(last)
    return measure(plan, settings, seconds)


def _take_sigterm_for_ctrl_c() -> None:
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
