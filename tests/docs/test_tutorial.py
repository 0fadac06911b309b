"""The tutorial, followed to its last command, and the programs that go with its pipeline.

A reader's part is done as a reader would (`benchmarks.support.newcomer`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.support.newcomer import Newcomer, follow_tutorial, steps
from support import wait_until
from tidemark.kafka import read_all
from tidemark.records import Label, Metric, decode

_ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    """One who has followed the tutorial, but for its last section."""
    reader = Newcomer(tmp_path_factory.mktemp("tutorial"))
    try:
        follow_tutorial(reader)
        yield reader
    finally:
        reader.leave()


def test_the_tutorial_leads_to_a_champion_that_serves_and_to_a_figure_of_its_quality(reader: Newcomer) -> None:
    settings = reader.settings
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


def test_every_program_of_the_page_on_programs_runs_beside_the_pipeline(reader: Newcomer) -> None:
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
                reader.write(text)
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
    assert read_all(reader.settings, "machines.outcomes")


def test_the_notebook_runs_cell_by_cell(reader: Newcomer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_BOOTSTRAP_SERVERS", reader.environment["TIDEMARK_BOOTSTRAP_SERVERS"])
    notebook = json.loads((_ROOT / "docs" / "how-to" / "explore.ipynb").read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)  # noqa: S102 the page's own cells
    assert getattr(names["labels"], "height", 0) > 20
    assert getattr(names["surprising"], "columns", [])


def test_the_tutorial_ends_with_nothing_running(reader: Newcomer) -> None:
    """The last test: Ctrl-C, and the page's last command."""
    assert reader.stop() == 0, reader.printed
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
