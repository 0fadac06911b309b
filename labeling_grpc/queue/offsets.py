"""How far readers of Kafka came: moved in the transaction of what they read."""

from __future__ import annotations

import sqlalchemy as sa

from labeling_grpc.commands.labeling import Source
from labeling_grpc.tables.schema import positions


def position(connection: sa.Connection, reader: str, source: Source) -> int | None:
    """Next offset of a reader; None: it never read."""
    return connection.execute(sa.select(positions.c.offset).where(*_of(reader, source))).scalar_one_or_none()


def move(connection: sa.Connection, reader: str, source: Source, offset: int) -> None:
    """Set the next offset of a reader."""
    if not connection.execute(positions.update().where(*_of(reader, source)).values(offset=offset)).rowcount:
        connection.execute(
            positions.insert().values(
                reader=reader,
                topic=source.topic,
                partition=source.partition,
                incarnation=source.incarnation,
                offset=offset,
            )
        )


def _of(reader: str, source: Source) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        positions.c.reader == reader,
        positions.c.topic == source.topic,
        positions.c.partition == source.partition,
        positions.c.incarnation == source.incarnation,
    )
