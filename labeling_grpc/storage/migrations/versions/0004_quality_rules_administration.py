"""Several answers to a case, segments and skills, annotators, gold cases, the audit trail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_AUDIENCE = "coalesce(skill, '') || '\n' || substr(coalesce(seen, ''), 1, 400)"
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns, with what they meant before they were there, and the tables."""
    op.add_column("queue", sa.Column("tier", sa.SmallInteger, nullable=False, server_default="0"))
    op.add_column("queue", sa.Column("segment", sa.Text, nullable=False, server_default=""))
    op.add_column("queue", sa.Column("skill", sa.Text))
    op.add_column("queue", sa.Column("leased_at", sa.BigInteger))
    op.add_column("queue", sa.Column("votes", sa.SmallInteger, nullable=False, server_default="0"))
    op.add_column("queue", sa.Column("seen", sa.Text))
    stored = op.get_bind().dialect.name == "postgresql"  # SQLite adds none that is stored; either can be indexed
    op.add_column("queue", sa.Column("audience", sa.Text, sa.Computed(_AUDIENCE, persisted=stored)))
    op.drop_index("queue_order", "queue")
    op.create_index("queue_order", "queue", ["state", "lane", "tier", "segment", "audience", "rank", "case_id"])
    op.add_column("cases", sa.Column("key", sa.Text))
    op.create_index("cases_key", "cases", ["key", "id"])
    op.add_column("annotations", sa.Column("leased_at", sa.BigInteger))
    op.add_column("annotations", sa.Column("consensus", sa.Text))
    op.create_index("annotations_annotator", "annotations", ["annotator", "answered_at"])
    if op.get_bind().dialect.name == "postgresql":
        op.add_column("counters", sa.Column("withdrawn", sa.BigInteger, nullable=False, server_default="0"))
    _annotators()
    _audit()


def _annotators() -> None:
    op.create_table(
        "confusion",
        sa.Column("annotator", sa.Text, primary_key=True),
        sa.Column("truth", sa.Text, primary_key=True),
        sa.Column("said", sa.Text, primary_key=True),
        sa.Column("weight", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "annotators",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("skills", sa.Text),
        sa.Column("quota", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "gold",
        sa.Column("event_id", sa.Text, primary_key=True),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("added_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "gold_leases",
        sa.Column("token", sa.Text, primary_key=True),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("annotator", sa.Text, nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
        sa.Column("leased_at", sa.BigInteger, nullable=False),
    )
    op.create_index("gold_leases_holder", "gold_leases", ["annotator", "event_id"])
    op.create_index("gold_leases_end", "gold_leases", ["lease_until"])


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("number", _ID, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("object", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
    )
