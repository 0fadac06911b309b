"""Cases that are alike, answered together: given by the rules of single ones, recorded as a bulk, undone as one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from labeling import SOURCE, arrivals, candidate, pipeline

from labeling_grpc.client import Annotation, LabelingClient, Reason, RefusedError, Submitted, Task
from labeling_grpc.client.administration import LabelingAdminClient
from labeling_grpc.commands.labeling import TakeIn
from labeling_grpc.database import sqlite_tokens
from labeling_grpc.options import Options
from labeling_grpc.security.roles import Role
from labeling_grpc.server import LabelingServer, serve
from tidemark.records import Candidate, Label, decode
from tidemark.runtime.settings import Settings

NO_KAFKA = "127.0.0.1:9"
NEAR, FAR = range(1, 13), range(20, 23)


def case(number: int, *, explore: bool = False) -> Candidate:
    """Cases below 20 are alike, those above are not."""
    made = candidate(number, explore=explore, priority=1 - number / 100)
    value = 5.0 if number < FAR.start else 500.0 * number
    return msgspec.structs.replace(made, features=dict.fromkeys(made.features, value))


class Service:
    def __init__(self, server: LabelingServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.tokens: dict[str, str] = {}

    def feed(self, candidates: Sequence[Candidate]) -> None:
        start = self.server.store.position("intake", SOURCE)
        offset = start or 0
        end = offset + len(candidates)
        self.server._writer.call(TakeIn(SOURCE, start, end, arrivals([*candidates], offset)))

    def token(self, who: str, role: Role = Role.ANNOTATOR) -> str:
        if who not in self.tokens:
            tokens = sqlite_tokens(self.folder / "pipelines" / "pay" / "labeling.db")
            self.tokens[who] = tokens.create(role, who, 10**12).secret
            tokens.close()
        return self.tokens[who]

    def client(self, who: str, role: Role = Role.ANNOTATOR) -> LabelingClient:
        return LabelingClient(self.server.address, who, pipeline="pay", patience=0, token=self.token(who, role))

    def admin(self) -> LabelingAdminClient:
        return LabelingAdminClient(
            self.server.address, "boss", pipeline="pay", patience=0, token=self.token("boss", Role.ADMIN)
        )

    def labels(self) -> list[Label]:
        return [decode(Label, row.message.value) for row in self.server.store.unpublished(0, 1_000)]


@pytest.fixture
def its(tmp_path: Path) -> Iterator[Service]:
    with serve(pipeline("pay"), Settings(state_dir=tmp_path).at(NO_KAFKA), options=Options(tokens=True)) as running:
        made = Service(running, tmp_path)
        made.feed([case(number) for number in (*NEAR, *FAR)])
        yield made


def first(client: LabelingClient) -> Task:
    (task,) = client.lease(1)
    return task


def answered(tasks: Sequence[Task], bulk: str, label: str = "fraud") -> list[Annotation]:
    return [Annotation(task, label, bulk=bulk) for task in tasks]


def test_cases_like_one_in_hand_are_leased_nearest_first_and_no_others(its: Service) -> None:
    with its.client("ada") as ada, its.client("ben") as ben:
        shown = first(ada)
        taken = first(ben)
        tasks = ada.lease(5, like=shown.event_id)
        rest = ada.lease(100, like=shown.event_id)
    near = [case(number).event_id for number in NEAR if case(number).event_id not in {shown.event_id, taken.event_id}]
    assert [task.event_id for task in tasks] == near[:5]
    assert [task.event_id for task in rest] == near[5:]


def test_random_cases_and_those_for_reviewers_are_looked_at_by_themselves(its: Service) -> None:
    its.feed([case(13, explore=True)])
    with its.client("ada") as ada, its.client("rita", Role.REVIEWER) as rita:
        held = ada.lease(3)
        active = [task for task in held if task.reason != "explore"]
        ada.escalate(active[1], "hard")
        shown = active[0]
        ada.release([task for task in held if task is not shown and task is not active[1]])
        assert all(task.reason != "explore" and not task.review for task in ada.lease(50, like=shown.event_id))
        mine = first(rita)
        assert not any(task.review for task in rita.lease(50, like=mine.event_id))


@pytest.mark.parametrize("whose", ["another's", "nobody's", "unknown"])
def test_nobody_asks_for_cases_like_one_that_is_not_in_their_hands(its: Service, whose: str) -> None:
    with its.client("ada") as ada, its.client("eve") as eve:
        shown = first(ada)
        named = {"another's": shown.event_id, "nobody's": case(5).event_id, "unknown": "pay.raw-0-999-0a1b2c3d"}[whose]
        with pytest.raises(RefusedError) as refused:
            eve.lease(5, like=named)
    assert refused.value.reason is Reason.STALE_LEASE


def test_quota_skills_and_pauses_rule_as_for_single_cases(its: Service) -> None:
    with its.client("ada") as ada, its.admin() as admin:
        shown = first(ada)
        admin.update("ada", quota=4)
        assert len(ada.lease(50, like=shown.event_id)) == 3
        with pytest.raises(RefusedError) as refused:
            ada.lease(50, like=shown.event_id)
        assert refused.value.reason is Reason.QUOTA_REACHED
        admin.update("ada", state="paused", why="lunch")
        with pytest.raises(RefusedError) as refused:
            ada.lease(50, like=shown.event_id)
        assert refused.value.reason is Reason.ANNOTATOR_STOPPED


def test_each_answer_of_a_bulk_is_recorded_as_one_and_so_does_the_audit_trail(its: Service) -> None:
    with its.client("ada") as ada, its.admin() as admin:
        shown = first(ada)
        tasks = [shown, *ada.lease(3, like=shown.event_id)]
        outcomes = ada.submit_many(answered(tasks, "bulk-1"))
        again = ada.submit_many(answered(tasks, "bulk-1"))
        single = first(ada)
        ada.submit(single, "genuine")
        trail = [entry for entry in admin.audit() if entry.action == "SubmitLabels"]
        seen = admin_case(its, tasks[0].event_id)
    assert all(isinstance(outcome, Submitted) and not outcome.duplicate for outcome in outcomes)
    assert all(isinstance(outcome, Submitted) and outcome.duplicate for outcome in again)
    assert {label.event_id: label.bulk for label in its.labels()} == {
        **{task.event_id: "bulk-1" for task in tasks},
        single.event_id: None,
    }
    (entry,) = trail
    told = json.loads(entry.detail)
    assert (entry.actor, entry.object) == ("ada", "bulk-1")
    assert told["labels"] == {task.event_id: "fraud" for task in tasks}
    assert seen == "bulk-1"


def admin_case(its: Service, event_id: str) -> str:
    with its.client("rita", Role.REVIEWER) as rita:
        return rita.case(event_id).answers[0].bulk


def test_undo_takes_back_the_whole_bulk_but_what_was_corrected_by_itself(its: Service) -> None:
    with its.client("ada") as ada, its.admin() as admin:
        shown = first(ada)
        tasks = [shown, *ada.lease(3, like=shown.event_id)]
        ids = [each.annotation_id for each in ada.submit_many(answered(tasks, "b")) if isinstance(each, Submitted)]
        ada.amend(ids[3], "genuine")
        undone = ada.retract(ids[0], bulk=True)
        repeated = ada.retract(ids[0], bulk=True)
        trail = [entry for entry in admin.audit() if entry.action == "AmendLabel"]
    assert set(undone.others) == {task.event_id for task in tasks[1:3]}
    assert all(isinstance(other, Submitted) and not other.duplicate for other in undone.others.values())
    assert repeated.duplicate
    assert all(isinstance(other, Submitted) and other.duplicate for other in repeated.others.values())
    last = {label.event_id: (label.status, label.label) for label in its.labels()}
    assert last == {
        **{task.event_id: ("retracted", None) for task in tasks[:3]},
        tasks[3].event_id: ("answered", "genuine"),
    }
    (entry,) = trail
    assert json.loads(entry.detail)["cases"] == [task.event_id for task in tasks[:3]]


def test_a_bulk_is_corrected_as_one_and_undone_afterwards(its: Service) -> None:
    with its.client("ada") as ada:
        shown = first(ada)
        tasks = [shown, *ada.lease(2, like=shown.event_id)]
        ids = [each.annotation_id for each in ada.submit_many(answered(tasks, "b")) if isinstance(each, Submitted)]
        corrected = ada.amend(ids[1], "genuine", bulk=True)
        assert len(corrected.others) == 2
        undone = ada.retract(corrected.annotation_id, bulk=True)
        assert len(undone.others) == 2
    assert {label.status for label in its.labels()[-3:]} == {"retracted"}
    assert {label.label for label in its.labels()[3:6]} == {"genuine"}


def test_nobody_undoes_anothers_bulk_though_it_has_the_same_name(its: Service) -> None:
    with its.client("ada") as ada, its.client("eve") as eve:
        shown = first(ada)
        tasks = [shown, *ada.lease(2, like=shown.event_id)]
        ids = [each.annotation_id for each in ada.submit_many(answered(tasks, "b")) if isinstance(each, Submitted)]
        own = eve.submit_many(answered([first(eve)], "b"))[0]
        assert isinstance(own, Submitted)
        assert eve.retract(own.annotation_id, bulk=True).others == {}
        with pytest.raises(RefusedError) as refused:
            eve.retract(ids[0], bulk=True)
    assert refused.value.reason is Reason.FORBIDDEN
    assert sum(label.status == "retracted" for label in its.labels()) == 1


@pytest.mark.parametrize("bulk", ["b", ""])
def test_an_amendment_in_anothers_name_is_in_the_audit_trail_whatever_it_says_of_a_bulk(
    its: Service, bulk: str
) -> None:
    with its.client("ada") as ada, its.client("rita", Role.REVIEWER) as rita, its.admin() as admin:
        (given,) = ada.submit_many(answered([first(ada)], bulk))
        assert isinstance(given, Submitted)
        rita.amend(given.annotation_id, "genuine", bulk=True)
        trail = [entry for entry in admin.audit() if entry.action == "AmendLabel"]
    assert [(entry.actor, json.loads(entry.detail)["of"]) for entry in trail] == [("rita", "ada")]


def test_a_bulk_has_a_name_that_can_be_written_and_comes_by_no_other_call(its: Service) -> None:
    with its.client("ada") as ada:
        shown = first(ada)
        (refused,) = ada.submit_many(answered([shown], "b" * 129))
        assert isinstance(refused, RefusedError)
        assert refused.field == "bulk"


def test_gold_cases_alike_are_mixed_in_and_look_and_are_recorded_like_the_others(tmp_path: Path) -> None:
    golden = pipeline("pay")
    golden = golden.model_copy(update={"labeling": golden.labeling.model_copy(update={"gold_every": 2})})
    with serve(golden, Settings(state_dir=tmp_path).at(NO_KAFKA), options=Options(tokens=True)) as running:
        its = Service(running, tmp_path)
        its.feed([case(number) for number in range(1, 5)])
        with its.client("zoe") as zoe:
            known = zoe.lease(4)
            zoe.submit_many(answered(known, ""))
        far = case(30)
        its.feed([far, *(case(number) for number in range(5, 13))])
        with its.client("zoe") as zoe:
            odd = next(task for task in zoe.lease(20) if task.event_id == far.event_id)
            zoe.submit(odd, "genuine")
        with its.admin() as admin:
            for number in (*range(1, 5), 30):
                admin.add_gold([(case(number).event_id, "fraud" if number < 30 else "genuine")])
        its.feed([case(number) for number in range(13, 20)])
        with its.client("ada") as ada:
            shown = first(ada)
            while shown.event_id == far.event_id:  # by its own turn, for which no case need be like another
                shown = first(ada)
            tasks = ada.lease(10, like=shown.event_id)
            ids = [task.event_id for task in tasks]
            gold = [task for task in tasks if int(task.event_id.split("-")[2]) < 5]
            assert gold, "a gold case comes in one of two places"
            assert far.event_id not in ids, "one that is not like the others would stand out"
            assert {task.leases for task in tasks} == {1}
            outcomes = ada.submit_many(answered([shown, *tasks], "b"))
            assert all(isinstance(outcome, Submitted) for outcome in outcomes)
            undone = ada.retract(outcomes[0].annotation_id, bulk=True)  # type: ignore[union-attr]  # as was just seen
            assert set(undone.others) == set(ids)
        labels = its.labels()
        assert {label.bulk for label in labels if label.event_id in ids and label.annotator == "ada"} == {"b"}
        assert {label.status for label in labels if label.annotator == "ada"} >= {"gold", "answered", "retracted"}


def test_a_feature_that_is_hidden_from_a_role_tells_it_not_which_cases_are_alike(tmp_path: Path) -> None:
    hiding = pipeline("pay")
    labeling = hiding.labeling.model_copy(update={"hidden": {"amount": ["annotator"]}})
    hiding = hiding.model_copy(update={"labeling": labeling})
    with serve(hiding, Settings(state_dir=tmp_path).at(NO_KAFKA), options=Options(tokens=True)) as running:
        its = Service(running, tmp_path)
        its.feed([case(number) for number in NEAR])
        with its.client("ada") as ada, its.client("rita", Role.REVIEWER) as rita:
            assert ada.lease(5, like=first(ada).event_id) == []
            assert len(rita.lease(5, like=first(rita).event_id)) == 5
