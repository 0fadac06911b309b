"""Who signs in by an identity provider: whose annotator ids are, and which ID tokens were exchanged."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from labeling_grpc.storage.collation import order_by_bytes

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the tables. Tokens that are there were made by operators."""
    op.add_column("access_tokens", sa.Column("subject", sa.Text))
    op.create_index("access_tokens_annotator", "access_tokens", ["annotator"])
    op.create_table(
        "identities",
        sa.Column("annotator", sa.Text, primary_key=True),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "exchanged_tokens",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    order_by_bytes(op.get_bind())
