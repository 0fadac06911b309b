"""Processes that are begun anew by a reload end all the same when they are asked to."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from models import pipeline_text

from support import wait_until
from tidemark.cli.supervised import Asked, Supervised
from tidemark.pipeline import Pipeline, parse
from tidemark.supervisor import ProcessSpec
from tidemark.supervisor.folder import PinnedFile
from tidemark.supervisor.reloading import answer_of, ask

SLEEPER = "import time\nprint('up', flush=True)\ntime.sleep(600)\n"


class Reloaded:
    """A supervised program that is reloaded once. between: called as it is made ready to begin anew."""

    def __init__(self, folder: Path, between: Callable[[], object]) -> None:
        self.folder, self.between = folder, between
        (folder / "sleeper_program.py").write_text(SLEEPER)
        self.file = folder / "p.toml"
        self.text = pipeline_text()
        self.file.write_text(self.text)
        self.asked = Asked()
        self.make_topics: Callable[[Pipeline], object] = lambda _: None
        self.began = 0
        self.answer = ""

    def processes_of(self, _pipeline: Pipeline) -> list[ProcessSpec]:
        return [ProcessSpec(name="sleeper", module="sleeper_program")]

    async def run(self) -> None:
        pinned = PinnedFile(self.file, self.text, self.folder)
        replace = pinned.replace

        def replaced(text: str) -> None:
            replace(text)
            self.began += 1
            self.between()

        pinned.replace = replaced  # type: ignore[method-assign]
        pipeline = parse(self.text, str(self.file))
        supervised = Supervised(pipeline, pinned, self.folder, self.processes_of, self.make_topics)
        running = asyncio.create_task(supervised.run(self.folder / "log", self.asked))
        log = self.folder / "log"
        await asyncio.to_thread(wait_until, lambda: log.is_file() and "up" in log.read_text(), "it does not begin")
        identity = ask(self.folder, self.file, self.text + "\n# edited\n")
        await asyncio.wait_for(running, 60)
        found = answer_of(self.folder, identity)
        assert found is not None
        self.answer = found.problem


@pytest.fixture(autouse=True)
def _program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    before = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    for number, handler in before:
        signal.signal(number, handler)


def test_what_is_asked_to_end_as_it_begins_anew_ends(tmp_path: Path) -> None:
    reloaded = Reloaded(tmp_path, lambda: None)
    reloaded.between = lambda: reloaded.asked.act()  # noqa: PLW0108 - it is another one by then
    asyncio.run(reloaded.run())
    assert (reloaded.began, reloaded.answer) == (1, "")


def test_a_reload_that_an_end_overtakes_is_told_so(tmp_path: Path) -> None:
    reloaded = Reloaded(tmp_path, lambda: None)
    reloaded.make_topics = lambda _: reloaded.asked.act()
    asyncio.run(reloaded.run())
    assert reloaded.began == 0
    assert "asked to end" in reloaded.answer
