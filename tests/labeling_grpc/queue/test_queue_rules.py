from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

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
from labeling import CLASSES, SOURCE, MovedClock, arrivals, candidate, place_of_exploration

from benchmarks.support.postgres import PostgresServer
from labeling_grpc.commands.administration import AnnotatorRow, AssignCases, Changed, UpdateAnnotator
from labeling_grpc.commands.labeling import (
    Accepted,
    Amend,
    Answer,
    Command,
    LeaseCases,
    LeasedCase,
    LeaseRef,
    ReleaseLeases,
    RenewLeases,
    Result,
    SubmitAnswers,
    Sweep,
    TakeIn,
    TakenIn,
)
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.database import postgres_store, sqlite_store
from labeling_grpc.queue.queries import overview
from labeling_grpc.security.caller import SERVICE
from labeling_grpc.storage.postgres import PostgresStore
from labeling_grpc.storage.sqlite import SqliteStore
from labeling_grpc.tables.schema import confusion
from tidemark.pipeline.model import Due
from tidemark.records import Candidate, Label, decode
from tidemark.records.topics import Topics

ANNOTATORS = ("ada", "ben", "cyd")
HOLD = 500
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a fresh folder in it: flushes cost nothing
RULES = QueueRules(classes=CLASSES, max_open=6, release_hold_us=HOLD)
SEGMENTED = replace(RULES, max_open=9, segment="area", skill="needs")
DUE = Due.model_construct(segments={"north": 1_000_100, "south": 1_000_400}, lead=200)
"""Of the wall clock, which is about 1,000,000 where event times begin at 0. Cases of no area have no due time."""
WITH_DUE_TIMES = replace(SEGMENTED, due=DUE)
BY_COST = replace(WITH_DUE_TIMES, due=DUE.model_copy(update={"error_cost": "stake", "together": 12}))
KNOWN = {"ada": (25, 24), "ben": (30, 21), "cyd": (19, 19)}
"""Answers whose truth is known, and how many of them were right: one too few to know cyd."""
CAREFUL = {"ada": True, "ben": False}
AREAS = ("", "north", "south")
SKILLS = (None, "cards", "loans")


@dataclass
class Case:
    candidate: Candidate
    order: int
    state: str = "waiting"
    token: str = ""
    annotator: str = ""
    until: int = 0
    held_from: str = ""
    held_until: int = 0
    leases: int = 0
    assignee: str = ""
    assigned_until: int | None = None
    answers: dict[str, tuple[Answer | Amend, str]] = field(default_factory=dict)

    @property
    def explores(self) -> bool:
        return self.candidate.inclusion_probability is not None

    @property
    def area(self) -> str:
        return str(self.candidate.context.get("area", ""))

    def due(self, rules: QueueRules) -> int | None:
        """An area's time after the event's, for no record says when the case was asked."""
        if rules.due is None or self.area not in {"north", "south"}:
            return None
        return self.candidate.time + {"north": 1_000_100, "south": 1_000_400}[self.area]

    @property
    def stake(self) -> float:
        stake = self.candidate.context.get("stake")
        return float(stake) if isinstance(stake, int | float) and stake > 0 else 0.0

    @property
    def needs(self) -> str | None:
        needs = self.candidate.context.get("needs")
        return None if needs is None else str(needs)


def _place(case: Case) -> int:
    """In the exploration lane."""
    return place_of_exploration(case.candidate.event_id)


@dataclass
class Given:
    """An annotation that somebody gave."""

    event_id: str
    status: str
    supersedes: str = ""
    annotator: str = ""
    bulk: str | None = None


def know(store: SqliteStore | PostgresStore) -> None:
    """Write down how often people were right, as their answers to known cases would have."""
    with store.engine.begin() as connection:
        for name, (answers, right) in KNOWN.items():
            for said, count in (("fraud", right), ("genuine", answers - right)):
                row = {"annotator": name, "truth": "fraud", "said": said, "weight": 1_000_000 * count}
                connection.execute(confusion.insert().values(row))
    store.close()


class Model:
    """The rules of docs/explanation/labeling.md, one case at a time, in the obvious way."""

    def __init__(self, rules: QueueRules) -> None:
        self.rules = rules
        self.cases: dict[str, Case] = {}
        self.skills: dict[str, list[str]] = {}
        """Of those who have not every one."""
        self.away: dict[str, int] = {}
        """Until when people are absent."""
        self.clocks = [0, 0]
        self.ends: list[dict[str, int]] = [{}, {}]
        """Of each replica: the virtual time of its newest active case, and when each area's last one ends in it."""
        self.event_clock = 0
        self.explore_next = [True, True]
        """Of each replica: whose turn it is among the lanes."""
        self.position: int | None = None
        self.asked = 0
        """The replica that is asked."""
        self.published: list[tuple[str, str]] = []

    def in_state(self, state: str) -> list[Case]:
        return [case for case in self.cases.values() if case.state == state]

    def close(self, case: Case, status: str) -> None:
        case.state = status
        self.published.append((case.candidate.event_id, status))

    def over(self, case: Case) -> bool:
        expires_at = case.candidate.expires_at
        return expires_at is not None and expires_at <= self.event_clock

    def take_in(self, candidates: list[Candidate], start: int) -> tuple[int, int]:
        fixed = len(self.in_state("leased")) + sum(case.explores for case in self.in_state("waiting"))
        taken = 0
        most = self.rules.max_open
        for arrival in candidates:
            explores = arrival.inclusion_probability is not None and arrival.event_id not in self.cases
            if explores and fixed >= most:
                break
            fixed += explores
            taken += 1
        self.event_clock = max([self.event_clock, *(c.time for c in candidates[:taken])])
        for arrival in candidates[:taken]:
            if arrival.event_id not in self.cases:
                self.cases[arrival.event_id] = Case(arrival, len(self.cases))
        for case in self.in_state("waiting"):
            if self.over(case):
                self.close(case, "expired")
        while len(self.in_state("waiting") + self.in_state("leased")) > most:
            active = [case for case in self.in_state("waiting") if not case.explores]
            self.close(min(active, key=lambda c: (c.candidate.priority, -c.order)), "expired")
        self.position = start + taken
        return taken, start + taken

    def give_back(self, case: Case) -> None:
        if self.over(case):
            self.close(case, "expired")
        else:
            case.state = "waiting"

    def end_leases(self, now: int) -> None:
        for case in self.in_state("leased"):
            if case.until <= now:
                case.held_from = ""
                self.give_back(case)

    def end_assignments(self, wall: int) -> None:
        for case in self.in_state("waiting") + self.in_state("leased"):
            if case.assigned_until is not None and case.assigned_until <= wall:
                case.assignee, case.assigned_until = "", None

    def learn(self, name: str, skills: list[str] | None) -> None:
        self.skills.pop(name, None)
        if skills is None:
            return
        self.skills[name] = skills
        for case in self.cases.values():
            if case.assignee == name and case.needs is not None and case.needs not in skills:
                case.assignee, case.assigned_until = "", None

    def leave(self, name: str) -> None:
        for case in self.cases.values():
            if case.assignee == name:
                case.assignee, case.assigned_until = "", None

    def assign(self, event_ids: tuple[str, ...], name: str, wall: int) -> tuple[list[str], list[str]]:
        done: list[str] = []
        left: list[str] = []
        for event_id in dict.fromkeys(event_ids):
            case = self.cases.get(event_id)
            if case is None or case.state not in {"waiting", "leased"}:
                can = False
            elif not name:
                can = bool(case.assignee)
            else:
                skills = self.skills.get(name)
                needs = case.needs if self.rules.skill else None
                can = not case.explores and (needs is None or skills is None or needs in skills)
            (done if can else left).append(event_id)
            if can and case is not None:
                due = case.due(self.rules)
                case.assignee = name
                case.assigned_until = due if name and due is not None and due > wall else None
        return done, left

    def offered(self, case: Case, annotator: str, areas: tuple[str, ...], now: int) -> bool:
        if case.assignee and case.assignee != annotator:
            return False
        if case.assignee:
            areas = ()
        if case.held_from == annotator and case.held_until > now:
            return False
        if case.explores or self.rules.segment is None:
            return True
        skills = self.skills.get(annotator)
        return (not areas or case.area in areas) and (case.needs is None or skills is None or case.needs in skills)

    def presses(self, case: Case, wall: int) -> bool:
        """Whether a case is given by its due time, no longer by its priority."""
        due = case.due(self.rules)
        if due is None or self.rules.due is None:
            return False
        return self.rules.due.lead is None or due - self.rules.due.lead <= wall

    def lease(
        self, annotator: str, count: int, now: int, wall: int, replica: int = 0, areas: tuple[str, ...] = ()
    ) -> list[str]:
        given: list[str] = []
        self.asked = replica
        while len(given) < count:
            self.end_assignments(wall)
            offered = [case for case in self.in_state("waiting") if self.offered(case, annotator, areas, now)]
            explore = sorted((c for c in offered if c.explores), key=_place)
            active = sorted((c for c in offered if not c.explores), key=lambda c: (-c.candidate.priority, c.order))
            if not explore and not active:
                break
            if own := [case for case in active if case.assignee]:
                case = self.first_of_own(own, annotator, wall)
                case.state = "leased"
                given.append(case.candidate.event_id)
                continue
            if explore and active:
                exploring = self.explore_next[replica]
                self.explore_next[replica] = not self.explore_next[replica]
            else:
                exploring = bool(explore)
            pressing = [case for case in active if self.presses(case, wall)]
            if exploring:
                case = explore[0]
            elif pressing:
                case = self.first_due(pressing, annotator)
                self.took_its_turn(case.area, replica)
            else:
                case = self.in_turn(active, replica)
            case.state = "leased"
            given.append(case.candidate.event_id)
        return given

    def first_due(self, pressing: list[Case], annotator: str) -> Case:
        """By due time; of those due about when the first is, by what an error costs, where quality is known."""
        ordered = sorted(pressing, key=lambda c: (c.due(self.rules) or 0, -c.candidate.priority, c.order))
        if self.rules.due is None or self.rules.due.error_cost is None or annotator not in CAREFUL:
            return ordered[0]
        until = (ordered[0].due(self.rules) or 0) + self.rules.due.about
        about = [case for case in ordered if (case.due(self.rules) or 0) <= until]
        return min(about, key=lambda case: -case.stake if CAREFUL[annotator] else case.stake)

    def first_of_own(self, own: list[Case], annotator: str, wall: int) -> Case:
        """Of assigned cases: due ones first, then areas in the order of their turns, which are not moved on."""
        pressing = [case for case in own if self.presses(case, wall)]
        if pressing:
            return self.first_due(pressing, annotator)
        if self.rules.segment is None:
            return own[0]
        area = min({case.area for case in own}, key=lambda name: (self.starts(name, self.asked), name))
        return next(case for case in own if case.area == area)

    def in_turn(self, active: list[Case], replica: int) -> Case:
        """Of the area whose next case starts first: when its last one ended, or now."""
        if self.rules.segment is None:
            return active[0]
        areas = {case.area for case in active}
        area = min(areas, key=lambda name: (self.starts(name, replica), name))
        self.took_its_turn(area, replica)
        return next(case for case in active if case.area == area)

    def starts(self, area: str, replica: int) -> int:
        return max(self.clocks[replica], self.ends[replica].get(area, 0))

    def took_its_turn(self, area: str, replica: int) -> None:
        start = self.clocks[replica] = self.starts(area, replica)
        self.ends[replica][area] = start + 1

    def holds(self, event_id: str, token: str, now: int) -> Reason | None:
        case = self.cases.get(event_id)
        if case is None:
            return Reason.UNKNOWN_CASE
        if case.state not in {"waiting", "leased"}:
            return Reason.CASE_CLOSED
        if case.state != "leased" or case.token != token or case.until <= now:
            return Reason.STALE_LEASE
        return None


class QueueMachine(RuleBasedStateMachine):
    """Every command answered by the queue as by the model, over any sequence of them, clock moves and restarts."""

    leases = Bundle("leases")

    @initialize()
    def begin(self) -> None:
        self.clock = MovedClock()
        self.model = Model(self.held_to)
        self.accepted: dict[str, str] = {}
        self.annotations: dict[str, Given] = {}
        self.number = 0
        self.replica = 0
        self.make()
        self.stores = [self.open() for _ in range(self.replicas)]

    replicas = 1
    held_to = RULES

    def make(self) -> None:
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)

    def open(self) -> SqliteStore | PostgresStore:
        return sqlite_store(Path(self.folder.name) / "q.db", Topics("pay"), self.held_to, self.clock)

    @property
    def store(self) -> SqliteStore | PostgresStore:
        return self.stores[self.replica]

    def teardown(self) -> None:
        for store in getattr(self, "stores", []):
            store.close()
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def apply(self, command: Command) -> Result:
        (result,) = self.store.transact([command]).results
        return result

    @rule(
        specs=st.lists(
            st.tuples(
                st.booleans(),
                st.sampled_from([0.1, 0.5, 0.9]),
                st.none() | st.integers(0, 40),
                st.integers(-5, 10),
                st.integers(0, 3),
                st.sampled_from(AREAS),
                st.sampled_from(SKILLS),
            ),
            max_size=5,
        )
    )
    def take_in(self, specs: list[tuple[bool, float, int | None, int, int, str, str | None]]) -> None:
        candidates = []
        for explore, priority, useful, ahead, back, area, needs in specs:
            number = self.number - back if back and self.number > back else self.number
            self.number = max(self.number, number + 1)
            time = max(0, self.model.event_clock + ahead)
            expires_at = None if useful is None else time + useful
            candidates.append(
                candidate(
                    number,
                    explore=explore,
                    priority=priority,
                    time=time,
                    expires_at=expires_at,
                    context={"area": area, "needs": needs, "stake": (None, 3, 0.5, 8.0, -1.0)[number % 5]},
                )
            )
        start = self.model.position
        offset = start or 0
        result = self.apply(TakeIn(SOURCE, start, offset + len(candidates), arrivals(candidates, offset)))
        assert result == TakenIn(*self.model.take_in(candidates, offset))
        self.model.end_leases(self.clock.time)

    @rule(
        target=leases,
        annotator=st.sampled_from(ANNOTATORS),
        count=st.integers(1, 4),
        length=st.integers(1, 300),
        areas=st.just(()) | st.sampled_from([("north",), ("south", "north"), ("", "nowhere")]),
    )
    def lease(self, annotator: str, count: int, length: int, areas: tuple[str, ...]) -> object:
        self.model.end_leases(self.clock.time)
        areas = areas if self.held_to.segment else ()
        given = self.apply(LeaseCases(annotator, count, length, areas))
        if self.is_away(annotator, given):
            return multiple()
        expected = self.model.lease(annotator, count, self.clock.time, self.clock.wall(), self.replica, areas)
        assert isinstance(given, list)
        tasks = [task for task in given if isinstance(task, LeasedCase)]
        assert [task.event_id for task in tasks] == expected
        for task in tasks:
            case = self.model.cases[task.event_id]
            case.token, case.annotator, case.until = task.token, annotator, task.until
            case.leases += 1
            assert task.leases == case.leases
            assert task.until == self.clock.time + length
            assert task.due == case.due(self.held_to)
            assert task.assigned == bool(case.assignee)
            assert decode(Candidate, task.candidate) == case.candidate
        return multiple(*((task.event_id, task.token) for task in tasks))

    @rule(
        target=leases,
        annotator=st.sampled_from(ANNOTATORS),
        count=st.integers(1, 4),
        picked=st.lists(st.integers(0, 30), min_size=1, max_size=8, unique=True),
        areas=st.just(()) | st.just(("north",)),
    )
    def lease_cases_alike(self, annotator: str, count: int, picked: list[int], areas: tuple[str, ...]) -> object:
        self.model.end_leases(self.clock.time)
        areas = areas if self.held_to.segment else ()
        self.model.end_assignments(self.clock.wall())
        alike = tuple(candidate(number).event_id for number in picked)
        known = [self.model.cases[event_id] for event_id in alike if event_id in self.model.cases]
        expected = [
            case.candidate.event_id
            for case in known
            if case.state == "waiting"
            and not case.explores
            and self.model.offered(case, annotator, areas, self.clock.time)
        ][:count]
        given = self.apply(LeaseCases(annotator, count, 200, areas, alike=alike))
        if self.is_away(annotator, given):
            return multiple()
        assert isinstance(given, list)
        tasks = [task for task in given if isinstance(task, LeasedCase)]
        assert [task.event_id for task in tasks] == expected
        for task in tasks:
            case = self.model.cases[task.event_id]
            case.state, case.token, case.annotator, case.until = "leased", task.token, annotator, task.until
            case.leases += 1
            assert (task.leases, task.until) == (case.leases, self.clock.time + 200)
            assert task.due == case.due(self.held_to)
        return multiple(*((task.event_id, task.token) for task in tasks))

    def is_away(self, annotator: str, given: object) -> bool:
        away = self.model.away.get(annotator, 0) > self.clock.wall()
        assert away == (isinstance(given, RefusedError) and given.reason is Reason.ANNOTATOR_ABSENT)
        return away

    @rule(
        picked=st.lists(st.integers(0, 30), min_size=1, max_size=4),
        annotator=st.sampled_from(["", *ANNOTATORS]),
    )
    def a_reviewer_assigns(self, picked: list[int], annotator: str) -> None:
        event_ids = tuple(candidate(number).event_id for number in picked)
        outcome = self.apply(AssignCases(SERVICE, event_ids, annotator, "because"))
        if self.model.away.get(annotator, 0) > self.clock.wall():
            assert reason(outcome) is Reason.ANNOTATOR_ABSENT
        else:
            done, left = self.model.assign(event_ids, annotator, self.clock.wall())
            assert outcome == Changed(tuple(done), tuple(left))
        self.model.end_leases(self.clock.time)

    @rule(annotator=st.sampled_from(ANNOTATORS), ahead=st.integers(-100, 2_000))
    def somebody_is_absent(self, annotator: str, ahead: int) -> None:
        until = max(0, self.clock.wall() + ahead)
        outcome = self.apply(UpdateAnnotator(SERVICE, annotator, None, "", None, False, None, until))
        assert isinstance(outcome, AnnotatorRow)
        assert outcome.absent_until == until
        self.model.away[annotator] = until
        if until > self.clock.wall():
            self.model.leave(annotator)
        self.model.end_leases(self.clock.time)

    @rule(
        lease=leases,
        label=st.sampled_from([*CLASSES, "unheard of"]),
        skipped=st.booleans(),
        key=st.sampled_from(["", "k1", "k2"]),
    )
    def answer(self, lease: tuple[str, str], label: str, skipped: bool, key: str) -> None:
        event_id, token = lease
        answer = Answer(event_id, token, "skipped" if skipped else "answered", None if skipped else label, key)
        result = self.apply(SubmitAnswers((answer,)))
        assert isinstance(result, list)
        (outcome,) = result
        self.follow_answer(answer, outcome)
        self.model.end_leases(self.clock.time)

    @rule(
        held=st.lists(leases, min_size=1, max_size=4),
        label=st.sampled_from([*CLASSES, "unheard of"]),
        bulk=st.sampled_from(["b1", "b2"]),
    )
    def answer_in_bulk(self, held: list[tuple[str, str]], label: str, bulk: str) -> None:
        answers = tuple(Answer(event_id, token, "answered", label, bulk=bulk) for event_id, token in dict(held).items())
        result = self.apply(SubmitAnswers(answers))
        assert isinstance(result, list)
        for answer, outcome in zip(answers, result, strict=True):
            self.follow_answer(answer, outcome)
        self.model.end_leases(self.clock.time)

    def follow_answer(self, answer: Answer, outcome: object) -> None:
        event_id, token, label, key = answer.event_id, answer.token, answer.label, answer.key
        skipped = answer.status == "skipped"
        case = self.model.cases[event_id]
        used = key or token
        if not skipped and label not in CLASSES:
            assert reason(outcome) is Reason.UNKNOWN_CLASS
        elif used in case.answers:
            earlier, annotation_id = case.answers[used]
            same = isinstance(earlier, Answer) and (earlier.token, earlier.status, earlier.label) == (
                token,
                answer.status,
                answer.label,
            )
            if same:
                assert outcome == Accepted(annotation_id, duplicate=True)
            else:
                assert reason(outcome) is Reason.KEY_REUSED
        elif (refused := self.model.holds(event_id, token, self.clock.time)) is not None:
            assert reason(outcome) is refused
        else:
            assert isinstance(outcome, Accepted)
            assert not outcome.duplicate
            case.answers[used] = (answer, outcome.annotation_id)
            self.accepted[outcome.annotation_id] = event_id
            self.annotations[outcome.annotation_id] = Given(
                event_id, answer.status, annotator=case.annotator, bulk=answer.bulk or None
            )
            self.model.close(case, answer.status)

    @rule(
        pick=st.integers(0, 50),
        label=st.sampled_from([*CLASSES, "unheard of", None]),
        annotator=st.sampled_from(["", "ada"]),
        key=st.sampled_from(["", "k1", "k9"]),
    )
    def amend(self, pick: int, label: str | None, annotator: str, key: str) -> None:
        ids = [*self.annotations, "nothing"]
        annotation_id = ids[pick % len(ids)]
        amend = Amend(annotation_id, "retracted" if label is None else "answered", label, annotator, key)
        self.follow_amendment(amend, self.apply(amend))
        self.model.end_leases(self.clock.time)

    @rule(pick=st.integers(0, 50), label=st.sampled_from([*CLASSES, None]), key=st.sampled_from(["", "k1"]))
    def amend_a_whole_bulk(self, pick: int, label: str | None, key: str) -> None:
        ids = list(self.annotations)
        if not ids:
            return
        named = self.annotations[ids[pick % len(ids)]]
        amend = Amend(ids[pick % len(ids)], "retracted" if label is None else "answered", label, key=key, bulk=True)
        outcome = self.apply(amend)
        again = isinstance(outcome, Accepted) and outcome.duplicate
        chosen = {} if named.bulk is None else self.rest_of(named, amend, again=again)
        self.follow_amendment(amend, outcome)
        if isinstance(outcome, Accepted):
            assert {event_id for event_id, _ in outcome.others} == set(chosen)
            for event_id, other in outcome.others:
                self.follow_amendment(replace(amend, annotation_id=chosen[event_id]), other)
        self.model.end_leases(self.clock.time)

    def rest_of(self, named: Given, amend: Amend, *, again: bool) -> dict[str, str]:
        """Of the other events of a bulk the annotation that stands, or (again) that the amendment was about before."""
        superseded = {given.supersedes for given in self.annotations.values()}
        chosen: dict[str, str] = {}
        for annotation_id, given in self.annotations.items():
            if (given.bulk, given.annotator) != (named.bulk, named.annotator) or given.event_id == named.event_id:
                continue
            if again:
                earlier = self.model.cases[given.event_id].answers.get(amend.key or annotation_id)
                made = None if earlier is None else self.annotations[earlier[1]]
                same = earlier is not None and earlier[0].label == amend.label
                if same and made is not None and (made.supersedes, made.bulk) == (annotation_id, given.bulk):
                    chosen.setdefault(given.event_id, annotation_id)
            elif annotation_id not in superseded and given.status == "answered":
                chosen[given.event_id] = annotation_id
        return chosen

    def follow_amendment(self, amend: Amend, outcome: object) -> None:
        annotation_id, label, annotator, key = amend.annotation_id, amend.label, amend.annotator, amend.key
        used = key or annotation_id
        if annotation_id == "nothing":
            assert reason(outcome) is Reason.UNKNOWN_ANNOTATION
        elif used in (case := self.model.cases[self.annotations[annotation_id].event_id]).answers:
            earlier, given = case.answers[used]
            if isinstance(earlier, Amend) and replace(earlier, annotator=annotator, key=key, bulk=amend.bulk) == amend:
                assert outcome == Accepted(given, duplicate=True)
            else:
                assert reason(outcome) is Reason.KEY_REUSED
        elif label not in (*CLASSES, None):
            assert reason(outcome) is Reason.UNKNOWN_CLASS
        elif self.annotations[annotation_id].status == "retracted" or any(
            its.supersedes == annotation_id for its in self.annotations.values()
        ):
            assert reason(outcome) is Reason.NOT_AMENDABLE
        else:
            assert isinstance(outcome, Accepted)
            assert not outcome.duplicate
            event_id = case.candidate.event_id
            case.answers[used] = (amend, outcome.annotation_id)
            its = self.annotations[annotation_id]
            self.annotations[outcome.annotation_id] = Given(
                event_id, amend.status, annotation_id, annotator or its.annotator, its.bulk if amend.bulk else None
            )
            self.model.published.append((event_id, amend.status))
            self.accepted[outcome.annotation_id] = event_id

    @rule(lease=leases, length=st.integers(1, 300))
    def renew(self, lease: tuple[str, str], length: int) -> None:
        event_id, token = lease
        result = self.apply(RenewLeases((LeaseRef(event_id, token),), length))
        assert isinstance(result, list)
        refused = self.model.holds(event_id, token, self.clock.time)
        if refused is None:
            assert result == [self.clock.time + length]
            self.model.cases[event_id].until = self.clock.time + length
        else:
            assert reason(result[0]) is refused
        self.model.end_leases(self.clock.time)

    @rule(lease=leases)
    def release(self, lease: tuple[str, str]) -> None:
        event_id, token = lease
        held = self.model.holds(event_id, token, self.clock.time) is None
        assert self.apply(ReleaseLeases((LeaseRef(event_id, token),))) == int(held)
        if held:
            case = self.model.cases[event_id]
            case.held_from, case.held_until = case.annotator, self.clock.time + HOLD
            self.model.give_back(case)
        self.model.end_leases(self.clock.time)

    @rule(steps=st.integers(0, 400), skew=st.integers(-1_000_000, 1_000_000))
    def time_passes(self, steps: int, skew: int) -> None:
        self.clock.time += steps
        self.clock.skew = skew

    @rule()
    def sweep(self) -> None:
        self.apply(Sweep())
        self.model.end_leases(self.clock.time)

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.stores[self.replica] = self.open()
        self.model.explore_next[self.replica] = True
        self.model.clocks[self.replica], self.model.ends[self.replica] = 0, {}

    @rule(annotator=st.sampled_from(ANNOTATORS), skills=st.none() | st.lists(st.sampled_from(SKILLS[1:]), unique=True))
    def an_administrator_says_what_somebody_is_skilled_in(self, annotator: str, skills: list[str] | None) -> None:
        told = None if skills is None else tuple(skills)
        outcome = self.apply(UpdateAnnotator(SERVICE, annotator, None, "", told, skills is None, None, None))
        assert isinstance(outcome, AnnotatorRow)
        assert outcome.skills == told
        self.model.learn(annotator, skills)
        self.model.end_leases(self.clock.time)

    @rule(start=st.integers(0, 100))
    def intake_from_another_position_takes_nothing(self, start: int) -> None:
        if start == self.model.position:
            return
        result = self.apply(TakeIn(SOURCE, start, start + 1, arrivals([candidate(10_000)], start)))
        assert result == TakenIn(0, self.model.position or 0, moved=True)
        self.model.end_leases(self.clock.time)

    @invariant()
    def counts_agree_and_the_bound_holds(self) -> None:
        if not hasattr(self, "stores"):
            return
        counts, model = self.store.counts, self.model
        waiting = model.in_state("waiting")
        assert counts.waiting_explore == sum(case.explores for case in waiting)
        assert counts.waiting_active == sum(not case.explores for case in waiting)
        assert counts.leased == len(model.in_state("leased"))
        assert counts.open <= self.held_to.max_open
        assert (counts.answered, counts.skipped, counts.expired) == tuple(
            len(model.in_state(state)) for state in ("answered", "skipped", "expired")
        )
        assert counts.event_clock == model.event_clock

    @invariant()
    def what_is_overdue_is_counted(self) -> None:
        if not hasattr(self, "stores"):
            return
        times = [case.due(self.held_to) for case in self.model.in_state("waiting") + self.model.in_state("leased")]
        due = [time for time in times if time is not None]
        wall = self.clock.wall()
        with self.store.engine.connect() as connection:
            counted = overview(connection, wall)
        assert (counted.overdue, counted.first_due) == (sum(time <= wall for time in due), min(due, default=0))

    @invariant()
    def each_closed_case_is_published_once_and_each_acknowledged_answer_is_among_them(self) -> None:
        if not hasattr(self, "stores"):
            return
        rows = self.store.unpublished(0, 10_000)
        labels = [decode(Label, row.message.value) for row in rows]
        assert sorted((label.event_id, label.status) for label in labels) == sorted(self.model.published)
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
        stored = {label.annotation_id: label for label in labels if label.status != "expired"}
        assert {annotation_id: label.event_id for annotation_id, label in stored.items()} == self.accepted
        assert {annotation_id: label.bulk for annotation_id, label in stored.items()} == {
            annotation_id: given.bulk for annotation_id, given in self.annotations.items()
        }


def reason(outcome: object) -> Reason:
    assert isinstance(outcome, RefusedError), outcome
    return outcome.reason


class ReplicatedMachine(QueueMachine):
    """The same over PostgreSQL, with two replicas of which any gets the next command."""

    replicas = 2
    url = ""
    made = itertools.count()

    def make(self) -> None:
        self.topics = Topics(f"rules{next(self.made)}")

    def open(self) -> SqliteStore | PostgresStore:
        return postgres_store(self.url, self.topics, self.held_to, self.clock)

    @rule()
    def the_other_replica_is_asked(self) -> None:
        self.replica = 1 - self.replica
        self.apply(Sweep())  # a replica's counts are those of its last transaction
        self.model.end_leases(self.clock.time)


class ReplicatedCostMachine(ReplicatedMachine):
    """The same where some people's errors are known, and what an error costs."""

    held_to = BY_COST

    def make(self) -> None:
        super().make()
        know(self.open())


class SegmentedMachine(QueueMachine):
    """The same with segments and skills."""

    held_to = SEGMENTED


class DueMachine(QueueMachine):
    """The same with due times."""

    held_to = WITH_DUE_TIMES


class CostMachine(DueMachine):
    """The same where some people's errors are known, and what an error costs."""

    held_to = BY_COST

    def make(self) -> None:
        super().make()
        know(self.open())


class AlwaysByDueMachine(QueueMachine):
    """The same, where due times count from the beginning."""

    held_to = replace(WITH_DUE_TIMES, due=DUE.model_copy(update={"lead": None}))


SEARCH = settings(max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))


def test_the_queue_follows_its_rules_in_sqlite() -> None:
    run_state_machine_as_test(QueueMachine, settings=SEARCH)


def test_the_queue_follows_its_rules_in_sqlite_with_segments_and_skills() -> None:
    run_state_machine_as_test(SegmentedMachine, settings=SEARCH)


def test_the_queue_gives_first_what_would_miss_its_due_time_in_sqlite() -> None:
    run_state_machine_as_test(DueMachine, settings=SEARCH)
    run_state_machine_as_test(AlwaysByDueMachine, settings=settings(SEARCH, max_examples=20))


def test_of_cases_due_about_the_same_time_the_queue_gives_by_what_an_error_costs_in_sqlite() -> None:
    run_state_machine_as_test(CostMachine, settings=SEARCH)


def test_of_cases_due_about_the_same_time_the_queue_gives_by_what_an_error_costs_in_postgresql(
    postgres: PostgresServer,
) -> None:
    class Here(ReplicatedCostMachine):
        url = postgres.url

    run_state_machine_as_test(Here, settings=settings(SEARCH, max_examples=15))


def test_the_queue_gives_first_what_would_miss_its_due_time_in_postgresql(postgres: PostgresServer) -> None:
    class Here(ReplicatedMachine):
        url = postgres.url
        held_to = WITH_DUE_TIMES

    run_state_machine_as_test(Here, settings=settings(SEARCH, max_examples=15))


def test_the_queue_follows_its_rules_in_postgresql_with_two_replicas(postgres: PostgresServer) -> None:
    class Here(ReplicatedMachine):
        url = postgres.url
        held_to = SEGMENTED

    run_state_machine_as_test(Here, settings=settings(SEARCH, max_examples=20))
