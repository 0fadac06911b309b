"""Tables of the queue's database. Those of `metadata` are in every store, those of `replication` in PostgreSQL alone.

`cases` never changes after intake. `queue` holds the open ones, waiting or leased, so that it stays as small as what
is open. A case without a row in `queue` is closed, and `answers` (the table `annotations`) says how.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import sqlalchemy as sa

HEAD: Final = "0010"
"""Newest migration (`labeling_grpc/storage/migrations`): what a database must be at to be used."""


class State(IntEnum):
    """Of an open case."""

    WAITING = 0
    LEASED = 1


class Tier(IntEnum):
    """Who may be given a case."""

    ANYONE = 0
    REVIEWERS = 1


class Lane(IntEnum):
    """Exploration cases wait apart from the others, in the order in which they came."""

    EXPLORE = 0
    ACTIVE = 1


AUDIENCE_SEEN: Final = 400
"""Characters of `seen` that an audience is told apart by: an index of PostgreSQL's has room for 2,700 bytes."""

AUDIENCE_ASSIGNEE: Final = 32
"""Characters of an assignee's name that an audience is told apart by."""

AUDIENCE: Final = (
    f"coalesce(skill, '') || '\n' || substr(coalesce(seen, ''), 1, {AUDIENCE_SEEN})"
    f" || coalesce('\n' || substr(assignee, 1, {AUDIENCE_ASSIGNEE}), '')"
)
"""Who may be given a case: cases of one audience may be given to the same people, so that none need be looked at to
learn that it can't."""

LEASED: Final = "lease_until IS NOT NULL"
EXPIRING: Final = "expires_at IS NOT NULL"
DUE: Final = "due_at IS NOT NULL"
ASSIGNED: Final = "assignee IS NOT NULL"
ASSIGNED_FOR_A_TIME: Final = "assigned_until IS NOT NULL"
IN_BULK: Final = "bulk IS NOT NULL"
"""Rows that the indexes of these columns are of: in an index of all, those without a time lie in no order that a lease
or an answer follows, and each changes a page of its own."""

metadata = sa.MetaData()
_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

cases = sa.Table(
    "cases",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=True),
    sa.Column("event_id", sa.Text, nullable=False, unique=True),
    sa.Column("candidate", sa.LargeBinary, nullable=False),  # tidemark.records.Candidate, JSON as it came
    sa.Column("key", sa.Text),  # the entity; null also for cases of before there was this column
    sa.Index("cases_key", "key", "id"),
)

queue = sa.Table(
    "queue",
    metadata,
    sa.Column("case_id", _Id, primary_key=True, autoincrement=False),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("lane", sa.SmallInteger, nullable=False),
    sa.Column("tier", sa.SmallInteger, nullable=False),  # who may have it: `Tier`
    sa.Column("segment", sa.Text, nullable=False),  # lanes' cases of one segment are in order; "" where there are none
    sa.Column("skill", sa.Text),  # what an annotator must be skilled in
    sa.Column("rank", sa.Float(53), nullable=False),  # ascending: minus the priority; at random in the exploration lane
    sa.Column("size", sa.Integer, nullable=False),  # bytes that the case takes in a response, at most
    sa.Column("expires_at", sa.BigInteger),  # Kafka's clock, µs
    sa.Column("due_at", sa.BigInteger),  # by when it should be answered: wall clock, µs
    sa.Column("token", sa.Text),
    sa.Column("annotator", sa.Text),
    sa.Column("lease_until", sa.BigInteger),  # queue time, µs
    sa.Column("leased_at", sa.BigInteger),  # wall clock, µs
    sa.Column("leases", sa.Integer, nullable=False),
    sa.Column("votes", sa.SmallInteger, nullable=False),  # answers so far of a case that asks for several
    sa.Column("seen", sa.Text),  # JSON list of who has answered it, and is not asked again; null: nobody
    sa.Column("passed_by", sa.Text),  # who released it last
    sa.Column("passed_until", sa.BigInteger),  # queue time until which it is not offered to them again
    sa.Column("assignee", sa.Text),  # who alone is offered it; null: whoever may have it
    sa.Column("assigned_until", sa.BigInteger),  # wall clock, µs; null: until it is taken back
    sa.Column("audience", sa.Text, sa.Computed(AUDIENCE, persisted=True)),
    sa.Index("queue_order", "state", "lane", "tier", "segment", "audience", "rank", "case_id"),
    sa.Index("queue_lease", "lease_until", sqlite_where=sa.text(LEASED), postgresql_where=sa.text(LEASED)),
    sa.Index("queue_expiry", "expires_at", sqlite_where=sa.text(EXPIRING), postgresql_where=sa.text(EXPIRING)),
    sa.Index(
        *("queue_due", "state", "lane", "tier", "segment", "audience", "due_at", "rank", "case_id"),
        sqlite_where=sa.text(DUE),
        postgresql_where=sa.text(DUE),
    ),
    sa.Index("queue_assignee", "assignee", sqlite_where=sa.text(ASSIGNED), postgresql_where=sa.text(ASSIGNED)),
    sa.Index(
        *("queue_assigned", "assigned_until"),
        sqlite_where=sa.text(ASSIGNED_FOR_A_TIME),
        postgresql_where=sa.text(ASSIGNED_FOR_A_TIME),
    ),
    sa.Index("queue_overdue", "due_at", sqlite_where=sa.text(DUE), postgresql_where=sa.text(DUE)),
)

answers = sa.Table(
    "annotations",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("client_key", sa.Text),  # idempotency key; null where nobody sent one
    sa.Column("token", sa.Text),
    sa.Column("annotator", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),  # tidemark.records.LabelStatus
    sa.Column("label", sa.Text),
    sa.Column("confidence", sa.Float(53)),
    sa.Column("comment", sa.Text),
    sa.Column("known_at", sa.BigInteger, nullable=False),
    sa.Column("leased_at", sa.BigInteger),  # wall clock, µs; null where no lease was
    sa.Column("answered_at", sa.BigInteger, nullable=False),
    sa.Column("supersedes", sa.Text),  # id of the annotation that this one takes the place of
    sa.Column("consensus", sa.Text),  # JSON: the classes' probabilities, of a verdict on votes, of a gold case
    sa.Column("bulk", sa.Text),  # names the bulk in which it was given; null: by itself
    sa.Index("annotations_superseded", "supersedes"),
    sa.Index("annotations_bulk", "bulk", sqlite_where=sa.text(IN_BULK), postgresql_where=sa.text(IN_BULK)),
    sa.Index("annotations_annotator", "annotator", "answered_at"),
    sa.Index("annotations_key", "event_id", "client_key", unique=True),
)

confusion = sa.Table(
    "confusion",
    metadata,
    # What annotators said of cases whose class is (nearly) known, in millionths of cases: a sum of whole numbers is the
    # same in any order. Annotator "": how frequent the classes are. It follows from `annotations`.
    sa.Column("annotator", sa.Text, primary_key=True),
    sa.Column("truth", sa.Text, primary_key=True),
    sa.Column("said", sa.Text, primary_key=True),
    sa.Column("weight", sa.BigInteger, nullable=False),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("seq", _Id, primary_key=True, autoincrement=True),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("key", sa.LargeBinary),
    sa.Column("value", sa.LargeBinary),
    sa.Column("annotation_id", sa.Text),
    sa.Column("headers", sa.LargeBinary, nullable=False),  # JSON: [[name, base64 of the value or null], ..]
    sqlite_autoincrement=True,  # a number is never used twice, even when the newest rows were deleted
)

positions = sa.Table(
    "positions",
    metadata,
    sa.Column("reader", sa.Text, primary_key=True),  # intake, or tail (of what was published)
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("incarnation", sa.Text, primary_key=True),
    sa.Column("offset", sa.BigInteger, nullable=False),  # of the next record
)

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

FIRST_LEASE_END: Final = sa.select(sa.func.min(queue.c.lease_until)).where(queue.c.lease_until.is_not(None))
"""When the first lease ends. The condition is the index's own, which is not looked at without."""

annotators = sa.Table(
    "annotators",
    metadata,
    # Who is not in it is active, has every skill and no quota.
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),  # active, paused, quarantined
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False),  # wall clock, µs
    sa.Column("skills", sa.Text),  # JSON list; null: every skill
    sa.Column("quota", sa.BigInteger, nullable=False),  # cases a day (UTC); 0: no bound
    sa.Column("absent_until", sa.BigInteger, nullable=False, server_default="0"),  # wall clock, µs; past: is there
)

gold = sa.Table(
    "gold",
    metadata,
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("added_at", sa.BigInteger, nullable=False),  # wall clock, µs
)

gold_leases = sa.Table(
    "gold_leases",
    metadata,
    # A gold case is in several hands at once, and its true case is closed: its leases are not the queue's.
    sa.Column("token", sa.Text, primary_key=True),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("annotator", sa.Text, nullable=False),
    sa.Column("lease_until", sa.BigInteger, nullable=False),  # queue time, µs
    sa.Column("leased_at", sa.BigInteger, nullable=False),  # wall clock, µs
    sa.Column("due_at", sa.BigInteger),  # what its holder is told, wall clock, µs: true cases have one
    sa.Index("gold_leases_holder", "annotator", "event_id"),
    sa.Index("gold_leases_end", "lease_until"),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("number", _Id, primary_key=True, autoincrement=False),  # 1, 2, 3, ..: a gap is tampering
    sa.Column("at", sa.BigInteger, nullable=False),  # wall clock, µs
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("object", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),  # JSON
    sa.Column("hash", sa.Text, nullable=False),  # SHA-256 over the row and the hash of the row before, hex
)

replication = sa.MetaData()

counters = sa.Table(
    "counters",
    replication,
    # A replica adds to a row of its own, so that no two wait for each other; the sum is what is true.
    sa.Column("stripe", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("waiting_explore", sa.BigInteger, nullable=False),
    sa.Column("waiting_active", sa.BigInteger, nullable=False),
    sa.Column("leased", sa.BigInteger, nullable=False),
    sa.Column("answered", sa.BigInteger, nullable=False),
    sa.Column("skipped", sa.BigInteger, nullable=False),
    sa.Column("expired", sa.BigInteger, nullable=False),
    sa.Column("withdrawn", sa.BigInteger, nullable=False),
    sa.Column("unpublished", sa.BigInteger, nullable=False),
    sa.Column("clock", sa.BigInteger, nullable=False),  # latest queue time that this row's replicas saw, µs
)

numbers = sa.Table(
    "numbers",
    replication,
    # Replicas commit in another order than they drew `outbox.seq` in: the publisher numbers what is committed.
    sa.Column("number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("seq", sa.BigInteger, sa.ForeignKey(outbox.c.seq, ondelete="CASCADE"), nullable=False, unique=True),
)

leader = sa.Table(
    "leader",
    replication,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),  # the database's clock, µs
    sa.Column("intake_problem", sa.Text, nullable=False),
    sa.Column("publishing_problem", sa.Text, nullable=False),
)

replica_number = sa.Sequence("replica_number", metadata=replication)
