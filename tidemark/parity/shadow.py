"""Shadow topics: what replays gave, each in a topic of its own, written in one transaction or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from confluent_kafka import KafkaException, Producer
from numpy.typing import NDArray

from tidemark import kafka
from tidemark.errors import BrokerError, ConfigError, TopicError
from tidemark.formats.json_lines import json_lines
from tidemark.kafka import connect, each_record, ensure_topics, wait_settled
from tidemark.kafka.clients import DOWN, unreachable
from tidemark.kafka.ends import beginnings, ends
from tidemark.kafka.topics import delete_topic
from tidemark.parity.event_table import EventTable
from tidemark.parity.scoring import Scoring
from tidemark.pipeline import Pipeline
from tidemark.records.topics import TopicSpec
from tidemark.registry.serving import ActiveModel
from tidemark.runtime.settings import Settings
from tidemark.selection.scoring import score

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
_RETENTION_MS: Final = 7 * 86_400_000
_TRANSACTION_MS: Final = 600_000
_SECONDS: Final = 600.0
_ASK: Final = 10.0
_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Listed:
    """A shadow topic. written: offsets that it holds, markers of transactions among them."""

    name: str
    topic: str
    partitions: int
    written: int


class Shadow:
    """The topic of a replay that is called by a name.

    hook: called with a moment's name, for tests.

    Raises:
        ConfigError: it is no name.

    """

    def __init__(
        self,
        pipeline: Pipeline,
        settings: Settings,
        name: str,
        *,
        hook: Callable[[str], None] = lambda _moment: None,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name[:80]!r} is no name of a replay: write a-z, 0-9 and '-', at most 60 of them")
        self._pipeline, self._settings, self._name = pipeline, settings, name
        self._hook = hook
        self.topic = pipeline.topics.shadow(name)

    def check(self, *, replace: bool, settled: bool = False) -> None:
        """Whether a replay may be written there.

        Args:
            replace: what an earlier replay wrote is deleted.
            settled: wait for what is being committed. Not before what a killed replay has left open was ended.

        Raises:
            TopicError: an earlier replay is there, and is not to be replaced.
            BrokerError: Kafka does not answer.

        """
        if not replace and self._written(settled=settled):
            raise TopicError(
                f"there is a replay {self._name!r} already, in {self.topic}; take another --name, or have it replaced "
                "with --replace"
            )

    def write(self, table: EventTable, scoring: Scoring, rows: NDArray[np.int64], *, replace: bool) -> None:
        """Write events: all of them, or, if this is cut off, none.

        Args:
            table: of the events.
            scoring: what models made of them.
            rows: of the table.
            replace: what an earlier replay wrote is deleted first.

        Raises:
            TopicError: an earlier replay is there, and is not to be replaced.
            BrokerError: Kafka does not take them, or another replay of this name has begun.

        """
        # Ends what a replay that was killed has left open: its records are never seen.
        producer = kafka.producer(self._settings, transactional_id=self.topic, transaction_timeout_ms=_TRANSACTION_MS)
        try:
            producer.init_transactions(_SECONDS)
            self.check(replace=replace, settled=True)
            if replace:
                delete_topic(self._settings, self.topic)
            retention = min(_RETENTION_MS, self._pipeline.retention.events // 1_000)
            spec = TopicSpec(self.topic, self._pipeline.partitions, {"retention.ms": str(retention)})
            ensure_topics(self._settings, [spec])
            producer.begin_transaction()
            for begin in range(0, len(rows), _ROWS):
                self._produce(producer, table, scoring, rows[begin : begin + _ROWS])
            producer.flush(_SECONDS)
            self._hook("written")
            producer.commit_transaction(_SECONDS)
        except KafkaException as error:
            raise BrokerError(
                f"{self.topic}: the replay could not be written ({error.args[0].str()}); nothing of it is "
                "there, run it again"
            ) from error
        wait_settled(self._settings, self.topic)

    def remove(self) -> None:
        """Delete the topic.

        Raises:
            TopicError: there is no such replay.
            BrokerError: Kafka does not answer.

        """
        if self.topic not in connect(self._settings, timeout=_ASK, down=DOWN).list_topics(timeout=_ASK).topics:
            raise TopicError(f"there is no replay {self._name!r}; `tidemark replay FILE --list` shows those there are")
        delete_topic(self._settings, self.topic)

    def _written(self, *, settled: bool) -> bool:
        """Whether an earlier replay is there."""
        try:
            with closing(each_record(self._settings, self.topic, settled=settled)) as records:
                return next(records, None) is not None
        except TopicError:
            return False

    def _produce(self, producer: Producer, table: EventTable, scoring: Scoring, rows: NDArray[np.int64]) -> None:
        lines = json_lines(_frame(self._pipeline, table, scoring, rows))
        for row, line in zip(rows.tolist(), lines, strict=True):
            key = table.keys[row]
            while True:
                try:
                    producer.produce(self.topic, line, None if key is None else key.encode())
                except BufferError:
                    producer.poll(0.1)
                    continue
                break
        producer.poll(0)


def listed(pipeline: Pipeline, settings: Settings) -> list[Listed]:
    """The shadow topics of a pipeline, by name.

    Args:
        pipeline: whose they are.
        settings: that name the Kafka.

    Returns:
        The topics.

    Raises:
        BrokerError: Kafka does not answer.

    """
    client = connect(settings, timeout=_ASK, down=DOWN)
    prefix = pipeline.topics.shadow("")
    try:
        found = {
            name: sorted(topic.partitions)
            for name, topic in client.list_topics(timeout=_ASK).topics.items()
            if name.startswith(prefix) and topic.error is None
        }
        low, high = beginnings(client, found, timeout=_ASK), ends(client, found, timeout=_ASK)
    except KafkaException as error:
        raise unreachable(settings, error.args[0].str()) from error
    return [
        Listed(name.removeprefix(prefix), name, len(parts), sum(high[name]) - sum(low[name]))
        for name, parts in sorted(found.items())
    ]


def _frame(pipeline: Pipeline, table: EventTable, scoring: Scoring, rows: NDArray[np.int64]) -> pl.DataFrame:
    """Events as records of a shadow topic (`tidemark.records.ShadowPrediction`)."""
    own = rows.tolist()
    probabilities = scoring.probabilities[rows]
    known = ~np.isnan(probabilities[:, 0])
    lists = [each if is_known else None for each, is_known in zip(probabilities.tolist(), known, strict=True)]
    return pl.DataFrame(
        [
            pl.Series("event_id", table.ids(rows)),
            pl.Series("business_id", [table.business_ids[row] for row in own], dtype=pl.String),
            pl.Series("key", [table.keys[row] for row in own], dtype=pl.String),
            pl.Series("time", table.times[rows]),
            pl.Series("probabilities", lists, dtype=pl.List(pl.Float64)),
            pl.Series("uncertainty", _uncertainty(pipeline, scoring, rows, known)),
            pl.Series("model", [scoring.versions[number] for number in scoring.model[rows].tolist()]),
            pl.Series("late", table.late[rows]),
            pl.DataFrame(table.features[rows], schema=table.names).to_struct("features"),
            _incomplete(table, rows),
        ]
    )


def _uncertainty(
    pipeline: Pipeline, scoring: Scoring, rows: NDArray[np.int64], known: NDArray[np.bool_]
) -> NDArray[np.float64]:
    found = np.full(len(rows), np.nan)
    for number in np.unique(scoring.model[rows]).tolist():
        at = np.flatnonzero(known & (scoring.model[rows] == number))
        model = scoring.named(scoring.versions[number]) if len(at) else None
        if isinstance(model, ActiveModel):
            given = scoring.probabilities[rows[at]]
            found[at] = score(pipeline.selection, model.version, given, len(at), model).uncertainty
    return found


def _incomplete(table: EventTable, rows: NDArray[np.int64]) -> pl.Series:
    """Names of the features of each event that are not whole."""
    whole, kind = table.whole[rows], pl.List(pl.String)
    if whole.all():
        return pl.Series("incomplete", [[]], dtype=kind).new_from_index(0, len(rows))
    names = [[table.names[column] for column in np.flatnonzero(~each).tolist()] for each in whole]
    return pl.Series("incomplete", names, dtype=kind)
