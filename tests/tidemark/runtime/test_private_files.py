"""What is kept of a pipeline is for its owner alone, whatever the umask, and also what an earlier version made."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from run_kafka import RunKafka

from labeling_grpc.database import sqlite_tokens
from labeling_grpc.security.roles import Role
from tidemark.broker import layout
from tidemark.errors import ConfigError
from tidemark.runtime.private_files import (
    private_content,
    private_database,
    private_file,
    private_folder,
    private_log,
)


@pytest.fixture(autouse=True)
def _open_to_all() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def _readable(folder: Path) -> list[str]:
    """Whatever others may read below a folder, itself included, that they can reach."""
    if not folder.is_dir():
        return [folder.name] if folder.stat().st_mode & 0o077 else []
    if not folder.stat().st_mode & 0o077:
        return []
    return [folder.name, *(name for entry in folder.iterdir() for name in _readable(entry))]


def test_new_files_and_folders_are_for_their_owner(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "state" / "pipelines")
    assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent)] == [0o700, 0o700]
    assert private_file(folder / "x").stat().st_mode & 0o777 == 0o600
    with private_log(folder / "log") as log:
        log.write("x\ud800\n")
    assert (folder / "log").stat().st_mode & 0o777 == 0o600


def test_what_was_open_to_others_is_closed_and_its_content_stays(tmp_path: Path) -> None:
    folder = tmp_path / "kafka"
    folder.mkdir(mode=0o755)
    file = folder / "labeling.db"
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).write_text("x")
    private_folder(folder)
    private_database(file)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert file.read_text() == "x"


def test_a_folder_that_was_there_above_ours_is_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    private_folder(tmp_path / "slots")
    private_database(tmp_path / "labeling.db")
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_database_of_tokens_is_for_its_owner(tmp_path: Path) -> None:
    store = sqlite_tokens(tmp_path / "state" / "labeling.db")
    store.create(Role.ANNOTATOR, "ada", 60_000_000)
    assert _readable(tmp_path / "state") == []
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "state").iterdir()} == {0}
    store.close()


def test_a_data_folder_of_kafka_is_for_its_owner(tmp_path: Path) -> None:
    cluster = layout.settle_cluster(private_folder(tmp_path / "kafka"), 1, "4.1.2")
    layout.write_node_files(tmp_path / "kafka", cluster, cluster.nodes[0])
    assert _readable(tmp_path / "kafka") == []
    assert (tmp_path / "kafka" / "cluster.json").stat().st_mode & 0o777 == 0o600


def test_what_kafka_itself_writes_is_for_its_owner(run_kafka: RunKafka) -> None:
    modes: set[str] = set()
    for folder, _, names in os.walk(next(run_kafka.folder.rglob("server.log")).parent / "log"):
        for name in (each for each in names if not each.endswith(".tmp")):
            with suppress(FileNotFoundError):  # Kafka goes on working
                modes.add(oct((Path(folder) / name).stat().st_mode & 0o077))
    assert modes == {"0o0"}
    assert run_kafka.folder.stat().st_mode & 0o777 == 0o700


def test_content_is_whole_or_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "state"
    private_content(file, b"before")
    assert file.stat().st_mode & 0o077 == 0
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # as a disk that fills up while the file is written
    try:
        with pytest.raises(ConfigError, match="can't be written"):
            private_content(file, b"x" * 1_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.read_bytes() == b"before"
    private_content(file, b"after")
    assert file.read_bytes() == b"after"
