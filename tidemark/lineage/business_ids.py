"""Events by the id that the business has for them: looked for among predictions, the newest first, within a bound."""

from __future__ import annotations

from typing import Final

import msgspec

from tidemark.lineage.topic_reader import TopicReader, offset_of, value_of

MOST: Final = 2_000_000
"""Predictions that are looked through."""
_PIECE: Final = 50_000


class _Named(msgspec.Struct):
    event_id: str
    business_id: str | None = None


_decode = msgspec.json.Decoder(_Named).decode


def events_of(reader: TopicReader, topic: str, business_id: str, most: int = MOST) -> list[str]:
    """Ids of the events of a business id, the newest first.

    Args:
        reader: of Kafka.
        topic: of the predictions.
        business_id: as records have it.
        most: predictions that are looked through.

    Returns:
        Those that the newest stretch of the topic holds in which there is any; none where none is found.

    """
    needle = msgspec.json.encode(business_id)
    low = {partition: reader.bounds(topic, partition) for partition in reader.partitions(topic)}
    ends = {partition: high for partition, (_, high) in low.items()}
    left = most
    while left > 0 and any(ends[partition] > low[partition][0] for partition in ends):
        found: list[tuple[int, str]] = []
        for partition, end in ends.items():
            begin = max(low[partition][0], end - _PIECE)
            for message in reader.read(topic, partition, begin, end):
                value = value_of(message)
                if needle in value and (event := _event(value, business_id)) is not None:
                    found.append((offset_of(message), event))
            left -= end - begin
            ends[partition] = begin
        if found:
            return list(dict.fromkeys(event for _, event in sorted(found, reverse=True)))
    return []


def _event(value: bytes, business_id: str) -> str | None:
    try:
        named = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return named.event_id if named.business_id == business_id else None
