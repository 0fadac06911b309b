"""Annotations that supersede others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column."""
    op.add_column("annotations", sa.Column("supersedes", sa.Text))
    op.create_index("annotations_superseded", "annotations", ["supersedes"])
