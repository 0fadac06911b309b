"""Several answers to a case, escalation, gold cases and quarantine, against a model of them."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
import statistics
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from labeling import CLASSES, SOURCE, MovedClock, arrivals, candidate
from msgspec import structs

from benchmarks.support.postgres import PostgresServer
from labeling_grpc.commands.administration import Changed, RequeueCases
from labeling_grpc.commands.labeling import (
    Accepted,
    AddGold,
    AdoptLabels,
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
    RenewLeases,
    Result,
    SubmitAnswers,
    Sweep,
    TakeIn,
)
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.database import postgres_store, sqlite_store
from labeling_grpc.queue import entropy
from labeling_grpc.security.caller import Caller
from labeling_grpc.security.roles import Role
from labeling_grpc.storage.base import Store
from labeling_grpc.storage.postgres import PostgresStore
from labeling_grpc.tables.schema import annotators, answers, cases, confusion, queue
from tidemark.consensus.numbers import accuracy, error_bin, estimate
from tidemark.pipeline.model import LabelSpec
from tidemark.records import Candidate, Label, decode
from tidemark.records.topics import Topics

ANNOTATORS = ("ada", "ben", "cyd", "dan", "eve")
PICKS = range(6)
"""Things that annotators say, of which a pipeline of two classes has fewer."""
HOLD = 500
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a fresh folder in it: flushes cost nothing
RULES = QueueRules(classes=CLASSES, max_open=1_000, release_hold_us=HOLD, answers=2, max_answers=3, gold_every=3)
HOURS = LabelSpec.model_validate({"type": "number", "min": -50, "max": 900, "tolerance": 2, "unit": "h", "delay": "1d"})
WRITTEN = {written: repr(float(written)) for written in ("12", "013.5", " 12.0 ", "1.6e1", "880", "-50")}
NUMBERS = dataclasses.replace(RULES, classes=(), number=HOURS)


@dataclass
class Vote:
    id: str
    label: str | None
    known_at: int


@dataclass
class Case:
    candidate: Candidate
    order: int
    state: str = "waiting"
    review: bool = False
    escalated: bool = False
    token: str = ""
    annotator: str = ""
    until: int = 0
    held_from: str = ""
    held_until: int = 0
    leases: int = 0
    votes: dict[str, Vote] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    said: dict[str, tuple[object, str]] = field(default_factory=dict)
    ended_by: str = ""
    truth: dict[str, float] = field(default_factory=dict)

    @property
    def given(self) -> dict[str, str]:
        return {who: vote.label for who, vote in self.votes.items() if vote.label is not None}


class Model:
    """The rules of docs/explanation/labeling.md on several answers, one case at a time, in the obvious way."""

    def __init__(self) -> None:
        self.cases: dict[str, Case] = {}
        self.published: list[tuple[str, str, str | None, str]] = []
        self.gold: dict[str, str] = {}
        self.gold_leases: dict[str, tuple[str, str, int]] = {}
        self.gold_had: set[tuple[str, str]] = set()
        self.gold_said: list[tuple[str, str, str]] = []
        self.quarantined: set[str] = set()
        self.event_clock = 0

    def in_state(self, state: str) -> list[Case]:
        return [case for case in self.cases.values() if case.state == state]

    def counts(self, apart: Case | None) -> dict[tuple[str, str, str], float]:
        """What is known of annotators, from the cases that ended, but for one."""
        found: dict[tuple[str, str, str], float] = defaultdict(float)
        for case in self.cases.values():
            given = case.given
            if case is apart or not given or not case.truth or (case.ended_by == "consensus" and len(given) < 2):
                continue
            for truth, share in case.truth.items():
                found["", truth, truth] += share
                for who, said in given.items():
                    found[who, truth, said] += share
        for who, truth, said in self.gold_said:
            found[who, truth, said] += 1
        return found

    def consensus(self, given: dict[str, str], apart: Case | None = None) -> dict[str, float]:
        """Probability of each class by Dawid and Skene's model, written out."""
        counts = self.counts(apart)
        joint = {}
        for truth in CLASSES:
            joint[truth] = counts["", truth, truth] + 1
            for who, said in given.items():
                before = {name: (3.0 if name == truth else 1.0) + counts[who, truth, name] for name in CLASSES}
                joint[truth] *= before[said] / sum(before.values())
        return {truth: round(share / sum(joint.values()), 6) for truth, share in joint.items()}

    def counted(self, case: Case) -> dict[str, Vote]:
        return {who: vote for who, vote in case.votes.items() if who not in self.quarantined}

    def counted_classes(self, case: Case) -> dict[str, str]:
        return {who: vote.label for who, vote in self.counted(case).items() if vote.label is not None}

    def end(self, case: Case, status: str, label: str | None, by: str) -> None:
        case.state, case.ended_by = status, by
        case.truth = {} if label is None else {label: 1.0}
        self.published.append((case.candidate.event_id, status, label, by))

    def decide(self, case: Case, truth: dict[str, float]) -> None:
        self.end(case, "answered", max(truth, key=lambda name: truth[name]), "consensus")
        case.truth = truth

    def settle(self, case: Case) -> bool:
        cast, given = self.counted(case), self.counted_classes(case)
        over = len(cast) >= 3
        if not given:
            if over:
                self.end(case, "skipped", None, max(cast, key=lambda who: cast[who].known_at))
            return over
        truth = self.consensus(given)
        if max(truth.values()) >= RULES.confidence and (over or len(given) >= 2):
            self.decide(case, truth)
            return True
        return False

    def place(self, case: Case) -> None:
        case.review = case.escalated or len(self.counted(case)) >= 3

    def over(self, case: Case) -> bool:
        expires_at = case.candidate.expires_at
        return expires_at is not None and expires_at <= self.event_clock

    def expire(self, case: Case) -> None:
        truth = self.consensus(given) if (given := self.counted_classes(case)) else {}
        if max(truth.values(), default=0) >= RULES.confidence:
            self.decide(case, truth)
        else:
            self.end(case, "expired", None, "")

    def give_back(self, case: Case) -> None:
        if self.over(case):
            self.expire(case)
        else:
            case.state, case.token = "waiting", ""

    def end_leases(self, now: int) -> None:
        for case in sorted(self.in_state("leased"), key=lambda each: (each.until, each.order)):
            if case.until <= now:
                case.held_from = ""
                self.give_back(case)

    def may_have(self, case: Case, annotator: str, now: int) -> bool:
        held = case.held_from == annotator and case.held_until > now
        return annotator not in case.seen and not held

    def lease(self, annotator: str, count: int, now: int, *, review: bool) -> list[str]:
        given: list[str] = []
        for tier in (True, False) if review else (False,):
            while len(given) < count:
                offered = [
                    case
                    for case in self.in_state("waiting")
                    if case.review is tier and self.may_have(case, annotator, now)
                ]
                if not offered:
                    break
                first = min(offered, key=lambda case: (-case.candidate.priority, case.order))
                first.state = "leased"
                given.append(first.candidate.event_id)
        return given


class NumberModel(Model):
    """The same where an answer is a number: a verdict is the one number, with its probability."""

    def errors(self, apart: Case | None) -> dict[str, Counter[int]]:
        """Errors of annotators by their bins, from the cases that ended, but for one."""
        found: dict[str, Counter[int]] = defaultdict(Counter)
        for case in self.cases.values():
            given = {who: float(label) for who, label in case.given.items()}
            if case is apart or not given or not case.truth or (case.ended_by == "consensus" and len(given) < 2):
                continue
            truth = float(next(iter(case.truth)))
            if case.ended_by == "consensus":
                truth = statistics.median(given.values())
            for who, said in given.items():
                found[who][error_bin(said - truth, 2.0)] += 1
        for who, known, label in self.gold_said:
            found[who][error_bin(float(label) - float(known), 2.0)] += 1
        return found

    def consensus(self, given: dict[str, str], apart: Case | None = None) -> dict[str, float]:
        errors = self.errors(apart)
        found = estimate([(float(label), accuracy(errors[who], 2.0, 2.0)) for who, label in given.items()], 2.0)
        return {repr(min(max(found.number, -50.0), 900.0)): round(found.confidence, 6)}


class OverlapMachine(RuleBasedStateMachine):
    """Every command answered by the queue as by the model."""

    leases = Bundle("leases")
    replicas = 1
    held_to = RULES
    model_of: type[Model] = Model
    said_as: Mapping[str, str] = {name: name for name in CLASSES}
    """What annotators may say, and as which answer it is kept."""
    made = itertools.count()

    @initialize()
    def begin(self) -> None:
        # Which cases are gold is drawn from the system's entropy, and Hypothesis takes the same steps again.
        drawn = SimpleNamespace(token_bytes=random.Random(7).randbytes)
        self.entropy = patch.object(entropy, "secrets", drawn)
        self.entropy.start()
        self.clock = MovedClock()
        self.model = self.model_of()
        self.number = 0
        self.replica = 0
        self.blocks: dict[tuple[int, str], list[bool]] = defaultdict(list)
        self.make()
        self.stores = [self.open() for _ in range(self.replicas)]
        self.take_in([(0.5, None)] * 4)

    def make(self) -> None:
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)

    def open(self) -> Store:
        return sqlite_store(Path(self.folder.name) / "q.db", Topics("pay"), self.held_to, self.clock)

    def fresh(self) -> Store:
        return sqlite_store(
            Path(self.folder.name) / f"fresh{next(self.made)}.db", Topics("pay"), self.held_to, self.clock
        )

    @property
    def store(self) -> Store:
        return self.stores[self.replica]

    def teardown(self) -> None:
        for store in getattr(self, "stores", []):
            store.close()
        if hasattr(self, "folder"):
            self.folder.cleanup()
        if hasattr(self, "entropy"):
            self.entropy.stop()

    def apply(self, command: Command) -> Result:
        self.clock.time += 1
        (result,) = self.store.transact([command]).results
        return result

    def after(self) -> None:
        """Leases that ran out end after the commands of a group; consensus is taken over to the last digit."""
        self.model.end_leases(self.clock.time)
        verdicts = {
            label.event_id: label
            for label in self.labels()
            if label.annotator == "consensus" and label.status == "answered"
        }
        for event_id, verdict in verdicts.items():
            case = self.model.cases[event_id]
            if case.ended_by == "consensus":
                self.take_over(case, verdict)

    def take_over(self, case: Case, verdict: Label) -> None:
        assert verdict.consensus == pytest.approx([case.truth[name] for name in CLASSES], abs=5e-6)
        case.truth = dict(zip(CLASSES, verdict.consensus or (), strict=True))

    def some(self, pick: int) -> str:
        """One of the things that annotators say."""
        return list(self.said_as)[pick % len(self.said_as)]

    def labels(self) -> list[Label]:
        return [decode(Label, row.message.value) for row in self.store.unpublished(0, 10_000)]

    @rule(specs=st.lists(st.tuples(st.sampled_from([0.1, 0.9]), st.sampled_from([None, None, 3, 30])), max_size=3))
    def more_cases_come(self, specs: list[tuple[float, int | None]]) -> None:
        self.take_in(specs)

    def take_in(self, specs: list[tuple[float, int | None]]) -> None:
        candidates = []
        for priority, useful in specs:
            time = self.model.event_clock + 5
            expires_at = None if useful is None else time + useful
            candidates.append(candidate(self.number, priority=priority, time=time, expires_at=expires_at))
            self.model.event_clock = time
            self.model.cases[candidates[-1].event_id] = Case(candidates[-1], self.number)
            self.number += 1
        start = self.number - len(candidates)
        held = start or None
        self.clock.time += 1
        self.store.transact([TakeIn(SOURCE, held, self.number, arrivals(candidates, start))])
        due = [case for case in self.model.in_state("waiting") if self.model.over(case)]
        for case in sorted(due, key=lambda each: (each.candidate.expires_at, each.order)):
            self.model.expire(case)
        self.after()

    @rule(
        target=leases,
        annotator=st.sampled_from(ANNOTATORS),
        count=st.integers(1, 4),
        length=st.sampled_from([5, 10_000]),
        review=st.booleans(),
    )
    def ask(self, annotator: str, count: int, length: int, review: bool) -> object:
        return multiple(*self.lease(annotator, count, length, review=review))

    @rule(
        annotator=st.sampled_from(ANNOTATORS),
        picks=st.lists(st.sampled_from((0, 0, 0, *PICKS)), min_size=1, max_size=4),
    )
    def one_works_for_a_while(self, annotator: str, picks: list[int]) -> None:
        for lease, pick in zip(self.lease(annotator, len(picks), 1_000, review=False), picks, strict=False):
            self.say(lease, pick, "")

    @rule(annotator=st.sampled_from(ANNOTATORS), pick=st.sampled_from(PICKS) | st.none())
    def one_reviews(self, annotator: str, pick: int | None) -> None:
        for lease in self.lease(annotator, 1, 1_000, review=True):
            self.say(lease, pick, "")

    def lease(self, annotator: str, count: int, length: int, *, review: bool) -> list[tuple[str, str]]:
        self.clock.time += 1
        self.model.end_leases(self.clock.time)
        (given,) = self.store.transact([LeaseCases(annotator, count, length, review=review)]).results
        if annotator in self.model.quarantined:
            assert reason(given) is Reason.ANNOTATOR_STOPPED
            return []
        assert isinstance(given, list)
        tasks = [task for task in given if isinstance(task, LeasedCase)]
        golden = [task for task in tasks if self.model.cases[task.event_id].state not in {"waiting", "leased"}]
        true = [task for task in tasks if task not in golden]
        self.blocks[self.replica, annotator] += [task in golden for task in tasks]
        for task in golden:
            assert task.event_id in self.model.gold
            assert (task.event_id, annotator) not in self.model.gold_had
            assert annotator not in self.model.cases[task.event_id].seen | {self.model.cases[task.event_id].ended_by}
            self.model.gold_had.add((task.event_id, annotator))
            self.model.gold_leases[task.token] = (task.event_id, annotator, task.until)
        expected = self.model.lease(annotator, count - len(golden), self.clock.time, review=review)
        assert [task.event_id for task in true] == expected
        for task in true:
            case = self.model.cases[task.event_id]
            case.token, case.annotator, case.until = task.token, annotator, task.until
            case.leases += 1
            assert task.leases == case.leases
        for task in tasks:
            assert task.until == self.clock.time + length
            assert decode(Candidate, task.candidate) == self.model.cases[task.event_id].candidate
        return [(task.event_id, task.token) for task in tasks]

    def refused(self, event_id: str, token: str) -> Reason | None:
        if token in self.model.gold_leases:
            stale = self.model.gold_leases[token][2] <= self.clock.time
            return Reason.STALE_LEASE if stale else None
        case = self.model.cases[event_id]
        if case.state not in {"waiting", "leased"}:
            return Reason.CASE_CLOSED
        if case.state != "leased" or case.token != token or case.until <= self.clock.time:
            return Reason.STALE_LEASE
        return None

    @rule(lease=leases, pick=st.sampled_from(PICKS) | st.none(), key=st.sampled_from(["", "k1"]))
    def answer(self, lease: tuple[str, str], pick: int | None, key: str) -> None:
        self.say(lease, pick, key)

    def say(self, lease: tuple[str, str], pick: int | None, key: str) -> None:
        event_id, token = lease
        typed = None if pick is None else self.some(pick)
        label = None if typed is None else self.said_as[typed]
        answer = Answer(event_id, token, "skipped" if label is None else "answered", typed, key)
        result = self.apply(SubmitAnswers((answer,)))
        assert isinstance(result, list)
        self.said(event_id, token, structs.replace(answer, label=label), result[0], key or token, label)
        self.after()

    @rule(lease=leases, key=st.sampled_from(["", "k1"]))
    def escalate(self, lease: tuple[str, str], key: str) -> None:
        event_id, token = lease
        command = Escalate(event_id, token, "who can tell?", key)
        self.said(event_id, token, command, self.apply(command), key or token, None)
        self.after()

    def said(
        self, event_id: str, token: str, what: Answer | Escalate, outcome: object, key: str, label: str | None
    ) -> None:
        case = self.model.cases[event_id]
        if key in case.said:
            earlier, annotation_id = case.said[key]
            if earlier == what:
                assert outcome == Accepted(annotation_id, duplicate=True)
            else:
                assert reason(outcome) is Reason.KEY_REUSED
            return
        if (refused := self.refused(event_id, token)) is not None:
            assert reason(outcome) is refused
            return
        assert isinstance(outcome, Accepted)
        assert not outcome.duplicate
        case.said[key] = (what, outcome.annotation_id)
        if token in self.model.gold_leases:
            _, annotator, _ = self.model.gold_leases.pop(token)
            self.model.published.append((event_id, "gold", label, annotator))
            if label is not None:
                self.model.gold_said.append((annotator, self.model.gold[event_id], label))
            return
        annotator = case.annotator
        if isinstance(what, Escalate):
            self.model.published.append((event_id, "escalated", None, annotator))
            case.escalated = case.review = True
            case.held_from, case.held_until = annotator, self.clock.time + HOLD
            self.model.give_back(case)
        elif case.review:
            self.model.end(case, what.status, label, annotator)
        else:
            self.model.published.append((event_id, "vote", label, annotator))
            case.votes[annotator] = Vote(outcome.annotation_id, label, self.clock.wall())
            case.seen.add(annotator)
            if not self.model.settle(case):
                self.model.place(case)
                case.held_from = ""
                self.model.give_back(case)

    @rule(pick=st.integers(0, 50), to=st.sampled_from(PICKS) | st.none())
    def amend_a_vote(self, pick: int, to: int | None) -> None:
        standing = [(case, who) for case in self.model.cases.values() for who in case.votes]
        if not standing:
            return
        case, who = standing[pick % len(standing)]
        vote = case.votes[who]
        typed = None if to is None else self.some(to)
        label = None if typed is None else self.said_as[typed]
        outcome = self.apply(Amend(vote.id, "retracted" if label is None else "answered", typed, who))
        assert isinstance(outcome, Accepted)
        event_id = case.candidate.event_id
        self.model.published.append((event_id, "vote", label, who))
        case.said[vote.id] = ("amended", outcome.annotation_id)
        case.votes[who] = Vote(outcome.annotation_id, label, self.clock.wall())
        if case.state == "waiting" and not case.review:
            if not self.model.settle(case):
                self.model.place(case)
        elif case.state in {"waiting", "leased"}:
            self.model.place(case)
        elif case.ended_by == "consensus":
            truth = self.model.consensus(case.given, case) if case.given else {}
            best = max(truth, key=lambda name: truth[name], default=None)
            self.model.published.append((event_id, "answered" if truth else "retracted", best, "consensus"))
            case.truth, case.ended_by = truth, "consensus" if truth else "nobody"
        self.after()

    @rule(lease=leases, length=st.sampled_from([5, 10_000]))
    def renew(self, lease: tuple[str, str], length: int) -> None:
        event_id, token = lease
        result = self.apply(RenewLeases((LeaseRef(event_id, token),), length))
        assert isinstance(result, list)
        until = self.clock.time + length
        if (refused := self.refused(event_id, token)) is not None:
            assert reason(result[0]) is refused
        elif token in self.model.gold_leases:
            assert result == [until]
            self.model.gold_leases[token] = (*self.model.gold_leases[token][:2], until)
        else:
            assert result == [until]
            self.model.cases[event_id].until = until
        self.after()

    @rule(lease=leases)
    def release(self, lease: tuple[str, str]) -> None:
        event_id, token = lease
        released = self.apply(ReleaseLeases((LeaseRef(event_id, token),)))
        held = self.refused(event_id, token) is None
        assert released == int(held)
        if held and token in self.model.gold_leases:
            self.model.gold_leases[token] = (*self.model.gold_leases[token][:2], 0)
        elif held:
            case = self.model.cases[event_id]
            case.held_from, case.held_until = case.annotator, self.clock.time + HOLD
            self.model.give_back(case)
        self.after()

    @rule(pick=st.integers(0, 20), to=st.sampled_from(PICKS), closed=st.sampled_from([True, True, False]))
    def add_gold(self, pick: int, to: int, closed: bool) -> None:
        states = {"waiting", "leased"}
        fitting = [case for case in self.model.cases.values() if (case.state not in states) is closed]
        if not fitting:
            return
        case = fitting[pick % len(fitting)]
        event_id = case.candidate.event_id
        if event_id in self.model.gold:  # another label would change what is known of those who answered
            return
        is_open = case.state in {"waiting", "leased"}
        expected = GoldAdded(0, (event_id,)) if is_open else GoldAdded(1, ())
        assert self.apply(AddGold(((event_id, self.some(to)),))) == expected
        if not is_open:
            self.model.gold[event_id] = self.said_as[self.some(to)]
        self.after()

    @rule(pick=st.integers(0, 20))
    def an_administrator_has_a_case_asked_again(self, pick: int) -> None:
        closed = [case for case in self.model.cases.values() if case.state not in {"waiting", "leased"}]
        if not closed:
            return
        case = closed[pick % len(closed)]
        event_id = case.candidate.event_id
        changed = self.apply(RequeueCases(Caller("boss", Role.ADMIN), (event_id,), "a new rule"))
        if self.model.over(case):
            assert changed == Changed((), (event_id,))
        else:
            assert changed == Changed((event_id,), ())
            self.model.published.append((event_id, "requeued", None, ""))
            case.state, case.ended_by, case.truth, case.leases = "waiting", "", {}, 0
            case.votes, case.seen, case.escalated, case.review, case.held_from = {}, set(), False, False, ""
        self.after()

    @rule(annotator=st.sampled_from([None, None, None, *ANNOTATORS[:2]]))
    def quarantine(self, annotator: str | None) -> None:
        if annotator is None:
            return
        self.apply(Quarantine(annotator, "answers by the coin"))
        self.model.quarantined.add(annotator)
        self.after()

    @rule()
    def an_administrator_ends_quarantine(self) -> None:
        with self.store.engine.begin() as connection:
            connection.execute(annotators.update().values(state="active"))
        self.model.quarantined.clear()
        self.clock.time += 1_000_001  # until when what is known of annotators is looked up again
        self.apply(Sweep())
        self.after()

    @rule(steps=st.sampled_from([1, 400, 20_000]))
    def time_passes(self, steps: int) -> None:
        self.clock.time += steps
        self.apply(Sweep())
        self.after()

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.stores[self.replica] = self.open()
        self.blocks = defaultdict(list, {key: its for key, its in self.blocks.items() if key[0] != self.replica})

    @rule(cut=st.integers(1, 5))
    def a_rebuild_from_kafka_comes_to_the_same(self, cut: int) -> None:
        if any(self.model.over(case) for case in self.model.in_state("leased")):
            return  # a rebuilt queue has no leases, and ends the case now
        labels = self.labels()
        fresh = self.fresh()
        try:
            with fresh.engine.begin() as connection:
                rows = [{"name": name, "state": "quarantined"} for name in self.model.quarantined]
                values = {"why": "", "since": 0, "quota": 0}
                for row in rows:
                    connection.execute(annotators.insert().values(**row, **values))
            for start in range(0, len(labels), cut):
                fresh.transact([AdoptLabels(tuple(labels[start : start + cut]))])
            candidates = [case.candidate for case in self.model.cases.values()]
            fresh.transact([TakeIn(SOURCE, None, len(candidates), arrivals(candidates))])
            assert known(fresh) == known(self.store)
            assert placed(fresh) == {
                case.candidate.event_id: (case.escalated or len(self.model.counted(case)) >= 3, set(case.seen))
                for case in self.model.in_state("waiting") + self.model.in_state("leased")
            }
            assert annotated(fresh) == annotated(self.store)
        finally:
            fresh.close()

    @invariant()
    def what_is_published_is_what_was_said_and_what_came_of_it(self) -> None:
        if not hasattr(self, "stores"):
            return
        labels = [(label.event_id, label.status, label.label, label.annotator) for label in self.labels()]
        assert sorted(labels, key=str) == sorted(self.model.published, key=str)

    @invariant()
    def the_queue_holds_what_the_model_holds(self) -> None:
        if not hasattr(self, "stores"):
            return
        assert placed(self.store) == {
            case.candidate.event_id: (case.review, set(case.seen))
            for case in self.model.in_state("waiting") + self.model.in_state("leased")
        }
        counts = self.store.counts
        closed = [len(self.model.in_state(state)) for state in ("answered", "skipped", "expired")]
        assert [counts.answered, counts.skipped, counts.expired] == closed
        assert (counts.waiting, counts.leased) == (
            len(self.model.in_state("waiting")),
            len(self.model.in_state("leased")),
        )

    @invariant()
    def no_block_of_cases_holds_more_than_one_gold_case(self) -> None:
        for its in getattr(self, "blocks", {}).values():
            every = RULES.gold_every
            assert all(sum(its[start : start + every]) <= 1 for start in range(0, len(its), every))


def placed(store: Store) -> dict[str, tuple[bool, set[str]]]:
    query = sa.select(cases.c.event_id, queue.c.tier, queue.c.seen).join(queue, queue.c.case_id == cases.c.id)
    with store.engine.connect() as connection:
        return {row.event_id: (row.tier == 1, set(json.loads(row.seen or "[]"))) for row in connection.execute(query)}


def known(store: Store) -> list[tuple[str, str, str, int]]:
    query = sa.select(confusion).where(confusion.c.weight != 0)
    with store.engine.connect() as connection:
        return sorted(tuple(row) for row in connection.execute(query))


def annotated(store: Store) -> list[tuple[str, ...]]:
    query = sa.select(answers.c.id, answers.c.status, answers.c.label, answers.c.supersedes, answers.c.consensus)
    with store.engine.connect() as connection:
        return sorted((tuple(row) for row in connection.execute(query)), key=str)


def reason(outcome: object) -> Reason:
    assert isinstance(outcome, RefusedError), outcome
    return outcome.reason


class ReplicatedMachine(OverlapMachine):
    """The same over PostgreSQL, with two replicas of which any gets the next command."""

    replicas = 2
    url = ""

    def make(self) -> None:
        self.topics = Topics(f"overlap{next(self.made)}")

    def open(self) -> Store:
        return postgres_store(self.url, self.topics, self.held_to, self.clock)

    def fresh(self) -> Store:
        return postgres_store(self.url, Topics(f"overlap{next(self.made)}"), self.held_to, self.clock)

    @rule()
    def the_other_replica_is_asked(self) -> None:
        self.replica = 1 - self.replica
        self.apply(Sweep())  # a replica's counts are those of its last transaction
        self.after()


def take_over_number(case: Case, verdict: Label) -> None:
    ((label, confidence),) = case.truth.items()
    assert verdict.consensus is None
    assert float(verdict.label or "") == pytest.approx(float(label), abs=1e-9)
    assert verdict.confidence == pytest.approx(confidence, abs=5e-6)


class NumberMachine(OverlapMachine):
    """Answers are numbers, written in any way."""

    held_to = NUMBERS
    model_of = NumberModel
    said_as = WRITTEN

    def take_over(self, case: Case, verdict: Label) -> None:
        take_over_number(case, verdict)


class ReplicatedNumberMachine(ReplicatedMachine):
    """The same in PostgreSQL."""

    held_to = NUMBERS
    model_of = NumberModel
    said_as = WRITTEN

    def take_over(self, case: Case, verdict: Label) -> None:
        take_over_number(case, verdict)


SEARCH = settings(max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))


def test_several_answers_follow_their_rules_in_sqlite() -> None:
    run_state_machine_as_test(OverlapMachine, settings=SEARCH)


def test_several_answers_follow_their_rules_in_postgresql_with_two_replicas(postgres: PostgresServer) -> None:
    class Here(ReplicatedMachine):
        url = postgres.url

    run_state_machine_as_test(Here, settings=settings(SEARCH, max_examples=8, stateful_step_count=20))


def test_several_numbers_follow_their_rules_in_sqlite() -> None:
    run_state_machine_as_test(NumberMachine, settings=SEARCH)


def test_several_numbers_follow_their_rules_in_postgresql_with_two_replicas(postgres: PostgresServer) -> None:
    class Here(ReplicatedNumberMachine):
        url = postgres.url

    run_state_machine_as_test(Here, settings=settings(SEARCH, max_examples=8, stateful_step_count=20))


def vote_and_amend(store: Store, people: tuple[str, ...], seed: int) -> None:
    """Answer cases, and amend earlier votes in the same groups."""
    draw = random.Random(seed)
    mine: list[tuple[str, str]] = []
    for turn in range(60):
        annotator = people[turn % len(people)]
        (given,) = store.transact([LeaseCases(annotator, 2, 10**12)]).results
        assert isinstance(given, list)
        said = [
            Answer(task.event_id, task.token, "answered", draw.choice(CLASSES))
            for task in given
            if isinstance(task, LeasedCase)
        ]
        amended = [mine.pop(draw.randrange(len(mine))) for _ in range(min(2, len(mine)))]
        changes = [Amend(vote, "answered", draw.choice(CLASSES), who) for vote, who in amended]
        answered, *others = store.transact([SubmitAnswers(tuple(said)), *changes]).results
        assert isinstance(answered, list)
        assert all(isinstance(outcome, Accepted) for outcome in [*answered, *others])
        mine += [(outcome.annotation_id, annotator) for outcome in answered if isinstance(outcome, Accepted)]


@pytest.fixture
def pair(postgres: PostgresServer, unique: str) -> Iterator[list[PostgresStore]]:
    rules = dataclasses.replace(RULES, gold_every=0)
    stores = [postgres_store(postgres.url, Topics(unique), rules) for _ in range(2)]
    stores[0].transact([TakeIn(SOURCE, None, 25, arrivals([candidate(number) for number in range(25)]))])
    yield stores
    for store in stores:
        store.close()


def together(*works: Callable[[], None]) -> None:
    with ThreadPoolExecutor(len(works)) as pool:
        for done in [pool.submit(work) for work in works]:
            done.result(120)


def check_verdicts_follow_votes(store: Store) -> int:
    """Each case has one verdict at most, on the votes that stand, and that is what is learnt; how many verdicts."""
    labels = [decode(Label, row.message.value) for row in store.unpublished(0, 10_000)]
    superseded = {label.supersedes for label in labels}
    standing = [label for label in labels if label.annotation_id not in superseded]
    cast = [label for label in standing if label.status == "vote"]
    assert len({(label.event_id, label.annotator) for label in cast}) == len(cast)
    verdicts = {label.event_id: label for label in standing if label.annotator == "consensus"}
    assert len(verdicts) == sum(label.annotator == "consensus" for label in standing)
    expected: dict[tuple[str, str, str], int] = defaultdict(int)
    for event_id, verdict in verdicts.items():
        votes = {label.annotator: str(label.label) for label in cast if label.event_id == event_id}
        assert votes.keys() == set(verdict.annotators or ())
        assert len(set(votes.values())) > 1 or verdict.label in votes.values()
        for name, share in zip(CLASSES, verdict.consensus or (), strict=True):
            for who, told in [("", name), *votes.items()]:
                expected[who, name, told] += round(share * 1_000_000)
    assert known(store) == sorted((*key, weight) for key, weight in expected.items() if weight)
    return len(verdicts)


def test_replicas_that_take_and_amend_votes_at_once_come_to_what_the_annotations_say(pair: list[PostgresStore]) -> None:
    """How many verdicts a round leaves depends on whose votes meet: further cases come until six stand."""
    verdicts, end = 0, 25
    for seed in range(0, 12, 2):
        together(
            partial(vote_and_amend, pair[0], ANNOTATORS[:2], seed),
            partial(vote_and_amend, pair[1], ANNOTATORS[2:4], seed + 1),
        )
        verdicts = check_verdicts_follow_votes(pair[1])
        if verdicts > 5:
            break
        more = arrivals([candidate(number) for number in range(end, end + 25)])
        pair[0].transact([TakeIn(SOURCE, end, end + 25, more)])
        end += 25
    assert verdicts > 5


def test_two_votes_of_a_case_that_are_amended_at_once_both_count(pair: list[PostgresStore]) -> None:
    cast: list[list[str]] = []
    for annotator in ANNOTATORS[:2]:
        (given,) = pair[0].transact([LeaseCases(annotator, 25, 10**12)]).results
        assert isinstance(given, list)
        said = [
            Answer(task.event_id, task.token, "answered", "fraud") for task in given if isinstance(task, LeasedCase)
        ]
        (taken,) = pair[0].transact([SubmitAnswers(tuple(said))]).results
        assert isinstance(taken, list)
        cast.append([outcome.annotation_id for outcome in taken if isinstance(outcome, Accepted)])
    assert check_verdicts_follow_votes(pair[0]) == 25
    start = threading.Barrier(2)

    def amend(store: Store, votes: list[str]) -> None:
        for vote in votes:
            start.wait(60)
            assert isinstance(store.transact([Amend(vote, "answered", "genuine")]).results[0], Accepted)

    together(*(partial(amend, store, votes) for store, votes in zip(pair, cast, strict=True)))
    assert check_verdicts_follow_votes(pair[1]) == 25
