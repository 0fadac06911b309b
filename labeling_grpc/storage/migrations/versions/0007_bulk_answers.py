"""Answers that were given together with others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from labeling_grpc.storage.collation import order_by_bytes

revision = "0007"
down_revision = "0006"

_IN_BULK = sa.text("bulk IS NOT NULL")


def upgrade() -> None:
    """Add the column."""
    op.add_column("annotations", sa.Column("bulk", sa.Text))
    op.create_index("annotations_bulk", "annotations", ["bulk"], sqlite_where=_IN_BULK, postgresql_where=_IN_BULK)
    order_by_bytes(op.get_bind())
