"""Access tokens of those who sign in by the identity provider: given, and ended, with a line in the audit trail."""

from __future__ import annotations

import secrets
from typing import Final

import sqlalchemy as sa

from labeling_grpc.commands.labeling import Result
from labeling_grpc.commands.sessions import EndSession, Session, StartSession
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.queue.unit_of_work import UnitOfWork
from labeling_grpc.security.audit import Act
from labeling_grpc.security.caller import act
from labeling_grpc.security.oidc.person import Person
from labeling_grpc.security.tokens import Token, insert
from labeling_grpc.tables.schema import answers
from labeling_grpc.tables.tokens import exchanged, identities, tokens

KEPT_US: Final = 30 * 86_400 * 1_000_000
"""For which a sign-in's token stays listed after its end; the audit trail has it for good."""


def change_session(work: UnitOfWork, command: Session) -> Result:
    """Apply a command."""
    return _start(work, command) if isinstance(command, StartSession) else _end(work, command)


def _start(work: UnitOfWork, command: StartSession) -> Token | RefusedError:
    """Give an access token for an ID token, once."""
    person = command.person
    work.connection.execute(exchanged.delete().where(exchanged.c.until < work.wall))
    proof = work.insert(exchanged).values(digest=person.proof, until=person.proof_until)
    fresh = proof.on_conflict_do_nothing(index_elements=["digest"]).returning(exchanged.c.digest)
    if work.connection.execute(fresh).first() is None:  # not every driver counts the rows of an INSERT
        return RefusedError(
            Reason.UNAUTHENTICATED,
            "the identity provider's token is not taken: it was exchanged before; sign in again",
            field="id_token",
        )
    if (refused := _claimed(work, person)) is not None:
        return refused
    ended = tokens.c.expires_at < work.wall - KEPT_US
    work.connection.execute(tokens.delete().where(tokens.c.subject.is_not(None), ended))
    token = Token(
        id=secrets.token_hex(6),
        role=person.role,
        annotator=person.annotator,
        created_at=work.wall,
        expires_at=work.wall + command.lifetime_us,
        revoked_at=None,
        subject=person.subject,
    )
    insert(work.connection, token, command.digest)
    detail = {"issuer": person.issuer, "subject": person.subject, "expires_at": str(token.expires_at)}
    work.acts.append(Act(person.annotator, person.role.value, "sign in", token.id, detail))
    return token


def _end(work: UnitOfWork, command: EndSession) -> int:
    """How many tokens were ended: one, or none."""
    mine = (tokens.c.id == command.by.token, tokens.c.subject.is_not(None), tokens.c.revoked_at.is_(None))
    ended = work.connection.execute(tokens.update().where(*mine).values(revoked_at=work.wall)).rowcount
    if ended:
        work.acts.append(act(command.by, "sign out", command.by.token, {}))
    return ended


def _claimed(work: UnitOfWork, person: Person) -> RefusedError | None:
    """Why an annotator id is not theirs; None: it is, and nobody else's from now on."""
    connection, of_name = work.connection, identities.c.annotator == person.annotator
    held = connection.execute(sa.select(identities.c.issuer, identities.c.subject).where(of_name)).one_or_none()
    if held is None and _known(connection, person.annotator):
        return _taken(person, "is the name of somebody who has a token or answers here")
    values = {"issuer": person.issuer, "subject": person.subject, "since": work.wall}
    if held is None:
        claim = work.insert(identities).values(annotator=person.annotator, **values)
        connection.execute(claim.on_conflict_do_nothing(index_elements=["annotator"]))
        held = connection.execute(sa.select(identities.c.issuer, identities.c.subject).where(of_name)).one()
    if held.issuer not in {"", person.issuer} or held.subject not in {"", person.subject}:
        return _taken(person, "belongs to another account of the identity provider's")
    if (held.issuer, held.subject) != (person.issuer, person.subject):  # the operator has linked it
        connection.execute(identities.update().where(of_name).values(**values))
    return None


def _known(connection: sa.Connection, annotator: str) -> bool:
    made = sa.select(sa.literal(1)).where(tokens.c.annotator == annotator, tokens.c.subject.is_(None))
    said = sa.select(sa.literal(1)).where(answers.c.annotator == annotator)
    return any(connection.execute(query.limit(1)).first() is not None for query in (made, said))


def _taken(person: Person, why: str) -> RefusedError:
    return RefusedError(
        Reason.FORBIDDEN,
        f"{person.annotator!r} {why}: if it is you, let the operator run `tidemark token link PIPELINE.toml --as "
        f"{person.annotator}`",
    )
