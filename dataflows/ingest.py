"""The ingest flow: files to a raw topic, exactly once. `python -m dataflows.ingest PIPELINE FILE…`.

Progress over each file is a record of the compacted topic `P.ingest`, in the transaction of the rows. A file that is
given again goes on where it ended, and which file it is its content tells (`tidemark.sources.progress`). Older versions
kept progress in the metadata of an offset of the group `P.ingest`, which is read still. The group has no members: the
stable transactional id alone fences a second ingest.

Longer than 400 lines: the command, the source and the flow of one process.
"""

from __future__ import annotations

if __name__ == "__main__":  # before what takes a second to import
    from tidemark.runtime.signals import take_signals

    take_signals()

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

from dataflows.engine.config import EngineConfig, commit_interval
from dataflows.engine.consumer_lag import Lead
from dataflows.engine.environment import connected, pipeline_and_settings
from dataflows.engine.shutdown import Stop
from dataflows.engine.start_offsets import pack, unpack
from dataflows.engine.transactional_ids import claim_slot
from dataflows.engine.transactional_producer import RecordTooLarge, TransactionFailed, Transactions
from dataflows.engine.watchdog import Watchdog
from dataflows.run import exit_status
from tidemark.errors import BrokerError, ConfigError, TopicError
from tidemark.kafka import consumer_config, ensure_topics, producer_config, read_all, topic_incarnation
from tidemark.pipeline import Pipeline
from tidemark.records.raw_record import RawRecord
from tidemark.records.topics import TopicSpec
from tidemark.runtime.logs import log_to_stderr
from tidemark.runtime.processor import Output
from tidemark.runtime.settings import Settings
from tidemark.runtime.suggestions import did_you_mean
from tidemark.sources.files import RecordFile, open_file
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
        self._progress_of = Consumer(consumer_config(settings, group=config.group, log_level=2))
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

    def write(self, rows: Rows) -> None:
        """Produce rows, and commit when it is time."""
        if self._broken or self._done[rows.file] != rows.begin:
            return  # read before a failure: they are read again
        try:
            self._transactions.begin()
            self._transactions.send([Output(self._topic, record.value, record.key) for record in rows.records])
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
        newest = {record.key(): decode_progress(record.value() or b"") for record in written}
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
    pipeline: Pipeline,
    settings: Settings,
    paths: Sequence[Path],
    stop: Stop,
    pace: Pace | None = None,
    *,
    topic: str | None = None,
    again: bool = False,
) -> tuple[Dataflow, Ingest]:
    """The flow from files to a raw topic of the pipeline.

    Args:
        pipeline: whose records the rows are.
        settings: where Kafka is.
        paths: of the files, in whose order they are read.
        stop: asks it to end.
        pace: how fast.
        topic: by default the pipeline's first raw topic.
        again: read the files from their beginnings, whatever is known of them.

    Raises:
        ConfigError: a file can't be read.

    """
    chosen = topic or pipeline.raw_topics[0]
    if chosen not in pipeline.raw_topics:
        raise ConfigError(f"'{chosen}' is no raw topic of {pipeline.name}; {did_you_mean(chosen, pipeline.raw_topics)}")
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise ConfigError(f"{path} is given twice; name each file once")
        seen.add(path.resolve())
    files = [open_file(path, pipeline, chosen) for path in paths]
    config = EngineConfig(group=f"{pipeline.name}.ingest", settings=settings, commit_interval=commit_interval())
    ingest = Ingest(config, pipeline, files, stop, topic=chosen, pace=pace, again=again)
    return build(FileSource(ingest), RawSink(ingest)), ingest


def flow(*paths: str) -> Dataflow:
    """The flow from files to the first raw topic of `TIDEMARK_PIPELINE`, as Bytewax's own commands ask for it.

    Args:
        paths: of the files, as in `dataflows.ingest:flow("events.parquet")`.

    Returns:
        The flow.

    """
    return over(*pipeline_and_settings(), [Path(path) for path in paths], Stop().on_signals())[0]


def main(argv: list[str]) -> int:
    """Ingest files; the exit status."""
    log_to_stderr()
    parser = argparse.ArgumentParser("python -m dataflows.ingest", description="Files to a pipeline's raw topic.")
    parser.add_argument("pipeline", help="the pipeline's TOML file")
    parser.add_argument("files", nargs="+", type=Path, help=".parquet, .csv or .ndjson")
    parser.add_argument("--topic", help="the raw topic, if not the pipeline's first")
    parser.add_argument("--rate", type=float, help="rows a second")
    parser.add_argument("--max-lead", type=int, help="rows the stream flow may be behind before this waits")
    parser.add_argument("--again", action="store_true", help="send files again that were sent before")
    given = parser.parse_args(argv)
    stop = Stop().on_signals()
    try:
        pipeline, settings = pipeline_and_settings(given.pipeline)
        pace = Pace(given.rate, given.max_lead)
        flow, ingest = over(pipeline, settings, given.files, stop, pace, topic=given.topic, again=given.again)
        bytewax.run.cli_main(flow)
    except Exception as error:
        status = exit_status(error)
        if status is None:
            raise
        return status
    for held in ingest.held:
        _log.warning("%s", held)
    _log.info("%d rows of these files are in %s", ingest.done, given.topic or pipeline.raw_topics[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
