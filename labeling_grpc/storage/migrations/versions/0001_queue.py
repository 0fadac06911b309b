"""The queue, its annotations and its outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "cases",
        sa.Column("id", _Id, primary_key=True, autoincrement=True),
        sa.Column("event_id", sa.Text, nullable=False, unique=True),
        sa.Column("candidate", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "queue",
        sa.Column("case_id", _Id, primary_key=True, autoincrement=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("lane", sa.SmallInteger, nullable=False),
        sa.Column("rank", sa.Float(53), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("token", sa.Text),
        sa.Column("annotator", sa.Text),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("leases", sa.Integer, nullable=False),
        sa.Column("passed_by", sa.Text),
        sa.Column("passed_until", sa.BigInteger),
        sa.Index("queue_order", "state", "lane", "rank", "case_id"),
        sa.Index("queue_lease", "lease_until"),
        sa.Index("queue_expiry", "expires_at"),
    )
    op.create_table(
        "annotations",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("client_key", sa.Text),
        sa.Column("token", sa.Text),
        sa.Column("annotator", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("confidence", sa.Float(53)),
        sa.Column("comment", sa.Text),
        sa.Column("known_at", sa.BigInteger, nullable=False),
        sa.Column("answered_at", sa.BigInteger, nullable=False),
        sa.Index("annotations_key", "event_id", "client_key", unique=True),
    )
    op.create_table(
        "outbox",
        sa.Column("seq", _Id, primary_key=True, autoincrement=True),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("key", sa.LargeBinary),
        sa.Column("value", sa.LargeBinary),
        sa.Column("annotation_id", sa.Text),
        sa.Column("headers", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "positions",
        sa.Column("reader", sa.Text, primary_key=True),
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True),
        sa.Column("incarnation", sa.Text, primary_key=True),
        sa.Column("offset", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
