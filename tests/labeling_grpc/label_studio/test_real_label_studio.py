"""The bridge to a real Label Studio, whose installation and start take minutes: `make test-label-studio`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bridging import Bridged, bridged_to

from benchmarks.labeling.label_studio import Connection, LabelStudio, LabelStudioError
from labeling_grpc.label_studio.api import AwayError, LabelStudioApi
from labeling_grpc.label_studio.declared import register_webhook
from labeling_grpc.label_studio.hints import listening
from labeling_grpc.label_studio.messages import choice
from labeling_grpc.label_studio.tasks import project_fields
from support import wait_until
from tidemark.runtime.web_addresses import web_address

pytestmark = [pytest.mark.label_studio, pytest.mark.timeout(900)]
SECRET = "0123456789abcdef"  # noqa: S105 - of nothing


@dataclass
class Real:
    """A real Label Studio, the owner's personal access token, and a new project."""

    running: LabelStudio
    personal: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.running.port}"

    @property
    def api(self) -> LabelStudioApi:
        return LabelStudioApi(web_address(self.url), lambda: self.personal, private=True)


@pytest.fixture(scope="module")
def real() -> Iterator[Real]:
    with LabelStudio(["owner", "ada", "ben"]) as running:
        yield Real(running, running.owner.call("POST", "/api/token/", {})["token"])


@pytest.fixture
def its(real: Real, tmp_path: Path) -> Iterator[Bridged]:
    project = real.api.create_project(project_fields("payments", ("genuine", "fraud"))).id
    with bridged_to(real, project, tmp_path, real.personal) as built:
        yield built


def task_of(its: Bridged, event: str) -> Any:  # noqa: ANN401 - whatever it answers
    (number,) = [task.id for task in its.studio.api.tasks(its.project) if task.event_id == event]
    return its.studio.running.owner.call("GET", f"/api/tasks/{number}/")


def said(person: Connection, task: Any, label: str | None) -> int:  # noqa: ANN401 - as above
    fields = {"result": [] if label is None else [choice(label)], "was_cancelled": label is None}
    return int(person.call("POST", f"/api/tasks/{task['id']}/annotations/", fields)["id"])


def nobody_is_given_a_task(person: Connection, project: int) -> bool:
    try:
        person.call("GET", f"/api/projects/{project}/next")
    except LabelStudioError as error:
        return "There are no tasks" in str(error)
    return False


def until(its: Bridged, condition: Callable[[], object], err_msg: str) -> None:
    """Turn until it is so; no poll comes due, and so nothing but webhooks brings it."""

    def turned() -> object:
        its.turn(after=0.01)
        return condition()

    wait_until(turned, err_msg, timeout=60)


def test_cases_are_tasks_with_predictions_and_answers_come_back_by_webhook(its: Bridged) -> None:
    first, second = its.world.fresh(), its.world.fresh()
    ada, ben = its.studio.running.connect("ada"), its.studio.running.connect("ben")
    with listening(("127.0.0.1", 0), lambda: SECRET, its.hints) as port:
        for _ in range(2):
            register_webhook(its.studio.api, its.project, f"http://127.0.0.1:{port}/", SECRET)
        assert len(its.studio.api.webhooks(its.project)) == 1
        its.turn()
        task = task_of(its, first)
        assert task["data"]["facts"]["channel"] == "online"
        assert task["predictions"][0]["result"][0]["value"] == {"choices": ["fraud"]}
        annotation = said(ada, task, "fraud")
        until(its, lambda: its.label(first) is not None, "the answer did not come by webhook")
        assert its.label(first) == ("answered", "fraud", "ada@localhost.example")
        ada.call("PATCH", f"/api/annotations/{annotation}/", {"result": [choice("genuine")]})
        until(its, lambda: (its.label(first) or ("",) * 3)[1] == "genuine", "the edit did not come by webhook")
        ada.call("DELETE", f"/api/annotations/{annotation}/")
        until(its, lambda: (its.label(first) or ("",) * 3)[0] == "retracted", "the deletion did not come by webhook")
        said(ben, task_of(its, second), None)
        until(its, lambda: (its.label(second) or ("",) * 3)[0] == "skipped", "the skip did not come by webhook")


def test_polling_alone_brings_what_was_said_and_takes_closed_cases_out_of_peoples_hands(its: Bridged) -> None:
    first, second, third = (its.world.fresh() for _ in range(3))
    ada = its.studio.running.connect("ada")
    its.turn()
    annotation = said(ada, task_of(its, first), "fraud")
    its.turn()
    assert its.label(first) == ("answered", "fraud", "ada@localhost.example")
    ada.call("PATCH", f"/api/annotations/{annotation}/", {"result": [choice("genuine")]})
    its.admin.expire([second, third], "of no use")
    its.turn()
    assert its.label(first) == ("answered", "genuine", "ada@localhost.example")
    assert nobody_is_given_a_task(ada, its.project)
    its.turn(after=1_000)
    assert [label.status for label in its.labels()].count("answered") == 2, "the bridge's marks are no answers"


def test_label_studio_and_the_bridge_are_killed_and_no_label_is_lost_or_doubled(its: Bridged) -> None:
    first, second = its.world.fresh(), its.world.fresh()
    ada = its.studio.running.connect("ada")
    its.turn()
    said(ada, task_of(its, first), "fraud")
    said(ada, task_of(its, second), "genuine")
    its.studio.running.kill()
    with pytest.raises(AwayError):
        its.turn()
    its.end()
    its.studio.running.begin()
    its.turn()
    its.end()
    its.turn(after=1_000)
    assert its.label(first) == ("answered", "fraud", "ada@localhost.example")
    assert its.label(second) == ("answered", "genuine", "ada@localhost.example")
    assert len(its.labels()) == 2
