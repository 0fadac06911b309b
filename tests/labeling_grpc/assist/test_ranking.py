from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa
from desk import Desk, Open
from feeding import feeder
from hypothesis import given
from hypothesis import strategies as st
from labeling import CLASSES, MovedClock, candidate, place_of_exploration
from models import small_model, small_pipeline
from numpy.typing import NDArray

from labeling_grpc.assist.champion_follower import Champion
from labeling_grpc.assist.ranking import CHUNK, Ranker
from labeling_grpc.client import LabelingClient
from labeling_grpc.commands.labeling import Rescore, Rescored
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.database import sqlite_store
from labeling_grpc.server import serve
from labeling_grpc.storage.group_commit import Writer
from labeling_grpc.tables.schema import Tier, cases
from support import wait_until
from tidemark.kafka import ensure_topics
from tidemark.records import Candidate, Label, decode, encode
from tidemark.records.topics import Topics, TopicSpec
from tidemark.registry.codec import publish
from tidemark.registry.schema import ModelSchema
from tidemark.runtime.settings import Settings

RULES = QueueRules(classes=CLASSES)
PIPELINE = small_pipeline("pay", extra="[labeling]\nwithdraw_below = 0.5")


def rescored(desk: Desk, priorities: dict[int, float], *, withdrawn: tuple[int, ...] = (), model: str = "m2") -> int:
    with desk.store.engine.connect() as connection:
        ids = dict(connection.execute(sa.select(cases.c.event_id, cases.c.id)).all())
    commands = tuple(
        Rescored(ids[candidate(number).event_id], candidate(number).event_id, priority, withdraw=number in withdrawn)
        for number, priority in priorities.items()
    )
    (result,) = desk.store.transact([Rescore(model, commands, done=True)]).results
    return cast("int", result)


def labels(desk: Desk) -> list[Label]:
    return [decode(Label, row.message.value) for row in desk.store.unpublished(0, 1_000)]


def test_what_waits_is_given_out_by_what_the_newer_model_says(opened: Open) -> None:
    desk = opened(RULES)
    desk.take_in(*(candidate(i, priority=i / 10) for i in range(4)))
    assert rescored(desk, {0: 0.9, 1: 0.8, 2: 0.1, 3: 0.2}) == 0
    assert [case.event_id for case in desk.lease("ada", 9)] == [candidate(i).event_id for i in (0, 1, 3, 2)]
    assert desk.store.counts.ranked_by == "m2"


def test_what_became_certain_is_withdrawn_and_published_with_the_models_version(opened: Open) -> None:
    desk = opened(RULES)
    desk.take_in(candidate(0), candidate(1))
    assert rescored(desk, {0: 0.1, 1: 0.5}, withdrawn=(0,)) == 1
    (label,) = labels(desk)
    assert (label.event_id, label.status, label.label, label.annotator) == (
        candidate(0).event_id,
        "withdrawn",
        None,
        "",
    )
    assert "model m2" in (label.comment or "")
    assert (desk.store.counts.withdrawn, desk.store.counts.waiting_active) == (1, 1)
    assert [case.event_id for case in desk.lease("ada", 9)] == [candidate(1).event_id]


@given(explores=st.lists(st.booleans(), min_size=1, max_size=8), withdraw=st.booleans())
def test_exploration_is_neither_ranked_anew_nor_withdrawn_whatever_a_model_says(
    tmp_path_factory: pytest.TempPathFactory, explores: list[bool], withdraw: bool
) -> None:
    store = sqlite_store(tmp_path_factory.mktemp("q") / "q.db", Topics("pay"), RULES, MovedClock())
    desk = Desk(store, cast("MovedClock", store.clock))
    desk.take_in(*(candidate(i, explore=explore) for i, explore in enumerate(explores)))
    numbers = range(len(explores))
    rescored(desk, {i: i / 10 for i in numbers}, withdrawn=tuple(numbers) if withdraw else ())
    drawn = [candidate(i).event_id for i in numbers if explores[i]]
    assert not {label.event_id for label in labels(desk)} & set(drawn)
    given = [case.event_id for case in desk.lease("ada", 99) if case.event_id in drawn]
    assert given == sorted(drawn, key=place_of_exploration), "the order is of the draw, and of no model"
    store.close()


def test_what_was_answered_once_or_is_a_reviewers_or_in_somebodys_hands_stays(opened: Open) -> None:
    desk = opened(RULES)
    desk.take_in(*(candidate(i, priority=1 - i / 10) for i in range(4)))
    desk.mark(1, votes=1, seen='["ben"]')
    desk.mark(2, tier=int(Tier.REVIEWERS))
    (held,) = desk.lease("ada")
    assert held.event_id == candidate(0).event_id
    assert rescored(desk, dict.fromkeys(range(4), 0.0), withdrawn=(0, 1, 2, 3)) == 1
    assert [label.event_id for label in labels(desk)] == [candidate(3).event_id]


@dataclass
class Model:
    """Is unsure of what its `hard` says."""

    version: str
    hard: set[float]
    asked: int = 0

    def probabilities(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        self.asked += len(rows)
        first = np.where(np.isin(rows[:, 0], list(self.hard)), 0.5, 0.99)
        return np.column_stack((first, 1 - first))


class Serving:
    """Stands for `Champion`."""

    def __init__(self) -> None:
        self.model: Model | None = None

    def current(self) -> Model | None:
        return self.model


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = sqlite_store(tmp_path / "q.db", Topics("pay"), RULES, MovedClock())
    yield Desk(store, cast("MovedClock", store.clock))
    store.close()


@pytest.fixture
def writer(desk: Desk) -> Iterator[Writer]:
    def unexpected(error: Exception) -> None:
        raise error

    running = Writer(desk.store, unexpected)
    running.start()
    yield running
    running.stop()


def asked(number: int, **over: object) -> Candidate:
    return candidate(number, **{"features": {"a": float(number), "b": 0.0}, "uncertainty": 0.5, "model": "m0"} | over)  # type: ignore[arg-type]


def steps(ranker: Ranker) -> int:
    number = 1
    while ranker.step():
        number += 1
    return number


def test_a_new_champion_ranks_all_that_waits_once_and_what_comes_in_from_then_on(desk: Desk, writer: Writer) -> None:
    serving = Serving()
    ranker = Ranker(PIPELINE, writer, cast("Champion", serving))
    assert ranker.priorities([asked(0), asked(1, explore=True), None]) == [None] * 3
    desk.take_in(*(asked(i) for i in range(CHUNK + 5)), asked(900, reason="imported"))
    assert not ranker.step()
    serving.model = Model("m1", hard={3.0, 300.0})
    assert steps(ranker) == 2
    assert not ranker.step()
    assert serving.model.asked == CHUNK + 5
    assert desk.store.counts.ranked_by == "m1"
    assert desk.store.counts.withdrawn == CHUNK + 4, "their uncertainty, 0.02, is below half of 0.5"
    own = asked(301, model="m1", uncertainty=0.7)
    given = ranker.priorities([asked(300), own, asked(302, explore=True), asked(303, reason="imported"), None])
    assert given == [pytest.approx(1.0), 0.7, None, None, None]
    assert {case.event_id for case in desk.lease("ada", 9)} == {asked(3).event_id, asked(900).event_id}


def test_after_a_restart_what_is_ranked_is_not_ranked_again_but_for_what_came_before_the_model_was_there(
    desk: Desk, writer: Writer
) -> None:
    serving = Serving()
    serving.model = Model("m1", hard=set())
    desk.take_in(asked(0, uncertainty=0.0))
    assert steps(Ranker(PIPELINE, writer, cast("Champion", serving))) == 1
    again = Ranker(PIPELINE, writer, cast("Champion", serving))
    number = serving.model.asked
    assert not again.step()
    assert serving.model.asked == number
    serving.model = None
    again.priorities([asked(1)])
    serving.model = Model("m1", hard=set())
    assert not again.step()
    assert serving.model.asked == 1, "what waits is ranked again, for one came in that was not"


def test_a_champion_that_comes_during_a_pass_begins_another(desk: Desk, writer: Writer) -> None:
    serving = Serving()
    ranker = Ranker(PIPELINE, writer, cast("Champion", serving))
    desk.take_in(*(asked(i, uncertainty=0.0) for i in range(2 * CHUNK)))
    serving.model = Model("m1", hard=set())
    assert ranker.step()
    serving.model = Model("m2", hard={0.0})
    assert steps(ranker) == 3
    assert desk.store.counts.ranked_by == "m2"
    assert desk.lease("ada")[0].event_id == asked(0).event_id


def test_a_service_follows_the_champion_in_kafka_and_takes_no_model_that_fails_a_check(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    pipeline = small_pipeline(unique)
    topics = pipeline.topics
    names = (topics.candidates, topics.labels, topics.deadletter, topics.models, topics.metrics)
    ensure_topics(kafka, [TopicSpec(name, 1, {}) for name in names])
    rows = np.random.default_rng(1).normal(size=(40, 3))
    features = [dict(zip("abc", row.tolist(), strict=True)) for row in rows]
    send(kafka, topics.candidates, *(encode(candidate(i, features=f)) for i, f in enumerate(features)))
    with (
        serve(pipeline, kafka.model_copy(update={"state_dir": tmp_path})) as server,
        LabelingClient(server.address, "ada") as client,
    ):
        wait_until(lambda: client.stats().waiting_active == 40, "nothing comes in")
        schema = ModelSchema.of(pipeline)
        trained, manifest = small_model(schema, version="v000001-00000000")
        for version, text in (("v000001-00000000", trained.text), ("v000002-00000000", trained.text.replace("=", ":"))):
            described = msgspec.structs.replace(manifest, version=version)
            for output in publish(described, text, topic=topics.models):
                send(kafka, topics.models, output.value, key=output.key, headers=output.headers)
            wait_until(lambda: server.store.counts.ranked_by == "v000001-00000000", "it is not ranked", timeout=60)
        watcher = server._champion._watcher
        assert watcher is not None
        wait_until(lambda: "v000002-00000000" in watcher.refused, "the second, which is no model, is not refused")
        import lightgbm as lgb  # noqa: PLC0415

        positive = cast("NDArray[np.float64]", lgb.Booster(model_str=trained.text).predict(rows))
        by_margin = np.argsort(np.abs(2 * positive - 1), kind="stable")
        assert [task.event_id for task in client.lease(40)] == [candidate(int(i)).event_id for i in by_margin]


def send(settings: Settings, topic: str, *values: bytes | None, key: bytes | None = b"k", headers: object = ()) -> None:
    producer = feeder(settings)
    for value in values:
        producer.produce(topic, value, key, headers=list(headers))  # type: ignore[call-overload]
    assert producer.flush(60) == 0
