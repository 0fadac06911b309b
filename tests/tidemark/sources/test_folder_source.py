from __future__ import annotations

import json
import os
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sourcing import pipeline_of, source_of

from tidemark.errors import ConfigError
from tidemark.sources import files
from tidemark.sources.source import Positions, SourceRecord

OLD = 1_000_000_000
HEAD = "key,time,a,b,c\n"


def row(number: int) -> dict[str, object]:
    return {"key": f"k{number}", "time": "2025-01-01T00:00:00Z", "a": float(number), "b": 2.0, "c": 3.0}


def ndjson(begin: int, end: int) -> str:
    return "".join(json.dumps(row(n)) + "\n" for n in range(begin, end))


def csv(begin: int, end: int) -> str:
    return "".join(f"k{n},2025-01-01T00:00:00Z,{n},2,3\n" for n in range(begin, end))


class Reader:
    """A folder source, and what of it is committed. `crash` forgets what is not."""

    def __init__(self, folder: Path, **options: Any) -> None:  # noqa: ANN401
        self._pipeline = pipeline_of("folder", {"path": str(folder), "interval": "1ms", **options})
        self.files: dict[bytes, bytes] = {}
        self.records: list[SourceRecord] = []
        self._uncommitted: list[SourceRecord] = []
        self._begin()

    def _begin(self) -> None:
        self.source = source_of(self._pipeline)
        self.source.open(Positions(files=dict(self.files)))

    @property
    def numbers(self) -> list[int]:
        return [int(json.loads(record.value)["a"]) for record in self.records]

    def read(self) -> None:
        while came := self.source.read(7, 0.004):
            self._uncommitted += came

    def some(self, most: int) -> None:
        self._uncommitted += self.source.read(most, 0.004)

    def commit(self) -> None:
        self.files |= self.source.positions().files
        self.source.committed()
        self.records += self._uncommitted
        self._uncommitted = []

    def crash(self) -> None:
        self._uncommitted = []
        self._begin()

    def all(self) -> list[int]:
        self.read()
        self.commit()
        return self.numbers


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "QUIET", 0.0)


def test_files_of_each_kind_are_read_the_oldest_first_and_others_are_left(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(HEAD + csv(0, 10))
    (tmp_path / "b.ndjson").write_text(ndjson(10, 30))
    pl.DataFrame([row(n) for n in range(30, 40)]).write_parquet(tmp_path / "a.parquet")
    for number, name in enumerate(("c.csv", "b.ndjson", "a.parquet")):
        os.utime(tmp_path / name, (OLD + number, OLD + number))
    (tmp_path / "notes.txt").write_text("none of ours")
    (tmp_path / ".b.ndjson.swp").write_text("{")
    (tmp_path / "empty.csv").touch()
    reader = Reader(tmp_path)
    assert reader.all() == list(range(40))
    assert reader.records[0].position == f"{tmp_path / 'c.csv'} row 1"
    assert reader.records[12].attributes == {"path": str(tmp_path / "b.ndjson"), "row": "3"}


def test_a_file_that_grows_or_is_renamed_is_read_on(tmp_path: Path) -> None:
    reader, path = Reader(tmp_path), tmp_path / "a.ndjson"
    path.write_text(ndjson(0, 5))
    assert reader.all() == list(range(5))
    with path.open("a") as file:
        file.write(ndjson(5, 8))
    assert reader.all() == list(range(8))
    path.rename(tmp_path / "b.ndjson")
    reader.crash()
    with (tmp_path / "b.ndjson").open("a") as file:
        file.write(ndjson(8, 9))
    assert reader.all() == list(range(9))


def test_a_file_that_is_broken_stops_no_other_and_is_read_once_it_is_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Reader(tmp_path)
    (tmp_path / "a.csv").write_text("key,other\n1,2\n")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 half of it")
    (tmp_path / "c.ndjson").write_text(ndjson(0, 3))
    assert reader.all() == [0, 1, 2]
    assert len([r for r in caplog.records if "it is tried again when it changes" in r.message]) == 2
    (tmp_path / "a.csv").write_text(HEAD + csv(3, 5))
    pl.DataFrame([row(n) for n in range(5, 7)]).write_parquet(tmp_path / "b.parquet")
    assert sorted(reader.all()) == list(range(7))


@pytest.mark.parametrize("ends", ["", 'k5,2025-01-01T00:00:00Z,"5', "k5,2025"], ids=["whole", "quoted", "half"])
@pytest.mark.parametrize("first", [7, None], ids=["while it is read", "when it was read"])
@pytest.mark.parametrize("count", [3, 50, 90])
def test_a_file_that_is_written_over_in_place_is_another_file(
    tmp_path: Path, ends: str, first: int | None, count: int
) -> None:
    reader, path = Reader(tmp_path), tmp_path / "a.csv"
    path.write_text(HEAD + csv(100, 150) + ends)
    if first is None:
        reader.read()
    else:
        reader.some(first)
    reader.commit()
    before = [json.loads(each.value) for each in reader.records]
    path.write_text(HEAD + csv(200, 200 + count))
    reader.read()
    reader.commit()
    reader.crash()
    reader.read()
    reader.commit()
    after = [json.loads(each.value) for each in reader.records[len(before) :]]
    assert [int(each["a"]) for each in after] == list(range(200, 200 + count))


def test_what_ingest_sent_is_not_sent_again(tmp_path: Path) -> None:
    """Progress over files is one ledger, whoever read them."""
    (tmp_path / "a.ndjson").write_text(ndjson(0, 5))
    first = Reader(tmp_path)
    first.all()
    second = Reader(tmp_path)
    second.files = first.files
    second.crash()
    assert second.all() == []


def test_a_folder_that_is_not_there_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"source 's': .*/none is no folder; make it, or correct options.path"):
        Reader(tmp_path / "none")


def test_a_pattern_that_leaves_the_folder_is_refused() -> None:
    with pytest.raises(ConfigError, match="matches names of files in the folder"):
        pipeline_of("folder", {"path": "x", "pattern": "../*"})


class Folder:
    """A folder into which files are put, of which they grow and are renamed, and that is read."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.reader, self._chance = folder, Reader(folder), random.Random(seed)
        self.written = 0
        self._names = 0

    def _any(self) -> Path | None:
        found = sorted(path for path in self.folder.iterdir() if path.suffix != ".parquet")
        return self._chance.choice(found) if found else None

    def _more(self) -> tuple[int, int]:
        begin = self.written
        self.written += self._chance.randrange(1, 12)
        return begin, self.written

    def new(self) -> None:
        self._names += 1
        if self._chance.random() < 0.5:
            (self.folder / f"f{self._names}.csv").write_text(HEAD + csv(*self._more()))
        else:
            (self.folder / f"f{self._names}.ndjson").write_text(ndjson(*self._more()))

    def grow(self) -> None:
        if path := self._any():
            with path.open("a") as file:
                file.write((csv if path.suffix == ".csv" else ndjson)(*self._more()))

    def rename(self) -> None:
        if path := self._any():
            self._names += 1
            path.rename(self.folder / f"r{self._names}{path.suffix}")


STEPS = ("new", "new", "grow", "grow", "rename", "read", "commit", "crash")


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.lists(st.sampled_from(STEPS), min_size=4, max_size=25))
def test_whatever_comes_grows_and_is_renamed_each_row_is_read_once_whenever_it_crashes(
    seed: int, steps: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Folder(Path(name), seed)
        for step in steps:
            getattr(folder if hasattr(folder, step) else folder.reader, step)()
        folder.reader.crash()
        assert Counter(folder.reader.all()) == Counter(range(folder.written))
