"""Parity of sampled events: computed once more beside the flow, on a real Kafka, within bounds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Self

import msgspec
import pytest
from confluent_kafka import Message, TopicPartition
from lineage_world import LineageWorld, run_shop
from offsets import read_settled

from support import wait_until
from tidemark.errors import BrokerError
from tidemark.kafka import admin, headers_of, topic_incarnation
from tidemark.lineage.finding import Bounds
from tidemark.monitoring import MonitorProcessor
from tidemark.monitoring.parity import Checked
from tidemark.observe.observer import parity_problems
from tidemark.parity.checker import Checker, ParityCheck
from tidemark.pipeline import Pipeline
from tidemark.records import Metric, SampledEvent, decode, encode
from tidemark.runtime.processor import Headers, Partition
from tidemark.runtime.settings import Settings


@pytest.fixture(scope="module")
def its(kafka: Settings, tmp_path_factory: pytest.TempPathFactory) -> LineageWorld:
    """A pipeline over two keys that has run: its events are late and out of order."""
    return run_shop(kafka, f"par-{tmp_path_factory.mktemp('par').name}", 150)


@pytest.fixture(scope="module")
def sampled(its: LineageWorld) -> list[Message]:
    found = read_settled(its.settings, its.pipeline.topics.sample)
    assert len(found) > 100
    return found


def checked(
    its: LineageWorld, messages: list[Message], pipeline: Pipeline | None = None, **bounds: int
) -> list[Checked]:
    with ParityCheck(pipeline or its.pipeline, its.settings, Bounds(**bounds)) as check:
        found = [check.check(message.value(), headers_of(message)) for message in messages]
    return [each for each in found if each is not None]


def test_sampled_events_come_out_as_they_were_scored(its: LineageWorld, sampled: list[Message]) -> None:
    found = checked(its, sampled[::3])
    assert len(found) == len(sampled[::3])
    for each in found:
        assert each.differing == {}
        assert each.incomparable == {}
        assert each.compared == len(its.pipeline.feature_names)


def test_a_feature_that_was_tampered_with_is_named_with_both_values(its: LineageWorld, sampled: list[Message]) -> None:
    event = decode(SampledEvent, sampled[7].value())
    right = event.features["place_sum"]
    false = msgspec.structs.replace(event, features={**event.features, "place_sum": 1e6})
    with ParityCheck(its.pipeline, its.settings) as check:
        found = check.check(encode(false), headers_of(sampled[7]))
    assert found is not None
    assert found.differing == {"place_sum": (right, 1e6)}
    assert found.event_id == event.event_id


def test_a_feature_that_was_defined_otherwise_is_not_compared(its: LineageWorld, sampled: list[Message]) -> None:
    windows = [
        window.model_copy(update={"size": window.size * 2}) if window.name == "who_mean" else window
        for window in its.pipeline.windows
    ]
    (found,) = checked(its, sampled[:1], its.pipeline.model_copy(update={"windows": windows}))
    assert found.differing == {}
    # A derived feature is of another definition where what it is made of is.
    assert found.incomparable == dict.fromkeys(["who_mean", "ratio", "capped"], "defined otherwise")


def test_what_is_beyond_the_bounds_is_not_compared_and_nothing_differs(
    its: LineageWorld, sampled: list[Message]
) -> None:
    found = checked(its, sampled[-10:], first=3, records=6, rows=6)
    assert all(each.differing == {} for each in found)
    assert all(each.compared > 0 for each in found)
    assert {why for each in found for why in each.incomparable.values()} == {"its rows are gone, or too many"}


def test_what_retention_has_removed_is_not_compared_and_nothing_differs(
    kafka: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    its = run_shop(kafka, f"gone-{tmp_path_factory.mktemp('gone').name}", 150)
    client = admin(kafka)
    cut = [TopicPartition(its.pipeline.raw_topics[0], index, 20) for index in range(its.pipeline.partitions)]
    for future in client.delete_records(cut).values():
        future.result(60)
    found = checked(its, read_settled(kafka, its.pipeline.topics.sample)[::4])
    assert all(each.differing == {} for each in found)
    assert any(each.incomparable for each in found)


@pytest.mark.parametrize("value", [None, b"", b"{}", b"[" * 2_000, b'{"event_id": "x-0-0-00000000"}'])
def test_a_strangers_record_is_passed_over(its: LineageWorld, sampled: list[Message], value: bytes | None) -> None:
    with ParityCheck(its.pipeline, its.settings) as check:
        assert check.check(value, headers_of(sampled[0])) is None
        assert check.check(sampled[0].value(), []) is None


def test_the_monitor_flow_tells_what_differs_in_metrics_and_in_words(its: LineageWorld, sampled: list[Message]) -> None:
    event = decode(SampledEvent, sampled[3].value())
    false = msgspec.structs.replace(event, features={**event.features, "who_count": -1.0})
    topic = its.pipeline.topics.sample
    place = Partition(topic, 0, topic_incarnation(its.settings, topic))
    (batch, *_) = its.batches(topic)
    batch.values[0], batch.headers[0] = encode(false), headers_of(sampled[3])

    def make() -> ParityCheck:
        return ParityCheck(its.pipeline, its.settings)

    checkers: list[Checker] = []

    def begin() -> Checker:
        checkers.append(Checker(make, share=1.0, after=0))
        return checkers[0]

    processor = MonitorProcessor(its.pipeline, checking=begin)
    processor.open(place, "")
    processor.process(batch)
    wait_until(lambda: len(checkers[0].told()) == len(batch), "not all events were checked")
    told = [output for output in processor.tick(1_000.0) if output.topic == its.pipeline.topics.metrics]
    metrics = {metric.name: metric for metric in (decode(Metric, output.value) for output in told)}
    differing, n = metrics["parity_differing"], len(batch)
    assert (differing.value, differing.n) == (1.0, n)
    assert differing.detail["feature_1"] == "who_count"
    assert differing.detail["event_id"] == event.event_id
    assert metrics["parity_compared"].value == n
    assert metrics["parity_not_comparable"].value == 0
    (problem,) = parity_problems(metrics, 1_060.0, "shop.toml")
    assert f"1 of {n} sampled events have other features than were scored, who_count (1)" in problem
    assert f"tidemark why shop.toml {event.event_id}" in problem
    assert parity_problems(metrics, 9_000.0, "shop.toml") == []
    assert not [each for each in processor.tick(1_030.0) if b"parity" in (each.key or b"")]
    processor.close(place)


class Slow:
    """In place of a check: waits until it may go on, and fails where it is told to."""

    def __init__(self, going: threading.Event, *, fails: bool = False) -> None:
        self.going, self.fails = going, fails
        self.begun = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def check(self, value: bytes | None, headers: Headers | None) -> Checked | None:  # noqa: ARG002 as a check
        self.begun.set()
        self.going.wait(30)
        if self.fails:
            raise BrokerError("Kafka is away")
        return Checked((value or b"").decode())


@pytest.fixture
def going() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_check_that_hangs_holds_up_nobody_and_what_waits_is_bounded(going: threading.Event) -> None:
    slow = Slow(going)
    checker = Checker(lambda: slow, share=1.0, after=0)  # type: ignore[arg-type,return-value]  # a check for tests
    checker.offer(b"first", None)
    assert slow.begun.wait(30)
    for number in range(1_000):
        checker.offer(str(number).encode(), None)
    assert checker.told() == []
    assert len(checker._waiting) <= 64
    going.set()
    wait_until(lambda: [each.event_id for each in checker.told()][:2] == ["first", "999"], "not the newest came next")
    checker.close()


def test_it_rests_49_times_as_long_as_it_was_busy(going: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    going.set()
    times = iter([10.0, 12.0])
    rests: list[float] = []
    checker = Checker(lambda: Slow(going), after=0, clock=lambda: next(times))  # type: ignore[arg-type,return-value]

    def rest(seconds: float) -> None:
        rests.append(seconds)
        checker._stop.set()

    monkeypatch.setattr(checker._stop, "wait", rest)
    checker.offer(b"one", None)
    wait_until(lambda: rests, "it did not rest")
    assert rests == [pytest.approx(2.0 * 49)]
    checker.close()


def test_what_fails_is_logged_and_the_next_offer_is_taken(
    going: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    going.set()
    checker = Checker(lambda: Slow(going, fails=True), after=0)  # type: ignore[arg-type,return-value]
    checker.offer(b"one", None)
    wait_until(lambda: "parity is not checked for 60 s: Kafka is away" in caplog.text, "nothing was logged")
    checker.offer(b"two", None)
    assert checker.told() == []
    checker.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_that_ends_the_thread_is_told_instead_of_figures_that_stand_still() -> None:
    def broken() -> ParityCheck:
        raise ZeroDivisionError

    checker = Checker(broken, after=0)
    wait_until(lambda: not checker._thread.is_alive(), "the thread did not end")
    with pytest.raises(RuntimeError, match="parity is no longer checked"):
        checker.told()
    checker.close()
