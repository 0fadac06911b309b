from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from labeling import CLASSES, PIPELINE, SOURCE, MovedClock, arrivals, candidate
from typer.testing import CliRunner

from benchmarks.support.postgres import PostgresServer
from labeling_grpc.commands.administration import AddComment
from labeling_grpc.commands.labeling import (
    Accepted,
    AddGold,
    Amend,
    Answer,
    Command,
    Escalate,
    GoldAdded,
    LeaseCases,
    LeasedCase,
    LeaseRef,
    Quarantine,
    ReleaseLeases,
    RemoveGold,
    RenewLeases,
    Result,
    SubmitAnswers,
    TakeIn,
)
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.database import postgres_store, sqlite_store
from labeling_grpc.options import queue_database
from labeling_grpc.quality.annotator_metrics import agreement, names, own_agreement, qualities, suspects
from labeling_grpc.quality.screening import Screener
from labeling_grpc.queue import gold
from labeling_grpc.queue.progress import progress
from labeling_grpc.storage.base import Store
from labeling_grpc.storage.group_commit import Writer
from labeling_grpc.tables.schema import annotators
from tidemark.cli.app import app
from tidemark.evaluation.intervals import newcombe, wilson
from tidemark.records import Label, decode
from tidemark.records.topics import Topics
from tidemark.runtime.settings import Settings

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
def desk(
    request: pytest.FixtureRequest, tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[QueueRules], Desk]]:
    monkeypatch.setattr("secrets.token_bytes", random.Random(1).randbytes)  # what is given as gold, and where
    stores: list[Store] = []

    def opened(rules: QueueRules) -> Desk:
        clock = MovedClock()
        if request.param == "sqlite":
            stores.append(sqlite_store(tmp_path / "q.db", Topics("pay"), rules, clock))
        else:
            server: PostgresServer = request.getfixturevalue("postgres")
            stores.append(postgres_store(server.url, Topics(unique), rules, clock))
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
    assert here.labels()[-1].source == "review"


def test_whose_word_an_answer_is_stands_in_its_label(desk: Opened) -> None:
    here = desk(QueueRules(classes=CLASSES, release_hold_us=0))
    here.take_in(1)
    (task,) = here.lease("ada")
    given = here.answer(task, "fraud")
    own = here.apply(Amend(given.annotation_id, "answered", "genuine"))
    assert isinstance(own, Accepted)
    here.apply(Amend(own.annotation_id, "answered", "fraud", "eve"))
    assert [(label.annotator, label.source) for label in here.labels()] == [
        ("ada", None),
        ("ada", None),
        ("eve", "review"),
    ]


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


GOLDEN = QueueRules(classes=CLASSES, release_hold_us=0, gold_every=3)


def golden(here: Desk, number: int) -> dict[str, str]:
    """Cases that somebody answered, made gold: the even ones genuine, the odd ones fraud."""
    events = here.take_in(number)
    for task in here.lease("the one who knows", number):
        here.answer(task, "fraud")
    truth = {event_id: CLASSES[index % 2] for index, event_id in enumerate(events)}
    here.apply(AddGold(tuple(truth.items())))
    return truth


def test_one_case_in_so_many_is_gold_at_a_place_that_cannot_be_told(desk: Opened) -> None:
    here = desk(GOLDEN)
    draws = 45  # by chance no place is missing, but once in twenty-eight million runs
    truth = golden(here, 50)
    here.take_in(100)
    places = []
    seen: list[str] = []
    for _ in range(draws):
        tasks = here.lease("ada", 3)
        (place,) = (index for index, task in enumerate(tasks) if task.event_id in truth)
        places.append(place)
        seen.append(tasks[place].event_id)
        for task in tasks:
            assert task.leases == 1
            here.answer(task, "genuine")
    assert set(places) == {0, 1, 2}
    assert len(set(seen)) == draws
    assert here.store.counts.answered == 50 + 2 * draws
    published = [label for label in here.labels() if label.status == "gold"]
    assert [label.event_id for label in published] == seen
    assert all(label.consensus == [float(truth[label.event_id] == name) for name in CLASSES] for label in published)


def test_without_a_true_case_there_is_no_gold_one(desk: Opened) -> None:
    here = desk(replace(GOLDEN, gold_every=1))
    golden(here, 3)
    assert here.lease("ada", 3) == []


def test_a_gold_case_is_renewed_given_back_and_answered_as_any_other(desk: Opened) -> None:
    here = desk(replace(GOLDEN, gold_every=1))
    golden(here, 4)
    here.take_in(1)
    held, back, late, asked = here.lease("ada", 4)
    assert here.apply(RenewLeases((LeaseRef(held.event_id, held.token),), SECOND)) == [here.clock.time + SECOND]
    assert here.apply(ReleaseLeases((LeaseRef(back.event_id, back.token),))) == 1
    assert here.apply(ReleaseLeases((LeaseRef(back.event_id, back.token),))) == 0
    escalate = Escalate(asked.event_id, asked.token, "hard")
    given = here.apply(escalate)
    assert isinstance(given, Accepted)
    assert here.apply(escalate) == Accepted(given.annotation_id, duplicate=True)
    answer = SubmitAnswers((Answer(held.event_id, held.token, "answered", "fraud"),))
    first, again = here.apply(answer), here.apply(answer)
    assert isinstance(first, list)
    assert isinstance(again, list)
    assert isinstance(first[0], Accepted)
    assert again == [Accepted(first[0].annotation_id, duplicate=True)]
    here.clock.time += 3_600 * SECOND
    for lease in (back, late):
        refused = here.apply(SubmitAnswers((Answer(lease.event_id, lease.token, "answered", "fraud"),)))
        assert isinstance(refused, list)
        assert isinstance(refused[0], RefusedError)
        assert refused[0].reason is Reason.STALE_LEASE
    assert [task.event_id for task in here.lease("ada", 4)] != [held.event_id]
    assert here.store.counts.answered == 4


def test_cases_that_go_back_and_were_not_passed_on_come_again_and_gold_ones_among_them(desk: Opened) -> None:
    """Of a page that is loaded anew the gold case was the one that did not come back."""
    here = desk(GOLDEN)
    truth = golden(here, 20)
    here.take_in(100)
    for _ in range(5):
        tasks = here.lease("ada", 6)
        events = [task.event_id for task in tasks]
        assert sum(event_id in truth for event_id in events) == 2
        leases = tuple(LeaseRef(task.event_id, task.token) for task in tasks)
        assert here.apply(ReleaseLeases(leases, passed=False)) == len(tasks)
        again = here.lease("ada", 6)
        assert [task.event_id for task in again] == events
        for task in again:
            here.answer(task, "genuine")


def test_what_was_said_of_a_gold_case_is_not_told_to_who_is_given_it(desk: Opened) -> None:
    here = desk(replace(GOLDEN, gold_every=1))
    (event_id,) = golden(here, 1)
    (waiting,) = here.take_in(1)
    for about in (event_id, waiting):
        here.apply(AddComment(about, "eve", "a fraud, I am sure", "k"))
    tasks = here.lease("ada", 2)
    assert {task.event_id: len(task.comments) for task in tasks} == {event_id: 0, waiting: 1}


def test_gold_cases_are_listed_with_how_they_were_answered_and_removed_ones_are_not_given(desk: Opened) -> None:
    here = desk(replace(GOLDEN, gold_every=1))
    truth = golden(here, 3)
    here.take_in(5)
    for who in ("ada", "ben"):
        for task in here.lease(who, 3):
            here.answer(task, "fraud" if who == "ada" else truth[task.event_id])
    with here.store.engine.connect() as connection:
        first, *rest = gold.page(connection, RULES.scale, "", 2)
        rest += gold.page(connection, RULES.scale, rest[-1].event_id, 2)
    assert {row.event_id: (row.label, row.right, row.wrong) for row in (first, *rest)} == {
        event_id: (label, 2, 0) if label == "fraud" else (label, 1, 1) for event_id, label in truth.items()
    }
    assert here.apply(RemoveGold(first.event_id)) == 1
    assert here.apply(RemoveGold(first.event_id)) == 0
    assert first.event_id not in {task.event_id for task in here.lease("cyd", 4)}


def test_only_closed_cases_of_known_classes_become_gold(desk: Opened) -> None:
    here = desk(GOLDEN)
    (waiting,) = here.take_in(1)
    assert here.apply(AddGold(((waiting, "fraud"), ("nothing", "fraud")))) == GoldAdded(0, (waiting, "nothing"))
    refused = here.apply(AddGold(((waiting, "unheard of"),)))
    assert isinstance(refused, RefusedError)
    assert refused.reason is Reason.UNKNOWN_CLASS


def test_figures_of_an_annotator_are_those_of_their_answers(desk: Opened) -> None:
    here = desk(replace(RULES, answers=2, gold_every=2))
    events = here.take_in(12)
    for who in ("first", "second"):
        for task in here.lease(who, 12):
            here.answer(task, "fraud")
    here.apply(AddGold(tuple((event_id, "fraud") for event_id in events)))
    here.take_in(200)
    for turn in range(150):
        (task,) = here.lease("ada")
        wrong = task.event_id in events and turn % 4 == 0
        here.answer(task, "genuine" if wrong else "fraud", 1.0 if turn < 30 else 5.0)
    while tasks := here.lease("ben", 50):
        for task in tasks:
            here.answer(task, "fraud")
    with here.store.engine.connect() as connection:
        found = qualities(connection, replace(RULES, answers=2, gold_every=2), names(connection))
    ada = found["ada"]
    told = [label for label in here.labels() if label.annotator == "ada"]
    right = [label.label == "fraud" for label in told if label.status == "gold"]
    judged = [label.label == "fraud" or label.status == "vote" for label in told]
    assert (ada.answered, ada.skipped, ada.gold_answered) == (150, 0, 12)
    assert (ada.gold_accuracy, ada.gold_low, ada.gold_high) == (sum(right) / 12, *wilson(sum(right) / 12, 12))
    assert (ada.median_ms, ada.fast_ms) == (5_000, 1_000)
    assert (ada.median_low_ms, ada.median_high_ms) == (5_000, 5_000)
    votes = sum(label.status == "vote" for label in told)
    assert (ada.agreement, ada.agreement_answers) == (1.0, votes)
    assert (ada.agreement_low, ada.agreement_high) == wilson(1.0, votes)
    assert ada.suspicion == ""
    assert ada.before_judged == 50
    assert (ada.recent, ada.before) == (sum(judged[-100:]) / 100, sum(judged[:-100]) / 50)
    assert (ada.drift_low, ada.drift_high) == newcombe(ada.recent or 0.0, 100, ada.before or 0.0, 50)
    assert (ada.drift_low or 0.0) < (ada.drift or 0.0) < (ada.drift_high or 0.0)
    untold = ada.untold
    assert (untold.drift, untold.drift_low, untold.recent, untold.before_judged) == (None, None, None, 0)
    assert (untold.median_low_ms, untold.agreement) == (5_000, 1.0)


def test_how_far_verdicts_agree_with_ones_own_answers_is_told_without_gold_cases(desk: Opened) -> None:
    rules = replace(RULES, answers=3, gold_every=1)
    here = desk(rules)
    known = here.take_in(4)
    for who in ("dan", "eve", "fay"):
        for task in here.lease(who, 4):
            here.answer(task, "fraud")
    here.apply(AddGold(tuple((event_id, "fraud") for event_id in known)))
    here.take_in(10)
    for who in ("ada", "ben", "cyd"):
        for number in range(14):
            for task in here.lease(who):
                here.answer(task, "genuine" if who == "ada" and number % 2 else "fraud")
    with here.store.engine.connect() as connection:
        ada, nobody = own_agreement(connection, rules, "ada"), own_agreement(connection, rules, "zoe")
        figures = qualities(connection, rules, ["ada"])["ada"]
    assert nobody is None
    assert ada is not None
    assert figures.gold_answered > 0
    votes = [label for label in here.labels() if label.annotator == "ada" and label.status == "vote"]
    right = sum(label.label == "fraud" for label in votes)
    assert (ada.share, ada.answers) == (right / len(votes), len(votes))
    assert (ada.low, ada.high) == wilson(ada.share, ada.answers)


def test_answers_of_a_bulk_have_no_time_of_their_own(desk: Opened) -> None:
    here = desk(replace(RULES, answers=1))
    here.take_in(12)
    tasks = here.lease("ada", 12)
    for task in tasks[:2]:
        here.answer(task, "fraud", 4.0)
    here.clock.time += 100 * SECOND
    here.apply(
        SubmitAnswers(tuple(Answer(task.event_id, task.token, "answered", "fraud", bulk="b") for task in tasks[2:]))
    )
    with here.store.engine.connect() as connection:
        ada = qualities(connection, RULES, ["ada"])["ada"]
        told = progress(connection, "ada", here.clock.wall(), here.clock.now())
    assert ada.answered == told.answered == 12
    assert ada.median_ms == told.median_ms == 6_000


def crowd(here: Desk, seed: int = 3) -> dict[str, str]:
    """Four who know (nine in ten), one who tosses a coin, one who turns the classes round; all answer 150 cases."""
    draw = random.Random(seed)
    here.take_in(150)
    truth: dict[str, str] = {}
    people = ["ada", "ben", "cyd", "dan", "coin", "turned"]
    for who in people:
        while tasks := here.lease(who, 50):
            for task in tasks:
                real = truth.setdefault(task.event_id, draw.choice(CLASSES))
                other = next(name for name in CLASSES if name != real)
                right = {"coin": 0.5, "turned": 0.1}.get(who, 0.9)
                here.answer(task, real if draw.random() < right else other)
    return truth


CROWD = replace(RULES, answers=6)


def test_who_guesses_or_turns_classes_round_is_found_and_why_is_said(desk: Opened) -> None:
    here = desk(CROWD)
    crowd(here)
    with here.store.engine.connect() as connection:
        found = {its.annotator: its.why for its in suspects(connection, CROWD)}
        figures = qualities(connection, CROWD, names(connection))
        alpha = agreement(connection, CROWD)
    assert set(found) == {"coin", "turned"}
    assert "no more than chance" in found["coin"]
    assert "turned round" in found["turned"]
    assert {name for name, its in figures.items() if its.suspicion} == {"coin", "turned"}
    assert alpha.cases == 150
    assert alpha.low < alpha.value < alpha.high


def test_who_is_found_is_given_nothing_more_and_counts_in_no_open_case(desk: Opened) -> None:
    here = desk(CROWD)
    crowd(here)
    (open_case,) = here.take_in(1)
    for who in ("coin", "turned"):
        (task,) = here.lease(who)
        here.answer(task, "genuine")
    before = len(here.labels())
    failures: list[Exception] = []
    writer = Writer(here.store, failures.append)
    writer.start()
    try:
        screener = Screener(writer, CROWD, failures.append)
        assert screener.look() == ["coin", "turned"]
        assert screener.look() == []
    finally:
        writer.stop()
    assert failures == []
    assert len(here.labels()) == before
    refused = here.apply(LeaseCases("coin", 1, SECOND))
    assert isinstance(refused, RefusedError)
    assert refused.reason is Reason.ANNOTATOR_STOPPED
    for who in ("ada", "ben", "cyd", "dan", "eve", "fay"):
        (task,) = here.lease(who)
        here.answer(task, "fraud")
    verdict = here.labels()[-1]
    assert (verdict.event_id, verdict.label) == (open_case, "fraud")
    assert verdict.annotators == ["ada", "ben", "cyd", "dan", "eve", "fay"]


def test_what_came_before_an_administrator_made_somebody_active_again_is_not_held_against_them(desk: Opened) -> None:
    here = desk(CROWD)
    crowd(here)
    here.apply(Quarantine("coin", "guesses"))
    with here.store.engine.begin() as connection:
        connection.execute(annotators.update().values(state="active", since=here.clock.wall()))
    with here.store.engine.connect() as connection:
        assert [its.annotator for its in suspects(connection, CROWD)] == ["turned"]


def test_who_answers_gold_cases_wrong_is_found_unless_others_do_no_better(desk: Opened) -> None:
    here = desk(replace(GOLDEN, gold_every=1))
    truth = golden(here, 20)
    here.take_in(1)
    for who, right in (("ada", 20), ("ben", 19), ("wrong", 5)):
        for index, task in enumerate(here.lease(who, 20)):
            real = truth[task.event_id]
            here.answer(task, real if index < right else next(name for name in CLASSES if name != real))
    with here.store.engine.connect() as connection:
        (found,) = suspects(connection, GOLDEN)
    assert found.annotator == "wrong"
    assert "answers 25% of 20 cases with a known answer right, at most 47%; 60% are asked" in found.why


@pytest.mark.parametrize("consensus", ["majority", "dawid_skene", "glad"])
def test_every_consensus_follows_two_against_one(
    desk: Opened, consensus: Literal["majority", "dawid_skene", "glad"]
) -> None:
    rules = replace(RULES, consensus=consensus)
    here = desk(rules)
    here.take_in(1)
    for who, label in (("ada", "fraud"), ("ben", "genuine"), ("cyd", "fraud")):
        here.answer(here.lease(who)[0], label)
    verdict = here.labels()[-1]
    assert (verdict.label, verdict.answers, verdict.annotators) == ("fraud", 3, ["ada", "ben", "cyd"])
    expected = {"majority": 2 / 3, "dawid_skene": 0.75}.get(consensus)
    assert verdict.confidence is not None
    assert 0.5 < verdict.confidence < 0.9
    if expected is not None:
        assert verdict.confidence == pytest.approx(expected, abs=1e-6)


def test_the_command_shows_annotators_their_agreement_and_who_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("TIDEMARK_LABELING_DATABASE", raising=False)
    file = tmp_path / "pay.toml"
    file.write_text(PIPELINE.replace("NAME", "pay") + "\n[labeling]\nanswers = 6\n")
    clock = MovedClock()
    where = queue_database(Settings.from_environment(), "pay", "")
    assert isinstance(where, Path)
    store = sqlite_store(where, Topics("pay"), CROWD, clock)
    try:
        here = Desk(store, clock)
        crowd(here)
        here.apply(Quarantine("coin", "tosses a coin"))
        result = CliRunner().invoke(app, ["queue", "annotators", str(file)])  # while a service has the database
    finally:
        store.close()
    assert result.exit_code == 0, result.output
    told = " ".join(result.output.split())
    row = next(line.split() for line in result.output.splitlines() if line.startswith("ada"))
    assert row[1:3] == ["150", "0"]
    assert row[-1] == "active"
    assert "over 150 cases that several answered" in told
    assert "! turned: agrees with the others in" in told
    assert "! coin is quarantined: tosses a coin" in told
