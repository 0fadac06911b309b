"""Texts of PostgreSQL in the order of their bytes, as those of SQLite: a locale's order is another in each database."""

from __future__ import annotations

from alembic import op

from labeling_grpc.storage.collation import order_by_bytes

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Give the columns their order."""
    order_by_bytes(op.get_bind())
