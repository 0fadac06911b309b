"""Indexes of leases and of usefulness over the rows that have one alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make them anew."""
    for name, column in (("queue_lease", "lease_until"), ("queue_expiry", "expires_at")):
        op.drop_index(name, "queue")
        given = sa.text(f"{column} IS NOT NULL")
        op.create_index(name, "queue", [column], sqlite_where=given, postgresql_where=given)
