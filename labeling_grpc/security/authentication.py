"""What every call passes: whose token it is, what its role may, and whose the lease is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa
from google.protobuf.message import Message

from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.contract.text import MAX_EVENT_ID, is_name
from labeling_grpc.security.audit import Act
from labeling_grpc.security.caller import Caller
from labeling_grpc.security.roles import MATRIX, Role, Scope, check_matrix
from labeling_grpc.security.token_throttle import TokenAttempt, TokenThrottle, no_token
from labeling_grpc.security.tokens import Token, TokenError, TokenStore
from labeling_grpc.tables.schema import answers, cases, gold_leases, queue
from labeling_grpc.v1 import labeling_pb2 as pb

Metadata = Iterable[tuple[str, str | bytes]]
Acting = pb.LeaseTasksRequest | pb.AmendLabelRequest | pb.AddCommentRequest
"""Requests that name who acts."""

PATIENCE_SECONDS: Final = 10.0
"""For the database of tokens: one that hangs, and does not even fail, must not hold calls for ever."""

_SCHEME: Final = "bearer"


def unheard(_act: Act) -> None:
    """Nothing."""


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Lets calls with a valid token through, each to what its role may touch.

    store: the tokens, looked up at each call, so that a revoked one ends at once; they are in the queue's database,
    which tells whose a lease is.  forbidden: called, by some thread, with each call that a role may not make.
    throttle: what a call passes before anything is looked up.
    """

    store: TokenStore
    forbidden: Callable[[Act], None] = unheard
    throttle: TokenThrottle = field(default_factory=TokenThrottle)

    def __post_init__(self) -> None:
        """Refuse to exist while a call of the contract has no row in the table of roles."""
        check_matrix(MATRIX)

    def attempt(self, metadata: Metadata, address: str) -> TokenAttempt:
        """Let a call go on to the database, before its request is even parsed.

        Args:
            metadata: Of the call.
            address: Where it comes from.

        Returns:
            The call, for `admit`.

        Raises:
            RefusedError: No token that could be valid, or calls come too fast.

        """
        return self.throttle.attempt(_bearer(metadata), address)

    async def admit(self, method: str, request: Message, attempt: TokenAttempt) -> Caller:
        """Let a call through; gives who calls.

        A request without an annotator gets the caller's.

        Raises:
            RefusedError: no valid token, or it may not do this, or the database does not answer.

        """
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                token, refused = await asyncio.to_thread(self._check, method, request, attempt.secret)
        except (TokenError, TimeoutError, sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            raise RefusedError(
                Reason.STORE_UNAVAILABLE, "the database of access tokens can't be read: nothing was changed; try again"
            ) from error
        if token is None:
            self.throttle.rejected(attempt)
            raise no_token()
        self.throttle.accepted(attempt, token.annotator)
        if refused is not None:
            raise refused
        return Caller(token.annotator, token.role, token=token.id)

    def _check(self, method: str, request: Message, secret: str) -> tuple[Token | None, RefusedError | None]:
        """The valid token of a secret, if any, and why it may not do what it is shown for. Called by some thread."""
        token = self.store.find(secret)
        if token is None:
            return None, None
        try:
            self._permit(token, method, request)
        except RefusedError as refusal:
            self.forbidden(Act(token.annotator, token.role.value, "forbidden", method, {"field": refusal.field}))
            return token, refusal
        return token, None

    def _permit(self, token: Token, method: str, request: Message) -> None:
        scope = MATRIX[method][token.role]
        if scope is Scope.NONE:
            raise RefusedError(Reason.FORBIDDEN, f"the role {token.role.value} may not call {method}")
        asked = _asked(request)
        if isinstance(asked, Acting | pb.GetProgressRequest) and not asked.annotator:
            asked.annotator = token.annotator
        if isinstance(asked, Acting) and token.role is not Role.ADMIN and asked.annotator != token.annotator:
            raise RefusedError(
                Reason.FORBIDDEN,
                f"this token is {token.annotator!r}'s: its holder can't act in the name of another",
                field="annotator",
            )
        if isinstance(asked, pb.LeaseTasksRequest) and asked.review and token.role not in {Role.REVIEWER, Role.ADMIN}:
            raise RefusedError(Reason.FORBIDDEN, "cases for review go to reviewers alone", field="review")
        if scope is Scope.OWN:
            self._own(token, request)

    def _own(self, token: Token, request: Message) -> None:
        match request:
            case pb.AmendLabelRequest():
                if self._author(request.annotation_id) != token.annotator:
                    raise RefusedError(Reason.FORBIDDEN, "the annotation is another annotator's", field="annotation_id")
            case pb.GetProgressRequest():
                if request.annotator != token.annotator:
                    raise RefusedError(Reason.FORBIDDEN, "the figures are another annotator's", field="annotator")
            case pb.GetCaseRequest() | pb.AddCommentRequest():
                if not self._had(request.event_id, token.annotator):
                    raise RefusedError(
                        Reason.FORBIDDEN, "the case neither is nor was in this annotator's hands", field="event_id"
                    )
            case _:
                self._own_leases(token, request)

    def _own_leases(self, token: Token, request: Message) -> None:
        # What is no name is nobody's, and is refused further on; PostgreSQL takes no text with a NUL in it.
        held = [lease for lease in _leases(request) if all(is_name(text, MAX_EVENT_ID) for text in lease)]
        # A lease token is drawn once, for one annotator: whose it is can't change between this look and the command.
        if held and any(holder != token.annotator for holder in self._holders(held)):
            raise RefusedError(Reason.FORBIDDEN, "the lease is another annotator's", field="lease_token")

    def _author(self, annotation_id: str) -> str | None:
        if not is_name(annotation_id, MAX_EVENT_ID):
            return None
        with self.store.engine.connect() as connection:
            query = sa.select(answers.c.annotator).where(answers.c.id == annotation_id)
            return connection.execute(query).scalar_one_or_none()

    def _had(self, event_id: str, annotator: str) -> bool:
        """Whether a case is leased to somebody now, or was closed, skipped or annotated by them."""
        if not is_name(event_id, MAX_EVENT_ID):
            return False
        now = (
            sa.select(sa.literal(1))
            .select_from(queue.join(cases, cases.c.id == queue.c.case_id))
            .where(cases.c.event_id == event_id, queue.c.annotator == annotator)
        )
        before = sa.select(sa.literal(1)).where(answers.c.event_id == event_id, answers.c.annotator == annotator)
        gold = sa.select(sa.literal(1)).where(gold_leases.c.event_id == event_id, gold_leases.c.annotator == annotator)
        with self.store.engine.connect() as connection:
            return connection.execute(now.union_all(before, gold)).first() is not None

    def _holders(self, held: Sequence[tuple[str, str]]) -> list[str]:
        events, drawn = [event for event, _ in held], [token for _, token in held]
        open_ = (
            sa.select(queue.c.annotator)
            .select_from(queue.join(cases, cases.c.id == queue.c.case_id))
            .where(cases.c.event_id.in_(events), queue.c.token.in_(drawn))
        )
        closed = sa.select(answers.c.annotator).where(answers.c.event_id.in_(events), answers.c.token.in_(drawn))
        gold = sa.select(gold_leases.c.annotator).where(gold_leases.c.token.in_(drawn))
        with self.store.engine.connect() as connection:
            return list(connection.execute(open_.union_all(closed, gold)).scalars())


def _bearer(metadata: Metadata) -> str:
    for key, value in metadata:
        if key == "authorization" and isinstance(value, str):
            scheme, _, secret = value.partition(" ")
            return secret.strip() if scheme.lower() == _SCHEME else ""
    return ""


def _asked(request: Message) -> Message:
    """The request, or the one for the next cases that comes with its answers."""
    return request.next if isinstance(request, pb.SubmitLabelsRequest) and request.HasField("next") else request


def _leases(request: Message) -> list[tuple[str, str]]:
    """Event id and lease token of each lease that the request names."""
    match request:
        case pb.SubmitLabelsRequest():
            return [(answer.event_id, answer.lease_token) for answer in request.annotations]
        case pb.RenewLeaseRequest() | pb.ReleaseRequest():
            return [(lease.event_id, lease.lease_token) for lease in request.leases]
        case pb.SkipRequest() | pb.EscalateRequest():
            return [(request.lease.event_id, request.lease.lease_token)]
        case _:
            return []
