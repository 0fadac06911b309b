"""Setting annotators aside whose answers look like guesses: nothing more is given to them, their votes do not count."""

from __future__ import annotations

import logging

import sqlalchemy as sa

from labeling_grpc.commands.labeling import Quarantine
from labeling_grpc.queue.handlers.assignments import return_assigned
from labeling_grpc.queue.unit_of_work import UnitOfWork
from labeling_grpc.security.audit import Act
from labeling_grpc.tables.schema import annotators

log = logging.getLogger(__name__)


def quarantine(work: UnitOfWork, command: Quarantine) -> None:
    """Set an active annotator aside. What was published stays; the log names them."""
    state = sa.select(annotators.c.state).where(annotators.c.name == command.annotator)
    if work.connection.execute(state).scalar_one_or_none() not in {None, "active"}:
        return
    values = {"state": "quarantined", "why": command.why, "since": work.wall}
    row = work.insert(annotators).values(name=command.annotator, quota=0, **values)
    work.connection.execute(row.on_conflict_do_update(index_elements=["name"], set_=values))
    work.note_annotators_changed()
    return_assigned(work, command.annotator)
    work.acts.append(Act("", "service", "quarantine", command.annotator, {"why": command.why}))
    log.warning("annotator %r is quarantined: %s", command.annotator, command.why)
