"""The table of access tokens, in the queue's database. The secret itself is nowhere in it."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

tokens = sa.Table(
    "access_tokens",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),  # public: lists and logs name a token by it
    sa.Column("digest", sa.Text, nullable=False, unique=True),  # SHA-256 of the secret, hex
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("annotator", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),  # wall clock, µs, as the next two
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("revoked_at", sa.BigInteger),
)
