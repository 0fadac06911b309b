from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from labeling import CLASSES, SOURCE, MovedClock, arrivals, candidate
from msgspec import structs

from benchmarks.support.postgres import PostgresServer
from labeling_grpc.commands.administration import (
    AddComment,
    AnnotatorRow,
    Changed,
    ExpireCases,
    ImportedLabel,
    ImportLabels,
    PauseQueue,
    RequeueCases,
    UpdateAnnotator,
)
from labeling_grpc.commands.labeling import (
    Accepted,
    AdoptLabels,
    Amend,
    Answer,
    LeaseCases,
    LeasedCase,
    SubmitAnswers,
    TakeIn,
)
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.database import postgres_store, sqlite_store
from labeling_grpc.queue.engine import count
from labeling_grpc.security.audit import newest, verify
from labeling_grpc.security.caller import Caller
from labeling_grpc.security.roles import Role
from labeling_grpc.storage.base import Store
from labeling_grpc.tables.schema import cases, meta, queue
from tidemark.evaluation.labels import source_of
from tidemark.records import Candidate, Label, decode
from tidemark.records.topics import Topics

RULES = QueueRules(classes=CLASSES, max_open=6)
BOSS = Caller("root", Role.ADMIN)
WHY = "the rule changed"
_number = itertools.count()
EVENTS = [candidate(n).event_id for n in range(4)]


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> Iterator[Store]:
    topics, clock = Topics(f"admin{next(_number)}"), MovedClock()
    opened: Store = (
        sqlite_store(tmp_path / "q.db", topics, RULES, clock)
        if request.param == "sqlite"
        else postgres_store(postgres.url, topics, RULES, clock)
    )
    yield opened
    opened.close()


def take_in(store: Store, candidates: list[Candidate]) -> None:
    start = store.position("intake", SOURCE)
    offset = start or 0
    store.transact([TakeIn(SOURCE, start, offset + len(candidates), arrivals(candidates, offset))])


def lease(store: Store, who: str = "ada", most: int = 1) -> list[LeasedCase]:
    return cast("list[LeasedCase]", store.transact([LeaseCases(who, most, 1_000_000)]).results[0])


def answered(store: Store, case: LeasedCase, label: str = "fraud") -> Accepted | RefusedError:
    command = SubmitAnswers((Answer(case.event_id, case.token, "answered", label),))
    return cast("list[Accepted | RefusedError]", store.transact([command]).results[0])[0]


def requeued(store: Store, *event_ids: str) -> Changed:
    return cast("Changed", store.transact([RequeueCases(BOSS, event_ids, WHY)]).results[0])


def imported(store: Store, *labels: ImportedLabel) -> list[Accepted | RefusedError]:
    return cast("list[Accepted | RefusedError]", store.transact([ImportLabels(BOSS, labels)]).results[0])


def published(store: Store) -> list[Label]:
    return [decode(Label, row.message.value) for row in store.unpublished(0, 10_000)]


def reason(outcome: object) -> Reason:
    assert isinstance(outcome, RefusedError)
    return outcome.reason


def test_a_closed_case_is_asked_again_and_its_new_verdict_supersedes_the_old(store: Store) -> None:
    take_in(store, [candidate(0)])
    first = answered(store, lease(store)[0])
    assert isinstance(first, Accepted)
    assert requeued(store, EVENTS[0]) == Changed((EVENTS[0],), ())
    assert (store.counts.waiting, store.counts.answered) == (1, 0)
    second = answered(store, lease(store, "ben")[0], "genuine")
    assert isinstance(second, Accepted)
    old, put_back, new = published(store)
    assert (put_back.status, put_back.comment, put_back.annotator, put_back.supersedes) == (
        "requeued",
        WHY,
        "",
        None,
    )
    assert (new.supersedes, new.label, old.annotation_id) == (first.annotation_id, "genuine", first.annotation_id)
    assert old.answered_at < put_back.answered_at < new.answered_at
    assert (store.counts.waiting, store.counts.answered) == (0, 1)


def test_the_verdict_of_a_case_that_was_amended_and_put_back_supersedes_the_amendment(store: Store) -> None:
    take_in(store, [candidate(0)])
    first = answered(store, lease(store)[0])
    assert isinstance(first, Accepted)
    amended = store.transact([Amend(first.annotation_id, "answered", "genuine")]).results[0]
    assert isinstance(amended, Accepted)
    requeued(store, EVENTS[0])
    again = store.transact([Amend(amended.annotation_id, "answered", "fraud")]).results[0]
    assert reason(again) is Reason.NOT_AMENDABLE, "it is asked again"
    assert isinstance(answered(store, lease(store)[0]), Accepted)
    assert published(store)[-1].supersedes == amended.annotation_id


def test_a_leased_case_that_is_put_back_is_taken_away_from_its_holder(store: Store) -> None:
    take_in(store, [candidate(0)])
    (held,) = lease(store)
    assert requeued(store, EVENTS[0]).done == (EVENTS[0],)
    assert reason(answered(store, held)) is Reason.STALE_LEASE
    assert lease(store, "ben")[0].event_id == EVENTS[0]
    assert published(store) == [], "who held it is told, nothing was decided"


def test_what_waits_is_unknown_or_of_no_use_any_more_is_not_put_back(store: Store) -> None:
    take_in(store, [candidate(0, expires_at=5_000), candidate(1)])
    for case in lease(store, most=2):
        answered(store, case) if case.event_id == EVENTS[0] else None
    take_in(store, [candidate(2, time=9_000), candidate(3)])
    waiting = EVENTS[3]
    assert requeued(store, EVENTS[0], waiting, "nobody").left == (EVENTS[0], waiting, "nobody")


def test_no_more_cases_are_put_back_than_may_be_open(store: Store) -> None:
    take_in(store, [candidate(n) for n in range(4)])
    for case in lease(store, most=4):
        answered(store, case)
    take_in(store, [candidate(n) for n in range(10, 14)])
    assert len(requeued(store, *EVENTS).done) == 2
    assert store.counts.open == RULES.max_open


def test_open_cases_are_closed_as_expired_with_the_reason(store: Store) -> None:
    take_in(store, [candidate(0), candidate(1)])
    (held,) = lease(store)
    changed = store.transact([ExpireCases(BOSS, (*EVENTS[:2], "nobody"), "the batch was sent twice")]).results[0]
    assert changed == Changed(tuple(EVENTS[:2]), ("nobody",))
    assert {label.comment for label in published(store)} == {"the batch was sent twice"}
    assert {label.status for label in published(store)} == {"expired"}
    assert reason(answered(store, held)) is Reason.CASE_CLOSED
    assert (store.counts.open, store.counts.expired) == (0, 2)


def label_of(event_id: str, label: str = "fraud", brought: Candidate | None = None) -> ImportedLabel:
    return ImportedLabel(event_id, label, "import", 50_000 if brought else None, None, brought)


def test_what_somebody_said_who_was_asked_elsewhere_is_no_label_of_a_file(store: Store) -> None:
    take_in(store, [candidate(0), candidate(1)])
    imported(store, replace(label_of(EVENTS[0]), annotator="ada"))
    imported(store, replace(label_of(EVENTS[1]), annotator="ada", asked=True))
    assert [source_of(label) for label in published(store)] == ["import", "person"]


def test_imported_labels_close_the_cases_that_ask_for_them_even_leased_ones(store: Store) -> None:
    take_in(store, [candidate(0), candidate(1)])
    (held,) = lease(store)
    outcomes = imported(store, *(label_of(event_id) for event_id in EVENTS[:2]))
    assert all(isinstance(outcome, Accepted) and not outcome.duplicate for outcome in outcomes)
    assert (store.counts.open, store.counts.answered) == (0, 2)
    assert {label.source for label in published(store)} == {"import"}
    assert reason(answered(store, held)) is Reason.CASE_CLOSED
    again = imported(store, *(label_of(event_id) for event_id in EVENTS[:2]))
    assert [(its.annotation_id, its.duplicate) for its in again if isinstance(its, Accepted)] == [
        (its.annotation_id, True) for its in outcomes if isinstance(its, Accepted)
    ]
    assert reason(imported(store, label_of(EVENTS[0], "genuine"))[0]) is Reason.KEY_REUSED


def test_an_imported_label_takes_the_place_of_a_skip_and_never_of_an_answer(store: Store) -> None:
    take_in(store, [candidate(0), candidate(1)])
    one, other = lease(store, most=2)
    skipped = store.transact([SubmitAnswers((Answer(one.event_id, one.token, "skipped"),))]).results[0]
    answered(store, other)
    taken, refused = imported(store, label_of(one.event_id), label_of(other.event_id))
    assert isinstance(taken, Accepted)
    assert published(store)[-1].supersedes == cast("list[Accepted]", skipped)[0].annotation_id
    assert reason(refused) is Reason.CASE_CLOSED


def test_a_label_brings_an_event_along_that_no_candidate_was_of(store: Store) -> None:
    brought = replace_candidate(candidate(7), reason="imported", context={})
    outcome, unknown, unclassed, early = imported(
        store,
        label_of(brought.event_id, brought=brought),
        label_of("nobody"),
        label_of("other", "maybe", brought),
        ImportedLabel("early", "fraud", "import", 5, None, replace_candidate(brought, event_id="early", time=6)),
    )
    assert isinstance(outcome, Accepted)
    assert [reason(its) for its in (unknown, unclassed, early)] == [
        Reason.UNKNOWN_CASE,
        Reason.UNKNOWN_CLASS,
        Reason.INVALID_FIELD,
    ]
    (label,) = published(store)
    assert (label.reason, label.features, label.known_at) == ("imported", brought.features, 50_000)
    assert (store.counts.open, store.counts.answered) == (0, 1)
    with store.engine.connect() as connection:
        known = connection.execute(sa.select(cases.c.event_id)).scalars().all()
    assert known == [brought.event_id], "what was refused leaves nothing behind"


def replace_candidate(which: Candidate, **over: object) -> Candidate:
    return candidate(0, **{**{name: getattr(which, name) for name in Candidate.__struct_fields__}, **over})


def test_a_comment_needs_no_lease_and_is_read_by_the_next_who_is_given_the_case(store: Store) -> None:
    take_in(store, [candidate(0), candidate(1)])
    said = AddComment(EVENTS[0], "ben", "she called us", "k1")
    first, again, other, nobody = (
        store.transact([command]).results[0]
        for command in (said, said, replace(said, text="she did not"), replace(said, event_id="nobody"))
    )
    assert isinstance(first, Accepted)
    assert again == Accepted(first.annotation_id, duplicate=True)
    assert (reason(other), reason(nobody)) == (Reason.KEY_REUSED, Reason.UNKNOWN_CASE)
    cast("MovedClock", store.clock).time += 1
    store.transact([AddComment(EVENTS[0], "cyd", "twice", "k2")])
    comments = {case.event_id: [its.text for its in case.comments] for case in lease(store, most=2)}
    assert comments == {EVENTS[0]: ["she called us", "twice"], EVENTS[1]: []}
    assert [label.status for label in published(store)] == ["commented", "commented"]
    assert store.counts.open == 2


def test_a_queue_without_comments_spends_no_statement_on_them(store: Store) -> None:
    take_in(store, [candidate(0), candidate(1)])
    seen: list[str] = []
    sa.event.listen(store.engine, "before_cursor_execute", lambda *call: seen.append(call[2]))
    lease(store)
    assert not [statement for statement in seen if "'commented'" in statement or "comment" in statement]


def test_what_an_annotator_may_do_changes_by_parts(store: Store) -> None:
    def update(**over: object) -> AnnotatorRow:
        whole = {"state": None, "why": "", "skills": None, "any_skill": False, "quota": None} | over
        return cast("AnnotatorRow", store.transact([UpdateAnnotator(BOSS, "ada", **whole)]).results[0])  # type: ignore[arg-type]

    assert update(quota=5) == AnnotatorRow("ada", quota=5)
    paused = update(state="paused", why="on leave")
    assert (paused.state, paused.why, paused.quota, paused.since > 0) == ("paused", "on leave", 5, True)
    assert update(skills=("card",)).skills == ("card",)
    assert update(skills=()).skills == ()
    assert update(any_skill=True, quota=0).skills is None
    with store.engine.connect() as connection:
        assert [entry.object for entry in newest(connection, 10)] == ["ada"] * 5
        assert verify(connection).broken == ""


def test_a_pause_is_kept_until_it_is_ended(store: Store) -> None:
    def paused() -> str | None:
        with store.engine.connect() as connection:
            return connection.execute(sa.select(meta.c.value).where(meta.c.key == "paused")).scalar_one_or_none()

    store.transact([PauseQueue(BOSS, "a wrong rule")])
    assert paused() == "a wrong rule"
    store.transact([PauseQueue(BOSS, "")])
    assert paused() is None


OPS = st.lists(
    st.tuples(
        st.sampled_from(["answer", "skip", "hold", "requeue", "expire", "import", "amend", "retract", "comment"]),
        st.integers(0, 3),
        st.sampled_from([-1_000, 0, 1, 1_000]),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(ops=OPS, several=st.booleans())
def test_a_queue_built_anew_from_what_it_published_is_the_same(ops: list[tuple[str, int, int]], several: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clock = MovedClock(10_000_000)
        rules = replace(RULES, answers=2, max_answers=3) if several else RULES
        store = sqlite_store(Path(folder) / "q.db", Topics("pay"), rules, clock)
        asked = [candidate(n, explore=n == 0) for n in range(4)]
        take_in(store, asked)
        for number, (what, index, skew) in enumerate(ops):
            clock.time += 1
            clock.skew += skew
            _do(store, number, what, EVENTS[index])
        state = _state(store)
        with store.engine.connect() as connection:
            assert count(connection) == store.counts, "the counts are what the tables say"
            assert verify(connection).broken == ""
        labels = published(store)
        store.close()
        fresh = sqlite_store(Path(folder) / "r.db", Topics("pay"), rules, clock)
        fresh.transact([AdoptLabels(tuple(labels))])
        take_in(fresh, asked)
        assert _state(fresh) == state
        again = sqlite_store(Path(folder) / "s.db", Topics("pay"), rules, clock)
        take_in(again, asked)
        for label in labels:  # what comes while the queue is there
            again.transact([AdoptLabels((label,))])
        assert _state(again) == state
        for its in (fresh, again):
            with its.engine.connect() as connection:
                assert replace(count(connection), unpublished=0) == replace(its.counts, unpublished=0)
            its.close()


def _do(store: Store, number: int, what: str, event_id: str) -> None:
    match what:
        case "answer" | "skip" | "hold":
            for case in lease(store, f"a{number % 2}"):
                given = Answer(case.event_id, case.token, "answered", CLASSES[number % 2])
                if what != "hold":
                    given = given if what == "answer" else structs.replace(given, status="skipped", label=None)
                    store.transact([SubmitAnswers((given,))])
        case "requeue":
            requeued(store, event_id)
        case "expire":
            store.transact([ExpireCases(BOSS, (event_id,), WHY)])
        case "import":
            imported(store, label_of(event_id, CLASSES[number % 2]))
        case "comment":
            store.transact([AddComment(event_id, "ben", "hm", f"k{number}")])
        case _:
            mine = [label for label in published(store) if label.event_id == event_id and label.annotation_id]
            if mine:
                amend = Amend(mine[-1].annotation_id or "", "answered", CLASSES[number % 2], key=f"k{number}")
                store.transact([amend if what == "amend" else replace(amend, status="retracted", label=None)])


def _state(store: Store) -> tuple[set[tuple[object, ...]], dict[str, int]]:
    """The open cases with their answers so far, and the numbers of closed ones."""
    columns = (cases.c.event_id, queue.c.tier, queue.c.votes, queue.c.seen, queue.c.rank)
    with store.engine.connect() as connection:
        open_ = connection.execute(sa.select(*columns).join(queue, queue.c.case_id == cases.c.id))
        numbers = {
            name: getattr(store.counts, name) for name in ("open", "answered", "skipped", "expired", "withdrawn")
        }
        return {tuple(row) for row in open_}, numbers
