"""A pipeline's processes under `tidemark up`: ended in order by a signal, begun anew where a reload is asked for."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from tidemark.cli.check import check_schemas
from tidemark.cli.console import out
from tidemark.errors import ConfigError, TidemarkError
from tidemark.pipeline import Pipeline
from tidemark.pipeline.loading import parse
from tidemark.runtime.safe_text import safe
from tidemark.supervisor import ProcessSpec, Supervisor
from tidemark.supervisor.folder import PinnedFile
from tidemark.supervisor.log import Log
from tidemark.supervisor.reloading import Request, answer, taken, withdraw

_LOOK_SECONDS: Final = 1.0


class Asked:
    """What SIGTERM and SIGINT do. act: first an interrupt, which unwinds what is being started."""

    def __init__(self) -> None:
        self.act: Callable[[], object] = _interrupt
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.act())


def _interrupt() -> None:
    raise KeyboardInterrupt


def _nothing() -> None:
    """Kafka is being stopped, which is not hurried."""


class Supervised:
    """Runs a pipeline's processes, and begins them anew where a reload is asked for."""

    def __init__(
        self,
        pipeline: Pipeline,
        pinned: PinnedFile,
        folder: Path,
        processes_of: Callable[[Pipeline], list[ProcessSpec]],
        make_topics: Callable[[Pipeline], object],
    ) -> None:
        """Prepare.

        Args:
            pipeline: that runs first.
            pinned: its file.
            folder: the pipeline's.
            processes_of: what runs of a pipeline.
            make_topics: makes those that a pipeline lacks.

        """
        self._pipeline, self._pinned, self._folder = pipeline, pinned, folder
        self._processes_of, self._make_topics = processes_of, make_topics
        self._next: tuple[Pipeline, Request] | None = None
        self._supervisor: Supervisor | None = None
        self._ends = False

    async def run(self, log: Path, asked: Asked) -> None:
        """Until it is asked to end."""
        loop = asyncio.get_running_loop()
        withdraw(self._folder)  # what was asked of one that is gone
        with Log(log) as file:
            while True:
                supervisor = self._supervisor = Supervisor(self._processes_of(self._pipeline), file, echo=_echo)
                asked.act = partial(loop.call_soon_threadsafe, self._end)
                watch = asyncio.create_task(self._watch(supervisor))
                watch.add_done_callback(partial(_told_of, supervisor))
                try:
                    await supervisor.run()
                finally:
                    watch.cancel()
                if self._next is None:
                    break
                pipeline, request = self._next
                self._next = None
                if self._ends:
                    self._answer(supervisor, request, "`tidemark up` was asked to end meanwhile")
                    break
                try:
                    self._pinned.replace(request.text)
                except ConfigError as error:
                    self._refuse(supervisor, request, error)
                else:
                    self._pipeline = pipeline
                    self._answer(supervisor, request)
            asked.act = _nothing

    def _end(self) -> None:
        """Stop what runs by the time that a signal is acted on: it may have come between two supervisors."""
        self._ends = True
        if self._supervisor is not None:
            self._supervisor.say("supervisor", "stopping: each process commits what it has done, and ends")
            self._supervisor.stop()

    async def _watch(self, supervisor: Supervisor) -> None:
        """Take over what `tidemark reload` asks for; say of any other edit of the file that it waits."""
        source = safe(str(self._pinned.source))
        while self._next is None:
            await asyncio.sleep(_LOOK_SECONDS)
            request = taken(self._folder)
            if request is not None:
                await self._reload(request, supervisor)
            elif self._pinned.edited():
                supervisor.say(
                    "supervisor",
                    f"{source} was edited: what runs goes on with the file as it was. To take the edit over: "
                    f"`tidemark reload {source}`, which says what it costs",
                )

    async def _reload(self, request: Request, supervisor: Supervisor) -> None:
        try:
            self._next = await asyncio.to_thread(self._prepared, request), request
        except TidemarkError as error:
            self._refuse(supervisor, request, error)
        else:
            supervisor.say("supervisor", "taking the edit over: each process commits what it has done, and begins anew")
            supervisor.stop()

    def _refuse(self, supervisor: Supervisor, request: Request, error: TidemarkError) -> None:
        supervisor.say("supervisor", f"the edit is not taken over: {safe(str(error))}")
        self._answer(supervisor, request, str(error))

    def _answer(self, supervisor: Supervisor, request: Request, problem: str = "") -> None:
        """Say what became of a request, in the log where the folder takes nothing: who asked waits in vain then."""
        try:
            answer(self._folder, request, problem)
        except ConfigError as error:
            supervisor.say("supervisor", f"`tidemark reload` was not answered: {safe(str(error))}")

    def _prepared(self, request: Request) -> Pipeline:
        """The pipeline of another text, with its topics made.

        Raises:
            TidemarkError: it can't be run here.

        """
        running = self._pinned.source.absolute()
        if not _same(Path(request.file), running):
            raise ConfigError(f"`tidemark up` runs {running}, not {request.file}: reload that, or stop and start it")
        loaded = parse(request.text, request.file)
        if loaded.name != self._pipeline.name:
            raise ConfigError(
                f"the file is of pipeline '{loaded.name}' now, which is another one: `tidemark up` runs it"
            )
        check_schemas(loaded)
        self._processes_of(loaded)
        self._make_topics(loaded)
        return loaded


def _same(one: Path, other: Path) -> bool:
    """Whether two names, through links and `..`, are of one file; a file that is gone is known by its name."""
    try:
        return one.resolve(strict=True) == other.resolve(strict=True)
    except OSError:
        return one == other


def _told_of(supervisor: Supervisor, watch: asyncio.Task[None]) -> None:
    """Say that edits are no longer looked for, where looking failed: what runs goes on."""
    if not watch.cancelled() and (error := watch.exception()) is not None:
        supervisor.say(
            "supervisor", f"edits are no longer taken over, for looking for them failed: {safe(repr(error))}"
        )


def _echo(line: str) -> None:
    out.print(line, soft_wrap=True)
