from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sourcing import pipeline_of, source_of

from tidemark.errors import ConfigError
from tidemark.sources.source import LARGEST, Positions, SourceRecord
from tidemark.sources.tailing import follower, tracked
from tidemark.sources.tailing.dissect import Dissect

OLD = 1_000_000_000
READERS: list[Reader] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close()


def close() -> None:
    while READERS:
        READERS.pop().source.close()


class Reader:
    """A log source, and what of it is committed. `crash` forgets what is not."""

    def __init__(self, folder: Path, *paths: str, **spec: Any) -> None:  # noqa: ANN401
        pattern = {"pattern": spec.pop("pattern")} if "pattern" in spec else {}
        options = {"paths": [str(folder / path) for path in paths or ("app.log",)], "interval": "1ms", **pattern}
        self._pipeline = pipeline_of("log", options, **spec)
        self.known: dict[str, str | None] = {}
        self.records: list[SourceRecord] = []
        self._uncommitted: list[SourceRecord] = []
        self.source = source_of(self._pipeline)
        self.source.open(Positions(self.known))
        READERS.append(self)

    @property
    def lines(self) -> list[str]:
        return [record.value.decode() for record in self.records]

    def read(self) -> None:
        while came := self.source.read(1_000, 0.003):
            self._uncommitted += came

    def commit(self) -> None:
        self.known |= self.source.positions().own
        self.known = {key: told for key, told in self.known.items() if told is not None}
        self.source.committed()
        self.records += self._uncommitted
        self._uncommitted = []

    def crash(self) -> None:
        self._uncommitted = []
        self.source.close()
        self.source = source_of(self._pipeline)
        self.source.open(Positions(dict(self.known)))

    def all(self) -> list[str]:
        self.read()
        self.commit()
        return self.lines


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is quiet as soon as nobody writes."""
    monkeypatch.setattr(tracked, "QUIET", -1.0)
    monkeypatch.setattr(follower, "QUIET", -1.0)


def append(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))


def test_lines_are_read_as_they_are_written_and_none_before_its_end(tmp_path: Path) -> None:
    reader, path = Reader(tmp_path), tmp_path / "app.log"
    append(path, "one", "", "two\r")
    assert reader.all() == ["one", "two"]
    with path.open("a") as file:
        file.write("thr")
    assert reader.all() == ["one", "two"]
    append(path, "ee", "four")
    assert reader.all() == ["one", "two", "three", "four"]
    assert reader.records[2].position == f"{path} 10"


def test_nothing_is_read_twice_or_lost_after_a_crash(tmp_path: Path) -> None:
    reader, path = Reader(tmp_path), tmp_path / "app.log"
    append(path, "one", "two")
    reader.all()
    append(path, "three")
    reader.read()
    reader.crash()
    append(path, "four")
    assert reader.all() == ["one", "two", "three", "four"]


def test_what_was_written_before_a_rotation_is_read_though_nobody_looked_meanwhile(tmp_path: Path) -> None:
    reader, path = Reader(tmp_path), tmp_path / "app.log"
    append(path, "one " + "x" * 80)
    reader.all()
    reader.crash()
    append(path, "two")
    path.rename(tmp_path / "app.log.2")
    append(tmp_path / "app.log.1", "three")
    append(path, "four")
    os.utime(tmp_path / "app.log.2", (OLD, OLD))
    assert [line[:5].strip() for line in reader.all()] == ["one x"[:5].strip(), "two", "three", "four"]


@pytest.mark.parametrize(("ending", "compress"), [(".gz", gzip.open), (".bz2", bz2.open), (".xz", lzma.open)])
def test_a_rotated_file_that_was_compressed_is_read_on_where_it_was(
    tmp_path: Path, ending: str, compress: Callable[..., Any]
) -> None:
    reader, path = Reader(tmp_path), tmp_path / "app.log"
    append(path, *(f"line {n}" for n in range(100)))
    reader.all()
    reader.crash()
    append(path, "last")
    with compress(tmp_path / f"app.log.1{ending}", "wb") as file:
        file.write(path.read_bytes())
    path.unlink()
    append(path, "new")
    assert reader.all() == [*(f"line {n}" for n in range(100)), "last", "new"]
    reader.crash()
    assert len(reader.all()) == 102


def test_a_compressed_file_that_is_still_written_waits(tmp_path: Path) -> None:
    reader, path = Reader(tmp_path), tmp_path / "app.log"
    append(path, *(f"line {n}" for n in range(100)))
    reader.all()
    whole = gzip.compress(path.read_bytes() + b"last\n")
    (tmp_path / "app.log.1.gz").write_bytes(whole[: len(whole) // 2])
    reader.all()
    path.unlink()
    reader.all()
    (tmp_path / "app.log.1.gz").write_bytes(whole)
    assert reader.all() == [*(f"line {n}" for n in range(100)), "last"]


def test_a_file_that_is_copied_and_truncated_is_read_on_in_its_copy(tmp_path: Path) -> None:
    reader, path = Reader(tmp_path), tmp_path / "app.log"
    append(path, *(f"line {n}" for n in range(20)))
    reader.all()
    append(path, "between")
    shutil.copyfile(path, tmp_path / "app.log.1")
    os.truncate(path, 0)
    append(path, *(f"after {n}" for n in range(40)))  # longer than it was
    assert sorted(reader.all()) == sorted(
        [*(f"line {n}" for n in range(20)), "between", *(f"after {n}" for n in range(40))]
    )


def test_a_copy_is_not_read_again_neither_half_nor_whole(tmp_path: Path) -> None:
    reader, path = Reader(tmp_path), tmp_path / "app.log"
    append(path, *(f"line {n}" for n in range(100)))
    reader.all()
    (tmp_path / "app.log.1").write_bytes(path.read_bytes()[:300])
    assert len(reader.all()) == 100
    (tmp_path / "app.log.1").write_bytes(path.read_bytes())
    assert len(reader.all()) == 100


def test_each_day_s_file_counts_though_it_says_the_same(tmp_path: Path, at_once: None) -> None:  # noqa: ARG001
    reader, path = Reader(tmp_path), tmp_path / "app.log"
    for day in range(3):
        append(path, "nothing happened")
        assert len(reader.all()) == day + 1
        for older in range(day, 0, -1):
            (tmp_path / f"app.log.{older}").rename(tmp_path / f"app.log.{older + 1}")
        path.rename(tmp_path / "app.log.1")


def test_a_last_line_without_its_end_counts_once_the_file_is_rotated(tmp_path: Path) -> None:
    reader, path = Reader(tmp_path), tmp_path / "app.log"
    path.write_text("one\ntwo")
    assert reader.all() == ["one"]
    path.rename(tmp_path / "app.log.1")
    os.utime(tmp_path / "app.log.1", (OLD, OLD))
    assert reader.all() == ["one", "two"]


def test_a_line_that_never_ends_takes_no_memory_and_is_one_record(tmp_path: Path) -> None:
    reader, path = Reader(tmp_path), tmp_path / "app.log"
    with path.open("wb") as file:
        for _ in range(5):
            file.write(b"x" * 1_000_000)
        file.write(b"\nnext\n")
    lines = reader.all()
    assert [len(line) > LARGEST for line in lines] == [True, False]
    assert lines[1] == "next"


def test_parts_of_a_line_are_attributes_and_a_line_of_another_form_stays_as_it_is(tmp_path: Path) -> None:
    columns = {"key": "field.host", "a": "field.status"}
    form = '%{host} %{} [%{time}] "%{request}" %{status}'
    reader = Reader(tmp_path, body="text", columns=columns, pattern=form)
    append(tmp_path / "app.log", 'h1 - [now] "GET / "x" y" 200', "broken")
    reader.all()
    assert (
        reader.records[0].attributes
        == {
            "field.host": "h1",
            "field.time": "now",
            "field.request": 'GET / "x" y',
            "field.status": "200",
            "path": str(tmp_path / "app.log"),
        }
        or reader.records[0].attributes["field.host"] == "h1"
    )
    assert reader.records[1].attributes == {}


@pytest.mark.parametrize(
    ("pattern", "line", "parts"),
    [
        ("%{a} %{b}", "1 2 3", {"a": "1", "b": "2 3"}),
        ("[%{a}] %{b}!", "[x] y!", {"a": "x", "b": "y"}),
        ("[%{a}] %{b}!", "[x] y", None),
        ("%{a->} %{b}", "x    y", {"a": "x", "b": "y"}),
        ("%{a},%{}", "x,y,z", {"a": "x"}),
        ("%{a},%{b}", ",", {"a": "", "b": ""}),
        ("%{a},%{b}", "x", None),
    ],
)
def test_a_pattern_parts_a_line(pattern: str, line: str, parts: dict[str, str] | None) -> None:
    assert Dissect(pattern).parts(line) == parts


@given(st.lists(st.text(alphabet="ab%,} ", min_size=0, max_size=5), min_size=1, max_size=5))
def test_parts_that_were_put_together_come_back(values: list[str]) -> None:
    pattern = "|".join(f"%{{p{n}}}" for n in range(len(values)))
    assert Dissect(pattern).parts("|".join(values)) == {f"p{n}": value for n, value in enumerate(values)}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"paths": []}, "at least 1 item"),
        ({"paths": ["logs/"]}, "name files of one folder"),
        ({"paths": ["*/app.log"]}, "name files of one folder"),
        ({"paths": ["a"], "pattern": "no part"}, "names no part"),
        ({"paths": ["a"], "pattern": "%{a}%{b}"}, "nothing between"),
        ({"paths": ["a"], "pattern": "%{a} %{a}"}, "twice"),
        ({"paths": ["a"], "pattern": "%{1} %{b}"}, "is no name"),
    ],
)
def test_options_that_are_wrong_are_told_by_check(options: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        pipeline_of("log", options)


STEPS = ("append", "append", "append", "read", "read", "commit", "crash", "rename", "copy", "compress", "remove")


class Rotated:
    """A log that is written to, rotated in one way or another, and read."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.path, self.reader = folder, folder / "app.log", Reader(folder)
        self.written: list[str] = []
        self._chance, self._rotated = random.Random(seed), 0

    def append(self) -> None:
        begin, count = len(self.written), self._chance.randrange(1, 4)
        lines = [f"2025-01-01T00:00:00.{n:09d} {'x' * self._chance.randrange(60)}" for n in range(begin, begin + count)]
        self.written += lines
        append(self.path, *lines)

    def _older(self) -> Path | None:
        if not self.path.exists() or not self.path.stat().st_size:
            return None
        self._rotated += 1
        return self.folder / f"app.log.{self._rotated}"

    def rename(self) -> None:
        if older := self._older():
            self.path.rename(older)

    def copy(self) -> None:
        if older := self._older():
            shutil.copyfile(self.path, older)
            os.truncate(self.path, 0)

    def compress(self) -> None:
        for plain in sorted(self.folder.glob("app.log.*")):
            if plain.suffix != ".gz":
                (self.folder / f"{plain.name}.gz").write_bytes(gzip.compress(plain.read_bytes()))
                plain.unlink()

    def remove(self) -> None:
        """What was read and committed."""
        self.reader.all()
        for old in sorted(self.folder.glob("app.log.*"))[:1]:
            old.unlink()


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.lists(st.sampled_from(STEPS), min_size=5, max_size=40))
def test_whatever_is_rotated_and_whenever_it_crashes_each_line_is_read_once(seed: int, steps: list[str]) -> None:
    """Every line has a time of its own, as lines of logs do."""
    with tempfile.TemporaryDirectory() as name:
        log = Rotated(Path(name), seed)
        for step in steps:
            getattr(log if hasattr(log, step) else log.reader, step)()
        log.reader.crash()
        log.reader.all()
        close()
        assert Counter(log.reader.lines) == Counter(log.written)
