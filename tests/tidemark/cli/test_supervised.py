"""Processes that are begun anew by a reload end all the same when they are asked to."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from models import pipeline_text

from support import wait_until
from tidemark.cli.supervised import Asked, Supervised
from tidemark.errors import ConfigError
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
        self.named = self.file
        self.refused: Callable[[], object] = lambda: None
        self.began = 0
        self.answer = ""

    def processes_of(self, _pipeline: Pipeline) -> list[ProcessSpec]:
        return [ProcessSpec(name="sleeper", module="sleeper_program")]

    async def run(self) -> None:
        pinned = PinnedFile(self.file, self.text, self.folder)
        replace = pinned.replace

        def replaced(text: str) -> None:
            try:
                replace(text)
            except ConfigError:
                self.refused()
                raise
            self.began += 1
            self.between()

        pinned.replace = replaced  # type: ignore[method-assign]
        pipeline = parse(self.text, str(self.file))
        supervised = Supervised(pipeline, pinned, self.folder, self.processes_of, self.make_topics)
        running = asyncio.create_task(supervised.run(self.folder / "log", self.asked))
        log = self.folder / "log"
        await asyncio.to_thread(wait_until, lambda: log.is_file() and "up" in log.read_text(), "it does not begin")
        identity = ask(self.folder, self.named, self.text + "\n# edited\n")
        await asyncio.wait_for(running, 60)
        found = answer_of(self.folder, identity)
        assert found is not None, "no answer"
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


@pytest.mark.parametrize("name", ["other/../p.toml", "link.toml", "p.toml"])
def test_the_file_that_runs_is_taken_over_by_any_of_its_names(tmp_path: Path, name: str) -> None:
    reloaded = Reloaded(tmp_path, lambda: None)
    (tmp_path / "other").mkdir()
    (tmp_path / "link.toml").symlink_to(reloaded.file)
    reloaded.named = tmp_path / name
    reloaded.between = lambda: reloaded.asked.act()  # noqa: PLW0108 - it is another one by then
    asyncio.run(reloaded.run())
    assert (reloaded.began, reloaded.answer) == (1, "")


def test_an_edit_that_cannot_be_kept_is_refused_and_what_ran_goes_on(tmp_path: Path) -> None:
    reloaded = Reloaded(tmp_path, lambda: None)

    def stop_where_it_cannot_be_written(_: Pipeline) -> None:
        (tmp_path / "running.toml.new").mkdir()  # root writes where rights forbid it, but not into a folder

    reloaded.make_topics = stop_where_it_cannot_be_written
    log = tmp_path / "log"

    def end_once_it_is_up_again() -> None:
        wait_until(lambda: log.read_text().count("sleeper    up") == 2, "what ran does not go on")
        reloaded.asked.act()

    end = threading.Thread(target=end_once_it_is_up_again)
    reloaded.refused = end.start
    asyncio.run(reloaded.run())
    end.join()
    assert (reloaded.began, reloaded.answer.count("running.toml.new: can't be written")) == (0, 1)
    assert "edited" not in (tmp_path / "running.toml").read_text()


def test_a_reload_that_cannot_be_answered_is_told_in_the_log(tmp_path: Path) -> None:
    reloaded = Reloaded(tmp_path, lambda: None)
    (tmp_path / "reloaded.json.new").mkdir()
    reloaded.between = lambda: reloaded.asked.act()  # noqa: PLW0108 - it is another one by then
    with pytest.raises(AssertionError, match="no answer"):
        asyncio.run(reloaded.run())
    assert reloaded.began == 1
    assert "`tidemark reload` was not answered" in (tmp_path / "log").read_text()
