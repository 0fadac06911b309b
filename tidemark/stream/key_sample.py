"""A sample of raw records against the pipeline's first key: are they keyed as the pipeline file says?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tidemark.kafka.partitioning import partition_of
from tidemark.pipeline import Pipeline
from tidemark.pipeline.record_keys import form_of, record_keys
from tidemark.runtime.broker_time import wall_clock
from tidemark.runtime.processor import Batch, Partition
from tidemark.runtime.steps import RoundContext
from tidemark.stream.steps import DecodeStep, Received, RowFeaturesStep


def compare_keys(pipeline: Pipeline, topic: str, records: Sequence[tuple[bytes | None, bytes | None]]) -> str | None:
    """What the keys of some records say of a raw topic.

    Args:
        pipeline: whose windows over its first key need the rows of one value in one partition.
        topic: one of its raw topics.
        records: key and value of each.

    Returns:
        A sentence: that the keys are as the pipeline file says, or what to write; None where nothing depends on them.

    """
    declared = next(raw.key or "text" for raw in pipeline.raw if raw.topic == topic)
    if not pipeline.needs_record_keys:
        return None
    if pipeline.repartitions:
        return f"topic '{topic}': rows reach their windows by {pipeline.hop_topics[0]}, whatever they are keyed by"
    unkeyed = pipeline.model_copy(update={"raw": [raw.model_copy(update={"key": "other"}) for raw in pipeline.raw]})
    n = len(records)
    batch = Batch(
        Partition(topic, 0, "00000000"),
        np.arange(n, dtype=np.int64),
        np.full(n, -1, np.int64),
        [key for key, _ in records],
        [value for _, value in records],
        [None] * n,
    )
    context = RoundContext(wall_clock())
    decoded = DecodeStep(unkeyed).process(Received([batch], [context.now]), context)
    arrivals = RowFeaturesStep(unkeyed).process(decoded.oks, context).oks
    column = pipeline.keys[0]
    if not arrivals:
        return f"topic '{topic}': none of {n} sampled records can be decoded, so their keys were not compared"
    texts = arrivals[0].rows.keys[0].to_list()
    keys = [batch.keys[row] for row in arrivals[0].rows.offsets.tolist()]
    numbers = pipeline.columns[column].type == "int"
    wanted = record_keys(declared, texts, numbers=numbers)
    wrong = sum(key is None or key != own for key, own in zip(keys, wanted, strict=True))
    if not wrong:
        return f"topic '{topic}': the keys of {len(keys)} sampled records are '{column}'"
    found = form_of(zip(keys, texts, strict=True), numbers=numbers)
    return (
        f"topic '{topic}': {wrong} of {len(keys)} sampled records are not keyed by '{column}' as {declared}, and would "
        f'be dead letters; write key = "{found}" at [[raw]]'
    )


def compare_places(
    pipeline: Pipeline, topic: str, records: Sequence[tuple[bytes | None, int]], partitions: int
) -> str | None:
    """What the partitions of some records say of a raw topic, of a pipeline that answers at once.

    Args:
        pipeline: whose `[ask]` looks at the windows of a key where Kafka's Java clients would put its records.
        topic: one of its raw topics.
        records: key and partition of each.
        partitions: of the topic.

    Returns:
        A sentence: that keys lie there, or what to do; None where nothing depends on it, or no record has a key.

    """
    if pipeline.ask is None or pipeline.repartitions or not pipeline.needs_record_keys:
        return None
    places = [(key, place) for key, place in records if key is not None]
    wrong = sum(partition_of(key, partitions) != place for key, place in places)
    if not wrong:
        return (
            f"topic '{topic}': {len(places)} sampled records lie where [ask] looks for their keys" if places else None
        )
    return (
        f"topic '{topic}': {wrong} of {len(places)} sampled records lie in another partition than that of their key by "
        "Kafka's Java clients, where [ask] looks: events of such keys are refused. Let the topic's producers set "
        'partitioner = murmur2_random, or write key = "other" at [[raw]]'
    )
