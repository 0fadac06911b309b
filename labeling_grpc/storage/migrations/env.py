"""Run by alembic: the connection and its transaction are the caller's (`labeling_grpc.storage.migrate`)."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
