"""Somebody new, who follows a page of the docs as it stands: saves files, writes tables into the draft, runs commands.

The Kafka's address is copied from a command's output. `tidemark label` needs a terminal and has tests of its own; the
tutorial's `answer.py` answers here.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
import tomlkit
from typer.testing import CliRunner

from benchmarks.support.flow_process import wait_for
from tidemark.cli.app import app
from tidemark.kafka import read_all
from tidemark.records import ModelManifest, Prediction, decode
from tidemark.runtime.settings import Settings

_DOCS: Final = Path(__file__).parents[2] / "docs"
_FENCE: Final = re.compile(r"^```\{?\.?(\w*)\}?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_BEFORE: Final = {"make setup", "source .venv/bin/activate"}
_AT_THE_END: Final = {"tidemark broker down"}


@dataclass(frozen=True)
class Own:
    """What somebody puts in the place of the tutorial's machines.

    name: of the pipeline.  files: texts by name, instead of the page's.  tables: what is written into the draft.
    times: arguments of `feed.py`, by the page's.  labels: that the champion in force has learnt from before the page
    goes on behind the answers: what is fed next is predicted by it.  environment: of all commands.
    """

    name: str
    files: Mapping[str, str]
    tables: str
    times: Mapping[str, str]
    labels: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)


class Newcomer:
    """Who follows a page, in an empty folder and with an empty home.

    Args:
        folder: the empty one.
        programs: folder of the commands `tidemark` and `python`; by default those that run this.
        own: what they have in the place of the tutorial's machines.

    """

    def __init__(self, folder: Path, programs: Path | None = None, own: Own | None = None) -> None:
        self.folder = folder
        self.own = own
        self.name = "machines" if own is None else own.name
        self.environment = {**os.environ, "TIDEMARK_HOME": str(folder / "home"), "COLUMNS": "160"}
        self.environment |= {} if own is None else own.environment
        programs = programs or Path(sys.executable).parent
        self.environment["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
        self.environment.pop("TIDEMARK_BOOTSTRAP_SERVERS", None)
        self.up: subprocess.Popen[bytes] | None = None
        self.log = folder / "up.log"

    @property
    def file(self) -> Path:
        """The pipeline file."""
        return self.folder / f"{self.name}.toml"

    @property
    def printed(self) -> str:
        """What `tidemark up` has printed."""
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    @property
    def settings(self) -> Settings:
        """Of this process, at their Kafka."""
        return Settings.from_environment({}).at(self.environment["TIDEMARK_BOOTSTRAP_SERVERS"])

    def run(self, command: str) -> str:
        """What a command of the page prints.

        Raises:
            RuntimeError: it failed, or printed a traceback.

        """
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        printed = done.stdout + done.stderr
        if done.returncode != 0 or "Traceback" in printed:
            raise RuntimeError(f"{command}: {done.returncode}\n{printed}\n{self.printed}")
        return printed

    def start(self, command: str) -> None:
        """Run a command of the page that stays in the foreground of another terminal."""
        with self.log.open("wb") as log:
            self.up = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self) -> int:
        """Press Ctrl-C in that terminal; its status."""
        if self.up is None:
            raise RuntimeError("nothing is up")
        os.killpg(self.up.pid, signal.SIGINT)
        status = self.up.wait(60)
        self.up = None
        return status

    def leave(self) -> None:
        """End whatever runs."""
        if self.up is not None:
            top = psutil.Process(self.up.pid)
            for process in [*top.children(recursive=True), top]:
                process.kill()
            self.up.wait(10)
        self.run("tidemark broker down")

    def count(self, topic: str) -> int:
        """Records of a topic."""
        return len(read_all(self.settings, f"{self.name}.{topic}"))

    def served(self) -> str:
        """Version of the model in force at the stream flow, as `tidemark status` tells it; "" where there is none.

        Asked in this process: a new one for each look would take the processor from the flows that it looks at.
        """
        done = CliRunner().invoke(app, ["status", str(self.file), "--json"], env=self.environment)
        if not done.stdout:
            raise RuntimeError(done.stderr)
        models = {flow["name"]: flow["model"] for flow in json.loads(done.stdout)["flows"]}
        return "" if models["stream"] in {None, "none"} else str(models["stream"])

    def learnt_from(self) -> int:
        """Labels that the model in force at the stream flow has learnt from; 0 where there is none."""
        served = self.served().encode()
        records = read_all(self.settings, f"{self.name}.models")
        used = [decode(ModelManifest, record.value()).used for record in records if record.key() == served]
        return used[-1] if used else 0

    def predicted_by(self) -> set[str]:
        """Versions of models that predictions are of."""
        messages = read_all(self.settings, f"{self.name}.predictions")
        return {decode(Prediction, message.value()).model for message in messages}

    def write(self, tables: str) -> None:
        """Write into the pipeline file what the page says, in the place of what it has."""
        document = tomlkit.parse(self.file.read_text(encoding="utf-8"))
        for name, table in tomlkit.parse(tables).items():
            if isinstance(table, list):
                document.setdefault(name, tomlkit.aot()).extend(table)
            else:
                document.setdefault(name, tomlkit.table()).update(table)
        self.file.write_text(tomlkit.dumps(document), encoding="utf-8")


@dataclass(frozen=True)
class Followed:
    """How long the way to the first champion was.

    served: seconds from the first command behind the set-up until `stream` serves a champion.  written: lines that were
    written by hand into the pipeline file.  commands: that were typed.  each: seconds of each command.
    """

    served: float
    written: int
    commands: int
    each: Mapping[str, float]


def steps(page: str) -> Iterator[tuple[str, str, str]]:
    """What a page asks for: language, text, and the file that the sentences before say to save it as."""
    text, end = (_DOCS / page).read_text(encoding="utf-8"), 0
    for block in _FENCE.finditer(text):
        said = " ".join(text[end : block.start()].split())
        saved = re.findall(r"Save this as `([\w.]+)`", said)
        yield block[1], block[2], saved[-1] if saved else ""
        end = block.end()


def follow_tutorial(newcomer: Newcomer) -> Followed:
    """Do as the tutorial says, up to the champion's first predictions.

    Raises:
        RuntimeError: a command failed, or what the page foretells did not come.

    """
    own, begin = newcomer.own, time.monotonic()
    labels = 0 if own is None else own.labels
    served, written, each = 0.0, 0, {}
    for language, text, saved in steps("tutorial/index.md"):
        if saved:
            content = text if own is None else own.files.get(saved, text)
            (newcomer.folder / saved).write_text(content, encoding="utf-8")
        elif language == "toml":
            tables = text if own is None else own.tables
            newcomer.write(tables)
            written += sum(bool(line.strip()) for line in tables.splitlines())
        elif language == "sh":
            for line in text.splitlines():
                if line in _BEFORE | _AT_THE_END or line.startswith("tidemark label"):
                    continue
                started = time.monotonic()
                command = _typed(newcomer, line)
                each[command] = round(time.monotonic() - started, 1)
                if command == "python answer.py":  # as the page's reader sees it in status
                    _wait(newcomer, lambda: newcomer.served() != "", "no champion serves", 120, 1)
                    served = time.monotonic() - begin
                    _wait(newcomer, lambda: newcomer.learnt_from() >= labels, "it learns no further", 120, 1)
    if not served:
        raise RuntimeError("the page says nowhere how to answer")
    return Followed(served, written, len(each), each)


def _typed(newcomer: Newcomer, line: str) -> str:
    """Type a line of the page with one's own names; the line as it was typed."""
    own = newcomer.own
    if own is not None:
        line = line.replace("machines", own.name)
        if line.startswith("python feed.py "):
            line = f"python feed.py {own.times[line.removeprefix('python feed.py ')]}"
    if line.startswith("tidemark up"):
        newcomer.start(line)
        _wait(newcomer, lambda: "Ctrl-C stops it" in newcomer.printed, "it is not up", 60, 0.05)
        _wait(newcomer, lambda: newcomer.count("candidates") > 0, "nothing is asked", 180, 0.5)
        return line
    printed = newcomer.run(line)
    if address := re.search(r"^export TIDEMARK_BOOTSTRAP_SERVERS=(\S+)$", printed, re.MULTILINE):
        newcomer.environment["TIDEMARK_BOOTSTRAP_SERVERS"] = address[1]
    return line


def _wait(newcomer: Newcomer, condition: Callable[[], bool], what: str, patience: float, poll: float) -> None:
    try:
        wait_for(condition, what, (), patience=patience, poll=poll)
    except RuntimeError as error:
        raise RuntimeError(f"{error}\n{newcomer.printed}") from error
