from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from labeling import CLASSES, SOURCE, MovedClock, arrivals, candidate

from benchmarks.labeling_postgres import PostgresServer
from labeling_grpc.commands import (
    Accepted,
    Amend,
    Answer,
    Command,
    Escalate,
    LeaseCases,
    LeasedCase,
    Result,
    SubmitAnswers,
    TakeIn,
)
from labeling_grpc.quality import qualities
from labeling_grpc.queue.rules import QueueRules
from labeling_grpc.refusals import Reason, RefusedError
from labeling_grpc.store import Store
from labeling_grpc.stores.postgres import PostgresStore
from labeling_grpc.stores.sqlite import SqliteStore
from tidemark.records import Label, decode
from tidemark.topics import Topics

RULES = QueueRules(classes=CLASSES, answers=3, release_hold_us=0)
SECOND = 1_000_000


class Desk:
    """A store with people at it."""

    def __init__(self, store: Store, clock: MovedClock) -> None:
        self.store = store
        self.clock = clock
        self.cases = 0

    def apply(self, command: Command) -> Result:
        self.clock.time += 1
        (result,) = self.store.transact([command]).results
        return result

    def take_in(self, number: int, *, time: int | None = None, expires_at: int | None = None) -> list[str]:
        cases = [candidate(self.cases + i, time=time, expires_at=expires_at) for i in range(number)]
        self.apply(TakeIn(SOURCE, self.cases or None, self.cases + number, arrivals(cases, self.cases)))
        self.cases += number
        return [case.event_id for case in cases]

    def lease(self, annotator: str, count: int = 1, *, review: bool = False) -> list[LeasedCase]:
        given = self.apply(LeaseCases(annotator, count, 3_600 * SECOND, review=review))
        assert isinstance(given, list), given
        return [case for case in given if isinstance(case, LeasedCase)]

    def answer(self, task: LeasedCase, label: str | None, seconds: float = 2.0) -> Accepted:
        self.clock.time += round(seconds * SECOND)
        said = Answer(task.event_id, task.token, "skipped" if label is None else "answered", label)
        result = self.apply(SubmitAnswers((said,)))
        assert isinstance(result, list)
        (outcome,) = result
        assert isinstance(outcome, Accepted), outcome
        return outcome

    def labels(self) -> list[Label]:
        return [decode(Label, row.message.value) for row in self.store.unpublished(0, 100_000)]


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path: Path, unique: str) -> Iterator[Callable[[QueueRules], Desk]]:
    stores: list[Store] = []

    def opened(rules: QueueRules) -> Desk:
        clock = MovedClock()
        if request.param == "sqlite":
            stores.append(SqliteStore(tmp_path / "q.db", Topics("pay"), rules, clock))
        else:
            server: PostgresServer = request.getfixturevalue("postgres")
            stores.append(PostgresStore(server.url, Topics(unique), rules, clock))
        return Desk(stores[-1], clock)

    yield opened
    for store in stores:
        store.close()


Opened = Callable[[QueueRules], Desk]


def test_one_confident_annotator_ends_a_case_on_demand_and_an_unknown_one_does_not(desk: Opened) -> None:
    here = desk(replace(RULES, answers=1, max_answers=3))
    here.take_in(30)
    for _ in range(25):
        for who in ("ada", "ben"):
            for task in here.lease(who):
                here.answer(task, "fraud" if int(task.event_id.split("-")[2]) % 2 else "genuine")
    verdicts = [label for label in here.labels() if label.status == "answered"]
    assert verdicts[0].annotators == ["ada", "ben"]
    assert verdicts[-1].answers == 1
    assert all(label.confidence is not None and label.confidence >= 0.9 for label in verdicts)
    (task,) = here.lease("newcomer")
    here.answer(task, "genuine")
    assert here.labels()[-1].status == "vote"


def test_disagreement_goes_to_a_reviewer_whose_answer_is_the_verdict(desk: Opened) -> None:
    here = desk(replace(RULES, answers=2, max_answers=3))
    here.take_in(1)
    for who, label in (("ada", "fraud"), ("ben", "genuine"), ("cyd", None)):
        (task,) = here.lease(who)
        here.answer(task, label)
    assert here.lease("dan") == []
    assert here.lease("ada", review=True) == []
    (task,) = here.lease("eve", review=True)
    here.answer(task, "fraud")
    verdict = here.labels()[-1]
    assert (verdict.status, verdict.label, verdict.annotator, verdict.consensus) == ("answered", "fraud", "eve", None)
    with here.store.engine.connect() as connection:
        found = qualities(connection, RULES, ["ada", "ben", "cyd"])
    assert (found["ada"].agreement, found["ben"].agreement, found["cyd"].agreement) == (1.0, 0.0, None)
    right, wrong = found["ada"].consensus_accuracy, found["ben"].consensus_accuracy
    assert right is not None
    assert wrong is not None
    assert right > wrong


def test_what_everybody_skips_is_skipped(desk: Opened) -> None:
    here = desk(replace(RULES, answers=2))
    here.take_in(1)
    for who in ("ada", "ben"):
        (task,) = here.lease(who)
        here.answer(task, None)
    assert [(label.status, label.annotator) for label in here.labels()] == [
        ("vote", "ada"),
        ("vote", "ben"),
        ("skipped", "ben"),
    ]


def test_a_case_that_ends_before_all_have_answered_has_a_verdict_if_the_votes_are_sure(desk: Opened) -> None:
    here = desk(RULES)
    sure, unsure = here.take_in(2, expires_at=5_000)
    for who, number in (("ada", 2), ("ben", 1)):
        for task in here.lease(who, number):
            here.answer(task, "fraud")
    here.take_in(1, time=6_000)
    ended = {label.event_id: label for label in here.labels() if label.status != "vote"}
    assert (ended[sure].status, ended[sure].label, ended[sure].confidence) == ("answered", "fraud", 0.9)
    assert (ended[unsure].status, ended[unsure].label) == ("expired", None)


def test_an_escalated_case_comes_to_reviewers_with_its_reason_and_to_no_other(desk: Opened) -> None:
    here = desk(QueueRules(classes=CLASSES, release_hold_us=0))
    here.take_in(1)
    (task,) = here.lease("ada")
    command = Escalate(task.event_id, task.token, "two signatures", "k")
    first = here.apply(command)
    assert isinstance(first, Accepted)
    assert here.apply(command) == Accepted(first.annotation_id, duplicate=True)
    assert (here.lease("ben"), here.lease("ada")) == ([], [])
    (task,) = here.lease("eve", review=True)
    here.answer(task, "genuine")
    told = [(label.status, label.label, label.annotator, label.comment) for label in here.labels()]
    assert told == [("escalated", None, "ada", "two signatures"), ("answered", "genuine", "eve", None)]


def test_a_corrected_vote_corrects_the_verdict_and_what_is_known_of_annotators(desk: Opened) -> None:
    here = desk(RULES)
    here.take_in(1)
    given = [here.answer(here.lease(who)[0], "fraud") for who in ("ada", "ben", "cyd")]
    (verdict,) = (label for label in here.labels() if label.status == "answered")
    for vote in given[:2]:
        here.apply(Amend(vote.annotation_id, "answered", "genuine"))
    labels = here.labels()
    newest = labels[-1]
    assert (newest.label, newest.annotator) == ("genuine", "consensus")
    assert labels[-3].supersedes == verdict.annotation_id
    assert newest.supersedes == labels[-3].annotation_id
    outcome = here.apply(Amend(str(verdict.annotation_id), "answered", "fraud", "eve"))
    assert isinstance(outcome, RefusedError)
    assert outcome.reason is Reason.NOT_AMENDABLE
    here.apply(Amend(str(newest.annotation_id), "answered", "fraud", "eve"))
    with here.store.engine.connect() as connection:
        found = qualities(connection, RULES, ["ada", "cyd"])
    assert (found["ada"].agreement, found["cyd"].agreement) == (0.0, 1.0)
