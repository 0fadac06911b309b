from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from desk import DAY, Desk, Open
from hypothesis import given
from hypothesis import strategies as st
from labeling import CLASSES, SOURCE, MovedClock, arrivals, candidate
from models import small_pipeline

from labeling_grpc.client import LabelingClient
from labeling_grpc.commands.administration import PauseQueue
from labeling_grpc.commands.labeling import Answer, LeaseCases, ReleaseLeases, SubmitAnswers, TakeIn
from labeling_grpc.commands.labeling import LeaseRef as Ref
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.database import sqlite_store
from labeling_grpc.queue.fair_queueing import FairQueueing
from labeling_grpc.security.caller import SERVICE
from labeling_grpc.server import serve
from labeling_grpc.tables.schema import Tier, gold, meta, queue
from labeling_grpc.v1 import labeling_pb2 as pb
from labeling_grpc.v1 import labeling_pb2_grpc
from tidemark.records import Candidate
from tidemark.records.topics import Topics
from tidemark.runtime.settings import Settings

RULES = QueueRules(classes=CLASSES)
SEGMENTED = QueueRules(classes=CLASSES, segment="area", skill="needs")


def at(number: int, area: str, **over: Any) -> Candidate:  # noqa: ANN401 - any field
    return candidate(number, **{"context": {"area": area}} | over)


def test_where_one_segment_floods_the_other_is_given_every_second_turn(opened: Open) -> None:
    desk = opened(SEGMENTED)
    flood = [at(i, "north", priority=0.9) for i in range(40)]
    desk.take_in(*flood, *(at(100 + i, "south", priority=0.1 + i / 100) for i in range(10)))
    singly = [desk.lease("ada")[0].segment for _ in range(8)]
    assert Counter(singly) == {"north": 4, "south": 4}
    at_once = desk.lease("ben", 10)
    assert Counter(case.segment for case in at_once) == {"north": 5, "south": 5}
    south = [case.event_id for case in at_once if case.segment == "south"]
    assert south == [candidate(100 + i).event_id for i in (5, 4, 3, 2, 1)], "within a segment: by priority"
    rest = desk.lease("cyd", 10)
    assert Counter(case.segment for case in rest) == {"north": 9, "south": 1}, "no turn is left unused"


def test_a_segment_that_was_empty_has_no_claim_to_the_turns_it_missed(opened: Open) -> None:
    desk = opened(SEGMENTED)
    desk.take_in(*(at(i, "north") for i in range(30)))
    desk.lease("ada", 20)
    desk.take_in(*(at(100 + i, "south") for i in range(10)))
    assert Counter(case.segment for case in desk.lease("ada", 6)) == {"north": 3, "south": 3}


@given(
    asks=st.lists(st.sets(st.sampled_from("abcd"), min_size=1), max_size=200),
)
def test_each_segment_with_cases_has_its_turn_within_as_many_turns_as_there_are_segments(asks: list[set[str]]) -> None:
    turns = FairQueueing()
    waited: Counter[str] = Counter()
    for waiting in asks:
        served = turns.order(waiting)[0]
        turns.took(served)
        for segment in "abcd":
            waited[segment] = waited[segment] + 1 if segment in waiting and segment != served else 0
            assert waited[segment] <= 2 * 3, f"{segment} waits for ever"


@given(counts=st.dictionaries(st.sampled_from("abcdef"), st.integers(50, 60), min_size=1), number=st.integers(1, 50))
def test_segments_that_always_have_cases_get_the_same_number_of_turns(counts: dict[str, int], number: int) -> None:
    turns = FairQueueing()
    served: Counter[str] = Counter(dict.fromkeys(counts, 0))
    for _ in range(number):
        served[(segment := turns.order(counts)[0])] += 1
        turns.took(segment)
    assert max(served.values()) - min(served.values()) <= 1


def test_a_request_names_the_segments_it_is_for_and_is_given_exploration_all_the_same(opened: Open) -> None:
    desk = opened(SEGMENTED)
    desk.take_in(at(0, "north"), at(1, "south"), at(2, "north", explore=True), at(3, "", priority=0.9))
    assert [case.event_id for case in desk.lease("ada", 9, "south")] == [at(2, "").event_id, at(1, "").event_id]
    assert [case.event_id for case in desk.lease("ada", 9, "")] == [at(3, "").event_id]


def test_a_case_that_asks_for_a_skill_comes_to_those_who_have_it_and_exploration_to_everybody(opened: Open) -> None:
    desk = opened(SEGMENTED)
    needs = {"area": "north", "needs": "loans"}
    desk.take_in(candidate(0, context=needs, priority=0.9), candidate(1, context=needs, explore=True), at(2, "north"))
    desk.known("ada", skills='["cards"]')
    desk.known("ben", skills="[]")
    assert {case.event_id for case in desk.lease("ada", 9)} == {candidate(1).event_id, candidate(2).event_id}
    assert desk.lease("ben", 9) == []
    (case,) = desk.lease("cyd", 9)
    assert (case.event_id, case.segment, case.skill) == (candidate(0).event_id, "north", "loans")


def test_who_has_answered_a_case_is_never_given_it_again_and_others_are_by_priority(opened: Open) -> None:
    desk = opened(RULES)
    desk.take_in(*(candidate(i, priority=1 - i / 10) for i in range(4)))
    desk.mark(0, seen=json.dumps(["ada"]), votes=1)
    desk.mark(1, seen=json.dumps(["ada", "ben"]), votes=2)
    desk.mark(2, seen=json.dumps(["x" * 200, "y" * 200, "ada"]), votes=3)
    assert [case.event_id for case in desk.lease("ada", 9)] == [candidate(3).event_id]
    assert [case.event_id for case in desk.lease("ben", 9)] == [candidate(i).event_id for i in (0, 2)]
    assert [case.event_id for case in desk.lease("cyd", 9)] == [candidate(1).event_id]


def test_a_lease_looks_up_few_rows_however_many_its_asker_has_answered(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path / "q.db", Topics("pay"), RULES, MovedClock())
    desk = Desk(store, store.clock)  # type: ignore[arg-type]
    desk.take_in(*(candidate(i, priority=1 - i / 1_000) for i in range(600)))
    desk.write(queue.update().where(queue.c.case_id <= 500).values(seen='["ada"]', votes=1))
    looked_up = 0

    def count(_connection: object, _cursor: Any, statement: str, *_: object) -> None:  # noqa: ANN401 - SQLAlchemy's
        nonlocal looked_up
        looked_up += statement.startswith("SELECT")

    sa.event.listen(store.engine, "before_cursor_execute", count)
    assert desk.lease("ada")[0].event_id == candidate(500).event_id
    assert looked_up <= 6
    store.close()


def test_reviewers_cases_come_to_those_who_review_and_first(opened: Open) -> None:
    desk = opened(RULES)
    desk.take_in(candidate(0, priority=0.9), candidate(1, priority=0.1), candidate(2, priority=0.5))
    desk.mark(1, tier=int(Tier.REVIEWERS))
    assert len(desk.lease("ada", 1)) == 1
    given = desk.lease("rey", 9, review=True)
    assert [(case.event_id, case.review) for case in given] == [
        (candidate(1).event_id, True),
        (candidate(2).event_id, False),
    ]


def test_an_annotator_who_only_labels_waits_for_no_reviewers_case(opened: Open) -> None:
    desk = opened(RULES)
    desk.take_in(candidate(0))
    desk.mark(0, tier=int(Tier.REVIEWERS))
    applied = desk.store.transact([LeaseCases("ada", 1, 10**15)])
    assert (applied.results, applied.contended) == ([[]], False)


@pytest.mark.parametrize("state", ["paused", "quarantined"])
def test_who_was_stopped_is_told_why_and_given_nothing(opened: Open, state: str) -> None:
    desk = opened(RULES)
    desk.take_in(candidate(0))
    desk.known("ada", state=state, why="answers look like guesses")
    with pytest.raises(RefusedError, match="look like guesses") as refused:
        desk.lease("ada")
    assert refused.value.reason is Reason.ANNOTATOR_STOPPED
    assert desk.lease("ben")


def test_while_the_queue_is_paused_nothing_is_given_out_and_the_reason_is_told(opened: Open) -> None:
    desk = opened(RULES)
    desk.take_in(candidate(0))
    desk.write(meta.insert().values(key="paused", value="the classes are being discussed"))
    with pytest.raises(RefusedError, match="classes are being discussed") as refused:
        desk.lease("ada")
    assert refused.value.reason is Reason.QUEUE_PAUSED
    desk.write(meta.delete().where(meta.c.key == "paused"))
    assert desk.lease("ada")


def test_a_quota_counts_what_was_had_today_and_what_is_in_hand(opened: Open) -> None:
    desk = opened(RULES)
    desk.take_in(*(candidate(i) for i in range(20)))
    desk.known("ada", quota=5)
    held = desk.lease("ada", 3)
    desk.store.transact([SubmitAnswers((Answer(held[0].event_id, held[0].token, "answered", "fraud"),))])
    desk.store.transact([ReleaseLeases((Ref(held[1].event_id, held[1].token),))])
    assert len(desk.lease("ada", 9)) == 3
    with pytest.raises(RefusedError, match="had the 5 cases") as refused:
        desk.lease("ada")
    assert refused.value.reason is Reason.QUOTA_REACHED
    assert 0 < refused.value.retry_after <= 86_400
    desk.clock.time += DAY
    assert len(desk.lease("ada", 9)) == 1, "one was answered yesterday, four are in hand"


def test_a_quota_holds_for_requests_that_come_together(opened: Open) -> None:
    desk = opened(RULES)
    desk.take_in(*(candidate(i) for i in range(20)))
    desk.known("ada", quota=3)
    first, second, third = desk.store.transact([LeaseCases("ada", 2, 10**15)] * 3).results
    assert [len(first), len(second)] == [2, 1]  # type: ignore[arg-type]
    assert isinstance(third, RefusedError)


def test_segments_beyond_the_64th_share_one_turn(opened: Open) -> None:
    desk = opened(SEGMENTED)
    desk.take_in(*(at(i, f"s{i:03}") for i in range(70)))
    desk.take_in(*(at(100 + i, f"t{i:03}") for i in range(10)))
    given = desk.lease("ada", 100)
    segments = Counter(case.segment for case in given)
    assert len(given) == 80
    assert len(segments) == 65
    assert segments[""] == 16


def test_a_gold_case_has_segment_and_skill_of_its_own_and_comes_to_those_who_might_have_true_ones(opened: Open) -> None:
    desk = opened(replace(SEGMENTED, gold_every=1))
    needs = {"area": "north", "needs": "loans"}
    desk.take_in(candidate(0, context=needs), *(at(i, area) for i, area in ((1, "south"), (2, "north"), (3, "north"))))
    (known,) = desk.lease("rey", 1, "north")
    desk.store.transact([SubmitAnswers((Answer(known.event_id, known.token, "answered", "fraud"),))])
    desk.write(gold.insert().values(event_id=known.event_id, label="fraud", added_at=1))
    desk.known("ben", skills="[]")
    assert known.event_id not in {case.event_id for case in desk.lease("ada", 1, "south")}
    assert known.event_id not in {case.event_id for case in desk.lease("ben", 1)}
    (given,) = desk.lease("cyd", 1, "north")
    assert (given.event_id, given.segment, given.skill) == (candidate(0).event_id, "north", "loans")


def test_the_least_urgent_of_all_segments_make_room(opened: Open) -> None:
    desk = opened(QueueRules(classes=CLASSES, segment="area", max_open=4))
    desk.take_in(*(at(i, f"s{i % 3}", priority=i / 10) for i in range(10)))
    assert {case.event_id for case in desk.lease("ada", 9)} == {candidate(i).event_id for i in (6, 7, 8, 9)}


def test_cases_of_segments_that_the_pipeline_no_longer_has_are_given_out_too(tmp_path: Path) -> None:
    clock = MovedClock()
    for rules, number in ((SEGMENTED, 2), (RULES, 9)):
        store = sqlite_store(tmp_path / "q.db", Topics("pay"), rules, clock)
        desk = Desk(store, clock)
        if rules is SEGMENTED:
            desk.take_in(*(at(i, f"s{i}") for i in range(4)))
        assert len(desk.lease("ada", number)) == 2
        store.close()


def test_over_grpc_a_client_names_segments_and_the_figures_tell_what_waits_in_each(tmp_path: Path) -> None:
    asked = small_pipeline("pay", extra='[labeling]\nsegment = "b"', label='context = ["a", "b"]')
    arrived = [candidate(i, context={"b": area}) for i, area in enumerate(["north", "south", "south", None])]
    with (
        serve(asked, Settings(state_dir=tmp_path).at("127.0.0.1:9")) as server,
        LabelingClient(server.address, "ada") as client,
        grpc.insecure_channel(server.address) as channel,
    ):
        server._writer.call(TakeIn(SOURCE, None, 4, arrivals(arrived)))
        server._writer.call(PauseQueue(SERVICE, "the classes are discussed"))
        stub: Any = labeling_pb2_grpc.LabelingServiceStub(channel)
        stats = stub.Stats(pb.StatsRequest()).stats
        assert {its.segment: its.waiting for its in stats.segments} == {"": 1, "north": 1, "south": 2}
        assert stats.paused == "the classes are discussed"
        with pytest.raises(RefusedError, match="paused: the classes are discussed"):
            client.lease()
        server._writer.call(PauseQueue(SERVICE, ""))
        assert {task.event_id for task in client.lease(9, segments=["south"])} == {
            candidate(i).event_id for i in (1, 2)
        }
