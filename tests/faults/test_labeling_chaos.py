"""Labeling service, database and Kafka killed under random clients: the small `make bench-labeling-chaos`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from labeling import candidate

from benchmarks.labeling.chaos_clients import Call
from benchmarks.labeling.chaos_invariants import Evidence, Totals, violations
from benchmarks.labeling.chaos_lane import Broker, Lane, Plan
from benchmarks.loop.fraud_loop import own_kafka
from benchmarks.support.postgres import PostgresServer
from tidemark.records import Candidate, Label, LabelStatus

SECOND = 1_000_000


def first_with(victim: str, store: str) -> int:
    """The first seed in whose run this is killed."""
    plans = map(Plan.of, range(1_000))
    return next(plan.seed for plan in plans if plan.store == store and victim in {killed for _, killed in plan.kills})


@pytest.mark.timeout(300)
def test_every_rule_of_the_queue_holds_whatever_is_killed(tmp_path: Path) -> None:
    small, replicated = 2, 1  # numbers of sessions: of a queue that is too small, and of two replicas
    seeds = {
        ("sqlite", small): [first_with("service", "sqlite"), first_with("broker", "sqlite")],
        ("postgres", replicated): [first_with(victim, "postgres") for victim in ("service", "database", "broker")],
    }
    killed: Counter[str] = Counter()
    acknowledged = 0
    with own_kafka(tmp_path) as (node, settings):
        broker = Broker(node, settings)
        for (store, number), runs in seeds.items():
            with (
                PostgresServer(durable=True) if store == "postgres" else nullcontext() as database,
                Lane(broker, tmp_path, database, number) as lane,
            ):
                for seed in runs:
                    evidence = lane.run(Plan.of(seed))
                    found = violations(evidence)
                    assert found == dict.fromkeys(found, 0), f"seed {seed}: {lane.log()[-5_000:]}"
                    killed.update(victim for _, victim in Plan.of(seed).kills)
                    acknowledged += len({call.annotation_id for call in evidence.calls} - {""})
    assert set(killed) == {"service", "database", "broker"}
    assert acknowledged > 50


# ---- each check counts what it is there for --------------------------------------------------------------------------

ACTIVE, EXPLORE, OLD = candidate(1), candidate(2, explore=True), candidate(3, expires_at=1_500)


def label(case: Candidate, status: LabelStatus, annotation_id: str, annotator: str, **more: str) -> Label:
    shared = {name: getattr(case, name) for name in Label.__struct_fields__ if hasattr(case, name)}
    given = {"status": status, "annotation_id": annotation_id, "annotator": annotator, "label": None}
    return msgspec.convert(shared | given | {"known_at": 1, "answered_at": 1} | more, Label)


LEASED = Call("lease", "ada", 1, 2, "ok", ACTIVE.event_id, "t1", until=60 * SECOND, count=1)
RENEWED = Call("renew", "ada", 3, 4, "ok", ACTIVE.event_id, "t1", until=50 * SECOND, length=50 * SECOND)
ANSWERED = Call("submit", "ada", 10, 12, "ok", ACTIVE.event_id, "t1", "k1", "fraud", annotation_id="a1")
REPEATED = replace(ANSWERED, sent=13, received=14, duplicate=True)
AMENDED = Call(
    "amend", "ada", 20, 22, "ok", ACTIVE.event_id, key="a1", label="genuine", annotation_id="a2", supersedes="a1"
)
GIVEN_BACK = [
    Call("lease", "ben", 1, 3, "ok", EXPLORE.event_id, "t2", until=60 * SECOND, count=1),
    Call("release", "ben", 30, 33, "ok", EXPLORE.event_id, "t2", released=True),
]
SKIPPED = [
    Call("lease", "cyd", 31, 40, "ok", EXPLORE.event_id, "t3", until=60 * SECOND, count=2),
    Call("skip", "cyd", 41, 49, "unknown", EXPLORE.event_id, "t3", "t3"),
    Call("skip", "cyd", 50, 51, "ok", EXPLORE.event_id, "t3", "t3", annotation_id="a3"),
]
STATS = Call("stats", "ada", 60, 61, "ok", open=2)
SOUND = Evidence(
    cases={case.event_id: case for case in (ACTIVE, EXPLORE, OLD)},
    calls=[LEASED, RENEWED, ANSWERED, REPEATED, AMENDED, *GIVEN_BACK, *SKIPPED, STATS],
    labels=[
        label(ACTIVE, "answered", "a1", "ada", label="fraud"),
        label(OLD, "expired", "a9", "", comment="nobody answered"),
        label(ACTIVE, "answered", "a2", "ada", label="genuine", supersedes="a1"),
        label(EXPLORE, "skipped", "a3", "cyd"),
    ],
    dead_letters=[7],
    broken=frozenset({7}),
    totals=Totals(1, 1, 1),
    bound=100,
    clock=2_000,
    drained=True,
)


def told(*calls: Call) -> Evidence:
    return replace(SOUND, calls=[*SOUND.calls, *calls])


def without(call: Call, *instead: Call) -> Evidence:
    return replace(SOUND, calls=[*(each for each in SOUND.calls if each is not call), *instead])


def published(*labels: Label) -> Evidence:
    return replace(SOUND, labels=[*SOUND.labels, *labels])


def changed(place: int, **fields: object) -> Evidence:
    labels = list(SOUND.labels)
    labels[place] = msgspec.structs.replace(labels[place], **fields)
    return replace(SOUND, labels=labels)


TAMPERINGS: dict[str, Callable[[], Evidence]] = {
    "acknowledged annotations not published": lambda: replace(SOUND, labels=SOUND.labels[1:]),
    "acknowledged annotations published otherwise": lambda: changed(0, comment="another"),
    "annotations published again": lambda: published(SOUND.labels[0]),
    "cases closed again": lambda: published(label(ACTIVE, "answered", "a4", "ada", label="fraud")),
    "cases never closed": lambda: replace(SOUND, labels=SOUND.labels[:-1]),
    "labels that nobody gave": lambda: published(label(candidate(4), "skipped", "a4", "ada")),
    "amendments of what is not the newest": lambda: changed(2, supersedes="a9"),
    "keys that stand for several annotations": lambda: told(replace(REPEATED, annotation_id="a4")),
    "keys under which different things were taken": lambda: told(replace(REPEATED, label="genuine")),
    "acknowledged twice as new": lambda: told(replace(ANSWERED, sent=13, received=14)),
    "cases in two hands at once": lambda: told(
        replace(LEASED, who="ben", token="t4", sent=5, received=8, count=2)  # noqa: S106 - a lease's
    ),
    "leases counted wrong": lambda: told(replace(LEASED, token="t4", sent=70, received=80)),  # noqa: S106
    "cases leased after they were closed": lambda: told(
        replace(LEASED, token="t4", sent=70, received=80, count=2)  # noqa: S106
    ),
    "taken under a lease that was over": lambda: without(
        ANSWERED, replace(ANSWERED, sent=61 * SECOND, received=62 * SECOND)
    ),
    "refused under a lease that held": lambda: told(
        replace(ANSWERED, sent=5, received=6, outcome="STALE_LEASE", annotation_id="")
    ),
    "released under a lease that was over": lambda: told(
        Call("release", "ben", 70 * SECOND, 71 * SECOND, "ok", EXPLORE.event_id, "t2", released=True)
    ),
    "exploration cases withdrawn": lambda: changed(3, status="expired"),
    "cases withdrawn that had room": lambda: changed(0, status="expired"),
    "queue over its bound": lambda: told(replace(STATS, open=101)),
    "answers that are not in the contract": lambda: told(replace(STATS, outcome="INTERNAL: a bug")),
    "counts other than the labels": lambda: replace(SOUND, totals=Totals(2, 1, 1)),
    "dead letters missing": lambda: replace(SOUND, dead_letters=[]),
    "dead letters again": lambda: replace(SOUND, dead_letters=[7, 7]),
    "dead letters of what was good": lambda: replace(SOUND, dead_letters=[7, 8]),
    "runs that did not come to their end": lambda: replace(SOUND, drained=False),
    "bugs in the log": lambda: replace(SOUND, log="Traceback (most recent call last)"),
}


def test_a_sound_run_violates_nothing() -> None:
    found = violations(SOUND)
    assert found == dict.fromkeys(found, 0)
    assert set(found) == set(TAMPERINGS), "every check is shown to count"


@pytest.mark.parametrize("check", TAMPERINGS)
def test_the_checker_of_the_queues_rules_counts_what_is_wrong(check: str) -> None:
    assert violations(TAMPERINGS[check]())[check] > 0


def test_what_may_have_been_done_in_either_order_is_no_violation() -> None:
    late = replace(LEASED, who="ben", token="t4", sent=5, received=60 * SECOND, count=2)  # noqa: S106 - a lease's
    assert violations(told(late))["cases in two hands at once"] == 0
    unsure = Call("renew", "ada", 5, 6, "unknown", ACTIVE.event_id, "t1", length=90 * SECOND)
    afterwards = replace(ANSWERED, sent=61 * SECOND, received=62 * SECOND)
    maybe = replace(SOUND, calls=[LEASED, unsure, afterwards, AMENDED, *GIVEN_BACK, *SKIPPED])
    assert violations(maybe)["taken under a lease that was over"] == 0
