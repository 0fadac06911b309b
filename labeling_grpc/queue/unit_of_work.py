"""One transaction on the queue: reads what it needs in few statements, changes rows in memory, writes them in few."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from labeling_grpc.commands.events import CaseEvent, EventKind
from labeling_grpc.commands.labeling import (
    Amend,
    Answer,
    Counts,
    Escalate,
    Message,
)
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.queue import consensus as votes
from labeling_grpc.queue import sql
from labeling_grpc.queue.case_state import case_outcome
from labeling_grpc.queue.comments import COMMENTS
from labeling_grpc.queue.entropy import Entropy
from labeling_grpc.queue.label_records import bulk_of, label_of, sourced
from labeling_grpc.queue.open_cases import GoldLease, OpenCase
from labeling_grpc.queue.program_audit import ProgramAudit
from labeling_grpc.security.audit import Act
from labeling_grpc.tables import meta_keys
from labeling_grpc.tables.schema import Lane, State, meta
from tidemark.records import Candidate, LabelStatus, encode
from tidemark.records.messages import decode_candidate
from tidemark.records.topics import Topics

NOBODY: Final = ""
"""Annotator of an annotation that no person made (an expiry)."""

_BIND_LIMIT: Final = 10_000
_Value = TypeVar("_Value")

Said = Answer | Amend | Escalate | votes.Verdict | votes.GoldAnswer
"""What an annotation is made of."""


class UnitOfWork:
    """What a group of commands reads and changes, and what happened.

    now, wall: queue time and wall clock, µs.  shared: other replicas write the database too.  contended: a case that
    waits could not be given, for another replica looked at it.  audit: draws programs' cases that people answer too.
    acts: for the audit trail, written last, for replicas take turns at it.  golden: tokens of the gold cases that it
    gave out.  to_give_again: annotators of cases that went back and were not passed on, one for each.
    """

    def __init__(
        self,
        connection: sa.Connection,
        topics: Topics,
        rules: QueueRules,
        counts: Counts,
        now: int,
        wall: int,
        *,
        shared: bool = False,
        audit: ProgramAudit,
    ) -> None:
        self.connection = connection
        self.topics = topics
        self.rules = rules
        self.counts = counts
        self.now = now
        self.wall = wall
        self.shared = shared
        self.audit = audit
        self.entropy = Entropy()
        self.contended = False
        self.annotators_changed = False
        self.events: list[CaseEvent] = []
        self.first_lease_end: int | None = None
        self.cases: dict[str, OpenCase] = {}
        self.keyed: dict[tuple[str, str], dict[str, Any]] = {}
        self.annotations_by_event: dict[str, list[votes.Row]] = {}
        self.gold: dict[tuple[str, str], GoldLease] = {}
        self.golden, self.to_give_again = set[str](), list[str]()
        self.trust = votes.Trust(connection, rules)
        self.acts: list[Act] = []
        self._stopped: frozenset[str] | None = None
        self._dropped: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._outbox: list[dict[str, Any]] = []

    # --- reading and writing

    def lock(self, event_ids: Iterable[str]) -> None:
        """Keep other replicas away from these cases until the end of the transaction."""
        if self.shared:
            for part in parts(sorted(set(event_ids))):
                self.connection.execute(sql.LOCK, {"part": part})

    def lock_closed(self, event_ids: Iterable[str]) -> None:
        """Keep other replicas away from cases that may be closed; `lock` came before."""
        if self.shared:
            for part in parts(sorted(set(event_ids))):
                self.connection.execute(sql.LOCK_CLOSED, {"part": part})

    def load(self, event_ids: Iterable[str]) -> None:
        """Read the cases and the answers that they have."""
        for part in parts(sorted(set(event_ids))):
            for row in self.connection.execute(sql.LOAD, {"part": part}).all():
                self.cases[row[1]] = OpenCase(*[*row, row[4] is not None])
            self.load_keys(part)

    def load_keys(self, event_ids: Iterable[str]) -> None:
        """Read what was said of events, and what of it under a key."""
        events = sorted(event_ids)
        self.annotations_by_event |= {event_id: [] for event_id in events}
        for answer in self.annotated(events):
            self.annotations_by_event[answer["event_id"]].append(answer)
            if answer["client_key"] is not None:
                self.keyed[answer["event_id"], answer["client_key"]] = dict(answer)

    def annotated(self, event_ids: Sequence[str]) -> list[votes.Row]:
        """The annotations that these events have."""
        annotations: list[votes.Row] = []
        for part in parts(event_ids):
            rows = self.connection.execute(sql.KEYS, {"part": part}).mappings().all()
            annotations += cast("list[votes.Row]", rows)
        return annotations

    def flush(self) -> None:
        """Write what was decided since the last time."""
        renewed, returned, placed, unassigned = [], [], [], []
        for case in self.cases.values():
            if case.in_queue and case.change == "renewed":
                renewed.append({"case": case.case_id, "until": case.lease_until})
            elif case.in_queue and case.change == "returned":
                hold = None if case.passed_by is None else self.now + self.rules.release_hold_us
                returned.append({"case": case.case_id, "passer": case.passed_by, "hold": hold})
            if case.in_queue and case.place is not None:
                seen = msgspec.json.encode(case.place.seen).decode() if case.place.seen else None
                row = {"case": case.case_id, "its_tier": int(case.place.tier), "seen_by": seen}
                placed.append({**row, "number": case.place.votes})
            if case.in_queue and case.unassigned:
                unassigned.append({"case": case.case_id})
            case.change = case.place = None
            case.unassigned = False
        for statement, rows in (
            (sql.RENEW, renewed),
            (sql.RETURN, returned),
            (sql.PLACE, placed),
            (sql.UNASSIGN, unassigned),
            (sql.DROP, self._dropped),
            (sql.ANNOTATE, self._annotations),
            (sql.PUBLISH, self._outbox),
        ):
            statement.execute(self.connection, rows)
        self._dropped, self._annotations, self._outbox = [], [], []
        self.cases, self.keyed, self.annotations_by_event, self.gold = {}, {}, {}, {}

    def write_meta(self, key: str, value: str) -> None:
        """Set a value of the table `meta`."""
        statement = self.insert(meta).values(key=key, value=value)
        self.connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": value}))

    def insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """An insert that can be told what to do where the row is there already."""
        return (sqlite.insert if self.connection.dialect.name == "sqlite" else postgresql.insert)(table)

    def note_annotators_changed(self) -> None:
        """Note, for this replica and the others, that the table `annotators` was changed, or the queue paused."""
        self.annotators_changed = True
        self.write_meta(meta_keys.ANNOTATORS, self.entropy.draw(8).hex())

    # --- what cases go through

    def give_back(self, case: OpenCase, *, passed_by: str | None) -> None:
        """Return a leased case to the queue; close it if its usefulness ended meanwhile."""
        holder = case.annotator or NOBODY
        if case.expires_at is not None and case.expires_at <= self.counts.asked_clock:
            self.expire(case, "its event's usefulness ended while it was leased")
            return
        case.state, case.token, case.annotator, case.lease_until = State.WAITING, None, None, None
        case.change, case.passed_by = "returned", passed_by
        if case.assignee is not None and not case.unassigned:
            self.note_annotators_changed()  # it waits apart from others: who gives out must look which stacks there are
        self.counts.leased -= 1
        self.waiting(case.lane, 1)
        self.tell("returned", case.event_id, holder)

    def end_leases(self) -> None:
        """Return the cases of leases that ran out; those that expired meanwhile are closed."""
        while ended := self.connection.execute(sql.ENDED, {"at": self.now}).scalars().all():
            self.load(ended)
            for event_id in ended:
                self.give_back(self.cases[event_id], passed_by=None)
            self.flush()

    def expire_waiting(self) -> None:
        """Close the waiting cases whose event is of no use any more."""
        clock = {"at": self.counts.asked_clock}
        while expired := self.connection.execute(sql.EXPIRED, clock).scalars().all():
            self.load(expired)
            for event_id in expired:
                self.expire(self.cases[event_id], "nobody answered while its event was of use")
            self.flush()

    def expire(self, case: OpenCase, why: str) -> None:
        """Close a case that nobody answered; or that some did, with what they are sure of."""
        candidate = decode_candidate(case.candidate)
        verdict = self.judged(case.event_id, self.cast(case.event_id)) if self.rules.several else None
        if verdict is not None and verdict.confidence >= self.rules.confidence:
            self.decide(case, candidate, verdict)
            return
        known_at = max(self.counts.event_clock, candidate.time)
        self.close(case, candidate, "expired", NOBODY, known_at, comment=why)

    @property
    def stopped(self) -> frozenset[str]:
        """Annotators in quarantine, whose votes on open cases do not count."""
        if self._stopped is None:
            self._stopped = frozenset(self.connection.execute(sql.QUARANTINED).scalars())
        return self._stopped

    def placed(self, rows: Sequence[votes.Row]) -> votes.Placement:
        """Where an open case belongs, of which this was said."""
        return votes.place(rows, self.rules, self.stopped) if rows else votes.FRESH

    def cast(self, event_id: str) -> list[votes.Row]:
        """The votes of an open case that count: those of annotators who were stopped do not."""
        return [
            row
            for row in votes.votes(self.annotations_by_event.get(event_id, ()))
            if row["annotator"] not in self.stopped
        ]

    def judged(self, event_id: str, cast: Sequence[votes.Row]) -> votes.Verdict | None:
        """What votes come to by what other cases say of who gave them; None: nobody gives an answer."""
        own = votes.evidence(self.annotations_by_event.get(event_id, ()), self.rules.scale)
        self.trust.learn(own, votes.Evidence())
        verdict = self.trust.verdict(votes.answered(cast))
        self.trust.learn(votes.Evidence(), own)
        return verdict

    def decide(self, case: OpenCase, candidate: Candidate, verdict: votes.Verdict) -> None:
        """Close a case with what its votes come to."""
        self.close(case, candidate, "answered", votes.CONSENSUS, verdict.known_at, answer=verdict)

    def supersede(self, row: votes.Row, candidate: Candidate, verdict: votes.Verdict | None) -> None:
        """Let a verdict on votes give way to what they come to now; None: nobody gives an answer any more."""
        content = verdict or Amend(row["id"], "retracted")
        status: LabelStatus = "retracted" if verdict is None else "answered"
        known_at = self.wall if verdict is None else verdict.known_at
        self.record(candidate, status, votes.CONSENSUS, known_at, content, key=None, supersedes=row["id"])
        self.tell("amended", candidate.event_id, votes.CONSENSUS, content.label)

    def close(
        self,
        case: OpenCase,
        candidate: Candidate,
        status: LabelStatus,
        annotator: str,
        known_at: int,
        *,
        answer: Answer | votes.Verdict | None = None,
        key: str | None = None,
        comment: str | None = None,
    ) -> str:
        """Take a case out of the queue, annotate it, publish that; the annotation's id."""
        content = answer or Answer(case.event_id, "", "skipped", comment=comment)
        token = content.token or None if isinstance(content, Answer) else None
        stood = case_outcome(self.annotations_by_event.get(case.event_id, ())).verdict  # of a case that was put back
        stored = self.record(
            candidate,
            status,
            annotator,
            known_at,
            content,
            key=key,
            token=token,
            supersedes=None if stood is None else stood["id"],
        )
        self.drop(case)
        self.ended(status)
        self.tell(cast("EventKind", status), case.event_id, annotator, content.label)
        return stored

    def record(
        self,
        candidate: Candidate,
        status: LabelStatus,
        annotator: str,
        known_at: int,
        content: Said,
        *,
        key: str | None,
        token: str | None = None,
        supersedes: str | None = None,
    ) -> str:
        """Keep an annotation and publish it; its id."""
        verdict = content if isinstance(content, votes.Verdict) else None
        consensus = content.consensus if isinstance(content, votes.Verdict | votes.GoldAnswer) else None
        annotation_id = self.entropy.uuid7(self.wall)
        answered_at = max(self.wall, case_outcome(self.annotations_by_event.get(candidate.event_id, ())).last + 1)
        stored = {
            "id": annotation_id,
            "event_id": candidate.event_id,
            "client_key": key,
            "token": token,
            "annotator": annotator,
            "status": status,
            "label": content.label,
            "confidence": content.confidence,
            "comment": content.comment,
            "known_at": known_at,
            "leased_at": None if token is None else self._leased_at(candidate.event_id, token),
            "answered_at": answered_at,
            "supersedes": supersedes,
            "consensus": votes.stored(consensus),
            "bulk": bulk_of(content, self.annotations_by_event.get(candidate.event_id, ()), supersedes),
        }
        self.annotate(stored)
        if key is not None:
            self.keyed[candidate.event_id, key] = stored
        before = self.annotations_by_event[candidate.event_id][:-1]
        record = sourced(label_of(stored, candidate, verdict), content, before, self.cases.get(candidate.event_id))
        self.publish(Message(self.topics.labels, candidate.event_id.encode(), encode(record)), annotation_id)
        return annotation_id

    def annotate(self, row: dict[str, Any]) -> None:
        """Keep an annotation, and what it tells of annotators; its event's were loaded before."""
        rows = self.annotations_by_event.setdefault(row["event_id"], [])
        telling = rows or row["status"] == "gold"  # the first and only answer to a case is measured by nothing
        before = votes.evidence(rows, self.rules.scale) if telling else None
        rows.append(row)
        if before is not None:
            self.trust.learn(before, votes.evidence(rows, self.rules.scale))
        self._annotations.append(row)
        if row["status"] in COMMENTS and not self.counts.has_comments:
            self.counts.has_comments = True
            self.write_meta(meta_keys.HAS_COMMENTS, "yes")

    def _leased_at(self, event_id: str, token: str) -> int | None:
        case = self.cases.get(event_id)
        lease = case if case is not None and case.token == token else self.gold.get((event_id, token))
        return None if lease is None else lease.leased_at

    def drop(self, case: OpenCase) -> None:
        """Take a case out of the queue."""
        self._dropped.append({"case": case.case_id})
        case.in_queue = False
        if case.state == State.LEASED:
            self.counts.leased -= 1
        else:
            self.waiting(case.lane, -1)

    def publish(self, message: Message, annotation_id: str | None = None) -> None:
        """Put a record into the outbox."""
        headers = [
            [name, None if value is None else base64.b64encode(value).decode()] for name, value in message.headers
        ]
        self._outbox.append(
            {
                "topic": message.topic,
                "key": message.key,
                "value": message.value,
                "annotation_id": annotation_id,
                "headers": msgspec.json.encode(headers),
            }
        )
        self.counts.unpublished += 1

    # --- bookkeeping

    def waiting(self, lane: int, change: int) -> None:
        """Count waiting cases."""
        if lane == Lane.EXPLORE:
            self.counts.waiting_explore += change
        else:
            self.counts.waiting_active += change

    def ended(self, status: str, change: int = 1) -> None:
        """Count closed cases."""
        setattr(self.counts, status, getattr(self.counts, status) + change)

    def lease_ends(self, until: int) -> None:
        """Note when a lease ends."""
        self.first_lease_end = until if self.first_lease_end is None else min(self.first_lease_end, until)

    def tell(
        self, kind: EventKind, event_id: str, annotator: str, label: str | None = None, *, gold: bool = False
    ) -> None:
        """Note what happened. gold: to a lease of a case whose answer is known."""
        self.events.append(CaseEvent(kind, event_id, annotator, label, self.now, gold))


def parts(values: Sequence[_Value]) -> Iterable[list[_Value]]:
    """Lists that are short enough for one statement."""
    for start in range(0, len(values), _BIND_LIMIT):
        yield list(values[start : start + _BIND_LIMIT])
