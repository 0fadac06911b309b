"""Which raw records a replay is of."""

from __future__ import annotations

from tidemark.errors import ConfigError
from tidemark.pipeline import Pipeline
from tidemark.runtime.processor import Partition
from tidemark.stream.past import Past
from tidemark.times.places import Place

Offsets = dict[Partition, tuple[int, int]]


def spans_of(past: Past, pipeline: Pipeline, begin: Place, end: Place, most: int) -> tuple[Offsets, list[str]]:
    """The offsets of each raw partition, from the first to the one behind the last.

    A time is Kafka's timestamp of the raw record, as `tidemark reset` takes it.

    Args:
        past: what the topics hold.
        pipeline: whose raw topics they are.
        begin: of the replay.
        end: of the replay, exclusive.
        most: records at most.

    Returns:
        The spans that hold records; and what is to be said of them.

    Raises:
        ConfigError: there are none, or too many.
        TopicError: there is no such topic.
        BrokerError: Kafka does not answer.

    """
    found: Offsets = {}
    notes = []
    for topic in pipeline.raw_topics:
        held = past.held(topic)
        bounds = []
        for place in (begin, end):
            timed = past.at_time(topic, place.number // 1_000) if place.kind == "time" else []
            bounds.append([_offset(place, each.start, each.end, timed, at) for at, each in enumerate(held)])
        for each, start, stop in zip(held, *bounds, strict=True):
            if start < stop:
                found[each.partition] = start, stop
            if begin.kind == "offset" and begin.number < each.start:
                notes.append(
                    f"{topic}[{each.partition.index}] begins at offset {each.start:,}: what was before is gone"
                )
    count = sum(stop - start for start, stop in found.values())
    if not count:
        raise ConfigError("there are no records between --from and --to; see `tidemark topic list` for what there is")
    if count > most:
        raise ConfigError(
            f"between --from and --to there are {count:,} records, and {most:,} are replayed at once at most; name "
            "less, or more with --most: all of them are held in memory"
        )
    return found, notes


def _offset(place: Place, start: int, end: int, timed: list[int | None], at: int) -> int:
    if place.kind == "earliest":
        return start
    if place.kind == "latest":
        return end
    if place.kind == "offset":
        return min(max(place.number, start), end)
    found = timed[at]
    return end if found is None else found
