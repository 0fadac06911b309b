"""Answers that are numbers, on a running service: every way in keeps one text for each number, or refuses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from labeling import SOURCE, arrivals, candidate, pipeline

from labeling_grpc.client import (
    Annotation,
    Decision,
    LabelingAdminClient,
    LabelingClient,
    Reason,
    RefusedError,
    labeler,
)
from labeling_grpc.client.admin_messages import Imported
from labeling_grpc.commands.labeling import TakeIn
from labeling_grpc.server import LabelingServer, serve
from tidemark.pipeline.model import Labeling, LabelSpec
from tidemark.records import Label, decode
from tidemark.runtime.settings import Settings

SPEC = {"type": "number", "unit": "h", "min": 0, "max": 500, "tolerance": 2, "delay": "7d"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LabelingServer]:
    with served(tmp_path) as running:
        yield running


def served(folder: Path, **labeling: object) -> AbstractContextManager[LabelingServer]:
    made = pipeline("pay").model_copy(
        update={"label": LabelSpec.model_validate(SPEC), "labeling": Labeling.model_validate(labeling)}
    )
    return serve(made, Settings(state_dir=folder).at("127.0.0.1:9"))


def queued(server: LabelingServer, count: int) -> None:
    asked = [candidate(number) for number in range(count)]
    server._writer.call(TakeIn(SOURCE, None, count, arrivals(asked)))


def labels(server: LabelingServer) -> list[Label]:
    return [decode(Label, row.message.value) for row in server.store.unpublished(0, 1_000)]


def test_the_question_says_which_numbers_are_answers_and_later_which_are_usual(server: LabelingServer) -> None:
    queued(server, 40)
    with LabelingClient(server.address, "ada", pipeline="pay") as client:
        (task,) = client.lease(1)
        assert task.number is not None
        assert (task.question, task.classes) == ("Which number is it? (a number from 0 to 500 h)", ())
        assert (task.number.bounds, task.number.tolerance, task.number.usual) == ("0 to 500 h", 2.0, None)
        tasks = [task, *client.lease(19)]
        client.submit_many([Annotation(each, str(100 + place)) for place, each in enumerate(tasks)])
        (later,) = client.lease(1)
        assert later.number is not None
        assert later.number.usually == "100 to 118 h"


def test_every_way_in_keeps_one_text_for_each_number(server: LabelingServer) -> None:
    queued(server, 6)
    with (
        LabelingClient(server.address, "ada", pipeline="pay") as client,
        LabelingAdminClient(server.address, "boss", pipeline="pay") as admin,
    ):
        first, second, third = client.lease(3)
        given = client.submit(first, " 012.50 ").annotation_id
        assert client.submit(first, "1.25e1").annotation_id == given, "the same number again is the same answer again"
        client.amend(given, "13")
        client.submit_many([Annotation(each, "+20", bulk="b1") for each in (second, third)])
        admin.import_labels([Imported(candidate(4).event_id, "7e0", annotator="lab")])
        admin.add_gold([(first.event_id, "013.0")])
        assert [gold.label for gold in admin.gold()] == ["13.0"]
    found = {label.event_id: label.label for label in labels(server) if label.label is not None}
    assert sorted(found.values()) == ["13.0", "20.0", "20.0", "7.0"]


@pytest.mark.parametrize("text", ["", "soon", "501", "-0.5", "nan", "inf", "1,5", "1e999", "0x10"])
def test_what_is_no_number_within_the_bounds_is_refused_and_the_lease_kept(server: LabelingServer, text: str) -> None:
    queued(server, 1)
    with (
        LabelingClient(server.address, "ada", pipeline="pay") as client,
        LabelingAdminClient(server.address, "boss", pipeline="pay") as admin,
    ):
        (task,) = client.lease(1)
        with pytest.raises(RefusedError) as refused:
            client.submit(task, text)
        if text:
            assert refused.value.reason is Reason.UNKNOWN_CLASS
            assert "expected a number from 0 to 500 h" in str(refused.value)
        given = client.submit(task, "12").annotation_id
        with pytest.raises(RefusedError):
            client.amend(given, text)
        with pytest.raises(RefusedError):
            admin.add_gold([(task.event_id, text)])
    assert [label.label for label in labels(server)] == ["12.0"]


def test_a_program_answers_with_a_number(server: LabelingServer) -> None:
    queued(server, 3)

    def rule(task: object) -> float | Decision:
        return Decision(41.5, 0.75) if getattr(task, "business_id", "") == "T1" else 40

    labeler("pay", "wear", address=server.address)(rule).run(most=3)
    assert sorted(label.label or "" for label in labels(server)) == ["40.0", "40.0", "41.5"]


def test_two_who_agree_close_a_case_and_two_who_do_not_bring_a_third_and_a_reviewer(tmp_path: Path) -> None:
    with served(tmp_path, answers=2, max_answers=3) as server:
        queued(server, 2)
        said = {"ada": ("40", "100"), "ben": ("42", "300"), "cyd": ("", "200")}
        for who, numbers in said.items():
            with LabelingClient(server.address, who, pipeline="pay") as client:
                tasks = sorted(client.lease(2), key=lambda task: task.event_id)
                client.submit_many(
                    [Annotation(task, number) for task, number in zip(tasks, numbers[-len(tasks) :], strict=True)]
                )
        verdicts = [label for label in labels(server) if label.annotator == "consensus"]
        assert [(label.label, label.confidence, label.consensus) for label in verdicts] == [("41.0", 0.9, None)]
        assert verdicts[0].annotators == ["ada", "ben"]
        with LabelingClient(server.address, "rita", pipeline="pay") as client:
            (task,) = client.lease(1, review=True)
            client.submit(task, "210")
        with LabelingAdminClient(server.address, "boss", pipeline="pay") as admin:
            accuracy = {person.name: person.quality.consensus_accuracy for person in admin.annotators()}
    assert max(accuracy["ada"] or 1, accuracy["ben"] or 1) < 0.75
