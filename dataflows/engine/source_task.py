"""A source to a raw topic: what one process reads, produces and commits.

The records that a source gave, and the positions that it then had, are in one transaction: the positions are records
of the compacted topic `P.ingest`. Only then the source is told, and may acknowledge. After a failure it begins again
from what is committed.

As `dataflows.engine.file_task`, this is no task of the engine's, which is a member of a consumer group.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from dataflows.engine.added_topics import ensure_added
from dataflows.engine.config import EngineConfig
from dataflows.engine.environment import connected
from dataflows.engine.file_task import ledger_spec
from dataflows.engine.shutdown import Stop
from dataflows.engine.transactional_ids import Slot, claim_slot
from dataflows.engine.transactional_producer import RecordTooLarge, TransactionFailed, Transactions, size_of
from dataflows.engine.watchdog import Watchdog
from tidemark.errors import BrokerError, TopicError
from tidemark.formats.arrow_rows import NoRowsError
from tidemark.kafka import ensure_topics, producer_config, read_all, topic_incarnation
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import SourceSpec
from tidemark.records.dead_letter import dead_letter
from tidemark.records.source_kinds import SOURCE_KINDS
from tidemark.records.source_telling import Counts, Telling
from tidemark.runtime.processor import Batch, Output, Partition
from tidemark.sources.batches import Batches
from tidemark.sources.keying import Keyed
from tidemark.sources.ledger import SourcePosition, decode_position, is_position, position_key
from tidemark.sources.source import LARGEST, Draining, Positions, Setting, Source, SourceRecord

_log = logging.getLogger(__name__)
_CHUNK: Final = 2_000
_BODIES: Final = 8
"""Bodies of many rows that are read at once: their rows are in one transaction."""
_WAIT: Final = 0.1
_TIMEOUT: Final = 5.0
_SMALLEST: Final = 1_000
_ALONE: Final = "alone"
_DRAIN_SECONDS: Final = 2.0


@dataclass(slots=True)
class _Open:
    """What is in the open transaction."""

    records: int = 0
    refused: int = 0


class SourceTask:
    """Runs one source. Used by one thread."""

    def __init__(
        self,
        config: EngineConfig,
        pipeline: Pipeline,
        spec: SourceSpec,
        stop: Stop,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            config: how it commits.
            pipeline: whose records these are.
            spec: of the source.
            stop: asks it to end.
            clock: seconds.

        """
        kind = SOURCE_KINDS.get(spec.kind)
        self._config, self._pipeline, self._spec, self._stop, self._clock = config, pipeline, spec, stop, clock
        self._topic = spec.topic or pipeline.raw_topics[0]
        self._incarnation = ""
        options = kind.options.model_validate(spec.options)
        self._source: Source = kind.open(
            Setting(spec.name, options, pipeline, spec, self._topic, lambda: self._incarnation)
        )
        self._placed = False
        self._alone = kind.alone
        self._keyed = Keyed(pipeline, spec, self._topic)
        self._batches = Batches(pipeline, spec) if spec.body == "arrow" else None
        self._most = _CHUNK if self._batches is None else _BODIES
        self._ledger = pipeline.topics.ingest
        self._telling = Telling(pipeline.topics.metrics, spec.name)
        self._largest = LARGEST
        self._open = _Open()
        self._wait = _WAIT
        self._slot: Slot | None = None
        self.counts = Counts()

    @property
    def source(self) -> Source:
        """The source."""
        return self._source

    def run(self) -> None:
        """Read, send and commit until it is asked to stop.

        Raises:
            ConfigError: the source can't be read, or another process on this host runs it.
            TopicError: there is no such raw topic.
            BrokerError: Kafka does not answer, or refuses again and again.

        """
        self.start()
        try:
            while not self._stop.requested:
                self.step()
            self._finish()
        finally:
            self.close()

    def start(self) -> None:
        """Connect, end what a predecessor left pending, and open the source where it was."""
        self._settings = connected(self._config.settings)
        self._slot = claim_slot(
            self._config.group,
            self._settings.bootstrap_servers or "",
            folder=self._settings.state_dir / "slots",
            name=_ALONE if self._alone else None,
        )
        self._process = self._slot.transactional_id
        self._watchdog = Watchdog(self._process)
        self._transactions = Transactions(
            producer_config(self._settings, transactional_id=self._process),
            self._watchdog,
            timeout=self._config.blocking_timeout,
            commit_timeout=self._config.commit_timeout,
            clock=self._clock,
        )
        try:
            ensure_topics(self._settings, [ledger_spec(self._ledger)])
            ensure_added(self._pipeline, self._settings, self._pipeline.topics.metrics)
            self._begin()
        except BaseException:
            self.close()
            raise

    def step(self) -> bool:
        """Read once; send what came, and commit if it is time. Whether something came."""
        transactions = self._transactions
        try:
            if not self._placed:
                self._place()
            records = self._source.read(self._most, 0.0 if transactions.is_open else self._wait)
            if records:
                self._send(records)
            due = transactions.age >= self._config.commit_interval or transactions.rows >= self._config.commit_rows
            if transactions.is_open and (due or not records):
                self._commit()
            elif not transactions.is_open and self._telling.due(self.counts, time.time()):
                transactions.begin()
                self._commit()
        except RecordTooLarge as failure:
            self._largest = max(min(self._largest, failure.size - 1), _SMALLEST)
            self._recover(failure)
        except TransactionFailed as failure:
            self._recover(failure)
        else:
            return bool(records)
        return True

    def close(self) -> None:
        """Abort what is open and let everything go."""
        self._source.close()
        if self._slot is None:
            return
        self._transactions.abort()
        self._watchdog.close()
        self._slot.release()
        self._slot = None

    def _finish(self) -> None:
        if isinstance(self._source, Draining):
            self._source.drain()
            last = self._clock() + _DRAIN_SECONDS
            while self._clock() < last and self.step():
                pass
        try:
            self._transactions.begin()
            self._commit(ending=True)
        except TransactionFailed as failure:  # nothing was acknowledged: it comes again at the next start
            _log.warning("source '%s': what came last is not in Kafka: %s", self._spec.name, failure)

    def _send(self, records: Sequence[SourceRecord]) -> None:
        self._transactions.begin()
        if self._batches is None:
            self._send_each(records)
            return
        for record in records:
            try:
                pieces = self._batches.rows(record)
            except NoRowsError as error:  # the body as a whole, so that what is repaired comes back whole
                self._transactions.send([self._dead_letter(self._keyed.refused(record), str(error))])
                self._transactions.rows += 1
                self._open.records += 1
                self._open.refused += 1
                continue
            for piece in pieces:
                self._send_each(piece)

    def _send_each(self, records: Sequence[SourceRecord]) -> None:
        outputs = self._keyed.outputs(records)
        for number, (record, output) in enumerate(zip(records, outputs, strict=True)):
            reason = self._too_large(output) or self._keyed.refusal(record)
            if reason is not None:
                outputs[number] = self._dead_letter(output, reason)
                self._open.refused += 1
        self._transactions.send(outputs)
        self._transactions.rows += len(records)
        self._open.records += len(records)

    def _too_large(self, output: Output) -> str | None:
        size = size_of(output.key, output.value)
        if size <= self._largest:
            return None
        return f"has {size:,} bytes, more than the {self._largest:,} that a record may have"

    def _dead_letter(self, output: Output, reason: str) -> Output:
        batch = Batch(
            Partition(self._topic, 0, self._incarnation),
            np.array([-1]),
            np.array([time.time_ns() // 1_000_000]),
            [output.key],
            [output.value],
            [list(output.headers)],
        )
        return dead_letter(self._pipeline.topics.deadletter, batch, 0, f"source {self._spec.name}", reason)

    def _commit(self, *, ending: bool = False) -> None:
        positions = self._source.positions()
        self._transactions.send(
            [
                *(self._position(key, value) for key, value in positions.own.items()),
                *(Output(self._ledger, value, key) for key, value in positions.files.items()),
            ]
        )
        # One without records is no success after those that failed: what fails each time would be tried for ever.
        failures = 0 if self._open.records else self.counts.failures
        counts = Counts(self.counts.records + self._open.records, self.counts.refused + self._open.refused, failures)
        now = time.time()
        tells = ending or self._telling.due(counts, now)
        if tells:
            self._transactions.send([self._telling.metric(counts, now, self._process, runs=not ending)])
        self._transactions.commit([], None)
        if tells:
            self._telling.told(counts, now)
        self.counts = counts
        self._open = _Open()
        self._source.committed()

    def _place(self) -> None:
        """Commit where the source begins, if it tells so before it has read anything.

        Else a failure before its first commit would let it begin elsewhere, behind what it had read.
        """
        positions = self._source.positions()
        if positions.own or positions.files:
            self._transactions.begin()
            self._commit()
        self._placed = True

    def _position(self, key: str, value: str | None) -> Output:
        told = SourcePosition(self._topic, self._incarnation, self._spec.name, key, value or "")
        encoded = None if value is None else msgspec.json.encode(told)
        return Output(self._ledger, encoded, position_key(self._topic, self._spec.name, key))

    def _recover(self, failure: TransactionFailed) -> None:
        self.counts.failures += 1
        if self.counts.failures > self._config.most_failures:
            raise BrokerError(
                f"source '{self._spec.name}': {self.counts.failures} transactions in a row failed, the last because "
                f"{failure}; does another host run it? Else see the broker's log"
            ) from failure
        _log.warning("source '%s': %s; beginning again from what is committed", self._spec.name, failure)
        self._begin()

    def _begin(self) -> None:
        self._open = _Open()
        self._transactions.renew(self._clock() + self._config.recovery_timeout)
        deadline = self._clock() + self._config.recovery_timeout
        while (known := self._known()) is None:
            if self._clock() > deadline:
                raise BrokerError(
                    f"Kafka has not told for {self._config.recovery_timeout:g} s how far source '{self._spec.name}' "
                    "is; is it up?"
                )
        self._source.open(known)
        self._placed = False

    def _known(self) -> Positions | None:
        try:
            self._incarnation = topic_incarnation(self._settings, self._topic, timeout=_TIMEOUT)
            written = read_all(self._settings, self._ledger, settled=True)
        except TopicError:
            raise
        except BrokerError as error:
            _log.info("source '%s': positions are not known yet: %s", self._spec.name, error)
            return None
        newest = {record.key() or b"": record.value() for record in written}
        own: dict[str, str | None] = {}
        files: dict[bytes, bytes] = {}
        for key, value in newest.items():
            if not value:
                continue
            if not is_position(key):
                files[key] = value
                continue
            told = decode_position(value)
            if (told.topic, told.incarnation, told.source) == (self._topic, self._incarnation, self._spec.name):
                own[told.key] = told.position
        return Positions(own, files)
