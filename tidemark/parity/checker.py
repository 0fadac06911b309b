"""Checks a few events of the sample all the time, beside a flow and within a bound of time and memory."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Self

from tidemark.errors import RecordError, TidemarkError
from tidemark.lineage.comparing import same
from tidemark.lineage.derivation import Derivation, Event
from tidemark.lineage.finding import Bounds, Finder
from tidemark.lineage.topic_reader import TopicReader
from tidemark.lineage.tracing import Tracer, Trail
from tidemark.monitoring.parity import Checked
from tidemark.pipeline import Pipeline
from tidemark.pipeline.definitions import definitions
from tidemark.records import SampledEvent, decode
from tidemark.records.background import definitions_of
from tidemark.records.event_id import parse_event_id
from tidemark.registry.schema import ModelSchema
from tidemark.runtime.processor import Headers, Partition
from tidemark.runtime.settings import Settings

_log = logging.getLogger(__name__)
_BOUNDS: Final = Bounds(first=50, records=20_000, rows=20_000)
_RINGS: Final = (500, 3_000)
_TIMEOUT: Final = 5.0
_WAITING: Final = 64
_KEPT: Final = 1_000
_SHARE: Final = 0.02
"""Of the time in which it may be busy."""
_SHORTEST: Final = 0.5
_AFTER_FAILURE: Final = 60.0
_AFTER_START: Final = 60.0
"""Seconds before the first event: while all processes start and compile, they need the machine for themselves."""
_CHANGED: Final = "defined otherwise"
_GONE: Final = "its rows are gone, or too many"


class ParityCheck:
    """Computes sampled events once more, from records that it reads back.

    Raises:
        BrokerError: Kafka does not answer.

    """

    def __init__(self, pipeline: Pipeline, settings: Settings, bounds: Bounds = _BOUNDS) -> None:
        self._raw = frozenset(pipeline.raw_topics)
        self._schema = ModelSchema.of(pipeline)
        self._reads = {name: each.reads for name, each in definitions(pipeline).items()}
        self._derived = {each.name for each in pipeline.derived}
        self._reader = TopicReader(settings, timeout=_TIMEOUT, rings=_RINGS)
        derivation = Derivation(pipeline)
        finder = Finder(pipeline, self._reader, derivation)
        self._tracer = Tracer(pipeline, self._reader, derivation, finder, bounds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def check(self, value: bytes | None, headers: Headers | None) -> Checked | None:
        """Look at an event.

        Args:
            value: of its record in the sample.
            headers: of that.

        Returns:
            What was found; None where the record is no event of the pipeline.

        Raises:
            BrokerError: Kafka can't be read.

        """
        try:
            sampled, known = decode(SampledEvent, value), definitions_of(headers)
            where = parse_event_id(sampled.event_id)
        except RecordError:
            return None  # the watch over the sample makes a dead letter of it
        if where.topic not in self._raw:
            return None
        event = Event(Partition(where.topic, where.partition, where.incarnation), where.offset)
        sources = self._schema.sources(known)
        self._reader.look()
        found = self._compared(sampled, sources, self._tracer.trace(event, whole=False))
        if found.differing:  # its windows may reach further back than it seemed
            found = self._compared(sampled, sources, self._tracer.trace(event, whole=True))
        return found

    def _compared(self, sampled: SampledEvent, sources: Sequence[str | None], trail: Trail) -> Checked:
        if not trail.features:
            why = trail.refused or "; ".join(trail.notes) or "it comes out of no stage"
            return Checked(sampled.event_id, incomparable=dict.fromkeys(self._schema.features, why))
        partial = set(trail.partial)
        for name in self._schema.features:  # derived ones come last, in their order
            if name in self._derived and partial & set(self._reads[name]):
                partial.add(name)
        differing: dict[str, tuple[float | None, float | None]] = {}
        incomparable: dict[str, str] = {}
        for name, source in zip(self._schema.features, sources, strict=True):
            if source is None or source not in sampled.features:
                incomparable[name] = _CHANGED
            elif name in partial:
                incomparable[name] = _GONE
            elif not same(trail.features[name], sampled.features[source]):
                differing[name] = trail.features[name], sampled.features[source]
        return Checked(sampled.event_id, len(self._schema.features) - len(incomparable), differing, incomparable)


class Checker:
    """Checks events in a thread of its own (a `tidemark.monitoring.parity.Checking`).

    It is busy a fiftieth of the time: after each event it rests for as long as that took, times 49. What it reads for
    an event is bounded, and so is what waits and what is kept. Whatever fails is logged; the flow goes on.

    make: what checks; made, used and left by the thread.  share: of the time, in which it may be busy.
    after: seconds before the first event.  clock: seconds, that only go forward.
    """

    def __init__(
        self,
        make: Callable[[], ParityCheck],
        *,
        share: float = _SHARE,
        after: float = _AFTER_START,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make, self._share, self._clock = make, share, clock
        self._after = after
        self._lock = threading.Lock()
        self._waiting: deque[tuple[bytes | None, Headers | None]] = deque(maxlen=_WAITING)
        self._kept: deque[Checked] = deque(maxlen=_KEPT)
        self._come, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="parity")
        self._thread.start()

    def offer(self, value: bytes | None, headers: Headers | None) -> None:
        """As `Checking` has it."""
        with self._lock:
            self._waiting.append((value, headers))
        self._come.set()

    def told(self) -> list[Checked]:
        """As `Checking` has it.

        Raises:
            RuntimeError: a bug ended the thread, so that the figures would stand still.

        """
        if not self._thread.is_alive() and not self._stop.is_set():
            raise RuntimeError("parity is no longer checked: a bug ended the thread; see the log")
        with self._lock:
            return list(self._kept)

    def close(self) -> None:
        """As `Checking` has it. What is being looked at is not waited for."""
        self._stop.set()
        self._come.set()

    def _run(self) -> None:
        self._stop.wait(self._after)
        while not self._stop.is_set():
            try:
                with self._make() as check:
                    for value, headers in self._offered():
                        begun = self._clock()
                        found = check.check(value, headers)
                        if found is not None:
                            with self._lock:
                                self._kept.append(found)
                        self._rest(self._clock() - begun)
            except TidemarkError as error:
                _log.warning("parity is not checked for %.0f s: %s", _AFTER_FAILURE, error)
                self._stop.wait(_AFTER_FAILURE)

    def _offered(self) -> Iterator[tuple[bytes | None, Headers | None]]:
        """The newest of what waits, again and again until it is to stop."""
        while True:
            self._come.wait()
            if self._stop.is_set():
                return
            with self._lock:
                offered = self._waiting.pop() if self._waiting else None
                if not self._waiting:
                    self._come.clear()
            if offered is not None:
                yield offered

    def _rest(self, busy: float) -> None:
        self._stop.wait(max(busy * (1 / self._share - 1), _SHORTEST))
