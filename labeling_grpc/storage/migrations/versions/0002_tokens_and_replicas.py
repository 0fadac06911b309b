"""Access tokens; in PostgreSQL, what several replicas share."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables. Tokens may have been made before: their table came without a migration at first."""
    if not sa.inspect(op.get_bind()).has_table("access_tokens"):
        op.create_table(
            "access_tokens",
            sa.Column("id", sa.Text, primary_key=True),
            sa.Column("digest", sa.Text, nullable=False, unique=True),
            sa.Column("role", sa.Text, nullable=False),
            sa.Column("annotator", sa.Text, nullable=False),
            sa.Column("created_at", sa.BigInteger, nullable=False),
            sa.Column("expires_at", sa.BigInteger, nullable=False),
            sa.Column("revoked_at", sa.BigInteger),
        )
    op.execute("INSERT INTO meta (key, value) VALUES ('kafka', '')")
    if op.get_bind().dialect.name == "postgresql":
        _replicas()


def _replicas() -> None:
    numbers = ("waiting_explore", "waiting_active", "leased", "answered", "skipped", "expired", "unpublished", "clock")
    op.create_table(
        "counters",
        sa.Column("stripe", sa.SmallInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in numbers),
    )
    op.create_table(
        "numbers",
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("seq", sa.BigInteger, sa.ForeignKey("outbox.seq", ondelete="CASCADE"), nullable=False, unique=True),
    )
    op.create_table(
        "leader",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("intake_problem", sa.Text, nullable=False),
        sa.Column("publishing_problem", sa.Text, nullable=False),
    )
    op.execute(sa.schema.CreateSequence(sa.Sequence("replica_number")))
