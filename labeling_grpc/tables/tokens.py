"""Access tokens and who signs in by an identity provider, in the queue's database. No secret is in it."""

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
    sa.Column("subject", sa.Text),  # who signed in, as the identity provider knows them; null: an operator made it
    sa.Index("access_tokens_annotator", "annotator"),
)

identities = sa.Table(
    "identities",
    metadata,
    # Who at the identity provider an annotator id belongs to: nobody else gets it, whatever the provider calls them.
    sa.Column("annotator", sa.Text, primary_key=True),
    sa.Column("issuer", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),  # "": whoever signs in under the id next
    sa.Column("since", sa.BigInteger, nullable=False),  # wall clock, µs
)

exchanged = sa.Table(
    "exchanged_tokens",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),  # SHA-256 of an ID token that was exchanged, hex
    sa.Column("until", sa.BigInteger, nullable=False),  # when it can't be shown any more: wall clock, µs
)
