"""What an edit of a pipeline file costs, as `tidemark check` and `tidemark up` show it."""

from __future__ import annotations

from collections.abc import Iterator

from tidemark.errors import TopicError
from tidemark.kafka import read_all
from tidemark.observe.edit import sentences
from tidemark.pipeline import Pipeline
from tidemark.registry.deployed import read_deployed
from tidemark.registry.reading import read_registry
from tidemark.registry.signature import signing_key
from tidemark.runtime.settings import Settings


def costs(pipeline: Pipeline, settings: Settings) -> Iterator[str]:
    """Sentences on a pipeline file against what its flows ran with last; none where nothing ever ran.

    Raises:
        BrokerError: Kafka does not answer.

    """
    secret, topics = signing_key(), pipeline.topics
    before = read_deployed(settings, topics.models, secret=secret, settled=True)
    if before is None:
        return
    registry = read_registry(settings, topics.models, secret=secret, settled=True)
    champion = None if registry.champion is None else registry.manifests.get(registry.champion.version)
    try:
        labels = len(read_all(settings, topics.labels, settled=True))
    except TopicError:
        labels = 0
    yield from sentences(pipeline, before, champion, labels)
