"""The gate that every call passes: whose token it is, what its role may, and whose the lease is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from google.protobuf.message import Message

from labeling_grpc.refusals import Reason, RefusedError
from labeling_grpc.schema import answers, cases, queue
from labeling_grpc.security.roles import MATRIX, Scope, check_matrix
from labeling_grpc.security.tokens import Token, TokenError, TokenStore
from labeling_grpc.v1 import labeling_pb2 as pb

Metadata = Iterable[tuple[str, str | bytes]]

_SCHEME: Final = "bearer"


@dataclass(frozen=True, slots=True)
class Gate:
    """Lets calls with a valid token through, each to what its role may touch.

    store: the tokens, looked up at each call, so that a revoked one ends at once; they are in the queue's database,
    which tells whose a lease is.
    """

    store: TokenStore

    def __post_init__(self) -> None:
        """Refuse to exist while a call of the contract has no row in the table of roles."""
        check_matrix(MATRIX)

    async def admit(self, method: str, request: Message, metadata: Metadata) -> str:
        """Let a call through; gives the caller's annotator id.

        A request without an annotator gets the caller's.

        Raises:
            RefusedError: no valid token, or it may not do this.

        """
        secret = _bearer(metadata)
        try:
            return await asyncio.to_thread(self._check, method, request, secret)
        except (TokenError, sa.exc.DBAPIError) as error:
            raise RefusedError(
                Reason.STORE_UNAVAILABLE, "the database of access tokens can't be read: nothing was changed; try again"
            ) from error

    def _check(self, method: str, request: Message, secret: str) -> str:
        token = self.store.find(secret) if secret else None
        if token is None:
            raise RefusedError(
                Reason.UNAUTHENTICATED,
                "the call has no valid access token: send the metadata `authorization: Bearer TOKEN`; "
                "`tidemark token create` makes one",
            )
        scope = MATRIX[method][token.role]
        if scope is Scope.NONE:
            raise RefusedError(Reason.FORBIDDEN, f"the role {token.role.value} may not call {method}")
        asked = _asked(request)
        if isinstance(asked, pb.LeaseTasksRequest | pb.AmendLabelRequest) and not asked.annotator:
            asked.annotator = token.annotator
        if scope is Scope.OWN:
            self._own(token, request)
        return token.annotator

    def _own(self, token: Token, request: Message) -> None:
        asked = _asked(request)
        if isinstance(asked, pb.LeaseTasksRequest | pb.AmendLabelRequest) and asked.annotator != token.annotator:
            raise RefusedError(
                Reason.FORBIDDEN,
                f"this token is {token.annotator!r}'s: its holder can't lease or amend for another",
                field="annotator",
            )
        if isinstance(request, pb.AmendLabelRequest) and self._author(request.annotation_id) != token.annotator:
            raise RefusedError(Reason.FORBIDDEN, "the annotation is another annotator's", field="annotation_id")
        held = _leases(request)
        # A lease token is drawn once, for one annotator: whose it is can't change between this look and the command.
        if held and any(holder != token.annotator for holder in self._holders(held)):
            raise RefusedError(Reason.FORBIDDEN, "the lease is another annotator's", field="lease_token")

    def _author(self, annotation_id: str) -> str | None:
        with self.store.engine.connect() as connection:
            found = sa.select(answers.c.annotator).where(answers.c.id == annotation_id)
            return connection.execute(found).scalar_one_or_none()

    def _holders(self, held: Sequence[tuple[str, str]]) -> list[str]:
        events, drawn = [event for event, _ in held], [token for _, token in held]
        open_ = (
            sa.select(queue.c.annotator)
            .select_from(queue.join(cases, cases.c.id == queue.c.case_id))
            .where(cases.c.event_id.in_(events), queue.c.token.in_(drawn))
        )
        closed = sa.select(answers.c.annotator).where(answers.c.event_id.in_(events), answers.c.token.in_(drawn))
        with self.store.engine.connect() as connection:
            return list(connection.execute(open_.union_all(closed)).scalars())


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
        case pb.SkipRequest():
            return [(request.lease.event_id, request.lease.lease_token)]
        case _:
            return []
