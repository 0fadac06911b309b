"""The bridge to Label Studio: cases become tasks, what people say in them becomes labels, once each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bridging import OWNER, Bridged, bridged, bridged_pipeline
from studio import ADA, BEN

from labeling_grpc.client import Annotation
from labeling_grpc.label_studio.declared import ledger_path
from labeling_grpc.label_studio.ledger import look
from labeling_grpc.label_studio.messages import MARK
from tidemark.evaluation.labels import source_of
from tidemark.records import Label, decode

UNKNOWN = 99


@pytest.fixture
def its(tmp_path: Path) -> Iterator[Bridged]:
    with bridged(tmp_path) as built:
        yield built


def events(its: Bridged, count: int) -> list[str]:
    return [its.world.fresh() for _ in range(count)]


def test_cases_become_tasks_with_the_models_prediction_as_many_as_there_is_room_for(its: Bridged) -> None:
    waiting = events(its, 5)
    its.turn()
    its.turn()
    shown = [task["data"]["event_id"] for task in its.studio.open_tasks()]
    assert len(shown) == 3
    assert set(shown) <= set(waiting)
    (task,) = its.studio.of_event(shown[0])
    assert task["data"]["facts"]["channel"] == "online"
    assert task["data"]["question"] == "Is this payment fraud?"
    (prediction,) = task["predictions"]
    assert prediction["score"] == 0.6
    assert prediction["result"][0]["value"] == {"choices": ["fraud"]}


def test_an_answer_becomes_a_label_of_the_annotator_that_the_user_is_once(its: Bridged) -> None:
    first, second = events(its, 2)
    its.turn()
    its.studio.annotate(its.task(first)["id"], ADA, "fraud")
    its.studio.annotate(its.task(second)["id"], BEN, "genuine")
    for _ in range(3):
        its.turn()
    assert its.label(first) == ("answered", "fraud", "ada")
    assert its.label(second) == ("answered", "genuine", "ben@bank.example")
    assert len(its.labels()) == 2
    published = [decode(Label, row.message.value) for row in its.world.server.store.unpublished(0, 100)]
    assert [source_of(label) for label in published] == ["person", "person"], "they were asked, and it is no file"


def test_a_webhook_brings_an_answer_without_waiting_for_the_poll(its: Bridged) -> None:
    (event,) = events(its, 1)
    its.turn()
    its.studio.annotate(its.task(event)["id"], ADA, "fraud")
    its.turn(after=0.1)
    assert its.label(event) is None
    its.hints.add(its.task(event)["id"])
    its.turn(after=0.1)
    assert its.label(event) == ("answered", "fraud", "ada")


def test_a_hint_about_one_task_does_not_hide_what_changed_in_another(its: Bridged) -> None:
    first, second = events(its, 2)
    its.turn()
    its.studio.annotate(its.task(first)["id"], ADA, "fraud")
    its.studio.annotate(its.task(second)["id"], ADA, "genuine")
    its.hints.add(its.task(second)["id"])
    its.turn(after=0.1)
    its.turn(after=31)
    assert its.label(first) == ("answered", "fraud", "ada")


def test_a_skipped_task_closes_its_case_without_an_answer_and_says_whose_it_was(its: Bridged) -> None:
    (event,) = events(its, 1)
    its.turn()
    its.studio.annotate(its.task(event)["id"], ADA, None)
    its.turn()
    (label,) = its.labels()
    assert (label.status, label.annotator, label.comment) == ("skipped", "label-studio", "ada, in Label Studio")


def test_an_edited_answer_amends_the_label_as_often_as_it_is_edited(its: Bridged) -> None:
    (event,) = events(its, 1)
    its.turn()
    annotation = its.studio.annotate(its.task(event)["id"], ADA, "fraud")
    its.turn()
    for choice in ("genuine", "fraud", "genuine"):
        its.studio.edit(annotation, ADA, choice)
        its.turn()
        its.turn()
        assert its.label(event) == ("answered", choice, "ada")
    assert [label.label for label in its.labels()] == ["fraud", "genuine", "fraud", "genuine"]


def test_a_deleted_answer_is_taken_back_and_another_one_after_it_counts(its: Bridged) -> None:
    (event,) = events(its, 1)
    its.turn()
    annotation = its.studio.annotate(its.task(event)["id"], ADA, "fraud")
    its.turn()
    its.studio.delete(annotation)
    its.turn()
    assert its.label(event) == ("retracted", "", "ada")
    its.studio.annotate(its.task(event)["id"], ADA, "fraud")
    its.turn()
    assert its.label(event) == ("answered", "fraud", "label-studio")
    assert [comment.text for comment in its.case(event).comments] == ["ada said so in Label Studio"]


def test_a_deleted_task_takes_no_label_back(its: Bridged) -> None:
    (event,) = events(its, 1)
    its.turn()
    its.studio.annotate(its.task(event)["id"], ADA, "fraud")
    its.turn()
    its.studio.delete_task(its.task(event)["id"])
    its.turn(after=1_000)
    assert its.label(event) == ("answered", "fraud", "ada")


def test_a_task_that_was_deleted_before_it_was_answered_is_made_again(its: Bridged) -> None:
    (event,) = events(its, 1)
    its.turn()
    its.studio.delete_task(its.task(event)["id"])
    its.turn(after=1_000)
    its.turn()
    assert [task["data"]["event_id"] for task in its.studio.open_tasks()] == [event]


@pytest.mark.parametrize(
    ("user", "choice", "why"),
    [
        (ADA, "maybe", "'maybe' is no class of this pipeline (genuine, fraud)"),
        (ADA, ["fraud", "genuine"], "it says several choices (fraud, genuine), and not one class"),
        (ADA, [], "it says no choice, and not one class"),
        (UNKNOWN, "fraud", "its user 99 is nobody who may be an annotator; name them in label_studio.users"),
    ],
)
def test_what_is_no_answer_is_said_on_the_case_and_in_the_log_and_the_case_goes_back(
    its: Bridged, caplog: pytest.LogCaptureFixture, user: int, choice: str, why: str
) -> None:
    (event,) = events(its, 1)
    its.turn()
    its.studio.annotate(its.task(event)["id"], user, choice)
    its.turn()
    its.turn()
    assert its.label(event) is None
    assert its.case(event).record.state == "waiting"
    (comment,) = its.case(event).comments
    assert why in comment.text
    assert len([record for record in caplog.records if why in record.getMessage()]) == 1
    seen = look(ledger_path(its.settings, "pay"), 10)
    assert [taken.refused for taken in seen.newest] == [why]
    assert (seen.held, seen.taken, seen.refused) == (0, 0, 1)


def test_an_answer_of_somebody_in_quarantine_or_paused_is_not_taken(its: Bridged) -> None:
    its.admin.update("ada", state="paused", why="she is new")
    (event,) = events(its, 1)
    its.turn()
    its.studio.annotate(its.task(event)["id"], ADA, "fraud")
    its.turn()
    assert its.label(event) is None
    assert its.case(event).record.state == "waiting"


def test_a_case_that_others_closed_is_marked_in_label_studio_and_given_to_nobody(its: Bridged) -> None:
    first, second = events(its, 2)
    its.turn()
    its.admin.expire([first], "of no use")
    (lease,) = [each for each in its.ledger.held() if each.event_id == second]  # type: ignore[union-attr]
    its.boss.submit_many([Annotation(lease, "genuine")])
    its.turn()
    assert its.studio.open_tasks() == []
    (mark,) = its.task(first)["annotations"]
    assert mark["was_cancelled"]
    (mark,) = its.task(second)["annotations"]
    assert (mark["result"][0]["id"], mark["result"][0]["value"]) == (MARK, {"choices": ["genuine"]})
    its.turn(after=1_000)
    assert len(its.labels()) == 2, "the bridge's own annotations are no answers"


def test_an_answer_to_a_case_that_has_a_label_is_said_on_the_case_and_changes_nothing(its: Bridged) -> None:
    (event,) = events(its, 1)
    its.turn()
    its.studio.annotate(its.task(event)["id"], ADA, "fraud")
    its.studio.annotate(its.task(event)["id"], BEN, "genuine")
    its.turn()
    assert its.label(event) == ("answered", "fraud", "ada")
    (comment,) = its.case(event).comments
    assert comment.text == (
        "ben@bank.example said 'genuine' in Label Studio, which is not taken: the case has the label 'fraud' of ada"
    )


def test_somebody_who_edits_the_bridges_mark_has_said_something(its: Bridged) -> None:
    (event,) = events(its, 1)
    its.turn()
    its.admin.expire([event], "of no use")
    its.turn()
    (mark,) = its.task(event)["annotations"]
    its.studio.edit(mark["id"], ADA, "fraud")
    its.turn()
    assert its.label(event) == ("answered", "fraud", "ada")


def test_an_answer_after_the_lease_ended_still_counts_where_nobody_else_has_answered(its: Bridged) -> None:
    its.lease = 1.0
    (event,) = events(its, 1)
    its.turn()
    its.end()
    task = its.task(event)
    its.boss.release([*its.boss.lease(100, lease=60)])
    its.studio.annotate(task["id"], ADA, "fraud")
    its.turn()
    assert its.label(event) == ("answered", "fraud", "ada")


def test_a_case_that_is_put_back_is_offered_in_a_task_of_its_own_and_answered_again_by_the_same_person(
    its: Bridged,
) -> None:
    (event,) = events(its, 1)
    its.turn()
    its.studio.annotate(its.task(event)["id"], ADA, "fraud")
    its.turn()
    its.admin.requeue([event], "look again")
    its.turn()
    its.turn()
    assert len(its.studio.of_event(event)) == 2
    its.studio.annotate(its.task(event)["id"], ADA, "fraud")
    its.turn()
    assert its.label(event) == ("answered", "fraud", "label-studio")
    assert its.case(event).record.state == "answered"


def test_a_ledger_that_is_lost_costs_no_label_and_doubles_none(its: Bridged) -> None:
    first, second, third = events(its, 3)
    its.turn()
    edited = its.studio.annotate(its.task(first)["id"], ADA, "fraud")
    its.turn()
    its.studio.edit(edited, ADA, "genuine")
    its.turn()
    before = its.labels()
    its.end()
    for file in (its.folder / "pipelines" / "pay").glob("label-studio.db*"):
        file.unlink()
    its.studio.annotate(its.task(second)["id"], BEN, "fraud")
    its.turn()
    assert its.label(first) == ("answered", "genuine", "ada")
    assert its.label(second) == ("answered", "fraud", "ben@bank.example")
    assert len(its.labels()) == len(before) + 1
    assert len(its.studio.of_event(third)) == 1


def test_what_is_imported_late_is_not_imported_twice(its: Bridged) -> None:
    its.studio.imports_late = True
    waiting = set(events(its, 2))
    its.turn()
    its.turn(after=10)
    its.studio.bring_late()
    its.turn(after=10)
    its.turn(after=100)
    assert sorted(task["data"]["event_id"] for task in its.studio.open_tasks()) == sorted(waiting)


def test_the_tasks_of_others_are_left_alone_and_said_once(its: Bridged, caplog: pytest.LogCaptureFixture) -> None:
    foreign = [{"data": {"text": "x"}}, {"data": {"event_id": "e", "tidemark_pipeline": "other"}}]
    its.studio.answer("POST", f"/api/projects/{its.project}/import", foreign)
    for task in list(its.studio.tasks):
        its.studio.annotate(task, OWNER, "fraud")
    its.turn()
    its.turn()
    assert its.labels() == []
    assert len([record for record in caplog.records if "about no case of this pipeline" in record.getMessage()]) == 1


def test_a_choice_that_was_none_of_the_classes_is_taken_once_the_pipeline_says_what_it_means(its: Bridged) -> None:
    (event,) = events(its, 1)
    its.turn()
    its.studio.annotate(its.task(event)["id"], ADA, "Betrug")
    for _ in range(2):
        its.turn()
    assert its.label(event) is None
    assert len(its.case(event).comments) == 1
    its.pipeline = bridged_pipeline('[label_studio.choices]\nBetrug = "fraud"\n')
    its.begin()
    for _ in range(3):
        its.turn()
    assert its.label(event) == ("answered", "fraud", "ada")
    assert [label.status for label in its.labels()] == ["commented", "answered"]


def test_a_task_that_pages_passed_over_while_others_were_deleted_is_not_brought_again(
    its: Bridged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages are counted: where a task of the first one is deleted meanwhile, the first of the second is in neither."""
    (event,) = events(its, 1)
    its.turn()
    assert its.bridge is not None
    api = its.bridge._api
    tasks = api.tasks
    monkeypatch.setattr(
        api, "tasks", lambda *asked: (each for each in tasks(*asked) if each.event_id != event or len(asked) > 1)
    )
    its.turn(after=1_000)
    its.turn(after=1_000)
    assert len(its.studio.of_event(event)) == 1
    monkeypatch.undo()
    its.studio.delete_task(its.task(event)["id"])
    its.turn(after=1_000)
    assert len(its.studio.of_event(event)) == 1, "one that was deleted is brought again"
