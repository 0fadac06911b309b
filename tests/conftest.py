from __future__ import annotations

import gc
import os
import re
import tempfile
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import hypothesis
import psutil
import pytest
from feeding import close_feeders
from longest import LONGEST
from run_kafka import RunKafka

from tidemark.broker import EmbeddedKafka
from tidemark.runtime.settings import Settings

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

# The same examples every time, so that a red run tells of a change; how long one takes depends on the machine's load.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")

_SHARED: Final = pytest.StashKey[RunKafka]()
_IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - pytest makes a folder of its own in it, for the user alone
_LEAST_FREE: Final = 4 << 30
"""Bytes; the tests use a few hundred million."""


def pytest_configure() -> None:
    """Put the tests' folders in memory where there is room.

    Databases and Kafka flush thousands of times, which takes milliseconds each on a disk. Tests kill processes, and no
    operating system: what a process has written is there after its death, flushed or not.
    """
    if "PYTEST_DEBUG_TEMPROOT" not in os.environ and _is_roomy(_IN_MEMORY):
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(_IN_MEMORY)


def _is_roomy(folder: Path) -> bool:
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return False
    file_system = os.statvfs(folder)
    no_programs = file_system.f_flag & os.ST_NOEXEC  # some tests start programs that they have written
    free = min(file_system.f_bavail * file_system.f_frsize, psutil.virtual_memory().available // 2)
    return not no_programs and free >= _LEAST_FREE


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    begun = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: begun.get(item.path.name, len(begun)))


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over modules and tests, which live to the end: a tenth of the time goes there."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def _collector_as_it_was() -> Iterator[None]:
    """Undo `garbage_collection.seldom`, which a flow that runs within a test calls for the whole process.

    Clients that are part of cycles would keep their threads and sockets until much later, or for good. Above 1,023 open
    files no MQTT client connects any more: it asks `select`.
    """
    before = gc.get_threshold()
    yield
    if gc.get_threshold() != before:
        gc.set_threshold(*before)
        gc.unfreeze()
        gc.collect()
        gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Tell each of xdist's workers where the Kafka is that they share."""
    node.workerinput["kafka"] = _shared_by_workers(node.config).told()


@pytest.fixture(scope="session")
def run_kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunKafka]:
    """One embedded node for the whole run. Tests that kill or restart a broker start their own."""
    workerinput = getattr(request.config, "workerinput", None)
    if workerinput is not None:
        yield RunKafka.of(workerinput["kafka"])
        close_feeders()
        return
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka"), settings=Settings.from_environment({})) as kafka:
        yield RunKafka(kafka.bootstrap_servers, kafka.data_dir, os.getpid())
        close_feeders()
        _kill_nodes(kafka)


@pytest.fixture(scope="session")
def kafka(run_kafka: RunKafka) -> Settings:
    """Settings that name the run's Kafka: topics that already exist there belong to other tests."""
    return Settings.from_environment({}).at(run_kafka.bootstrap_servers)


@pytest.fixture(scope="module")
def kafka_cluster3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """Three embedded nodes. A test that stops one starts it again. They cost a tenth of a processor even at rest."""
    folder = tmp_path_factory.mktemp("kafka3")
    with EmbeddedKafka(folder, 3, settings=Settings.from_environment({}), heap_mb=256) as kafka:
        yield kafka
        _kill_nodes(kafka)


def _shared_by_workers(config: pytest.Config) -> RunKafka:
    """The Kafka of all workers, which ends after the last of them."""
    if _SHARED not in config.stash:
        folder = tempfile.TemporaryDirectory(dir=os.environ.get("PYTEST_DEBUG_TEMPROOT"), ignore_cleanup_errors=True)
        config.add_cleanup(folder.cleanup)
        kafka = EmbeddedKafka(Path(folder.name) / "kafka", settings=Settings.from_environment({}))
        config.add_cleanup(kafka.stop)
        kafka.start()
        config.add_cleanup(partial(_kill_nodes, kafka))
        config.stash[_SHARED] = RunKafka(kafka.bootstrap_servers, kafka.data_dir, os.getpid())
    return config.stash[_SHARED]


def _kill_nodes(kafka: EmbeddedKafka) -> None:
    """End nodes whose folder nobody reads again: closing the logs of all tests' topics takes them seconds."""
    for node in list(kafka.pids):
        kafka.kill(node)


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> str:
    """A prefix for topics, groups and transactional ids that no other test has."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40]
    return f"{name}-{uuid.uuid4().hex[:8]}"
