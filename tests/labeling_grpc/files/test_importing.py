from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from labeling import PIPELINE, SOURCE, arrivals, candidate, pipeline
from typer.testing import CliRunner

from labeling_grpc.client import LabelingClient
from labeling_grpc.client.administration import Imported, LabelingAdminClient
from labeling_grpc.commands.labeling import TakeIn
from labeling_grpc.files.export import export
from labeling_grpc.files.importing import read
from labeling_grpc.server import LabelingServer, serve
from tidemark.cli.app import app
from tidemark.errors import ConfigError
from tidemark.pipeline.model import LabelSpec
from tidemark.records import Label
from tidemark.runtime.settings import Settings

ODD = "=HYPERLINK(1)"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LabelingServer]:
    with serve(pipeline("pay"), Settings(state_dir=tmp_path / "one").at("127.0.0.1:9")) as running:
        asked = [candidate(n) for n in range(4)]
        running._writer.call(TakeIn(SOURCE, None, len(asked), arrivals(asked)))
        yield running


@pytest.fixture
def other(tmp_path: Path) -> Iterator[LabelingServer]:
    """A queue in which some of these cases wait, and others never came."""
    with serve(pipeline("pay"), Settings(state_dir=tmp_path / "other").at("127.0.0.1:9")) as running:
        asked = [candidate(n) for n in range(2)]
        running._writer.call(TakeIn(SOURCE, None, len(asked), arrivals(asked)))
        yield running


@pytest.mark.parametrize("ending", ["csv", "parquet", "ndjson"])
def test_what_one_queue_exported_another_takes_in(
    server: LabelingServer, other: LabelingServer, tmp_path: Path, ending: str
) -> None:
    with LabelingClient(server.address, ODD) as work, LabelingAdminClient(server.address, "root") as admin:
        tasks = work.lease(4)
        for task in tasks[:3]:
            work.submit(task, "fraud", confidence=0.75, known_at=5_000)
        work.skip(tasks[3])
        given = work.submit(tasks[0], "fraud", confidence=0.75, known_at=5_000)
        work.amend(given.annotation_id, "genuine")
        work.comment(tasks[0].event_id, "hm")
        export(list(admin.export()), tmp_path / f"labels.{ending}")
    labels = read(tmp_path / f"labels.{ending}")
    assert {label.event_id: label.label for label in labels} == {
        tasks[0].event_id: "genuine",
        tasks[1].event_id: "fraud",
        tasks[2].event_id: "fraud",
    }
    assert {label.annotator for label in labels} == {ODD}
    with LabelingAdminClient(other.address, "root") as admin:
        assert len(admin.import_labels(labels)) == 3
        taken = {label.event_id: label for label in admin.export()}
    for label in labels:
        assert (taken[label.event_id].label, taken[label.event_id].annotator) == (label.label, ODD)
        assert taken[label.event_id].features == candidate(int(label.event_id.split("-")[2])).features
    assert taken[tasks[1].event_id].known_at == 5_000
    assert taken[tasks[1].event_id].confidence == 0.75


HOURS = LabelSpec.model_validate({"type": "number", "unit": "h", "min": 0, "max": 500, "delay": "1d"})


def test_a_plain_list_of_answers_is_enough(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("event_id,label\n17,fraud\n018,genuine\n19,\n")
    assert read(tmp_path / "l.csv") == [Imported("17", "fraud"), Imported("018", "genuine")]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("l.csv", "event,label\n1,fraud\n", "has no column 'event_id', which an import requires; did you mean 'event'"),
        (
            "l.csv",
            "event_id,label,known_at\n1,fraud,yesterday\n",
            'row 1: known_at: expected a whole number within 64 bits, got "yesterday"',
        ),
        ("l.csv", "event_id,label,f_amount\n1,fraud,much\n", 'row 1: f_amount: expected a number, got "much"'),
        ("l.ndjson", "{", "l.ndjson, row 1: the last line is no whole JSON object"),
        ("l.ndjson", "{}\n[1]\n", "row 2 is no JSON object"),
        ("l.ndjson", '{"event": "1"}\n', "no row has a field 'event_id'"),
        (
            "l.ndjson",
            '{"event_id": "1", "label": "a", "features": "x"}',
            "row 1: features: expected an object of names",
        ),
        ("l.ndjson", '{"event_id": "1", "label": "a", "features": {"x": "y"}}', "row 1: features: expected an object"),
        ("l.ndjson", '{"event_id": 1, "label": "a"}', "row 1: event_id: expected text, got 1"),
        ("l.ndjson", '{"event_id": "1", "label": "a", "label": "b"}', "row 1: label: given more than once"),
        ("l.ndjson", '{"event_id": "1", "label": "a", "f_x": 1, "f_x": 2}', "row 1: f_x: given more than once"),
        ("l.ndjson", '{"event_id": "1", "label": "a", "features": {"x": 1, "x": 2}}', "row 1: x: given more than once"),
        ("l.ndjson", '{"event_id": "1", "label": ["a"]}', "row 1: label: expected a class"),
        ("l.csv", "event_id,label,features\n1,a,x\n", "row 1: features: expected an object of names"),
        ("l.csv", "event_id,label\n1\n", "row 1: it has 1 cells, and the header names 2"),
        ("l.txt", "event_id,label\n", "use one of .parquet, .csv, .ndjson"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_what_is_wrong(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=told):
        read(tmp_path / name)


@pytest.fixture
def run(tmp_path: Path, server: LabelingServer) -> Callable[..., tuple[int, str]]:
    file = tmp_path / "pay.toml"
    file.write_text(PIPELINE.replace("NAME", "pay"))

    def command(name: str, *arguments: str, typed: str = "") -> tuple[int, str]:
        where = ["--address", server.address]
        result = CliRunner().invoke(app, ["queue", name, str(file), *arguments, *where], input=typed)
        return result.exit_code, " ".join((result.output + result.stderr).split())

    return command


def test_the_queue_is_administered_at_the_command_line(
    run: Callable[..., tuple[int, str]], server: LabelingServer, tmp_path: Path
) -> None:
    events = [candidate(n).event_id for n in range(4)]
    (tmp_path / "labels.csv").write_text(f"event_id,label\n{events[0]},fraud\n{events[1]},fraud\nnobody,fraud\n")
    code, said = run("import", str(tmp_path / "labels.csv"))
    assert code == 1
    assert said.startswith("2 taken, 0 were there, 1 refused nobody:")
    assert run("requeue", events[0], "nobody", "--why", "again") == (0, "1 put back, 1 left as they are left: nobody")
    assert run("expire", "-", "--why", "no", typed=f"{events[2]}\n{events[3]}\n")[1] == "2 closed, 0 left as they are"
    assert run("pause", "--why", "a look")[0] == 0
    with LabelingClient(server.address, "ada", patience=0) as work:
        with pytest.raises(Exception, match="a look"):
            work.lease()
        assert run("resume") == (0, "the queue is open")
        assert [task.event_id for task in work.lease(4)] == [events[0]]


@pytest.mark.parametrize(
    ("classes", "labels", "expected"),
    [
        (["1", "0"], [1, 0, 0], ["1", "0", "0"]),
        (["1", "0"], [1.0, 0.0, None], ["1", "0"]),
        (["1", "0"], ["1.0", "0.0", "0.0"], ["1", "0", "0"]),
        (["fraud", "genuine"], [True, False, None], ["fraud", "genuine"]),
        (["genuine", "fraud"], ["true", "false", ""], ["fraud", "genuine"]),
        (["genuine", "fraud"], [1, 0, 0], ["fraud", "genuine", "genuine"]),
        (["genuine", "fraud"], ["fraud", "hm", "1"], ["fraud", "hm", "1"]),
    ],
)
def test_labels_of_a_file_are_classes_as_the_pipeline_names_them(
    tmp_path: Path, classes: list[str], labels: list[object], expected: list[str]
) -> None:
    positive = "1" if "1" in classes else "fraud"
    spec = pipeline("pay").label.model_copy(update={"classes": classes, "positive": positive})
    frame = pl.DataFrame({"event_id": ["a", "b", "c"], "label": labels})
    frame.write_parquet(tmp_path / "labels.parquet")
    assert [label.label for label in read(tmp_path / "labels.parquet", spec)] == expected


def test_a_column_of_numbers_that_are_no_classes_is_refused_by_its_name(tmp_path: Path) -> None:
    pl.DataFrame({"event_id": ["a"], "label": [7]}).write_parquet(tmp_path / "labels.parquet")
    with pytest.raises(ConfigError, match="column 'label' holds 7; expected"):
        read(tmp_path / "labels.parquet", pipeline("pay").label)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=15) | st.lists(
    st.sampled_from(["'", "=", "+", "-", "@", ";", ",", "|", "\t", "\r", "\n", '"', " ", "a", "\uff1d", "\u2028"])
).map("".join)


@settings(max_examples=200, deadline=None)
@given(texts)
@example("'=1")
@example("a;=1+1")
@example("")
def test_every_text_comes_back_from_a_csv_and_none_of_it_begins_a_formula(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "l.csv"
    asked = candidate(1)
    values = {name: getattr(asked, name) for name in Label.__struct_fields__ if hasattr(asked, name)}
    given = {"status": "answered", "label": "fraud", "known_at": 5, "answered_at": 6, "annotation_id": "a"}
    label = Label(**values | given | {"annotator": text, "key": text, "business_id": text, "comment": text})
    export([label], path)
    (found,) = read(path)
    assert (found.annotator, found.key, found.business_id) == (text, text, text)
    with path.open(newline="", encoding="utf-8") as opened:
        comment = next(csv.DictReader(opened))["comment"]
    for separator in ",;|\t\n":
        for cell in comment.split(separator):
            assert not cell.lstrip(' "').startswith(("=", "+", "-", "@", "\uff1d")), (separator, cell)


def test_a_small_file_of_many_rows_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "l.parquet"
    pl.select(event_id=pl.repeat("e", 3_000_000), label=pl.repeat("fraud", 3_000_000)).write_parquet(path)
    with pytest.raises(ConfigError, match="holds 3,000,000 rows; at most 500,000 are taken of a file"):
        read(path)


def test_numbers_of_a_file_are_read_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("event_id,label\n1,12\n2,012.50\n3,\n4,1e2\n")
    assert [each.label for each in read(tmp_path / "l.csv", HOURS)] == ["12.0", "12.5", "100.0"]
    (tmp_path / "l.ndjson").write_text(
        '{"event_id": "1", "label": 12}\n{"event_id": "2", "label": 12.5}\n{"event_id": "3", "label": null}\n'
    )
    assert [each.label for each in read(tmp_path / "l.ndjson", HOURS)] == ["12.0", "12.5"]
    (tmp_path / "far.ndjson").write_text('{"event_id": "1", "label": 1200}\n')
    with pytest.raises(ConfigError, match="holds 1200; expected a number from 0 to 500 h"):
        read(tmp_path / "far.ndjson", HOURS)
    (tmp_path / "text.csv").write_text("event_id,label\n1,soon\n2,12\n")
    assert [each.label for each in read(tmp_path / "text.csv", HOURS)] == ["soon", "12"]
