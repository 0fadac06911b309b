"""An engine in memory for the stream processor: logs with gaps, commits, crashes, replays. No Kafka, no clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.support.offline_features import HopRecord, RawRecord, offline
from tidemark.pipeline import Pipeline, parse
from tidemark.runtime.processor import Batch, Headers, Output, Partition
from tidemark.stream import StreamProcessor

DAY = 86_400_000_000
START = 1_735_689_600_000_000
NOW_MS = (START + 300 * DAY) // 1_000

PIPELINE = """
name = "shop"
partitions = 3
keys = {keys}
clean = ["CASE WHEN amount < 0 THEN NULL ELSE amount END AS amount"]
raw = [{{ topic = "shop.raw" }}]

[time]
column = "at"
format = "epoch_us"
lateness = "10s"
max_ahead = "400d"

[columns]
id = {{ type = "string" }}
at = {{ type = "int" }}
who = {{ type = "string" }}
place = {{ type = "int" }}
amount = {{ type = "float", required = false, missing = [-1] }}
kind = {{ type = "string", required = false }}

[[features]]
name = "amount"

[[features]]
name = "kind"
categories = ["a", "b", "ü"]

[[features]]
name = "big"
sql = "amount > 50"

[[windows]]
name = "who_count"
key = "who"
aggregate = "count"
size = "20s"

[[windows]]
name = "who_mean"
key = "who"
aggregate = "mean"
column = "amount"
size = "1m"

[[windows]]
name = "who_std"
key = "who"
aggregate = "std"
column = "amount"
size = "1m"
include_current = true

[[windows]]
name = "who_last"
key = "who"
aggregate = "last"
column = "amount"
size = "30s"

[[windows]]
name = "who_kinds"
key = "who"
aggregate = "distinct"
column = "kind"
size = "45s"
{second}
[[windows]]
name = "who_median"
key = "who"
aggregate = "quantile"
column = "amount"
size = "1m"
probability = 0.5

[[windows]]
name = "who_high"
key = "who"
aggregate = "approx_quantile"
column = "amount"
size = "50s"
probability = 0.9
include_current = true

[[windows]]
name = "who_ids"
key = "who"
aggregate = "approx_distinct"
column = "id"
size = "45s"
error = 0.1

[[windows]]
name = "who_lately"
key = "who"
aggregate = "decayed_sum"
column = "amount"
size = "1m"
half_life = "20s"

[[windows]]
name = "who_mean_of_5"
key = "who"
aggregate = "mean"
column = "amount"
size = "1m"
rows = 5

[[windows]]
name = "who_3_before"
key = "who"
aggregate = "first"
column = "amount"
size = "1m"
rows = 3

[[windows]]
name = "who_pace"
key = "who"
aggregate = "rate"
size = "1m"
rows = 4

[[windows]]
name = "who_visit_sum"
key = "who"
aggregate = "sum"
column = "amount"
size = "50s"
gap = "4s"
include_current = true

[[windows]]
name = "who_visit_began"
key = "who"
aggregate = "since_first"
size = "50s"
gap = "4s"

[[windows]]
name = "who_since_kind"
key = "who"
aggregate = "since_last"
column = "kind"
size = "50s"

[[windows]]
name = "who_trend"
key = "who"
aggregate = "slope"
column = "amount"
size = "1m"

[[windows]]
name = "who_unusual"
key = "who"
aggregate = "zscore"
column = "amount"
size = "1m"

[[derived]]
name = "ratio"
sql = "amount / who_mean"

[[derived]]
name = "capped"
sql = "CASE WHEN ratio > 2 THEN 2 ELSE ratio END"

[label]
business_id = "id"
classes = ["good", "bad"]
positive = "bad"
delay = "1m"
context = ["id", "at", "who", "place", "amount", "kind"]

[selection]
policy = "margin"
tile = "30s"
budget = 2
explore = 1
candidates_per_pick = 2
"""
SECOND_KEY = """
[[windows]]
name = "place_sum"
key = "place"
aggregate = "sum"
column = "amount"
size = "40s"

[[windows]]
name = "place_max"
key = "place"
aggregate = "max"
column = "big"
size = "40s"
include_current = true

[[windows]]
name = "place_since"
key = "place"
aggregate = "since_last"
size = "50s"

[[windows]]
name = "place_var"
key = "place"
aggregate = "var"
column = "amount"
size = "15s"

[[windows]]
name = "place_ids"
key = "place"
aggregate = "distinct"
column = "id"
size = "21s"
include_current = true

[[windows]]
name = "place_low"
key = "place"
aggregate = "approx_quantile"
column = "amount"
size = "31s"
probability = 0.1
error = 0.05

[[windows]]
name = "place_recent"
key = "place"
aggregate = "decayed_mean"
column = "amount"
size = "30s"
half_life = "9s"

[[windows]]
name = "place_high_of_3"
key = "place"
aggregate = "max"
column = "amount"
size = "40s"
rows = 3
include_current = true

[[windows]]
name = "place_visit_ids"
key = "place"
aggregate = "distinct"
column = "id"
size = "50s"
gap = "2s"

[[windows]]
name = "place_unusual"
key = "place"
aggregate = "zscore"
column = "amount"
size = "50s"
rows = 10
"""


CLASSES = 'classes = ["good", "bad"]\npositive = "bad"\n'
MINUTES = 'type = "number"\nunit = "min"\nmin = -10\nmax = 10\n'


def shop(*, keys: int = 2, policy: str = "margin", features_topic: bool = False, number: bool = False) -> Pipeline:
    """The pipeline of these tests, over one key or two. number: its label is one."""
    named = ["who", "place"][:keys]
    text = PIPELINE.format(keys=json.dumps(named), second=SECOND_KEY if keys == 2 else "")
    text = text.replace('policy = "margin"', f'policy = "{policy}"')
    if number:
        assert CLASSES in text
        text = text.replace(CLASSES, MINUTES)
    if features_topic:
        text = "features_topic = true\n" + text
    return parse(text, "shop.toml")


@dataclass(frozen=True, slots=True)
class Model:
    """Probabilities that depend on every feature, so that a wrong feature gives a wrong prediction."""

    version: str = "v1"

    def probabilities(self, rows: NDArray[np.float64], /) -> NDArray[np.float64]:
        """(n, 2): the logistic function of a weighted sum."""
        z = np.zeros(len(rows))
        for i in range(rows.shape[1]):  # column by column: a matrix product's last bits depend on the number of rows
            z += np.cos(i + 1) * np.where(np.isnan(rows[:, i]), -1.0, rows[:, i] / 100)
        positive = 1 / (1 + np.exp(-np.clip(z, -500, 500)))
        return np.column_stack([1 - positive, positive])


@dataclass(frozen=True, slots=True)
class NumberModel(Model):
    """Numbers that depend on every feature; the larger, the wider their interval."""

    def estimates(self, rows: NDArray[np.float64], /) -> NDArray[np.float64]:
        """(n, 3): -10 to 10."""
        value = 20 * self.probabilities(rows)[:, 1] - 10
        half = (value + 10) / 5
        return np.column_stack([value, np.maximum(value - half, -10), np.minimum(value + half, 10)])


@dataclass(slots=True)
class Models:
    """A source whose model a test changes."""

    model: Model | None = field(default_factory=Model)

    def current(self) -> Model | None:
        """The model that was set."""
        return self.model


@dataclass(frozen=True, slots=True)
class Stored:
    """A record in a log."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


OWN_KEY = b"(the column's)"


def own_key(pipeline: Pipeline, value: bytes | None) -> bytes:
    """The key that a raw record of this value has; of one that is malformed, any."""
    try:
        return str(json.loads(value or b"")[pipeline.keys[0]]).encode()
    except (ValueError, KeyError, TypeError):
        return b"k"


class MemoryEngine:
    """Runs a stream processor over logs in memory, committing outputs, offsets and metadata as one."""

    def __init__(self, pipeline: Pipeline, models: Models | None = None, *, gap: int = 1) -> None:
        self.pipeline = pipeline
        self.models = models or Models()
        self.gap = gap
        self.logs: dict[Partition, list[Stored]] = {
            Partition(pipeline.raw_topics[0], i, "0000aaaa"): [] for i in range(pipeline.partitions)
        }
        for topic in pipeline.hop_topics:
            self.logs |= {Partition(topic, i, "0000bbbb"): [] for i in range(pipeline.partitions)}
        self.committed: dict[Partition, tuple[int, str]] = {}
        self.outputs: list[tuple[Partition, Output]] = []
        self.replayed = 0
        self.start()

    def start(self) -> None:
        """A process begins: every partition is opened from what is committed, and replayed."""
        self.processor = self.make()
        for partition, log in self.logs.items():
            offset, metadata = self.committed.get(partition, (0, ""))
            rewind = self.processor.open(partition, metadata)
            if rewind is not None:
                assert rewind <= offset
                again = [record for record in log if rewind <= record.offset < offset]
                for i in range(0, len(again), 7):
                    assert self.processor.process(self.batch(partition, again[i : i + 7], replay=True)) == []
                self.replayed += len(again)

    def make(self) -> StreamProcessor:
        """The processor of a process that starts."""
        return StreamProcessor(self.pipeline, self.models, clock=lambda: NOW_MS * 1_000)

    def batch(self, partition: Partition, records: list[Stored], *, replay: bool = False) -> Batch:
        """A batch of records."""
        return Batch(
            partition,
            np.array([r.offset for r in records], np.int64),
            np.full(len(records), NOW_MS, np.int64),
            [r.key for r in records],
            [r.value for r in records],
            [r.headers for r in records],
            replay,
        )

    def produce(
        self, partition: Partition, value: bytes | None, key: bytes | None = OWN_KEY, headers: Headers | None = None
    ) -> int:
        """Append a record, leaving a gap now and then; returns its offset. Its key is by default its row's first."""
        if key is OWN_KEY:
            key = own_key(self.pipeline, value)
        log = self.logs[partition]
        offset = log[-1].offset + 1 + (len(log) % 3 == 0) * self.gap if log else 0
        log.append(Stored(offset, key, value, headers or []))
        return offset

    def waiting(self, partition: Partition) -> list[Stored]:
        """Records of a partition that are not committed."""
        offset = self.committed.get(partition, (0, ""))[0]
        return [record for record in self.logs[partition] if record.offset >= offset]

    def step(self, partition: Partition, rows: int, *, crash: bool = False) -> bool:
        """Process up to `rows` waiting records; commit, or crash before the commit. False if nothing waited."""
        return self.round({partition: rows}, crash=crash)

    def round(self, rows: Mapping[Partition, int], *, crash: bool = False) -> bool:
        """As `step`, up to so many records of several partitions together."""
        records = {p: waiting for p, most in rows.items() if (waiting := self.waiting(p)[:most])}
        if not records:
            return False
        outputs = self.processor.process_round([self.batch(p, waiting) for p, waiting in records.items()])
        if crash:
            self.start()
            return True
        for partition, waiting in records.items():
            self.committed[partition] = (waiting[-1].offset + 1, self.processor.metadata(partition))
        for output in outputs:
            if output.topic in self.pipeline.hop_topics:
                assert output.partition is not None
                target = Partition(output.topic, output.partition, "0000bbbb")
                self.produce(target, output.value, output.key, list(output.headers))
            else:
                self.outputs.append((next(iter(records)), output))
        return True

    def drain(self, rows: Callable[[], int] = lambda: 50) -> None:
        """Process everything, raw partitions first."""
        for partition in self.logs:
            while self.step(partition, rows()):
                pass

    def of_topic(self, topic: str) -> Iterator[tuple[Partition, Output]]:
        """Committed outputs of a topic, with the partition of the last stage that they came from."""
        return ((partition, output) for partition, output in self.outputs if output.topic == topic)

    def predictions(self) -> dict[int, list[bytes]]:
        """Committed predictions by the partition of the last stage, in order."""
        by_partition: dict[int, list[bytes]] = {}
        for partition, output in self.of_topic(self.pipeline.topics.predictions):
            assert output.value is not None
            by_partition.setdefault(partition.index, []).append(output.value)
        return by_partition

    def raw_records(self) -> list[RawRecord]:
        """The raw logs as the offline computation reads them."""
        return [
            RawRecord(p, r.offset, r.value)
            for p, log in self.logs.items()
            if p.topic in self.pipeline.raw_topics
            for r in log
            if r.value is not None
        ]

    def hop_records(self) -> dict[str, list[HopRecord]]:
        """The hop logs as the offline computation reads them."""
        return {
            key: [
                HopRecord(p.index, r.offset, r.value or b"", r.headers)
                for p, log in self.logs.items()
                if p.topic == self.pipeline.topics.hop(key)
                for r in log
            ]
            for key in self.pipeline.hops
        }


def features_as_offline(engine: MemoryEngine) -> NDArray[np.float64]:
    """The committed features, sorted by event id, once they are found equal to those that are computed offline."""
    names = engine.pipeline.feature_names
    expected = offline(engine.pipeline, engine.raw_records(), engine.hop_records())
    streamed = pl.concat(
        pl.read_ipc_stream(output.value or b"") for _, output in engine.of_topic(engine.pipeline.topics.features)
    ).sort("event_id")
    assert streamed["event_id"].to_list() == expected["event_id"].to_list()
    assert streamed["late"].to_list() == expected["late"].to_list()
    for name in names:
        wanted = expected[name].fill_null(float("nan")).to_numpy()
        np.testing.assert_allclose(streamed[name].to_numpy(), wanted, rtol=1e-9, err_msg=name)
    return streamed.select(names).to_numpy()


def purchases(seed: int, n: int, *, disorder: int = 15, keys: int = 6) -> list[dict[str, object]]:
    """Rows of the shop, up to `disorder` seconds out of order, with whatever may be missing missing at times."""
    rng = np.random.default_rng(seed)
    times = START + np.cumsum(rng.integers(0, 4_000_000, n)) - rng.integers(0, disorder * 1_000_000 + 1, n)
    rows: list[dict[str, object]] = []
    for i in range(n):
        row: dict[str, object] = {
            "id": f"P{i}",
            "at": int(times[i]),
            "who": f"é{rng.integers(keys)}",
            "place": int(rng.integers(keys // 2 + 1)),
            "amount": round(float(rng.uniform(-3, 120)), 2),
            "kind": ["a", "b", "ü", "unknown", None][rng.integers(5)],
        }
        if rng.random() < 0.1:
            row["amount"] = [None, -1, 0][rng.integers(3)]
        rows.append(row)
    return rows


def load_rows(engine: MemoryEngine, rows: list[dict[str, object]]) -> None:
    """Append rows to the raw partitions, by their first key."""
    topic = engine.pipeline.raw_topics[0]
    for row in rows:
        key = str(row[engine.pipeline.keys[0]]).encode()
        value = json.dumps(row, ensure_ascii=False).encode()
        engine.produce(Partition(topic, sum(key) % engine.pipeline.partitions, "0000aaaa"), value, key)
