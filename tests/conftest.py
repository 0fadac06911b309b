from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import hypothesis
import pytest
from longest import LONGEST

from tidemark.broker import EmbeddedKafka
from tidemark.runtime.settings import Settings

# The same examples every time, so that a red run tells of a change; how long one takes depends on the machine's load.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    begun = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: begun.get(item.path.name, len(begun)))


@pytest.fixture(scope="session")
def kafka_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """One embedded node for the whole run. Tests that kill or restart a broker start their own."""
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka"), settings=Settings.from_environment({})) as kafka:
        yield kafka


@pytest.fixture(scope="session")
def kafka(kafka_node: EmbeddedKafka) -> Settings:
    """Settings that name the run's Kafka: topics that already exist there belong to other tests."""
    return Settings.from_environment({}).at(kafka_node.bootstrap_servers)


@pytest.fixture(scope="session")
def kafka_cluster3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """Three embedded nodes. A test that stops one starts it again."""
    folder = tmp_path_factory.mktemp("kafka3")
    with EmbeddedKafka(folder, 3, settings=Settings.from_environment({}), heap_mb=256) as kafka:
        yield kafka


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> str:
    """A prefix for topics, groups and transactional ids that no other test has."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40]
    return f"{name}-{uuid.uuid4().hex[:8]}"
