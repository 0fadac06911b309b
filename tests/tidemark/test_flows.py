"""The registry of flows: what every flow owes, and a flow of another package that runs beside ours."""

from __future__ import annotations

import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from feeding import feeder
from models import pipeline_text
from outside import entry_points_of, examples, in_path, install

from benchmarks.support.flow_process import FlowProcess
from dataflows.run import main
from support import wait_until
from tidemark.cli.up import processes
from tidemark.errors import ConfigError
from tidemark.flows import FLOWS, FlowSpec, flows_of
from tidemark.kafka import ensure_topics, read_all
from tidemark.observe import Observer
from tidemark.pipeline import load, parse
from tidemark.pipeline.model import DecisionRule, OutputSpec
from tidemark.records import Metric, decode
from tidemark.runtime.settings import Settings

ROOT: Final = Path(__file__).parents[2]
PIPELINE: Final = load(ROOT / "pipelines" / "fraud.toml")
PROGRAM: Final = "from tidemark.cli import main; main()"


@pytest.mark.parametrize("spec", FLOWS.all().values(), ids=lambda spec: spec.name)
def test_a_flow_builds_says_what_it_reads_and_how_it_is_reset(spec: FlowSpec) -> None:
    assert re.fullmatch(r"[a-z]+", spec.name)
    assert spec.meaning.endswith(".")
    module, _, function = spec.over.partition(":")
    assert (module, function) == (f"dataflows.{spec.name}", "over")
    assert callable(pkgutil.resolve_name(spec.over))
    assert spec.moves is None or callable(pkgutil.resolve_name(spec.moves))
    own = {
        topic.name
        for topic in PIPELINE.topics.specs(raw=PIPELINE.raw_topics, hops=PIPELINE.keys, partitions=1, retention_ms=1)
    }
    more = {
        "outputs": [OutputSpec(topic="x", of="candidates", format="json")],
        "decisions": [DecisionRule(name="x", threshold=0.5)],
    }
    read = spec.reads(PIPELINE.model_copy(update=more))
    assert set(read) <= {*own, *PIPELINE.hop_topics}
    assert read
    declared = {"publish": "outputs", "decide": "decisions"}
    assert spec.reads(PIPELINE) == ([] if spec.name in declared else read), "only what declares it has that flow"


def test_flows_never_import_flows() -> None:
    """Whatever flows there are: the import contract names those of its day."""
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTS, *FLOWS.own], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.stdout, done.returncode) == ("", 0), done.stderr


_IMPORTS: Final = """
import sys, grimp
graph = grimp.build_graph("dataflows")
flows = [f"dataflows.{name}" for name in sys.argv[1:]]
for one in flows:
    for other in flows:
        if one != other and graph.chain_exists(importer=one, imported=other):
            print(one, "imports", other)
"""


def test_up_runs_every_flow_once_and_those_whose_partitions_are_shared_several_times(tmp_path: Path) -> None:
    settings = Settings.from_environment({"TIDEMARK_HOME": str(tmp_path)}).at("kafka:9092")
    specs = processes(tmp_path / "p.toml", settings, flows=flows_of(PIPELINE), streams=2)
    assert [each.name for each in specs] == ["stream", "stream-2", "select", "retrain", "monitor", "labeling"]
    assert [each.arguments[0] for each in specs[:-1]] == ["stream", "stream", "select", "retrain", "monitor"]


def tidemark(site: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "TIDEMARK_HOME": str(home), "COLUMNS": "300"}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_flow_of_another_package_runs_beside_ours_and_status_shows_it(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    """The example of docs/contributing/extending.md, as it stands there."""
    files = examples("tally")
    site = install(tmp_path / "site", "tally", files, entry_points_of(files["pyproject.toml"]))
    path = tmp_path / "p.toml"
    path.write_text(pipeline_text(unique))
    pipeline = parse(path.read_text(), "p.toml")
    settings = kafka.model_copy(update={"state_dir": tmp_path})
    ensure_topics(
        settings,
        pipeline.topics.specs(raw=pipeline.raw_topics, hops=[], partitions=2, retention_ms=3_600_000),
    )

    def feed(count: int) -> None:
        producer = feeder(settings)
        for number in range(count):
            producer.produce(pipeline.topics.predictions, b"{}", partition=number % 2)
        assert producer.flush(60) == 0

    def counts() -> Sequence[float | None]:
        metrics = [decode(Metric, message.value()) for message in read_all(settings, pipeline.topics.metrics)]
        return sorted({metric.value or 0 for metric in metrics if metric.name == "tally_predictions"})[-2:]

    feed(6)
    command = ("dataflows.run", "tally", str(path))
    environment = {"PYTHONPATH": f"{ROOT}{os.pathsep}{site}"}
    with FlowProcess(settings, "t", *command, log=tmp_path / "t.log", **environment) as process:
        wait_until(lambda: counts()[-1:] == [3.0], lambda: f"{counts()}\n{process.output[-2000:]}", 120)
        with in_path(site):
            observer = Observer(pipeline, settings)
            try:
                shown = {flow.name: flow.members for flow in observer.look().flows}
            finally:
                observer.close()
        assert shown == {"stream": 0, "select": 0, "retrain": 0, "monitor": 0, "tally": 1}
    feed(4)
    with FlowProcess(settings, "t", *command, log=tmp_path / "u.log", **environment) as process:
        wait_until(lambda: counts()[-1:] == [5.0], lambda: f"{counts()}\n{process.output[-2000:]}", 120)


def test_a_flow_s_metric_is_listed_with_its_meaning(tmp_path: Path) -> None:
    files = examples("tally")
    site = install(tmp_path / "site", "tally", files, entry_points_of(files["pyproject.toml"]))
    done = tidemark(site, tmp_path, "metrics")
    assert done.returncode == 0, done.stderr
    assert re.search(r"tally_predictions +events +tally +stream +Predictions of a partition", done.stdout)


BROKEN: Final = """
from tidemark.flows import FlowSpec
reads = lambda pipeline: ["t"]
SPEC = FlowSpec(name="tally", over="broken:absent", reads=reads, meaning="x")
OTHER = FlowSpec(name="other", over="broken:over", reads=reads, meaning="x")
NOWHERE = FlowSpec(name="tally", over="broken", reads=reads, meaning="x")
NOTHING = FlowSpec(name="tally", over="broken:over", reads=reads, meaning="x")
def over(pipeline, settings, stop):
    return None
"""


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("broken:SPEC", "flow 'tally': broken:absent can't be imported"),
        ("broken:OTHER", "its FlowSpec is called 'other'; give both one name"),
        ("broken:NOWHERE", "'broken' names no function; write 'module:function'"),
        ("broken:NOTHING", "flow 'tally': broken:over must return (Dataflow, Sessions)"),
        ("broken:over", "it is a function, not a tidemark.flows.FlowSpec"),
        ("gone:SPEC", "flow 'tally' of package broken can't be loaded: ModuleNotFoundError"),
    ],
)
def test_a_broken_flow_of_a_package_ends_in_a_sentence(
    target: str, says: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "p.toml"
    path.write_text(pipeline_text("p"))
    with in_path(install(tmp_path / "site", "broken", {"broken.py": BROKEN}, {"tidemark.flows": {"tally": target}})):
        assert main(["tally", str(path)]) == 78
    assert says in caplog.text
    assert "Traceback" not in caplog.text


def test_a_flow_that_there_is_not_is_refused_with_those_that_there_are(caplog: pytest.LogCaptureFixture) -> None:
    assert main(["streem", "p.toml"]) == 2
    assert "usage: python -m dataflows.run stream|select|retrain|monitor|decide|publish PIPELINE" in caplog.text
    with pytest.raises(ConfigError, match="there is no flow 'streem'; did you mean 'stream'"):
        FLOWS.get("streem")


def test_no_package_s_flow_is_called_as_another_part_of_tidemark(tmp_path: Path) -> None:
    text = BROKEN.replace('"other"', '"labeling"')
    points = {"tidemark.flows": {"labeling": "broken:OTHER"}}
    with (
        in_path(install(tmp_path, "broken", {"broken.py": text}, points)),
        pytest.raises(ConfigError, match="'labeling' is the name of another part of Tidemark"),
    ):
        flows_of(PIPELINE)
