"""The ingest flow: files to the raw topic, exactly once. `python -m dataflows.ingest PIPELINE FILE…`.

Progress is committed in the transaction of the records, with offsets of the group `P.ingest`: one for partition 0 of
the raw topic, whose metadata holds the rows done of each file. (The group has no members, so the stable transactional
id alone fences a second ingest.) A file that is given again goes on where it ended.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import bytewax.operators as op
import bytewax.run
import msgspec
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, Source, StatelessSourcePartition
from bytewax.outputs import DynamicSink, Sink, StatelessSinkPartition
from confluent_kafka import Consumer, KafkaException, TopicPartition

from dataflows.config import EngineConfig
from dataflows.environment import pipeline_and_settings
from dataflows.lead import Lead
from dataflows.opening import pack, unpack
from dataflows.run import exit_status
from dataflows.slots import claim_slot
from dataflows.stop import Stop
from dataflows.transactions import TransactionFailed, Transactions
from dataflows.watchdog import Watchdog
from tidemark.errors import BrokerError, ConfigError, TopicError
from tidemark.ingest import RawRecord, RecordFile, open_file
from tidemark.kafka import consumer_config, producer_config, topic_incarnation
from tidemark.logs import log_to_stderr
from tidemark.pipeline import Pipeline
from tidemark.processor import Output
from tidemark.settings import Settings

_log = logging.getLogger(__name__)
_CHUNK: Final = 500
_MOST_FILES: Final = 120
_TIMEOUT: Final = 5.0


@dataclass(frozen=True, slots=True)
class Pace:
    """rate: rows a second; lead: rows that the raw topic may hold beyond what the stream flow has committed."""

    rate: float | None = None
    lead: int | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows of a file, from row `begin` on."""

    file: int
    begin: int
    records: Sequence[RawRecord]


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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if len(files) > _MOST_FILES:
            raise ConfigError(f"{len(files)} files: progress is kept for at most {_MOST_FILES}; put some together")
        settings = config.settings
        self._config, self._files, self._stop, self._topic = config, files, stop, topic
        self._pace, self._clock = pace or Pace(), clock
        self._settings = settings
        self._slot = claim_slot(
            config.group, settings.bootstrap_servers or "", folder=settings.state_dir / "slots", name="files"
        )
        self._watchdog = Watchdog(self._slot.transactional_id)
        self._transactions = Transactions(
            producer_config(settings, transactional_id=self._slot.transactional_id),
            self._watchdog,
            timeout=config.blocking_timeout,
            commit_timeout=config.commit_timeout,
            clock=clock,
        )
        self._progress_of = Consumer(consumer_config(settings, group=config.group, log_level=2))
        self._lead = None if self._pace.lead is None else Lead(settings, pipeline, topic, clock)
        self._incarnation = ""
        self._done: dict[str, int] = {}
        self._read: list[int] = []
        self._sent = 0
        self._began = 0.0
        self._failures = 0
        self._broken = False

    @property
    def done(self) -> int:
        """Rows of all files that are in the topic, earlier runs included."""
        return sum(self._done.get(file.digest, 0) for file in self._files)

    def start(self) -> None:
        """End what an earlier ingest left pending, and find how far it had come.

        Raises:
            TopicError: there is no such topic.
            BrokerError: Kafka does not answer.

        """
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
        for number, file in enumerate(self._files):
            begin = self._read[number]
            if begin < file.rows and (records := file.read(begin, count)):
                self._read[number] += len(records)
                self._sent += len(records)
                return Rows(number, begin, records)
        raise StopIteration

    def write(self, rows: Rows) -> None:
        """Produce rows, and commit when it is time."""
        file = self._files[rows.file]
        if self._broken or self._done.get(file.digest, 0) != rows.begin:
            return  # read before a failure: they are read again
        try:
            self._transactions.begin()
            self._transactions.send([Output(self._topic, record.value, record.key) for record in rows.records])
            self._transactions.rows += len(rows.records)
            self._done[file.digest] = rows.begin + len(rows.records)
            if (
                self._transactions.age >= self._config.commit_interval
                or self._transactions.rows >= self._config.commit_rows
            ):
                self._commit()
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
        files = {name: rows for name, rows in self._done.items() if rows}
        metadata = pack(self._incarnation, msgspec.json.encode(files).decode())
        position = TopicPartition(self._topic, 0, sum(files.values()), metadata)
        self._transactions.commit([position], self._progress_of.consumer_group_metadata())
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
        self._read = [self._done.get(file.digest, 0) for file in self._files]

    def _progress_found(self) -> bool:
        try:
            self._incarnation = topic_incarnation(self._settings, self._topic, timeout=_TIMEOUT)
            committed = self._progress_of.committed([TopicPartition(self._topic, 0)], _TIMEOUT)[0]
        except TopicError:
            raise
        except (BrokerError, KafkaException) as error:
            _log.info("%s: progress is not known yet: %s", self._config.group, error)
            return False
        incarnation, metadata = unpack(committed.metadata)
        known = incarnation == self._incarnation and metadata
        self._done = msgspec.json.decode(metadata, type=dict[str, int]) if known else {}
        return True


class FileSource(DynamicSource[Rows]):
    """Reads the files, on the first worker."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Reader:  # noqa: ARG002 Bytewax's signature
        """Begin, if this is the first worker."""
        if worker_index == 0:
            self._ingest.start()
        return _Reader(self._ingest if worker_index == 0 else None)


class _Reader(StatelessSourcePartition[Rows]):
    def __init__(self, ingest: Ingest | None) -> None:
        self._ingest = ingest
        self._waits = False

    def next_batch(self) -> list[Rows]:
        if self._ingest is None:
            raise StopIteration
        rows = self._ingest.read()
        self._waits = rows is None
        return [] if rows is None else [rows]

    def next_awake(self) -> datetime | None:
        return datetime.now(UTC) + timedelta(milliseconds=5) if self._waits else None


class RawSink(DynamicSink[Rows]):
    """Produces the rows and commits the progress."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Writer:  # noqa: ARG002 Bytewax's signature
        """The writing end."""
        return _Writer(self._ingest if worker_index == 0 else None)


class _Writer(StatelessSinkPartition[Rows]):
    def __init__(self, ingest: Ingest | None) -> None:
        self._ingest = ingest

    def write_batch(self, items: list[Rows]) -> None:
        if self._ingest is not None:
            for rows in items:
                self._ingest.write(rows)

    def close(self) -> None:
        if self._ingest is not None:
            self._ingest.finish()


def build(source: Source[Rows], sink: Sink[Rows]) -> Dataflow:
    """The flow between a source of rows and a sink."""
    flow = Dataflow("ingest")
    op.output("produced", op.input("read", flow, source), sink)
    return flow


def over(
    pipeline: Pipeline, settings: Settings, paths: Sequence[Path], stop: Stop, pace: Pace | None = None
) -> tuple[Dataflow, Ingest]:
    """The flow from files to the pipeline's first raw topic.

    Raises:
        ConfigError: a file can't be read, or another ingest of the pipeline runs on this host.

    """
    files = [open_file(path, pipeline) for path in paths]
    config = EngineConfig(group=f"{pipeline.name}.ingest", settings=settings)
    ingest = Ingest(config, pipeline, files, stop, topic=pipeline.raw_topics[0], pace=pace)
    return build(FileSource(ingest), RawSink(ingest)), ingest


def main(argv: list[str]) -> int:
    """Ingest files; the exit status."""
    log_to_stderr()
    parser = argparse.ArgumentParser("python -m dataflows.ingest", description="Files to a pipeline's raw topic.")
    parser.add_argument("pipeline", help="the pipeline's TOML file")
    parser.add_argument("files", nargs="+", type=Path, help=".parquet, .csv or .ndjson")
    parser.add_argument("--rate", type=float, help="rows a second")
    parser.add_argument("--max-lead", type=int, help="rows the stream flow may be behind before this waits")
    given = parser.parse_args(argv)
    stop = Stop().on_signals()
    try:
        pipeline, settings = pipeline_and_settings(given.pipeline)
        flow, ingest = over(pipeline, settings, given.files, stop, Pace(given.rate, given.max_lead))
        bytewax.run.cli_main(flow)
    except Exception as error:
        status = exit_status(error)
        if status is None:
            raise
        return status
    _log.info("%d rows of these files are in %s", ingest.done, pipeline.raw_topics[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
