"""The bridge is killed, and the two that it stands between go away, at seeded moments: no label is lost or doubled."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bridging import Bridged, bridged
from studio import ADA, BEN, EMAILS

from labeling_grpc.client import Annotation, UnreachableError
from labeling_grpc.client.channel import Blocking
from labeling_grpc.label_studio.api import AwayError, LabelStudioApi
from labeling_grpc.label_studio.ledger import Ledger
from tidemark.errors import LabelingError
from tidemark.records import ENDING

NAMES = {ADA: "ada", BEN: EMAILS[BEN]}
CLASSES = ("genuine", "fraud")
WRITES = ("hold", "state", "end", "found", "gone", "mark", "take", "begin", "forget")
STEPS = 60


class Killed(BaseException):
    """The bridge's process is gone."""


@dataclass
class Fuse:
    """Goes off after so many calls and writes of the bridge, before one or after it. left: 0 where it is not lit."""

    left: int = 0
    kills: bool = True
    blown: int = 0

    def burn(self, away: type[Exception] | None) -> None:
        if self.left == 0:
            return
        self.left -= 1
        if self.left == 0:
            self.blown += 1
            raise Killed if self.kills or away is None else away("away")

    def around(self, call: Callable[..., Any], away: type[Exception] | None) -> Callable[..., Any]:
        def burning(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the call takes and gives
            self.burn(away)
            result = call(*arguments, **named)
            self.burn(away)
            return result

        return burning


@pytest.fixture
def fuse(monkeypatch: pytest.MonkeyPatch) -> Fuse:
    lit = Fuse()
    monkeypatch.setattr(LabelStudioApi, "_sent", lit.around(LabelStudioApi._sent, AwayError))
    monkeypatch.setattr(Blocking, "_call", lit.around(Blocking._call, UnreachableError))
    for name in WRITES:
        monkeypatch.setattr(Ledger, name, lit.around(getattr(Ledger, name), None))
    return lit


@pytest.fixture
def its(tmp_path: Path) -> Iterator[Bridged]:
    with bridged(tmp_path) as built:
        yield built


class Walk:
    """People, the bridge and faults, in an order that the seed draws.

    said: of each event, what a person says now.  others: events that were closed elsewhere.  forgot: the ledger was
    lost once; then the clocks decide who spoke last, and what comes too late is said on the case.
    """

    def __init__(self, its: Bridged, fuse: Fuse, seed: int) -> None:
        self.its, self.fuse, self.draw = its, fuse, random.Random(seed)
        self.annotations: dict[int, tuple[str, int]] = {}
        self.said: dict[str, tuple[int, str | None]] = {}
        self.others: set[str] = set()
        self.forgot = False

    def step(self) -> None:
        acts = [
            self.come,
            self.answer,
            self.answer,
            self.edit,
            self.delete,
            self.close,
            self.turn,
            self.turn,
            self.turn,
        ]
        self.draw.choice(acts)()

    def come(self) -> None:
        for _ in range(self.draw.randint(1, 3)):
            self.its.world.fresh()

    def answer(self) -> None:
        tasks = self.its.studio.open_tasks()
        if tasks:
            task = self.draw.choice(tasks)
            user, choice = self.draw.choice([ADA, BEN]), self.draw.choice([*CLASSES, *CLASSES, None])
            event = task["data"]["event_id"]
            self.annotations[self.its.studio.annotate(task["id"], user, choice)] = event, user
            self.said[event] = user, choice

    def edit(self) -> None:
        if self.annotations:
            annotation, (event, user) = self.draw.choice(sorted(self.annotations.items()))
            choice = self.draw.choice(CLASSES)
            self.its.studio.edit(annotation, user, choice)
            self.said[event] = user, choice

    def delete(self) -> None:
        if self.annotations and self.draw.random() < 0.3:
            annotation = self.draw.choice(sorted(self.annotations))
            event, _ = self.annotations.pop(annotation)
            self.its.studio.delete(annotation)
            self.said.pop(event)

    def close(self) -> None:
        """Somebody closes a case here: one that waits, or the bridge's own, which an administrator ends."""
        tasks = [task for task in self.its.studio.open_tasks() if self.draw.random() < 0.3]
        if tasks:
            event = tasks[0]["data"]["event_id"]
            self.others.add(event)
            self.its.admin.expire([event], "of no use")
        for case in self.its.boss.lease(1) if self.draw.random() < 0.3 else []:
            self.others.add(case.event_id)
            self.its.boss.submit_many([Annotation(case, self.draw.choice(CLASSES))])

    def turn(self) -> None:
        if self.draw.random() < 0.6:
            self.fuse.left, self.fuse.kills = self.draw.randint(1, 40), self.draw.random() < 0.6
        try:
            self.its.turn(after=self.draw.choice([0.1, 31.0, 100.0, 1_000.0]))
        except Killed:
            self.fuse.left = 0
            self.its.end()
            if self.draw.random() < 0.1:
                self.forgot = True
                for file in (self.its.folder / "pipelines" / "pay").glob("label-studio.db*"):
                    file.unlink()
        except (AwayError, LabelingError):
            self.fuse.left = 0  # the next turn tries again
        self.fuse.left = 0


def heard(its: Bridged, event: str, user: int, choice: str) -> bool:
    """Whether what somebody says stands as the label, or else in words on the case."""
    status, label, annotator = its.label(event) or ("", "", "")
    if (status, label) == ("answered", choice) and annotator in {NAMES[user], "label-studio"}:
        return True
    return any(NAMES[user] in comment.text and f"'{choice}'" in comment.text for comment in its.case(event).comments)


@pytest.mark.parametrize("seed", range(16))
def test_what_is_said_in_label_studio_is_heard_once_whatever_is_killed_and_whenever(
    its: Bridged, fuse: Fuse, seed: int
) -> None:
    walk = Walk(its, fuse, seed)
    walk.come()
    for _ in range(STEPS):
        walk.step()
    for after in (100.0, 1_000.0, 100.0, 1_000.0):
        its.turn(after)

    lost = {
        event: (said, its.label(event))
        for event, said in walk.said.items()
        if said[1] is not None and not heard(its, event, said[0], said[1])
    }
    assert lost == {}
    first = Counter(label.event_id for label in its.labels() if label.status in ENDING and label.supersedes is None)
    assert {event: count for event, count in first.items() if count > 1} == {}
    shown = Counter(task["data"]["event_id"] for task in its.studio.open_tasks())
    assert {event: count for event, count in shown.items() if count > 1} == {}
    assert set(shown) == {lease.event_id for lease in its.ledger.held()}  # type: ignore[union-attr]
    for event, (_, choice) in walk.said.items():
        if choice is not None and event not in walk.others and not walk.forgot:
            status, label, _ = its.label(event) or ("", "", "")
            assert (status, label) == ("answered", choice), event
