"""The tutorial, followed to its last command, and the programs that go with its pipeline.

A reader's part is done as a reader would: files are saved, tables are written into the draft, the Kafka's address is
copied from a command's output. `tidemark label` needs a terminal and has tests of its own; the page's `answer.py`
answers here.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import tomlkit
from typer.testing import CliRunner

from support import wait_until
from tidemark.cli.app import app
from tidemark.kafka import read_all
from tidemark.records import Label, Metric, Prediction, decode
from tidemark.runtime.settings import Settings

_ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```\{?\.?(\w*)\}?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_BEFORE = {"make setup", "source .venv/bin/activate"}
_AT_A_TERMINAL = {"tidemark label machines.toml"}
_AT_THE_END = {"tidemark broker down"}

pytestmark = pytest.mark.timeout(400)


class Reader:
    """Who follows a page, in an empty folder and with an empty home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "TIDEMARK_HOME": str(folder / "home"), "COLUMNS": "160"}
        self.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment.pop("TIDEMARK_BOOTSTRAP_SERVERS", None)
        self.up: subprocess.Popen[bytes] | None = None
        self.log = folder / "up.log"

    def run(self, command: str) -> str:
        """A command of the page, which must succeed."""
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
        assert done.returncode == 0, f"{command}\n{printed}\n{self.printed}"
        assert "Traceback" not in printed, command
        return printed

    @property
    def printed(self) -> str:
        """What `tidemark up` has printed."""
        return self.log.read_text() if self.log.exists() else ""

    def start(self, command: str) -> None:
        """A command of the page that stays in the foreground of another terminal."""
        with self.log.open("wb") as log:
            self.up = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self) -> None:
        """Ctrl-C in that terminal."""
        assert self.up is not None
        os.killpg(self.up.pid, signal.SIGINT)
        assert self.up.wait(60) == 0, self.printed
        self.up = None

    def settings(self) -> Settings:
        return Settings.from_environment({}).at(self.environment["TIDEMARK_BOOTSTRAP_SERVERS"])

    def count(self, topic: str) -> int:
        """Records of a topic."""
        return len(read_all(self.settings(), topic))

    def served(self) -> str:
        """Version of the model in force at the stream flow, as `tidemark status` tells it; "" where there is none.

        Asked in this process: a new one for each look would take the processor from the flows that it looks at.
        """
        asked = ["status", str(self.folder / "machines.toml"), "--json"]
        done = CliRunner().invoke(app, asked, env=self.environment)
        assert done.stdout, done.stderr
        models = {flow["name"]: flow["model"] for flow in json.loads(done.stdout)["flows"]}
        return "" if models["stream"] in {None, "none"} else models["stream"]

    def predicted_by(self) -> set[str]:
        """Versions of models that predictions are of."""
        messages = read_all(self.settings(), "machines.predictions")
        return {decode(Prediction, message.value()).model for message in messages}


def steps(page: str) -> Iterator[tuple[str, str, str]]:
    """What a page asks for: language, text, and the file that the sentences before say to save it as."""
    text, end = (_ROOT / "docs" / page).read_text(encoding="utf-8"), 0
    for block in _FENCE.finditer(text):
        said = " ".join(text[end : block.start()].split())
        saved = re.findall(r"Save this as `([\w.]+)`", said)
        yield block[1], block[2], saved[-1] if saved else ""
        end = block.end()


def write_into(file: Path, tables: str) -> None:
    """What the page says to write, in the place of what the file has."""
    document = tomlkit.parse(file.read_text(encoding="utf-8"))
    for name, table in tomlkit.parse(tables).items():
        if isinstance(table, list):
            document.setdefault(name, tomlkit.aot()).extend(table)
        else:
            document.setdefault(name, tomlkit.table()).update(table)
    file.write_text(tomlkit.dumps(document), encoding="utf-8")


def follow(reader: Reader) -> None:
    """The tutorial up to the champion's first predictions."""
    asked = 0
    for language, text, saved in steps("tutorial/index.md"):
        if saved:
            (reader.folder / saved).write_text(text, encoding="utf-8")
        elif language == "toml":
            write_into(reader.folder / "machines.toml", text)
        elif language == "sh":
            for command in text.splitlines():
                if command in _BEFORE | _AT_A_TERMINAL | _AT_THE_END:
                    continue
                if command.startswith("tidemark up"):
                    reader.start(command)
                    wait_until(lambda: "Ctrl-C stops it" in reader.printed, lambda: reader.printed, 60)
                    wait_until(lambda: reader.count("machines.candidates"), lambda: reader.printed, 180, 0.5)
                    continue
                printed = reader.run(command)
                if address := re.search(r"^export TIDEMARK_BOOTSTRAP_SERVERS=(\S+)$", printed, re.MULTILINE):
                    reader.environment["TIDEMARK_BOOTSTRAP_SERVERS"] = address[1]
                if command == "python answer.py":
                    asked += 1
                    wait_until(reader.served, lambda: reader.printed, 120, 1)  # as the page's reader sees it in status
    assert asked == 1


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """One who has followed the tutorial, but for its last section."""
    reader = Reader(tmp_path_factory.mktemp("tutorial"))
    try:
        follow(reader)
        yield reader
    finally:
        if reader.up is not None:
            top = psutil.Process(reader.up.pid)
            for process in [*top.children(recursive=True), top]:
                process.kill()
            reader.up.wait(10)
        reader.run("tidemark broker down")


def test_the_tutorial_leads_to_a_champion_that_serves_and_to_a_figure_of_its_quality(reader: Reader) -> None:
    settings = reader.settings()
    labels = [decode(Label, message.value()) for message in read_all(settings, "machines.labels")]
    assert {label.label for label in labels} == {"healthy", "worn"}
    wait_until(
        lambda: reader.predicted_by() - {"none"},
        lambda: reader.run("tidemark status machines.toml") + reader.printed,
        120,
        1,
    )

    def figures() -> list[Metric]:
        metrics = [decode(Metric, message.value()) for message in read_all(settings, "machines.metrics")]
        return [metric for metric in metrics if metric.name == "quality" and metric.value is not None]

    def of_most_answers() -> bool:  # the first champion's figure rests on few: retraining goes on
        return any(metric.n >= 30 and metric.low is not None and metric.low > 0.5 for metric in figures()[-1:])

    wait_until(of_most_answers, lambda: reader.run("tidemark status machines.toml"), 120, 0.5)
    figure = figures()[-1]
    assert figure.low is not None
    assert figure.high is not None
    assert 0.5 < figure.low <= figure.high <= 1
    status = reader.run("tidemark status machines.toml")
    assert "model in force" in status
    assert "quality" in status
    late = [each for each in status.splitlines() if each.startswith("late_share")]
    assert [line for line in late if float(line.split()[1]) > 0.01] == []


def test_every_program_of_the_page_on_programs_runs_beside_the_pipeline(reader: Reader) -> None:
    """In the order of the page, in the tutorial's folder, on a copy of its file: what runs keeps its own."""
    running = (reader.folder / "machines.toml").read_text(encoding="utf-8")
    printed: dict[str, str] = {}
    try:
        for language, text, saved in steps("how-to/programs.md"):
            if saved:
                (reader.folder / saved).write_text(text, encoding="utf-8")
                if saved != "machine_features.py":
                    printed[saved] = reader.run(f"python {saved}") if saved != "features.py" else ""
            elif language == "toml":
                write_into(reader.folder / "machines.toml", text)
            elif language == "sh":
                for command in text.splitlines():
                    printed[command] = reader.run(command)
        printed["features.py"] = reader.run("PYTHONPATH=. python features.py")
    finally:
        (reader.folder / "machines.toml").write_text(running, encoding="utf-8")
    assert re.search(r"^m\d\d [1-9]", printed["consume.py"], re.MULTILINE)
    assert "is champion" in printed["tidemark train machines.toml --from history.csv --replace"]
    assert re.search(r"Answered\(answered=\d+, left=\d+, late=\d+\)", printed["rule.py"])
    assert "stress" in printed["PYTHONPATH=. tidemark check machines.toml"]
    assert "shape: (3," in printed["features.py"]
    assert read_all(reader.settings(), "machines.outcomes")


def test_the_notebook_runs_cell_by_cell(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_BOOTSTRAP_SERVERS", reader.environment["TIDEMARK_BOOTSTRAP_SERVERS"])
    notebook = json.loads((_ROOT / "docs" / "how-to" / "explore.ipynb").read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)  # noqa: S102 the page's own cells
    assert getattr(names["labels"], "height", 0) > 20
    assert getattr(names["surprising"], "columns", [])


def test_the_tutorial_ends_with_nothing_running(reader: Reader) -> None:
    """The last test: Ctrl-C, and the page's last command."""
    reader.stop()
    commands = [
        line for language, text, _ in steps("tutorial/index.md") if language == "sh" for line in text.split("\n")
    ]
    assert "tidemark broker down" in commands
    reader.run("tidemark broker down")
    homes = [
        p
        for p in psutil.process_iter(["environ"])
        if (p.info["environ"] or {}).get("TIDEMARK_HOME") == str(reader.folder / "home")
    ]
    assert homes == []
