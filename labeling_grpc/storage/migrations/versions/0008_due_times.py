"""Times by which cases are due. Cases that wait already have none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from labeling_grpc.storage.collation import order_by_bytes

revision = "0008"
down_revision = "0007"

_DUE = sa.text("due_at IS NOT NULL")
_ORDER = ["state", "lane", "tier", "segment", "audience", "due_at", "rank", "case_id"]


def upgrade() -> None:
    """Add the columns and their indexes."""
    op.add_column("queue", sa.Column("due_at", sa.BigInteger))
    op.add_column("gold_leases", sa.Column("due_at", sa.BigInteger))
    for name, columns in (("queue_due", _ORDER), ("queue_overdue", ["due_at"])):
        op.create_index(name, "queue", columns, sqlite_where=_DUE, postgresql_where=_DUE)
    order_by_bytes(op.get_bind())
