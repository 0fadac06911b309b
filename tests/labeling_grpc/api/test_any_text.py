"""Whatever texts candidates, labels and annotators bring: both stores take the same, in one order, or refuse it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import sqlalchemy as sa
from desk import DAY, Desk
from hypothesis import given, settings
from hypothesis import strategies as st
from labeling import CLASSES, SOURCE, MovedClock, arrivals, candidate, pipeline

from benchmarks.support.postgres import PostgresServer
from labeling_grpc.api.case_details import Details
from labeling_grpc.assist.champion_follower import Champion
from labeling_grpc.commands.labeling import AdoptLabels, Arrival, Command, TakeIn, TakenIn
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.contract.text import is_name
from labeling_grpc.database import postgres_store, sqlite_store
from labeling_grpc.kafka.candidate_consumer import Intake
from labeling_grpc.kafka.record_validation import fitting, misfit
from labeling_grpc.queue import gold, queries
from labeling_grpc.queue.engine import Queue
from labeling_grpc.security.caller import Caller
from labeling_grpc.security.roles import Role
from labeling_grpc.storage.base import StoreError, UnfitError
from labeling_grpc.storage.group_commit import Writer
from labeling_grpc.storage.sqlite import SqliteStore
from labeling_grpc.tables.schema import annotators
from labeling_grpc.tables.schema import gold as gold_cases
from tidemark.errors import RecordError
from tidemark.records import Candidate, Label, decode, encode
from tidemark.records.topics import Topics

RULES = QueueRules(classes=CLASSES, segment="team", skill="skill")
REVIEWER = Caller("rey", Role.REVIEWER)
NASTY = [
    "",
    "\0",
    "a\0b",
    "a",
    "b",
    "A",
    "B",
    "-a",
    " a",
    "é",
    "e\u0301",
    "Z",
    "ä",
    "😀",
    "\u202ea",
    "\ufffd",
    "a\n",
    "%s",
]
TEXT = st.one_of(
    st.sampled_from(NASTY), st.text(max_size=12), st.text(min_size=1, max_size=3).map(lambda its: its * 3_000)
)
NAME = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=5).filter(str.isprintable)
_number = itertools.count(1)


@pytest.fixture(scope="module")
def pair(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, Desk]]:
    """A queue in SQLite, and one in PostgreSQL."""
    clocks = [MovedClock(time=20_000 * DAY), MovedClock(time=20_000 * DAY)]
    embedded = sqlite_store(tmp_path_factory.mktemp("q") / "q.db", Topics("pay"), RULES, clocks[0])
    shared = postgres_store(postgres.url, Topics("texts"), RULES, clocks[1])
    yield Desk(embedded, clocks[0]), Desk(shared, clocks[1])
    embedded.close()
    shared.close()


def named(number: int, key: str | None, team: str, skill: str, other: str) -> Candidate:
    context = {"team": team, "skill": skill, "note": other, other: 1}
    return candidate(number, key=key, context=context, business_id=other, policy=other, model=other)


def seen(desk: Desk, key: str | None, ids: list[str]) -> Any:  # noqa: ANN401 - compared as a whole
    """What people would see of cases: how they are given out, listed, found by their key and their history."""
    leased = [(case.event_id, case.segment, case.skill, case.candidate) for case in desk.lease("rey", 100)]
    details = Details(pipeline("pay"), cast("Champion", SimpleNamespace(current=lambda: None)))
    every = queries.CaseFilter(frozenset(), frozenset(), "", review=False)
    with desk.store.engine.connect() as connection:
        page, _ = queries.case_page(connection, pipeline("pay").labeling, every, 0, 10_000)
        rows = [(its.candidate.event_id, its.state, its.holder) for its in page if its.candidate.event_id in ids]
        histories = [
            [point.event_id for point in details.case(connection, event_id, 100, REVIEWER).history] for event_id in ids
        ]
        own = queries.CaseFilter(frozenset(), frozenset(), key or "", review=False)
        of_key, _ = queries.case_page(connection, pipeline("pay").labeling, own, 0, 10_000)
        found = [its.candidate.event_id for its in of_key if its.candidate.event_id in ids]
    return leased, rows, histories, found


@given(st.lists(st.tuples(st.none() | TEXT, TEXT, TEXT, TEXT), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_both_stores_take_the_same_candidates_and_show_the_same(
    pair: tuple[Desk, Desk], texts: list[tuple[str | None, str, str, str]]
) -> None:
    asked = [named(next(_number), *its) for its in texts]
    ids = [its.event_id for its in asked]
    assert [misfit(decode(Candidate, encode(its))) for its in asked] == [None] * len(asked)
    for desk in pair:
        desk.take_in(*asked)
    embedded, shared = (seen(desk, asked[0].key, ids) for desk in pair)
    assert embedded == shared
    assert sorted(event_id for event_id, *_ in embedded[0]) == sorted(ids)
    if asked[0].key:
        same = [its.event_id for its in asked if its.key == asked[0].key]
        assert embedded[3] == same, "found by the very key, and by no other"


@given(TEXT, TEXT, TEXT, st.sampled_from([0, 2**63 - 1, 2**63, -(2**70)]))
@settings(max_examples=40, deadline=None)
def test_both_stores_adopt_the_same_labels(
    pair: tuple[Desk, Desk], label: str, comment: str, annotator: str, known_at: int
) -> None:
    number = next(_number)
    came = Label(
        event_id=candidate(number).event_id,
        business_id=None,
        key=None,
        time=0,
        status="answered",
        label=label,
        annotator=annotator,
        known_at=known_at,
        answered_at=5,
        reason="uncertain",
        inclusion_probability=None,
        tile=0,
        tile_count=0,
        policy="p",
        features={},
        probabilities=None,
        uncertainty=None,
        model="none",
        comment=comment,
    )
    try:
        fit = fitting(decode(Label, encode(came)))
    except RecordError:  # for both, before either is asked
        assert known_at >= 2**63 or known_at < -(2**63) or len(annotator) > 128 or not is_name(annotator, 128)
        return
    told = []
    for desk in pair:
        desk.take_in(candidate(number))
        (applied,) = [desk.store.transact([AdoptLabels((fit,))])]
        with desk.store.engine.connect() as connection:
            found = queries.case_row(connection, pipeline("pay").labeling, fit.event_id)
        assert found is not None
        told.append((applied.counts.answered, found[0].state, found[0].label, found[1][0]["comment"]))
    assert told[0] == told[1]
    assert told[0][1] == "answered"


@given(st.sets(NAME, min_size=1, max_size=9))
@settings(max_examples=25, deadline=None)
def test_lists_are_in_the_same_order_in_both_stores_whatever_the_locale(
    pair: tuple[Desk, Desk], names: set[str]
) -> None:
    for desk in pair:
        with desk.store.engine.begin() as connection:
            for table in (annotators, gold_cases):
                connection.execute(table.delete())
            row = {"state": "paused", "why": "", "since": 0, "skills": None, "quota": 0}
            connection.execute(annotators.insert(), [{"name": name, **row} for name in names])
            known = [{"event_id": name, "label": CLASSES[0], "added_at": 0} for name in names]
            connection.execute(gold_cases.insert(), known)
            listed: list[str] = []
            while page := queries.annotator_page(connection, listed[-1] if listed else "", 2):
                listed += [its.name for its in page]
            gold_listed = [its.event_id for its in gold.page(connection, RULES.scale, "", 100)]
        people = [name for name in listed if name in names]
        assert people == sorted(names)
        assert gold_listed == sorted(names)


def test_every_text_of_a_postgresql_is_in_the_order_of_its_bytes(pair: tuple[Desk, Desk]) -> None:
    columns = sa.text(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema() "
        "AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'"
    )
    with pair[1].store.engine.connect() as connection:
        assert connection.execute(columns).all() == []


def test_no_value_of_a_statement_that_fails_is_in_its_error(pair: tuple[Desk, Desk]) -> None:
    secret = "MUST-NOT-BE-TOLD"  # noqa: S105 - it is looked for
    unchecked = candidate(next(_number), time=2**70, key=secret, expires_at=2**70)
    for desk in pair:
        taken = desk.taken or None
        with pytest.raises(UnfitError) as caught:
            desk.store.transact([TakeIn(SOURCE, taken, desk.taken + 1, arrivals([unchecked], desk.taken))])
        assert secret not in str(caught.value)
        assert str(2**70) not in str(caught.value)
        assert caught.value.__cause__ is None


class Stubborn(SqliteStore):
    """A database that can't hold some texts, as one that is yet to come may not."""

    refused: frozenset[str] = frozenset()

    def transact(self, commands: Any, *rest: Any) -> Any:  # noqa: ANN401 - as the store's
        for command in cast("list[Command]", commands):
            if isinstance(command, TakeIn):
                for arrival in command.arrivals:
                    if arrival.candidate is not None and arrival.candidate.event_id in self.refused:
                        raise UnfitError("the queue's database can't hold a value of it (22021)")
        return super().transact(commands, *rest)


class Record:
    """A record of Kafka's, as its client hands it."""

    def __init__(self, offset: int, value: bytes) -> None:
        self._offset, self._value = offset, value

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return self._value

    def key(self) -> bytes:
        return b"key"

    def headers(self) -> None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return 1, 5

    def error(self) -> None:
        return None


@given(poison=st.sets(st.integers(0, 12)), size=st.integers(1, 13))
@settings(max_examples=25, deadline=None)
def test_what_the_database_can_not_hold_becomes_a_dead_letter_and_the_rest_is_taken_in(
    tmp_path_factory: pytest.TempPathFactory, poison: set[int], size: int
) -> None:
    store = Stubborn(tmp_path_factory.mktemp("q") / "q.db", partial(Queue, Topics("pay"), RULES), MovedClock())
    store.refused = frozenset(candidate(number).event_id for number in poison)
    writer = Writer(store, lambda error: pytest.fail(str(error)))
    writer.start()
    intake = Intake(
        cast("Any", None), Topics("pay"), writer, print, print, leads=lambda: True, caught_up=cast("Any", None)
    )
    came = [candidate(number) for number in range(size)]
    records = cast("Any", [Record(10 + 2 * place, encode(its)) for place, its in enumerate(came)])
    arrived = [Arrival(10 + 2 * place, its, encode(its)) for place, its in enumerate(came)]
    taken = intake._taken(SOURCE, None, arrived, records)
    outgoing = store.unpublished(0, 100)
    writer.stop()
    assert taken == TakenIn(taken.accepted, 10 + 2 * (size - 1) + 1)
    bad = sorted(number for number in poison if number < size)
    assert [its.message.value for its in outgoing] == [encode(candidate(number)) for number in bad]
    assert all(dict(its.message.headers)["step"] == b"queue" for its in outgoing)
    assert (store.counts.waiting, store.counts.rejected) == (size - len(bad), len(bad))
    store.close()


def test_a_database_that_fails_is_no_reason_for_a_dead_letter(tmp_path: Path) -> None:
    class Broken(SqliteStore):
        def transact(self, *_given: Any) -> Any:  # noqa: ANN401 - as the store's
            raise StoreError("the disk is full")

    store = Broken(tmp_path / "q.db", partial(Queue, Topics("pay"), RULES), MovedClock())
    writer = Writer(store, lambda error: pytest.fail(str(error)))
    writer.start()
    intake = Intake(
        cast("Any", None), Topics("pay"), writer, print, print, leads=lambda: True, caught_up=cast("Any", None)
    )
    with pytest.raises(StoreError):
        intake._taken(
            SOURCE, None, arrivals([candidate(1), candidate(2)]), cast("Any", [Record(0, b""), Record(1, b"")])
        )
    writer.stop()
    store.close()


@pytest.mark.parametrize(
    "json",
    [b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff"', b'"\xed\xa0\x80"', b"1e999", b"1" * 5_000, b"NaN", b"{}", b"[[[[[["],
)
def test_what_is_no_text_or_number_is_no_candidate(json: bytes) -> None:
    good = encode(candidate(1, context={"note": "HERE"}))
    with pytest.raises(RecordError):
        decode(Candidate, good.replace(b'"HERE"', json))
