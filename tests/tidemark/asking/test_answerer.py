"""What callers are told at once is what the stream predicts when the event is the next that it reads."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from streaming import NOW_MS, MemoryEngine, Model, Models, NumberModel, shop
from streaming import purchases as rows

from tidemark.asking import Answer, Answerer, Asked, Refusal, Standing
from tidemark.asking.answerer import Why
from tidemark.errors import BrokerError
from tidemark.kafka.partitioning import partition_of
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import Deduplicate
from tidemark.records import Prediction, decode
from tidemark.runtime.processor import Partition
from tidemark.stream.steps import WindowFeaturesStep


def purchases(seed: int, n: int) -> list[bytes]:
    return [json.dumps(row).encode() for row in rows(seed, n)]


class Kept:
    """The windows of an engine in memory."""

    def __init__(self, engine: MemoryEngine) -> None:
        self.engine, self.lag = engine, 0.0

    def steps(self) -> Sequence[WindowFeaturesStep]:
        return [stage.windows for stage in self.engine.processor._stages]

    def standing(self) -> Standing:
        return Standing(frozenset((p.topic, p.index) for p in self.engine.logs), self.lag)


def answerer(engine: MemoryEngine, kept: Kept | None = None) -> Answerer:
    return Answerer(engine.pipeline, engine.models, kept or Kept(engine), max_lag=5.0)


def home(pipeline: Pipeline, value: bytes) -> Partition:
    """The raw partition of an event, as every producer here chooses it."""
    key = str(json.loads(value)[pipeline.keys[0]]).encode()
    return Partition(pipeline.raw_topics[0], partition_of(key, pipeline.partitions), "0000aaaa")


def settled(engine: MemoryEngine) -> MemoryEngine:
    """An engine whose partitions were all told that nothing is left to replay, as a tick does."""
    engine.processor.tick(NOW_MS / 1_000)
    return engine


def answered(answers: Sequence[Answer | Refusal]) -> Answer:
    (answer,) = answers
    assert isinstance(answer, Answer), answer
    return answer


def refused(answers: Sequence[Answer | Refusal]) -> Refusal:
    (answer,) = answers
    assert isinstance(answer, Refusal)
    return answer


@pytest.mark.parametrize("number", [False, True], ids=["class", "number"])
@pytest.mark.parametrize("keys", [1, 2])
@pytest.mark.parametrize("seed", [1, 2])
def test_an_answer_is_what_the_stream_then_predicts(keys: int, seed: int, *, number: bool) -> None:
    pipeline = shop(keys=keys, features_topic=True, number=number)
    engine = settled(MemoryEngine(pipeline, Models(NumberModel() if number else Model())))
    ask = answerer(engine)
    topic = pipeline.raw_topics[0]
    answers: list[Answer] = []
    for value in purchases(seed, 90):
        answers.append(answered(ask.answer([Asked(topic, value)])))
        assert answers[-1].place == home(pipeline, value)
        engine.produce(answers[-1].place, value)
        engine.drain()
    predicted = [decode(Prediction, output.value) for _, output in engine.of_topic(pipeline.topics.predictions)]
    assert [answer.business_id for answer in answers] == [each.business_id for each in predicted]
    assert [answer.probabilities for answer in answers] == [each.probabilities for each in predicted]
    assert [answer.uncertainty for answer in answers] == [each.uncertainty for each in predicted]
    numbers = [None if each.value is None else [each.value, each.low, each.high] for each in predicted]
    assert [answer.estimate for answer in answers] == numbers
    assert {each is not None for each in numbers} == {number}
    assert {answer.probabilities is None for answer in answers} == {number}
    assert [(answer.key, answer.time, answer.late) for answer in answers] == [
        (each.key, each.time, each.late) for each in predicted
    ]
    streamed = pl.concat(
        pl.read_ipc_stream(output.value or b"") for _, output in engine.of_topic(pipeline.topics.features)
    )
    told = np.array([list(answer.features.values()) for answer in answers])
    np.testing.assert_array_equal(told, streamed.select(list(answers[0].features)).to_numpy())


def test_events_that_are_asked_about_together_do_not_see_each_other() -> None:
    pipeline = shop()
    engine = settled(MemoryEngine(pipeline))
    ask, topic = answerer(engine), pipeline.raw_topics[0]
    events = [Asked(topic, value) for value in purchases(3, 60)]
    for each in events[:40]:
        engine.produce(home(pipeline, each.event), each.event)
    engine.drain()
    together = ask.answer(events[40:])
    apart = [answer for each in events[40:] for answer in ask.answer([each])]
    assert [repr(answer) for answer in together] == [repr(answer) for answer in apart]


def test_to_be_asked_changes_nothing_that_the_stream_gives() -> None:
    pipeline = shop(features_topic=True)
    asked, left = settled(MemoryEngine(pipeline)), settled(MemoryEngine(pipeline))
    ask = answerer(asked)
    for value in purchases(4, 60):
        ask.answer([Asked(pipeline.raw_topics[0], value)])
        for engine in (asked, left):
            engine.produce(home(pipeline, value), value)
            engine.drain()
    assert asked.outputs == left.outputs
    assert asked.committed == left.committed


def test_nobody_is_answered_before_all_windows_are_whole() -> None:
    pipeline = shop()
    engine = MemoryEngine(pipeline)
    ask, event = answerer(engine), Asked(pipeline.raw_topics[0], next(iter(purchases(1, 1))))
    refusal = refused(ask.answer([event]))
    assert refusal.why is Why.NOT_NOW
    assert refusal.reason.startswith("of 6 partitions this process has the windows of 0")
    settled(engine)
    assert isinstance(ask.answer([event])[0], Answer)
    engine.processor.close(Partition("shop.by-place", 1, "0000bbbb"))
    assert "of 6 partitions this process has the windows of 5" in refused(ask.answer([event])).reason


def test_windows_that_are_too_far_behind_give_no_answer() -> None:
    engine = settled(MemoryEngine(shop()))
    kept = Kept(engine)
    ask, event = answerer(engine, kept), Asked("shop.raw", next(iter(purchases(1, 1))))
    kept.lag = 5.1
    assert refused(ask.answer([event])).reason == (
        "the windows are 5.1 s behind, and ask.max_lag is 5 s; ask again when they have caught up"
    )
    kept.lag = 4.9
    assert answered(ask.answer([event])).lag == 4.9


def test_an_event_that_the_stream_would_refuse_is_refused_with_the_stream_s_reason_and_the_others_are_answered() -> (
    None
):
    engine = settled(MemoryEngine(shop()))
    good = next(iter(purchases(1, 1)))
    events = [b"{", good, good.replace(b'"at":', b'"when":'), b"[1]"]
    first, second, third, fourth = answerer(engine).answer([Asked("shop.raw", each) for each in events])
    assert isinstance(second, Answer)
    for refusal in (first, third, fourth):
        assert isinstance(refusal, Refusal)
        assert refusal.why is Why.EVENT
        assert refusal.reason.startswith("decode: ")


def test_a_model_that_is_no_longer_followed_gives_no_answer() -> None:
    class Lost(Models):
        def current(self) -> None:
            raise BrokerError("shop.models is no longer followed")

    engine = settled(MemoryEngine(shop()))
    engine.models = Lost()
    refusal = refused(answerer(engine).answer([Asked("shop.raw", next(iter(purchases(1, 1))))]))
    assert (refusal.why, "no longer followed" in refusal.reason) == (Why.NOT_NOW, True)


def test_without_a_model_the_features_are_told_and_no_probability() -> None:
    engine = settled(MemoryEngine(shop(), Models(None)))
    answer = answered(answerer(engine).answer([Asked("shop.raw", next(iter(purchases(1, 1))))]))
    assert (answer.model, answer.probabilities, answer.uncertainty) == ("none", None, None)
    assert list(answer.features) == engine.pipeline.feature_names


def test_a_shadow_says_what_it_would_if_it_were_the_champion() -> None:
    class Two(Models):
        beside: Model | None = Model("v0")

        def shadow(self) -> Model | None:
            return self.beside

    class Other(Model):
        def probabilities(self, rows: NDArray[np.float64], /) -> NDArray[np.float64]:
            return super().probabilities(-rows)

    engine = settled(MemoryEngine(shop()))
    event = Asked("shop.raw", purchases(1, 1)[0])
    assert answered(answerer(engine).answer([event])).shadow is None
    engine.models = Two()
    engine.models.beside = Other("v0")
    both = answered(answerer(engine).answer([event]))
    engine.models = Models(Other("v0"))
    alone = answered(answerer(engine).answer([event]))
    assert both.shadow is not None
    assert (both.model, both.shadow.model) == ("v1", "v0")
    assert (both.shadow.probabilities, both.shadow.uncertainty) == (alone.probabilities, alone.uncertainty)
    assert both.probabilities != alone.probabilities


def test_a_caller_who_asks_again_is_told_that_the_event_is_known() -> None:
    pipeline = shop().model_copy(update={"deduplicate": Deduplicate(key="id", within="1h")})  # type: ignore[arg-type]
    engine = settled(MemoryEngine(pipeline))
    ask, event = answerer(engine), next(iter(purchases(1, 1)))
    assert not answered(ask.answer([Asked("shop.raw", event)])).known
    engine.produce(home(pipeline, event), event)
    engine.drain()
    assert answered(ask.answer([Asked("shop.raw", event)])).known
    other = json.dumps(json.loads(event) | {"id": "another"}).encode()
    assert not answered(ask.answer([Asked("shop.raw", other)])).known


@pytest.mark.parametrize("duplicates", [False, True], ids=["windows", "duplicates alone"])
def test_a_key_whose_records_another_partitioner_has_put_elsewhere_is_refused(duplicates: bool) -> None:
    """librdkafka's own default is not that of Kafka's Java clients: the windows of such a key lie elsewhere."""
    pipeline = shop()
    if duplicates:
        rule = Deduplicate.model_validate({"key": "id", "within": "1h"})
        pipeline = pipeline.model_copy(update={"deduplicate": rule, "windows": [], "derived": []})
    engine = settled(MemoryEngine(pipeline))
    ask, topic = answerer(engine), pipeline.raw_topics[0]
    first, *_ = events = purchases(6, 40)
    own = home(pipeline, first)
    other = Partition(own.topic, (own.index + 1) % pipeline.partitions, own.incarnation)
    engine.produce(other, first)
    engine.drain()
    refusal = refused(ask.answer([Asked(topic, first)]))
    assert refusal.why is Why.ELSEWHERE
    assert f"lie in partition {other.index} of shop.raw, and in {own.index}" in refusal.reason
    key = json.loads(first)[pipeline.keys[0]]
    stranger = next(each for each in events if json.loads(each)[pipeline.keys[0]] != key)
    assert isinstance(ask.answer([Asked(topic, stranger)])[0], Answer)
