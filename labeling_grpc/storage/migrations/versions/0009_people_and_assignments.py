"""Until when people are absent, and who cases are assigned to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from labeling_grpc.storage.collation import order_by_bytes

revision = "0009"
down_revision = "0008"

_AUDIENCE = (
    "coalesce(skill, '') || '\n' || substr(coalesce(seen, ''), 1, 400) || coalesce('\n' || substr(assignee, 1, 32), '')"
)
_DUE = sa.text("due_at IS NOT NULL")
_ASSIGNED = sa.text("assignee IS NOT NULL")
_FOR_A_TIME = sa.text("assigned_until IS NOT NULL")
_STACK = ["state", "lane", "tier", "segment", "audience"]


def upgrade() -> None:
    """Add the columns; cases that are assigned are an audience of their own."""
    op.add_column("annotators", sa.Column("absent_until", sa.BigInteger, nullable=False, server_default="0"))
    op.drop_index("queue_due", "queue")
    op.drop_index("queue_order", "queue")
    op.drop_column("queue", "audience")
    op.add_column("queue", sa.Column("assignee", sa.Text))
    op.add_column("queue", sa.Column("assigned_until", sa.BigInteger))
    order_by_bytes(op.get_bind())
    stored = op.get_bind().dialect.name == "postgresql"  # SQLite adds none that is stored; either can be indexed
    op.add_column(
        "queue",
        sa.Column("audience", sa.Text(collation="C" if stored else None), sa.Computed(_AUDIENCE, persisted=stored)),
    )
    op.create_index("queue_order", "queue", [*_STACK, "rank", "case_id"])
    order = [*_STACK, "due_at", "rank", "case_id"]
    op.create_index("queue_due", "queue", order, sqlite_where=_DUE, postgresql_where=_DUE)
    op.create_index("queue_assignee", "queue", ["assignee"], sqlite_where=_ASSIGNED, postgresql_where=_ASSIGNED)
    op.create_index(
        "queue_assigned", "queue", ["assigned_until"], sqlite_where=_FOR_A_TIME, postgresql_where=_FOR_A_TIME
    )
