"""The watch over the sample: what it tells, and that a crash does not change it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import pytest

from benchmarks.labels.proposal_streams import pipeline
from tidemark.drift import saved
from tidemark.monitoring import MonitorProcessor
from tidemark.monitoring.read_back import ReadBack, read_back
from tidemark.monitoring.steps.watch_sample import fill_time
from tidemark.pipeline.definitions import feature_ids
from tidemark.pipeline.model import Drift, Pipeline, Window
from tidemark.records import Metric, SampledEvent, decode, encode
from tidemark.records.background import DEFINITIONS
from tidemark.runtime.processor import Batch, Headers, Output, Partition

PLACE = Partition("p.sample", 0, "0badcafe")
HOUR = 3_600_000_000
BEGIN = 1_700_000_000_000_000
FIRST = "v000001-00000000"
NOW = BEGIN // 1_000_000


@dataclass(frozen=True, slots=True)
class Stored:
    key: bytes | None
    value: bytes | None
    headers: Headers
    gone: bool = False
    """Removed by compaction."""


@dataclass
class Topic:
    """The sample's topic in memory, and a process that reads it and writes what it saves there."""

    pipe: Pipeline
    log: list[Stored] = field(default_factory=list)
    committed: int = 0
    metadata: str = ""
    metrics: list[Metric] = field(default_factory=list)
    letters: list[Output] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.processor = MonitorProcessor(self.pipe, wall=lambda: 2 * BEGIN, read_sample=self.read)
        rewind = self.processor.open(PLACE, self.metadata)
        if rewind is not None and rewind < self.committed:
            for begin in range(rewind, self.committed, 97):
                batch = self.batch(begin, min(begin + 97, self.committed), replay=True)
                assert len(batch) == 0 or self.processor.process(batch) == []

    def read(self) -> ReadBack:
        return read_back(((row.key, row.value) for row in self.log if not row.gone), self.pipe.sample.size)

    def compact(self) -> None:
        """What Kafka leaves of each key: its newest record."""
        newest = {row.key: at for at, row in enumerate(self.log)}
        self.log = [replace(row, gone=row.gone or newest[row.key] != at) for at, row in enumerate(self.log)]

    def batch(self, begin: int, end: int, *, replay: bool = False) -> Batch:
        there = [at for at in range(begin, end) if not self.log[at].gone]
        rows = [self.log[at] for at in there]
        times = np.array([BEGIN // 1_000 + at for at in there], np.int64)
        offsets = np.array(there, dtype=np.int64)
        keys, values = [row.key for row in rows], [row.value for row in rows]
        return Batch(PLACE, offsets, times, keys, values, [row.headers for row in rows], replay)

    def step(self, rows: int, *, crash: bool = False) -> None:
        end = min(self.committed + rows, len(self.log))
        batch = self.batch(self.committed, end)
        outputs = self.processor.process(batch) if len(batch) else []
        if crash:
            self.start()
            return
        self.committed, self.metadata = end, self.processor.metadata(PLACE)
        for output in outputs:
            if output.topic == self.pipe.topics.sample:
                self.log.append(Stored(output.key, output.value, []))
            elif output.topic == self.pipe.topics.metrics:
                self.metrics.append(decode(Metric, output.value))
            else:
                self.letters.append(output)

    def told(self, name: str) -> list[Metric]:
        return [metric for metric in self.metrics if metric.name == name]


def pipe(**drift: object) -> Pipeline:
    plain = pipeline(budget=2, explore=1, partitions=1)
    return plain.model_copy(update={"drift": Drift.model_validate({"season": "none", **drift})})


def events(
    pipe: Pipeline, n: int, *, begin: int = 0, shift: float = 0.0, score: float = 0.0, model: str = "v000001-00000000"
) -> list[Stored]:
    rng = np.random.default_rng(begin)
    headers: Headers = [(DEFINITIONS, msgspec.json.encode(feature_ids(pipe)))]
    found = []
    for at in range(begin, begin + n):
        p = float(1 / (1 + np.exp(-rng.normal() - score)))
        event = SampledEvent(
            event_id=f"p.raw-0-{at}-0badcafe",
            time=BEGIN + at * HOUR // 60,
            inclusion_probability=0.5,
            model=model,
            probabilities=[1 - p, p],
            features={
                name: float(rng.normal() + shift * (place == 0)) for place, name in enumerate(pipe.feature_names)
            },
        )
        found.append(Stored(b"%d" % (at % pipe.sample.size), encode(event), headers))
    return found


def run(topic: Topic, rows: Sequence[Stored], seed: int | None = None) -> Topic:
    topic.log += rows
    portions = random.Random(seed)
    while topic.committed < len(topic.log):
        while seed is not None and portions.random() < 0.2:
            topic.step(portions.randint(1, 300), crash=True)
        topic.step(100 if seed is None else portions.randint(1, 300))
    return topic


def test_an_alarm_names_the_feature_that_moved_and_how() -> None:
    its = pipe()
    topic = run(Topic(its), [*events(its, 1_200), *events(its, 800, begin=1_200, shift=1.0)])
    (alarm,) = topic.told("inputs_changed")
    assert (alarm.detail["moved_1"], alarm.detail["how_1"]) == (its.feature_names[0], "higher")
    assert 1_200 < alarm.n < 1_500
    assert topic.told("predictions_changed") == []
    assert topic.letters == []


def test_an_alarm_of_predictions_names_the_model_and_a_new_model_is_none() -> None:
    its = pipe()
    first, second = "v000001-00000000", "v000002-00000000"
    rows = [*events(its, 1_000, model=first), *events(its, 1_000, begin=1_000, score=2.0, model=second)]
    topic = run(Topic(its), rows)
    assert topic.metrics == []
    run(topic, events(its, 600, begin=2_000, score=0.0, model=second))
    (alarm,) = topic.told("predictions_changed")
    assert alarm.model == second
    assert alarm.detail["how_1"] == "lower"


def test_rows_of_an_older_model_that_come_late_do_not_begin_anew() -> None:
    its = pipe()
    old, new = "v000001-00000000", "v000002-00000000"
    mixed = [
        row
        for pair in zip(events(its, 900, model=new), events(its, 900, begin=5_000, model=old), strict=True)
        for row in pair
    ]
    topic = run(Topic(its), [*mixed, *events(its, 500, begin=9_000, score=2.0, model=new)])
    assert len(topic.told("predictions_changed")) == 1


@pytest.mark.parametrize("seed", range(4))
def test_alarms_are_the_same_whatever_crashes(seed: int) -> None:
    its = pipe()
    rows = [*events(its, 1_300), *events(its, 900, begin=1_300, shift=0.8), *events(its, 900, begin=2_200)]
    whole, cut = run(Topic(its), rows), run(Topic(its), rows, seed)
    assert [(one.name, one.n, one.detail) for one in cut.metrics] == [
        (one.name, one.n, one.detail) for one in whole.metrics
    ]
    assert len(whole.metrics) >= 2
    assert any(row.key == saved.KEY for row in cut.log)
    cut.start()  # what a restart reads again is bounded
    rewind = cut.processor.open(PLACE, cut.metadata)
    assert rewind is not None
    assert len(cut.log) - rewind < 1_200


def test_a_crash_in_a_long_backlog_of_which_compaction_removes_what_was_saved_changes_nothing() -> None:
    its = pipe()
    rows = [*events(its, 1_800), *events(its, 500, begin=1_800, shift=1.0)]
    whole = run(Topic(its), rows)
    topic = Topic(its)
    topic.log += rows
    while topic.committed < 1_700:  # what it saves meanwhile lies behind all of the backlog
        topic.step(300)
        topic.compact()
        topic.start()
    assert sum(row.key == saved.KEY and not row.gone for row in topic.log) == 1
    assert run(topic, []).metrics == whole.metrics
    assert len(whole.metrics) >= 1


def test_a_watch_that_finds_nothing_of_what_it_saved_says_that_it_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    its = pipe()
    topic = run(Topic(its), events(its, 1_200))
    topic.log = [replace(row, gone=row.gone or row.key == saved.KEY) for row in topic.log]
    assert "begins anew" not in caplog.text
    topic.start()
    assert "begins anew" in caplog.text
    topic = run(Topic(its), events(its, 100))
    caplog.clear()
    topic.start()
    assert "begins anew" not in caplog.text


def test_what_a_stranger_says_was_watched_further_than_was_read_is_not_gone_on_from() -> None:
    its = pipe()
    topic = run(Topic(its), events(its, 1_200))
    ours = saved.unpack(next(row.value for row in topic.log if row.key == saved.KEY))
    forged = saved.pack(msgspec.structs.replace(ours, through=10**9))
    topic.log.append(Stored(saved.KEY, forged, []))
    topic.start()
    rewind = topic.processor.open(PLACE, topic.metadata)
    assert rewind is not None
    assert rewind <= topic.committed


def test_a_tick_after_a_restart_tells_how_large_the_whole_sample_is() -> None:
    its = pipe()
    topic = run(Topic(its), events(its, 1_200))
    topic.start()
    told = [decode(Metric, output.value) for output in (*topic.processor.tick(NOW), *topic.processor.tick(NOW + 11))]
    assert next(metric.n for metric in told if metric.name == "sample_events") == 1_200


def test_windows_that_fill_after_the_start_are_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    its = pipe()
    filling = [
        row
        for begin in range(0, 360, 30)  # an event a minute, for six hours
        for row in events(its, 30, begin=begin, shift=begin / 60)
    ]
    assert run(Topic(its), [*filling, *events(its, 900, begin=360, shift=6.0)]).told("inputs_changed") != []
    window = Window.model_validate({"name": "lately", "key": "k", "aggregate": "count", "size": "6h"})
    size = fill_time(its.model_copy(update={"windows": [window]}))
    assert size == 6 * HOUR
    monkeypatch.setattr("tidemark.monitoring.steps.watch_sample.fill_time", lambda _: size)
    topic = run(Topic(its), [*filling, *events(its, 1_200, begin=360, shift=6.0)], 5)
    assert topic.metrics == []
    run(topic, events(its, 500, begin=1_560, shift=3.0))
    assert len(topic.told("inputs_changed")) == 1


def test_a_pipeline_whose_features_tell_the_time_alone_has_its_predictions_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tidemark.monitoring.steps.watch_sample.watched", lambda _: [])
    its = pipe()
    topic = run(Topic(its), [*events(its, 700), *events(its, 400, begin=700, shift=9.0, score=3.0)], 1)
    assert [metric.name for metric in topic.metrics] == ["predictions_changed"]


def test_nothing_is_looked_for_where_no_alarm_is_allowed() -> None:
    its = pipe(alarms_per_year=0.0)
    topic = run(Topic(its), [*events(its, 600), *events(its, 600, begin=600, shift=3.0)])
    assert topic.metrics == []


def test_what_a_stranger_writes_into_the_sample_is_a_dead_letter_and_the_watch_goes_on() -> None:
    its = pipe()
    junk = [Stored(saved.KEY, b"junk", []), Stored(b"1", b"{", []), Stored(b"x", None, []), Stored(None, b"1", [])]
    rows = [*events(its, 1_200), *junk, *events(its, 800, begin=1_200, shift=1.0)]
    topic = run(Topic(its), rows, 3)
    assert len(topic.letters) == len(junk)
    assert len(topic.told("inputs_changed")) == 1


def test_a_tick_tells_how_large_the_sample_is_and_how_near_an_alarm() -> None:
    its = pipe()
    topic = run(Topic(its), events(its, 400))
    told = {
        metric.name: metric
        for output in (*topic.processor.tick(NOW), *topic.processor.tick(NOW + 11))
        for metric in [decode(Metric, output.value)]
    }
    assert told["sample_events"].value == 400
    assert told["inputs_drift"].n == 400
    assert told["inputs_drift"].value is not None
    assert told["inputs_drift"].value < 0.1
    assert told["inputs_drift"].detail["watches"] == 1


def test_events_drawn_under_another_pipeline_file_are_no_change() -> None:
    its = pipe()
    other = [
        Stored(row.key, row.value, [(DEFINITIONS, b'{"x":"00000000"}')])
        for row in events(its, 700, begin=900, shift=5.0)
    ]
    topic = run(Topic(its), [*events(its, 900), *other])
    assert topic.metrics == []
    assert topic.letters == []


def test_an_alarm_that_is_followed_is_announced_once_and_others_are_not() -> None:
    its = pipe(reaction={"alarms": ["predictions_changed"]})
    announced: list[tuple[str, int]] = []

    def announce(name: str, at: int) -> Output:
        announced.append((name, at))
        return Output(its.topics.models, b"{}", name.encode())

    topic = Topic(its)
    topic.processor = MonitorProcessor(its, wall=lambda: 2 * BEGIN, read_sample=topic.read, announce=announce)
    topic.processor.open(PLACE, "")
    run(topic, [*events(its, 1_200), *events(its, 900, begin=1_200, shift=1.5, score=3.0)])
    (inputs,), (predictions,) = topic.told("inputs_changed"), topic.told("predictions_changed")
    assert inputs.at > 0
    assert announced == [("predictions_changed", predictions.at)]
    assert [letter.topic for letter in topic.letters] == [its.topics.models]
