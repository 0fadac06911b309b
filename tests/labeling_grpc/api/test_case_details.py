from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import lightgbm as lgb
import numpy as np
import pytest
from desk import DAY, Desk
from grpc_status import rpc_status
from labeling import SOURCE, MovedClock, arrivals, candidate
from models import rows, small_model, small_pipeline

from labeling_grpc.api.case_details import Details, Entries
from labeling_grpc.api.leased_details import LeasedDetails
from labeling_grpc.api.question import AskedQuestion
from labeling_grpc.assist import nearest_labeled
from labeling_grpc.assist.champion_follower import Champion
from labeling_grpc.assist.nearest_labeled import SimilarCases
from labeling_grpc.client import LabelingClient
from labeling_grpc.client.details import details_of
from labeling_grpc.commands.labeling import Answer, LeasedCase, SubmitAnswers, TakeIn
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.database import sqlite_store, sqlite_tokens
from labeling_grpc.options import Options
from labeling_grpc.security.caller import Caller
from labeling_grpc.security.roles import Role
from labeling_grpc.server import LabelingServer, serve
from labeling_grpc.tables.schema import gold_leases
from labeling_grpc.v1 import labeling_pb2 as pb
from labeling_grpc.v1 import labeling_pb2_grpc
from support import wait_until
from tidemark.records import Candidate
from tidemark.records.topics import Topics
from tidemark.registry.schema import ModelSchema
from tidemark.registry.serving import ActiveModel
from tidemark.registry.validate import CheckedModel, parse
from tidemark.runtime.settings import Settings

PIPELINE = small_pipeline("pay", classes=("no", "yes"))
REVIEWER = Caller("rey", Role.REVIEWER)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    clock = MovedClock(time=20_000 * DAY)
    store = sqlite_store(tmp_path / "q.db", Topics("pay"), QueueRules(classes=("no", "yes")), clock)
    yield Desk(store, clock)
    store.close()


def asked(number: int, **over: Any) -> Candidate:  # noqa: ANN401 - any field
    values: dict[str, Any] = {"key": "K", "features": {"a": float(number), "b": None, "c": 1.0}}
    return candidate(number, **values | over)


def champion(model: ActiveModel | None = None) -> Champion:
    return cast("Champion", SimpleNamespace(current=lambda: model))


def looked_up(desk: Desk, number: int, caller: Caller = REVIEWER, most: int = 20, **how: Any) -> pb.GetCaseResponse:  # noqa: ANN401
    details = Details(PIPELINE, how.get("champion") or champion())
    with desk.store.engine.connect() as connection:
        return details.case(connection, candidate(number).event_id, most, caller)


def answer(desk: Desk, annotator: str, label: str = "yes") -> LeasedCase:
    (case,) = desk.lease(annotator)
    desk.store.transact([SubmitAnswers((Answer(case.event_id, case.token, "answered", label),))])
    desk.clock.time += 1
    return case


def test_the_history_is_of_the_same_entity_and_of_what_came_before_in_the_order_of_event_times(desk: Desk) -> None:
    desk.take_in(asked(2, time=1_900), asked(1), asked(7, key="other"), asked(3), asked(4, key=None))
    answer(desk, "ada")
    found = looked_up(desk, 3)
    assert [(point.time_us, point.label, point.probability) for point in found.history] == [
        (1_001, "", 0.6),
        (1_900, "yes", 0.6),
    ]
    assert {feature.name: feature.value for feature in found.history[0].features} == {"a": 1.0, "b": 0.0, "c": 1.0}
    assert not found.history[0].features[1].HasField("value"), "what is missing is not 0"
    assert [point.time_us for point in looked_up(desk, 3, most=1).history] == [1_001]
    assert not looked_up(desk, 4).history


def trained() -> tuple[ActiveModel, str]:
    schema = ModelSchema.of(PIPELINE)
    model, manifest = small_model(schema)
    return ActiveModel(
        CheckedModel(
            manifest,
            model.text,
            parse(model.text, schema),
            schema.columns(manifest),
            schema.classes,
            schema.places(manifest),
        )
    ), model.text


def test_contributions_are_those_of_lightgbm_and_add_up_to_the_raw_score_largest_first(desk: Desk) -> None:
    model, text = trained()
    row = rows(1, seed=3)[0][0]
    row[1] = np.nan
    values = {name: None if np.isnan(value) else float(value) for name, value in zip("abc", row, strict=True)}
    desk.take_in(asked(1, features=values))
    found = looked_up(desk, 1, champion=champion(model))
    booster = lgb.Booster(model_str=text)
    expected = cast("Any", booster.predict(row[None], pred_contrib=True))[0]
    parts = {part.name: part.contribution for part in found.contributions}
    assert [parts[name] for name in "abc"] == pytest.approx(expected[:3], abs=1e-9)
    assert found.base_score == pytest.approx(expected[3])
    raw = cast("Any", booster.predict(row[None], raw_score=True))[0]
    assert found.base_score + sum(parts.values()) == pytest.approx(raw)
    sizes = [abs(part.contribution) for part in found.contributions]
    assert sizes == sorted(sizes, reverse=True)
    assert not next(part for part in found.contributions if part.name == "b").HasField("value")
    assert found.contributions_model == model.version


def test_without_a_model_nothing_is_explained(desk: Desk) -> None:
    desk.take_in(asked(1))
    found = looked_up(desk, 1)
    assert (len(found.contributions), found.contributions_model) == (0, "")


def test_the_nearest_labeled_cases_come_first_and_the_case_itself_is_none_of_them(desk: Desk) -> None:
    desk.take_in(*(asked(i, priority=i / 100) for i in range(30)))
    answered = [answer(desk, f"a{i % 3}", "yes" if i % 2 else "no").event_id for i in range(29)]
    similar = looked_up(desk, 20, most=4).similar
    assert {its.event_id for its in similar} == {candidate(i).event_id for i in (18, 19, 21, 22)}
    assert [its.distance for its in similar] == sorted(its.distance for its in similar)
    assert {its.label for its in similar} <= {"yes", "no"}
    assert candidate(0).event_id not in answered
    assert looked_up(desk, 0, most=1).similar[0].event_id == candidate(1).event_id


def test_the_history_column_by_column_tells_what_its_points_tell(desk: Desk) -> None:
    other = {"a": 7.5, "d": 2.0}
    desk.take_in(asked(1, priority=0.9), asked(2, features=other), asked(3, probabilities=[0.25, 0.75]), asked(4))
    answer(desk, "ada")
    details = Details(PIPELINE, champion())
    with desk.store.engine.connect() as connection:
        found = [
            details_of(details.whole(connection, candidate(4).event_id, Entries(most, 1, columns), REVIEWER)[0])
            for most in (20, 2)
            for columns in (False, True)
        ]
    by_points, by_columns, two_points, two_columns = (each.history for each in found)
    assert [point.label for point in by_columns] == ["yes", None, None]
    assert (by_columns[1].features, by_columns[0].features["b"]) == ({"a": 7.5, "b": None, "c": None, "d": 2.0}, None)
    for points, columns in ((by_points, by_columns), (two_points, two_columns)):
        assert [*columns] == [*points]
    assert len(two_columns) == 2
    assert not details_of(looked_up(desk, 1)).history


def test_like_cases_are_the_same_when_there_are_many_of_which_the_scale_is_kept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(7)
    values = [{"a": draw.gauss(0, 9), "b": draw.choice([None, 1.0, 4.0]), "c": 1.0} for _ in range(60)]
    desk.take_in(*(asked(i, priority=i / 100, features=each) for i, each in enumerate(values)))
    for number in range(55):
        answer(desk, f"a{number % 3}")
    exact = [looked_up(desk, number, most=5).similar for number in range(60)]
    monkeypatch.setattr(nearest_labeled, "_MANY", 10)
    kept = [looked_up(desk, number, most=5).similar for number in range(60)]
    same = [len({one.event_id for one in a} & {one.event_id for one in b}) for a, b in zip(exact, kept, strict=True)]
    assert sum(same) >= 0.95 * 5 * 60
    for one in (one for case in kept for one in case):
        assert one.event_id not in {candidate(number).event_id for number in range(5)}, "it was never answered"
    for number, case in enumerate(kept):
        assert candidate(number).event_id not in {one.event_id for one in case}
        assert [one.distance for one in case] == sorted(one.distance for one in case)


def test_labeled_cases_are_read_anew_only_after_a_while(desk: Desk) -> None:
    now = 0.0
    similar = SimilarCases(PIPELINE, lambda: now)
    desk.take_in(asked(1), asked(2), asked(3))
    answer(desk, "ada")
    with desk.store.engine.connect() as connection:
        assert len(similar.nearest(connection, asked(3), 9)) == 1
    answer(desk, "ada")
    with desk.store.engine.connect() as connection:
        assert len(similar.nearest(connection, asked(3), 9)) == 1
        now = 31.0
        assert len(similar.nearest(connection, asked(3), 9)) == 2


def test_an_unknown_case_is_refused_by_name(desk: Desk) -> None:
    with pytest.raises(RefusedError, match="there is no case") as refused:
        looked_up(desk, 5)
    assert refused.value.reason is Reason.UNKNOWN_CASE


def test_who_may_see_only_their_own_answers_learns_no_other_and_no_verdict(desk: Desk) -> None:
    desk.take_in(asked(1))
    answer(desk, "ada", "yes")
    seen = looked_up(desk, 1)
    assert (seen.record.state, seen.record.label) == (pb.CASE_STATE_ANSWERED, "yes")
    assert [(its.annotator, its.status, its.label) for its in seen.answers] == [("ada", "answered", "yes")]
    own = looked_up(desk, 1, Caller("ada", Role.ANNOTATOR))
    assert [its.label for its in own.answers] == ["yes"]
    held = {"token": "t", "event_id": candidate(1).event_id, "annotator": "ben", "lease_until": 10**18, "leased_at": 1}
    desk.write(gold_leases.insert().values(held))
    gold = looked_up(desk, 1, Caller("ben", Role.ANNOTATOR))
    assert (gold.record.state, gold.record.annotator) == (pb.CASE_STATE_LEASED, "ben")
    assert (gold.record.label, gold.record.answers, len(gold.answers)) == ("", 0, 0)
    assert not gold.similar, "the case itself, with its label, is none of its like"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[LabelingServer]:
    with serve(PIPELINE, Settings(state_dir=tmp_path).at("127.0.0.1:9")) as server:
        server._writer.call(TakeIn(SOURCE, None, 6, arrivals([asked(i, priority=i / 10) for i in range(6)])))
        yield server


def test_cases_come_with_what_each_call_tells_of_them_and_of_their_annotator(served: LabelingServer) -> None:
    with LabelingClient(served.address, "ada") as client:
        for task in client.lease(2):
            client.submit(task, "yes")
        leased = client.lease_with_details(3, most=4, similar=1)
        assert len(leased.tasks) == 3
        for task, told in zip(leased.tasks, leased.details, strict=True):
            apart = client.case(task.event_id, most=4, similar=1)
            assert told is not None
            assert replace(told, history=apart.history) == apart
            assert [*told.history] == [*apart.history]
            assert len(told.similar) == 1
        assert leased.progress == client.progress()
        assert leased.progress is not None
        assert (leased.progress.answered_today, leased.progress.leased) == (2, 3)


def test_details_that_do_not_fit_are_left_out_and_the_cases_come_all_the_same(
    served: LabelingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LabelingClient(served.address, "ada") as client:
        first = client.lease_with_details(1, most=4)
        assert first.details[0] is not None
        monkeypatch.setattr("labeling_grpc.api.leased_details.MAX_RESPONSE", 2_500)
        leased = client.lease_with_details(4, most=4)
        kept = [told is not None for told in leased.details]
        assert len(leased.tasks) == 4
        assert kept == sorted(kept, reverse=True), "those of the first tasks"
        assert not all(kept)


def test_cases_whose_details_nobody_waits_for_go_back_at_once(
    served: LabelingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, over = threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> None:
        begun.set()
        over.wait(30)

    monkeypatch.setattr(LeasedDetails, "add", slow)
    request = pb.LeaseTasksRequest(annotator="ada", max_tasks=6, details=pb.GetCaseRequest(most=1))
    with grpc.insecure_channel(served.address) as channel, LabelingClient(served.address, "ben") as ben:
        stub: Any = labeling_pb2_grpc.LabelingServiceStub(channel)
        call = stub.LeaseTasks.future(request)
        assert begun.wait(30)
        call.cancel()
        wait_until(lambda: len(ben.lease(6)) == 6, "the cases are kept for who is gone")
        over.set()


def test_cases_go_back_at_once_if_who_asked_is_gone_before_the_question_is_told(
    served: LabelingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a number the question tells what is usual, which is read from the queue's database."""
    begun, asked_by = threading.Event(), ["ada"]
    message = AskedQuestion.message

    async def slow(question: AskedQuestion) -> pb.Question:
        if asked_by.pop() == "ada":
            begun.set()
            await asyncio.sleep(60)
        return await message(question)

    monkeypatch.setattr(AskedQuestion, "message", slow)
    with grpc.insecure_channel(served.address) as channel, LabelingClient(served.address, "ben") as ben:
        stub: Any = labeling_pb2_grpc.LabelingServiceStub(channel)
        call = stub.LeaseTasks.future(pb.LeaseTasksRequest(annotator="ada", max_tasks=6))
        assert begun.wait(30)
        asked_by += ["ben"] * 10_000
        call.cancel()
        wait_until(lambda: len(ben.lease(6)) == 6, "the cases are kept for who is gone")


@pytest.mark.parametrize("where", ["details", "question"])
def test_cases_that_nobody_is_told_of_for_a_bug_go_back_at_once(
    served: LabelingServer, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a bug")

    request = pb.LeaseTasksRequest(annotator="ada", max_tasks=6, details=pb.GetCaseRequest(most=1))
    with monkeypatch.context() as patch, grpc.insecure_channel(served.address) as channel:
        owner: Any = LeasedDetails if where == "details" else AskedQuestion
        patch.setattr(owner, "add" if where == "details" else "message", broken)
        stub: Any = labeling_pb2_grpc.LabelingServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="a bug in the labeling service"):
            stub.LeaseTasks(request)
    with LabelingClient(served.address, "ben") as ben:
        wait_until(lambda: len(ben.lease(6)) == 6, "the cases are kept for whom a bug has refused")


def test_details_that_are_asked_for_wrongly_are_refused_by_name(served: LabelingServer) -> None:
    with grpc.insecure_channel(served.address) as channel:
        stub: Any = labeling_pb2_grpc.LabelingServiceStub(channel)
        for details, field in (
            (pb.GetCaseRequest(most=101), "details.most"),
            (pb.GetCaseRequest(similar=-1), "details.similar"),
            (pb.GetCaseRequest(event_id="e"), "details.event_id"),
            (pb.GetCaseRequest(page_token="p"), "details.page_token"),  # noqa: S106 - no secret
            (pb.GetCaseRequest(pipeline="other"), "details.pipeline"),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                stub.LeaseTasks(pb.LeaseTasksRequest(annotator="ada", details=details))
            status = rpc_status.from_call(cast("grpc.Call", caught.value))
            assert status is not None
            refusal = RefusedError.of(status)
            assert refusal is not None
            assert refusal.field == field


def test_over_grpc_an_annotator_sees_the_cases_of_their_own_hands_alone(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path).at("127.0.0.1:9")
    with serve(PIPELINE, settings, options=Options(tokens=True)) as server:
        server._writer.call(TakeIn(SOURCE, None, 2, arrivals([asked(1, priority=0.9), asked(2)])))
        tokens = sqlite_tokens(tmp_path / "pipelines" / "pay" / "labeling.db")
        ada = tokens.create(Role.ANNOTATOR, "ada", DAY).secret
        with (
            LabelingClient(server.address, "ada", token=ada) as client,
            grpc.insecure_channel(server.address) as channel,
        ):
            (task,) = client.lease()
            stub: Any = labeling_pb2_grpc.LabelingServiceStub(channel)
            mine = (("authorization", f"Bearer {ada}"),)
            found = stub.GetCase(pb.GetCaseRequest(event_id=task.event_id), metadata=mine)
            assert found.record.case.event_id == task.event_id
            assert found.record.state == pb.CASE_STATE_LEASED
            with pytest.raises(grpc.RpcError, match="hands"):
                stub.GetCase(pb.GetCaseRequest(event_id=candidate(2).event_id), metadata=mine)
