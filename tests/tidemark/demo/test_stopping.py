"""The demo says where its console is; Ctrl-C stops it at any moment, and all that it has started."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import plain_http
import psutil
import pytest

from support import wait_until

_FILE = Path(__file__).parents[3] / "pipelines" / "fraud.toml"
_PROGRAM = """
import faulthandler, signal
faulthandler.register(signal.SIGUSR1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores it
from tidemark.cli.app import main
main()
"""
_LIMIT = 5.0
"""Seconds on a machine of its own; what shares the processors makes it longer in proportion."""
_REACHED_WITHIN = 240.0
"""Seconds to a stage: they compile, and start a Kafka and five processes, beside whatever else the machine does."""


class Demo:
    """`tidemark demo` in a terminal of its own, as a person has it."""

    def __init__(self, folder: Path) -> None:
        self.text = ""
        ours, theirs = pty.openpty()
        command = [sys.executable, "-c", _PROGRAM, "demo", "--pipeline", str(_FILE)]
        self.process = subprocess.Popen(
            [*command, "--events", "2000", "--later", "150000", "--to", str(folder / "report")],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(folder), "COLUMNS": "120", "LINES": "40", "TERM": "xterm"},
        )
        os.close(theirs)
        self._terminal = ours
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                self.text += os.read(self._terminal, 65_536).decode(errors="replace")
            except OSError:  # the last process that had the terminal has ended
                return

    def shows(self, text: str) -> bool:
        """Whether it has shown the text; fails when it has ended instead."""
        assert self.process.poll() is None, self.text[-2_000:]
        return text in self.plain

    @property
    def plain(self) -> str:
        """What it has shown, without colours."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.text)

    def status(self) -> int:
        """The exit status; where there is none for long, fails with what each of its threads does."""
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGUSR1)
            wait_until(lambda: "most recent call first" in self.text, "no stacks")
            pytest.fail(self.text[-6_000:])

    def family(self) -> list[psutil.Process]:
        """The demo's process and all that come of it."""
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]

    def ended(self) -> None:
        """Kill what a failing test has left, and give the terminal back."""
        if self.process.poll() is None:
            for process in reversed(self.family()):
                with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
                    process.kill()
        self.process.wait(60)
        self._reader.join(10)
        os.close(self._terminal)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """A demo that has just been started."""
    started = Demo(tmp_path)
    try:
        yield started
    finally:
        started.ended()


@pytest.mark.timeout(360)
def test_the_demo_says_first_where_its_console_is_and_serves_it_while_it_runs(demo: Demo) -> None:
    def said() -> re.Match[str] | None:
        return re.search(r"look on in a browser: (http://127\.0\.0\.1:\d+)/", demo.plain)

    wait_until(lambda: said() is not None, lambda: f"it names no address: {demo.text[-2_000:]}", _REACHED_WITHIN)
    assert demo.plain.lstrip().startswith("look on in a browser"), "nothing comes before it"
    found = said()
    assert found is not None

    def served() -> bool:
        assert demo.process.poll() is None, demo.text[-2_000:]
        try:
            return plain_http.get(f"{found[1]}/p/fraud/sign-in", timeout=5).status_code == 200
        except httpx2.TransportError:
            return False

    wait_until(served, lambda: f"nothing is served there: {demo.text[-2_000:]}", _REACHED_WITHIN)
    with plain_http.Client(base_url=found[1], follow_redirects=True, timeout=10) as someone:
        form = someone.get("/p/fraud/sign-in").text
        assert "Card fraud" in form or "fraud" in form
        assert "<form" in form


@pytest.mark.timeout(360)
@pytest.mark.parametrize(
    ("stage", "number"),
    [("starting the flows", signal.SIGINT), ("streaming", signal.SIGTERM), ("measuring both arms", signal.SIGINT)],
)
def test_stopping_the_demo_ends_all_of_it_within_five_seconds(
    demo: Demo, tmp_path: Path, stage: str, number: signal.Signals
) -> None:
    """No process, no state folder, no traceback."""
    wait_until(lambda: demo.shows(stage), lambda: f"never {stage}: {demo.text[-2_000:]}", _REACHED_WITHIN)
    family = demo.family()
    began = time.monotonic()
    if number is signal.SIGINT:
        os.killpg(demo.process.pid, number)  # as the terminal does
    else:
        demo.process.send_signal(number)
    assert demo.status() == 130, demo.text[-2_000:]
    took = time.monotonic() - began
    assert [process for process in family if process.is_running()] == []
    assert "stopped; nothing is left running" in demo.text
    assert "Traceback" not in demo.text
    assert [path.name for path in tmp_path.iterdir()] == []
    assert took < _LIMIT * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
