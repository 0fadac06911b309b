"""Files to a raw topic, exactly once: what one process reads, produces and commits.

Progress over each file is a record of the compacted topic `P.ingest`, in the transaction of the rows. A file that is
given again goes on where it ended, and which file it is its content tells (`tidemark.sources.progress`). Older versions
kept progress in the metadata of an offset of the group `P.ingest`, which is read still. The group has no members: the
stable transactional id alone fences a second ingest.

This is no task of the engine's (`dataflows.engine.task`), which is a member of a group that reads Kafka, and commits
the offsets of what it has read: files have neither partitions that move between members nor offsets. Transactions,
slots and watchdog are the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from confluent_kafka import KafkaException, TopicPartition

from dataflows.engine.config import EngineConfig
from dataflows.engine.consumer_lag import Lead
from dataflows.engine.environment import connected
from dataflows.engine.shutdown import Stop
from dataflows.engine.start_offsets import pack, unpack
from dataflows.engine.transactional_ids import claim_slot
from dataflows.engine.transactional_producer import RecordTooLarge, TransactionFailed, Transactions
from dataflows.engine.watchdog import Watchdog
from tidemark import kafka
from tidemark.errors import BrokerError, ConfigError, TopicError
from tidemark.kafka import ensure_topics, producer_config, read_all, topic_incarnation
from tidemark.pipeline import Pipeline
from tidemark.records.raw_record import RawRecord
from tidemark.records.topics import TopicSpec
from tidemark.runtime.processor import Output
from tidemark.sources.files import RecordFile
from tidemark.sources.ledger import is_position
from tidemark.sources.progress import Progress, decode_progress

_log = logging.getLogger(__name__)
_CHUNK: Final = 500
_TIMEOUT: Final = 5.0


@dataclass(frozen=True, slots=True)
class Pace:
    """rate: rows a second; lead: rows that the raw topic may hold beyond what the stream flow has committed."""

    rate: float | None = None
    lead: int | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows of a file, from row `begin` on, and the progress over the file with them."""

    file: int
    begin: int
    records: Sequence[RawRecord]
    progress: Progress


class Ingest:
    """Reads the files, produces and commits. Used by one thread."""

    def __init__(
        self,
        config: EngineConfig,
        pipeline: Pipeline,
        files: Sequence[RecordFile],
        stop: Stop,
        *,
        topic: str,
        pace: Pace | None = None,
        again: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        again_for = set(range(len(files))) if again else set()
        self._config, self._files, self._stop, self._topic = config, files, stop, topic
        self._pace, self._clock = pace or Pace(), clock
        self._pipeline = pipeline
        self._connected = False
        self._ledger = pipeline.topics.ingest
        self._again = again_for
        self._incarnation = ""
        self._legacy: dict[str, int] = {}
        self._done = [0] * len(files)
        self._written: dict[int, Progress] = {}
        self._sent = 0
        self._began = 0.0
        self._failures = 0
        self._broken = False

    @property
    def done(self) -> int:
        """Rows of all files that are in the topic, earlier runs included."""
        return sum(self._done)

    @property
    def held(self) -> list[str]:
        """Why a last row is not in the topic, of each file of which it is not."""
        return [file.held for file in self._files if file.held is not None]

    def _connect(self) -> None:
        config, settings = self._config, connected(self._config.settings)
        self._settings = settings
        self._slot = claim_slot(
            config.group, settings.bootstrap_servers or "", folder=settings.state_dir / "slots", name="files"
        )
        self._watchdog = Watchdog(self._slot.transactional_id)
        self._connected = True
        self._transactions = Transactions(
            producer_config(settings, transactional_id=self._slot.transactional_id),
            self._watchdog,
            timeout=config.blocking_timeout,
            commit_timeout=config.commit_timeout,
            clock=self._clock,
        )
        self._progress_of = kafka.consumer(settings, group=config.group, log_level=2)
        self._lead = None if self._pace.lead is None else Lead(settings, self._pipeline, self._topic, self._clock)

    def start(self) -> None:
        """Connect, end what an earlier ingest left pending, and find how far it had come.

        Raises:
            ConfigError: another ingest of the pipeline runs on this host.
            TopicError: there is no such topic.
            BrokerError: Kafka does not answer.

        """
        self._connect()
        ensure_topics(self._settings, [ledger_spec(self._ledger)])
        self._transactions.renew(self._clock() + self._config.recovery_timeout)
        self._find_progress()
        self._began = self._clock()

    def read(self) -> Rows | None:
        """The next rows, None if it is too early for more.

        Raises:
            StopIteration: all rows are read, or the flow was asked to stop.

        """
        if self._broken:
            self._recover()
        if self._stop.requested:
            raise StopIteration
        count = self._allowed()
        if count <= 0:
            return None
        waits = False
        for number, file in enumerate(self._files):
            begin = file.rows
            records = file.read(count)
            if records is None:
                waits = True
            elif records:
                self._sent += len(records)
                return Rows(number, begin, records, file.progress(self._topic, self._incarnation))
        if waits:
            return None
        raise StopIteration

    def outputs(self, rows: Rows) -> list[Output]:
        """Records of rows, to produce."""
        return [Output(self._topic, record.value, record.key) for record in rows.records]

    def write(self, rows: Rows, outputs: Sequence[Output]) -> None:
        """Produce the records of rows, and commit when it is time."""
        if self._broken or self._done[rows.file] != rows.begin:
            return  # read before a failure: they are read again
        try:
            self._transactions.begin()
            self._transactions.send(outputs)
            self._transactions.rows += len(rows.records)
            self._done[rows.file] = rows.begin + len(rows.records)
            self._written[rows.file] = rows.progress
            if (
                self._transactions.age >= self._config.commit_interval
                or self._transactions.rows >= self._config.commit_rows
            ):
                self._commit()
        except RecordTooLarge as failure:
            raise ConfigError(f"{self._files[rows.file].path}, {_largest(rows)}: {failure}; shorten it") from failure
        except TransactionFailed as failure:
            _log.warning("%s: %s; beginning again from what is committed", self._config.group, failure)
            self._broken = True

    def finish(self) -> None:
        """Commit the last rows.

        Raises:
            BrokerError: they could not be committed; nothing is lost: start again.

        """
        try:
            if self._transactions.is_open and not self._broken:
                self._commit()
        except TransactionFailed as failure:
            self._broken = True
            raise BrokerError(
                f"the last rows were not committed: {failure}; start again, it goes on there"
            ) from failure
        finally:
            self.close()

    def close(self) -> None:
        """Abort what is open and let the clients go."""
        if not self._connected:
            return
        self._connected = False
        self._transactions.abort()
        self._progress_of.close()
        if self._lead is not None:
            self._lead.close()
        self._watchdog.close()
        self._slot.release()

    def _allowed(self) -> int:
        if self._lead is not None and self._pace.lead is not None and self._lead.rows() > self._pace.lead:
            self._began, self._sent = self._clock(), 0  # what was waited is not made up for
            return 0
        if self._pace.rate is None:
            return _CHUNK
        return min(_CHUNK, int((self._clock() - self._began) * self._pace.rate) - self._sent)

    def _commit(self) -> None:
        progress = [Output(self._ledger, msgspec.json.encode(each), each.key) for each in self._written.values()]
        self._transactions.send(progress)
        metadata = pack(self._incarnation, msgspec.json.encode(self._legacy).decode())
        position = TopicPartition(self._topic, 0, self.done, metadata)
        self._transactions.commit([position], self._progress_of.consumer_group_metadata())
        self._again -= set(self._written)
        self._written.clear()
        self._failures = 0

    def _recover(self) -> None:
        self._failures += 1
        if self._failures > self._config.most_failures:
            raise BrokerError(
                f"{self._config.group}: {self._failures} transactions in a row failed; does another ingest of this "
                "pipeline run? Else see the broker's log"
            )
        self._transactions.renew(self._clock() + self._config.recovery_timeout)
        self._find_progress()
        self._broken = False

    def _find_progress(self) -> None:
        deadline = self._clock() + self._config.recovery_timeout
        while not self._progress_found():
            if self._clock() > deadline:
                raise BrokerError(
                    f"Kafka has not told for {self._config.recovery_timeout:g} s how far {self._config.group} is; "
                    "is it up?"
                )

    def _committed(self) -> TopicPartition:
        (found,) = self._progress_of.committed([TopicPartition(self._topic, 0)], _TIMEOUT)
        if found.error is not None:
            raise KafkaException(found.error)
        return found

    def _progress_found(self) -> bool:
        try:
            self._incarnation = topic_incarnation(self._settings, self._topic, timeout=_TIMEOUT)
            committed = self._committed()
            written = read_all(self._settings, self._ledger, settled=True)
        except TopicError:
            raise
        except (BrokerError, KafkaException) as error:
            _log.info("%s: progress is not known yet: %s", self._config.group, error)
            return False
        incarnation, metadata = unpack(committed.metadata)
        known = incarnation == self._incarnation and metadata
        self._legacy = msgspec.json.decode(metadata, type=dict[str, int]) if known else {}
        newest = {
            record.key(): decode_progress(record.value() or b"")
            for record in written
            if not is_position(record.key() or b"")
        }
        now = [p for p in newest.values() if (p.topic, p.incarnation) == (self._topic, self._incarnation)]
        claimed: list[Progress] = []
        for number, file in enumerate(self._files):
            unclaimed = [progress for progress in now if progress not in claimed]
            found = file.resume(unclaimed, self._legacy, again=number in self._again)
            if found is not None:
                claimed.append(found)
            self._done[number] = file.rows
        self._written.clear()
        return True


def ledger_spec(topic: str) -> TopicSpec:
    """The topic of the progress over files."""
    return TopicSpec(topic, 1, {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.5"})


def _largest(rows: Rows) -> str:
    sizes = [len(record.value) for record in rows.records]
    most = max(sizes)
    return f"row {rows.begin + sizes.index(most) + 1:,} of {most:,} bytes"
