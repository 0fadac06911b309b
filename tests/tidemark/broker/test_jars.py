from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tidemark.broker import jars
from tidemark.broker.jars import Jar, ensure_jars, kafka_version, locked_jars
from tidemark.errors import BrokerError


class Repository:
    """A Maven repository on the loopback address, of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.failures = 0
        repository = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                repository.asked.append(self.path)
                if repository.failures > 0:
                    repository.failures -= 1
                    self.send_error(503)
                else:
                    super().do_GET()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class's name
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def put(self, name: str, content: bytes) -> Jar:
        """Publish a jar; returns what the lock would say of it."""
        jar = Jar("org.example", name, "1.0", hashlib.sha256(content).hexdigest(), len(content))
        path = self.folder / jar.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return jar


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    (tmp_path / "repository").mkdir()
    found = Repository(tmp_path / "repository")
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


@pytest.fixture(autouse=True)
def no_waiting_between_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "_RETRY_SECONDS", 0.0)


def test_the_lock_names_kafka_and_each_jar_once_by_hash() -> None:
    locked = locked_jars()

    assert kafka_version() == "4.1.2"
    assert len({jar.filename for jar in locked}) == len(locked) == 46
    assert all(len(jar.sha256) == 64 and int(jar.sha256, 16) and jar.size > 0 for jar in locked)


def test_kafka_is_none_that_can_lose_the_marker_of_a_commit() -> None:
    # KAFKA-20734, seen as a label that was published twice: 3 of 160 transactions cut by a SIGKILL of a 4.3.1, none of
    # 400 of a 4.1.2. A version that is newer than 4.4 needs a look at whether it has been mended.
    assert tuple(int(part) for part in kafka_version().split(".")[:2]) < (4, 2)


def test_missing_jars_are_downloaded_in_the_locks_order_and_only_once(tmp_path: Path, repository: Repository) -> None:
    wanted = tuple(repository.put(name, name.encode() * 1000) for name in ("b", "a", "c"))
    seen: list[tuple[int, int]] = []

    paths = ensure_jars(
        tmp_path / "cache", jars=wanted, repository=repository.address, progress=lambda *at: seen.append(at)
    )
    again = ensure_jars(tmp_path / "cache", jars=wanted, repository=repository.address)

    assert [path.name for path in paths] == ["b-1.0.jar", "a-1.0.jar", "c-1.0.jar"]
    assert [path.read_bytes()[:1] for path in paths] == [b"b", b"a", b"c"]
    assert again == paths
    assert sorted(repository.asked) == [f"/org/example/{n}/1.0/{n}-1.0.jar" for n in "abc"]
    assert seen == [(1000, 3000), (2000, 3000), (3000, 3000)]


def test_a_jar_with_another_hash_is_refused_and_not_kept(tmp_path: Path, repository: Repository) -> None:
    jar = repository.put("kafka", b"what was locked")
    repository.put("kafka", b"what is served now")

    with pytest.raises(
        BrokerError, match=f"org.example:kafka:1.0 is not the one that is locked.*expected {jar.sha256}"
    ):
        ensure_jars(tmp_path / "cache", jars=(jar,), repository=repository.address)

    assert list((tmp_path / "cache").rglob("*.jar")) == []


def test_a_damaged_jar_in_the_cache_is_replaced(
    tmp_path: Path, repository: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    jar = repository.put("kafka", b"as it should be")
    (path,) = ensure_jars(tmp_path / "cache", jars=(jar,), repository=repository.address)
    path.write_bytes(b"as it should b")

    ensure_jars(tmp_path / "cache", jars=(jar,), repository=repository.address)

    assert path.read_bytes() == b"as it should be"
    assert "damaged" in caplog.text


def test_a_download_that_fails_for_a_moment_is_tried_again(tmp_path: Path, repository: Repository) -> None:
    jar = repository.put("kafka", b"content")
    repository.failures = 2

    (path,) = ensure_jars(tmp_path / "cache", jars=(jar,), repository=repository.address)

    assert path.read_bytes() == b"content"
    assert len(repository.asked) == 3


def test_a_jar_that_is_not_there_is_named_at_once(tmp_path: Path, repository: Repository) -> None:
    jar = Jar("org.example", "absent", "1.0", "0" * 64, 1)

    with pytest.raises(BrokerError, match=r"org\.example:absent:1\.0 can't be downloaded.*TIDEMARK_MAVEN_REPOSITORY"):
        ensure_jars(tmp_path / "cache", jars=(jar,), repository=repository.address)

    assert len(repository.asked) == 1


def test_what_was_downloaded_before_a_failure_is_not_downloaded_again(tmp_path: Path, repository: Repository) -> None:
    there = repository.put("there", b"there")
    absent = Jar("org.example", "absent", "1.0", "0" * 64, 1)
    with pytest.raises(BrokerError):
        ensure_jars(tmp_path / "cache", jars=(there, absent), repository=repository.address)
    repository.asked.clear()

    ensure_jars(tmp_path / "cache", jars=(there,), repository=repository.address)

    assert repository.asked == []
