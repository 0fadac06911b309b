"""The registries of record formats and of kinds of files: what each owes, and those of a package in a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pytest
from models import pipeline_text
from outside import entry_points_of, examples, in_path, install
from running import Constant, Even

from dataflows.engine.warmup import rehearse
from tidemark.errors import ConfigError
from tidemark.formats.declared import Declared, Kind
from tidemark.formats.decoder import Decoder
from tidemark.formats.reading import SOURCES, Standpoint, open_rows
from tidemark.formats.told_columns import ToldReader
from tidemark.pipeline import parse
from tidemark.records.record_formats import FORMATS, ColumnFormat, Columns, Format, RecordSchema, Told
from tidemark.runtime.processor import Batch, Partition
from tidemark.sources.files import open_file
from tidemark.stream import StreamProcessor

JUNK: Final = b"\x00\x01\xff" * 5
OBJECT: Final = {"id": "é\n", "n": 3, "x": 1.5, "yes": True, "none": None, "list": [1, "a"]}


_ONE_BY_ONE: Final = [name for name in FORMATS.names() if isinstance(FORMATS.get(name), Format)]


@pytest.mark.parametrize("name", _ONE_BY_ONE)
def test_a_format_gives_back_the_object_that_it_wrote(name: str) -> None:
    form = FORMATS.get(name)
    assert isinstance(form, Format)
    assert msgspec.json.decode(form.to_json(form.from_json(msgspec.json.encode(OBJECT)))) == OBJECT


@pytest.mark.parametrize("name", SOURCES.names())
def test_a_kind_of_file_hides_nothing_of_what_is_none_of_its_kind(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{name}"
    declared = Declared(_text, ("id",))
    with pytest.raises(ConfigError, match="there is no such file"):
        open_rows(path, declared)
    path.write_bytes(JUNK)
    try:
        values = [row.value for row in open_rows(path, declared).rows(Standpoint())]
    except ConfigError as refused:
        assert f"x.{name}" in str(refused)  # noqa: PT017 - or else
    else:
        assert values == [JUNK], "a line is handed on as it came, for its reader to refuse"
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match="there is no such file"):
        open_rows(path, declared)


def _text(_: str) -> Kind:
    return "string"


def named(form: str) -> str:
    """A pipeline file whose records are of a format."""
    return pipeline_text("p").replace('topic = "p.raw"', f'topic = "p.raw"\nformat = "{form}"')


def batch(values: list[bytes | None]) -> Batch:
    n = len(values)
    keys: list[bytes | None] = [b"k"] * n
    return Batch(Partition("p.raw", 0, ""), np.arange(n), np.full(n, -1, np.int64), keys, values, [None] * n)


def test_a_pipeline_over_a_package_s_format_and_a_package_s_kind_of_file_reads_what_ingest_sends(
    tmp_path: Path,
) -> None:
    """The example of docs/contributing/extending.md, as it stands there."""
    files = examples("wire")
    text = named("msgpack").replace('column = "time"', 'column = "time"\nformat = "compact"')
    text = text.replace('time = { type = "string" }', 'time = { type = "int" }')
    rows = tmp_path / "rows.tsv"
    rows.write_text("id\tkey\ttime\ta\tb\tc\n" + "e1\tk\t20250131093015\t1.5\t3\t2\ne2\tk\t20250131093016\t2\t1\t2\n")
    with in_path(install(tmp_path / "site", "wire", files, entry_points_of(files["pyproject.toml"]))):
        pipeline = parse(text, "p.toml")
        sent = open_file(rows, pipeline).read(10)
        assert sent is not None
        values = [record.value for record in sent]
        assert [record.key for record in sent] == [b"k", b"k"]
        assert msgspec.msgpack.decode(values[0])["time"] == 20250131093015
        broken: list[bytes | None] = [*values, b"\xc1", b"{}", None, b""]
        decoded = Decoder(pipeline).decode(batch(broken))
        assert decoded.rows.tolist() == [0, 1]
        assert decoded.times.tolist() == [1_738_315_815_000_000, 1_738_315_816_000_000]
        reasons = [bad.reason for bad in decoded.bad]
        assert reasons[0].startswith("is no MessagePack (")
        assert reasons[1].startswith("is no MessagePack (")
        assert reasons[2:] == ["no value (a tombstone)", "empty value"]
        assert Decoder(pipeline).event_times(batch(broken))[:2] == decoded.times.tolist()
        outputs = rehearse(StreamProcessor(pipeline, Constant(Even(2))), pipeline)
        assert outputs["p.deadletter"] == 0
        assert outputs["p.predictions"] > 0
    with pytest.raises(ConfigError, match=r"\.tsv can't be read; use one of \.parquet, \.csv"):
        open_rows(rows, Declared(_text))


BROKEN: Final = """
class Raises:
    def to_json(self, value):
        raise KeyError("a\\nb")
    def from_json(self, value):
        raise KeyError("a")
class Text(Raises):
    def to_json(self, value):
        return "text"
raises, text = Raises(), Text()
half = object()
class File:
    whole, closed = True, True
    def __init__(self, path, reading): pass
    def rows(self, since):
        yield "row"
class Dies(File):
    def rows(self, since):
        raise RuntimeError("no more")
def opens_nothing(path, reading): return None
def dies(path, reading): raise KeyError("columns")
"""


def _site(folder: Path, group: str, target: str) -> Path:
    return install(folder / "site", "tiny", {"tiny_formats.py": BROKEN}, {group: {"own": f"tiny_formats:{target}"}})


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("raises", "its format raised KeyError: 'a\\nb'"),
        ("text", "its format gave str where the bytes of a JSON object are wanted"),
    ],
)
def test_what_a_package_s_format_fails_on_is_a_dead_letter_with_its_reason(
    target: str, reason: str, tmp_path: Path
) -> None:
    text = named("own")
    with in_path(_site(tmp_path, "tidemark.formats", target)):
        decoded = Decoder(parse(text, "p.toml")).decode(batch([b"x", b"y"]))
    assert [bad.reason for bad in decoded.bad] == [reason, reason]


@pytest.mark.parametrize(
    ("target", "says"),
    [("Raises", "it is the class Raises; name an instance of it"), ("half", "it is a object without to_json")],
)
def test_a_broken_format_is_told_at_its_key_of_the_file(target: str, says: str, tmp_path: Path) -> None:
    text = named("own")
    with in_path(_site(tmp_path, "tidemark.formats", target)), pytest.raises(ConfigError, match="format: record") as no:
        parse(text, "p.toml")
    assert says in str(no.value)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("File", "can't be read further: what reads .own gave row where a Row of one line of JSON is wanted"),
        ("Dies", "can't be read: RuntimeError: no more"),
        ("opens_nothing", "what opens .own gave no RowFile; it lacks whole"),
        ("dies", "can't be read: KeyError: 'columns'"),
        ("half", "kind of file 'own' of package tiny can't be used: it is a object, and no function"),
        ("gone", "kind of file 'own' of package tiny can't be loaded: AttributeError"),
    ],
)
def test_what_a_package_s_kind_of_file_fails_on_is_told_in_a_sentence(target: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.own"
    path.write_bytes(b"x")
    with in_path(_site(tmp_path, "tidemark.sources", target)), pytest.raises(ConfigError) as refused:
        list(open_rows(path, Declared(_text)).rows(Standpoint()))
    assert says in str(refused.value)


def test_raw_topics_of_one_pipeline_have_one_format(tmp_path: Path) -> None:
    files = examples("wire")
    text = named("json").replace("[time]", '[[raw]]\ntopic = "q.raw"\nformat = "msgpack"\n[time]')
    with (
        in_path(install(tmp_path / "site", "wire", files, entry_points_of(files["pyproject.toml"]))),
        pytest.raises(ConfigError, match=r"raw\[1\].format: raw topics of one pipeline have one format"),
    ):
        parse(text, "p.toml")


class Halves:
    """A reader of a package: texts of two halves. It fails on all records where one is none."""

    def read(self, batch: Batch, rows: Sequence[int]) -> Columns:
        if any(batch.values[row] == b"short" for row in rows):
            return Columns({"a": [1.0]} if len(rows) > 1 else {"a": []})
        parts = [(batch.values[row] or b"").decode().split("|", 1) for row in rows]
        return Columns({"a": [float(first) for first, _ in parts], "b": [second for _, second in parts]})

    def write(self, value: bytes) -> bytes:
        return value


def test_a_package_s_reader_that_fails_on_a_batch_reads_each_record_by_itself() -> None:
    columns = [Told("a", "float", True, ("a",)), Told("b", "string", True, ("b",))]
    reader = ToldReader(columns, ColumnFormat(lambda _: Halves()).open(RecordSchema(columns, ("time", "iso8601"))))
    values = [b"1|x", b"\xff|x", b"2|y", b"y|2", b"3", b"short", None, b"4|z"]
    read = reader.read(batch(values))
    assert read.rows.tolist() == [0, 2, 7]
    assert [list(read.columns[name]) for name in "ab"] == [[1.0, 2.0, 4.0], ["x", "y", "z"]]
    assert sorted(read.bad) == [1, 3, 4, 5, 6]
    assert "could not convert string to float" in read.bad[3]
    assert read.bad[5] == "its format gave a column of another length than there are records"
