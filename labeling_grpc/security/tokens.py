"""Access tokens: made, listed, revoked, rotated, checked.

A secret is 32 random bytes, so its SHA-256 can't be turned back by guessing. A slow hash protects what people choose;
here it would add its cost to every call, and no safety.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from labeling_grpc.contract.programs import is_program
from labeling_grpc.contract.text import is_name, is_reserved
from labeling_grpc.security.audit import Act, record, tell
from labeling_grpc.security.roles import Role
from labeling_grpc.tables.tokens import identities, tokens
from tidemark.errors import LabelingError

PREFIX: Final = "tdm_"
"""Of every secret, so that a scanner finds one that was committed by mistake."""


class TokenError(LabelingError):
    """A token can't be made, found or stored; says why."""


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token. Times in µs of the wall clock.

    subject: who signed in for it, as the identity provider knows them; None: an operator made it.
    """

    id: str
    role: Role
    annotator: str
    created_at: int
    expires_at: int
    revoked_at: int | None
    subject: str | None = None

    def valid(self, now: int) -> bool:
        """Whether it opens anything at `now`."""
        return self.revoked_at is None and self.created_at <= now < self.expires_at


@dataclass(frozen=True, slots=True)
class Issued:
    """A token and its secret, which is shown this once and stored nowhere."""

    token: Token
    secret: str


def digest(secret: str) -> str:
    """SHA-256 of a secret, hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_secret() -> str:
    """A secret that nobody can guess."""
    return PREFIX + secrets.token_urlsafe(32)


def insert(connection: sa.Connection, token: Token, secret_digest: str) -> None:
    """Store a token, in the transaction of the connection."""
    connection.execute(
        tokens.insert().values(
            id=token.id,
            digest=secret_digest,
            role=token.role.value,
            annotator=token.annotator,
            created_at=token.created_at,
            expires_at=token.expires_at,
            subject=token.subject,
        )
    )


def wall_clock() -> int:
    """Now, µs."""
    return time.time_ns() // 1_000


@contextmanager
def translated() -> Iterator[None]:
    """Translate the errors of a database.

    Raises:
        TokenError: The database fails.

    """
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise TokenError(f"the database of access tokens fails ({error.orig}): nothing was changed") from error


class TokenStore:
    """Tokens in a queue's database. What is done to them is in its audit trail. Safe to share among threads."""

    def __init__(self, engine: sa.Engine, now: Callable[[], int] = wall_clock, operator: str = "") -> None:
        """Tokens of a database that has its tables. now: wall clock, µs.  operator: who makes and ends tokens."""
        self._engine = engine
        self._now = now
        self._operator = operator

    @property
    def engine(self) -> sa.Engine:
        """The database that the tokens are in."""
        return self._engine

    def create(self, role: Role, annotator: str, lifetime_us: int) -> Issued:
        """A new token of `annotator` that ends `lifetime_us` from now.

        Raises:
            TokenError: the annotator's id is no name, the lifetime is not above 0, or the database fails.

        """
        if not is_name(annotator, 128):
            raise TokenError(f"the annotator's id {annotator!r} must have 1 to 128 printable characters")
        if is_reserved(annotator):
            raise TokenError(
                f"{annotator!r} is who gives verdicts on several answers: nobody has this name; take another"
            )
        if is_program(annotator) and role is not Role.PROGRAM:
            raise TokenError(f"{annotator!r} is the name of a program: give its token the role program")
        with self._changing() as (connection, acts):
            issued = self._insert(connection, role, annotator, lifetime_us)
            detail = {"role": role.value, "annotator": annotator, "expires_at": issued.token.expires_at}
            acts.append(self._act("token create", issued.token.id, detail))
        return issued

    def _insert(self, connection: sa.Connection, role: Role, annotator: str, lifetime_us: int) -> Issued:
        if lifetime_us <= 0:
            raise TokenError(f"a token's lifetime ({lifetime_us} µs) must be above 0; write 90d")
        now = self._now()
        secret = new_secret()
        token = Token(secrets.token_hex(6), role, annotator, now, now + lifetime_us, None)
        insert(connection, token, digest(secret))
        return Issued(token, secret)

    def rotate(self, token_id: str, lifetime_us: int, overlap_us: int) -> Issued:
        """A successor with the same role and annotator; the old one ends within `overlap_us`, both are valid till then.

        Raises:
            TokenError: there is no such valid token, or the database fails.

        """
        old = next((token for token in self.all() if token.id == token_id), None)
        now = self._now()
        if old is None or not old.valid(now):
            raise TokenError(f"there is no valid token {token_id!r}: see `tidemark token list`, and create one")
        if old.subject is not None:
            raise TokenError(f"token {token_id!r} came of a sign-in, and ends with it: create one instead")
        with self._changing() as (connection, acts):
            fresh = self._insert(connection, old.role, old.annotator, lifetime_us)
            ends = min(old.expires_at, now + max(overlap_us, 0))
            connection.execute(tokens.update().where(tokens.c.id == token_id).values(expires_at=ends))
            detail = {"successor": fresh.token.id, "annotator": old.annotator, "expires_at": ends}
            acts.append(self._act("token rotate", token_id, detail))
        return fresh

    def revoke(self, token_id: str) -> None:
        """End a token now. Revoking it again changes nothing.

        Raises:
            TokenError: there is no such token, or the database fails.

        """
        with self._changing() as (connection, acts):
            changed = connection.execute(
                tokens.update()
                .where(tokens.c.id == token_id)
                .values(revoked_at=sa.func.coalesce(tokens.c.revoked_at, self._now()))
            )
            if not changed.rowcount:
                raise TokenError(f"there is no token {token_id!r}: see `tidemark token list`")
            acts.append(self._act("token revoke", token_id, {}))

    def link(self, annotator: str, subject: str = "") -> None:
        """Let somebody who signs in by the identity provider have an annotator id, and nobody else.

        Args:
            annotator: the id; it may be one that a token made here has, or that has answered here.
            subject: who, as the provider knows them (`sub`); "": whoever signs in under the id next.

        Raises:
            TokenError: nobody can have this id, or the database fails.

        """
        if not is_name(annotator, 128) or is_reserved(annotator) or is_program(annotator):
            raise TokenError(f"nobody who signs in can have the annotator id {annotator!r}")
        with self._changing() as (connection, acts):
            connection.execute(identities.delete().where(identities.c.annotator == annotator))
            connection.execute(
                identities.insert().values(annotator=annotator, issuer="", subject=subject, since=self._now())
            )
            acts.append(self._act("token link", annotator, {"subject": subject}))

    def _act(self, action: str, token_id: str, detail: Mapping[str, object]) -> Act:
        return Act(self._operator, "operator", action, token_id, detail)

    @contextmanager
    def _changing(self) -> Iterator[tuple[sa.Connection, list[Act]]]:
        """A transaction; what was done in it is written to the audit trail with it."""
        acts: list[Act] = []
        with translated(), self._engine.begin() as connection:
            yield connection, acts
            entries = record(connection, self._now(), acts)
        tell(entries)

    def all(self) -> list[Token]:
        """All tokens, oldest first, those that ended included.

        Raises:
            TokenError: the database fails.

        """
        return [token for _, token in self._rows()]

    def find(self, secret: str) -> Token | None:
        """The valid token of a secret; None: unknown, expired or revoked.

        Raises:
            TokenError: the database fails.

        """
        token = next((token for _, token in self._rows(tokens.c.digest == digest(secret))), None)
        return token if token is not None and token.valid(self._now()) else None

    def close(self) -> None:
        """Give the database back."""
        self._engine.dispose()

    def _rows(self, *where: sa.ColumnElement[bool]) -> list[tuple[str, Token]]:
        query = sa.select(tokens).where(*where).order_by(tokens.c.created_at, tokens.c.id)
        with translated(), self._engine.connect() as connection:
            return [
                (
                    row.digest,
                    Token(
                        row.id,
                        Role(row.role),
                        row.annotator,
                        row.created_at,
                        row.expires_at,
                        row.revoked_at,
                        row.subject,
                    ),
                )
                for row in connection.execute(query)
            ]
