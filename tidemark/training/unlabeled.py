"""Features of events without labels, of which scales are learnt: the background sample, as it is now."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tidemark.errors import RecordError
from tidemark.kafka import each_record, headers_of
from tidemark.pipeline import Pipeline
from tidemark.pipeline.definitions import feature_ids
from tidemark.records.background import sampled
from tidemark.runtime.settings import Settings

_SECONDS: Final = 120.0


def unlabeled(settings: Settings, pipeline: Pipeline) -> NDArray[np.float64]:
    """The events of `P.sample`, each place's newest, whose features the pipeline still computes.

    Args:
        settings: that name the Kafka.
        pipeline: whose features count.

    Returns:
        (n, features), NaN where missing, in the order of their places.

    Raises:
        BrokerError: Kafka does not answer in time.
        TopicError: there is no such topic.

    """
    ids = list(feature_ids(pipeline).values())
    places: dict[int, list[float]] = {}
    for message in each_record(settings, pipeline.topics.sample, timeout=_SECONDS, settled=True):
        key = message.key()
        if key is None or not key.isdigit():
            continue  # what `monitor` keeps there
        try:
            found = sampled(key, message.value(), headers_of(message), ids, pipeline.sample.size)
        except RecordError:
            continue  # `monitor` puts it among the dead letters
        if found is not None:
            places[found.place] = found.values
    rows = [places[place] for place in sorted(places)]
    return np.array(rows, np.float64) if rows else np.full((0, len(ids)), math.nan)
