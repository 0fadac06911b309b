"""Signing in by the identity provider: an ID token exchanged for an access token of this service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from labeling_grpc.api import fields
from labeling_grpc.api.writer_calls import WriterCalls
from labeling_grpc.commands.sessions import StartSession
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.security.audit import Act
from labeling_grpc.security.oidc.settings import SignInRules, lacking
from labeling_grpc.security.tokens import Token, digest, new_secret
from labeling_grpc.v1 import labeling_pb2 as pb

_NONCE: Final = 256
_LEAST: Final = 16


class SignIns:
    """Exchanges ID tokens for access tokens of one pipeline's service. Lives in its event loop."""

    def __init__(
        self, pipeline: str, rules: SignInRules | None, calls: WriterCalls, forbidden: Callable[[Act], None]
    ) -> None:
        """Let people in by `rules`.

        Args:
            pipeline: the service's.
            rules: None where nobody signs in by a provider.
            calls: puts commands to the writer.
            forbidden: called with each sign-in of somebody whom the provider knows and who has no role here.

        Raises:
            ConfigError: packages for it are missing.

        """
        self._pipeline = pipeline
        self._rules = rules
        self._calls = calls
        self._forbidden = forbidden
        if rules is None:
            return
        try:
            from labeling_grpc.security.oidc.id_tokens import Verifier  # noqa: PLC0415 - of an extra
            from labeling_grpc.security.oidc.keys import Keys  # noqa: PLC0415 - the same
        except ImportError as error:
            raise lacking(error) from error
        self._verifier = Verifier(rules, Keys(rules.provider))

    async def exchange(self, request: pb.ExchangeTokenRequest) -> pb.ExchangeTokenResponse:
        """Exchange an ID token.

        Raises:
            RefusedError: it does not hold, was exchanged before, or is of somebody without a role here.

        """
        if self._rules is None:
            raise RefusedError(
                Reason.UNAUTHENTICATED,
                "nobody signs in to this service by an identity provider: TIDEMARK_OIDC_ISSUER is not set for it",
            )
        nonce = fields.name("nonce", request.nonce, _NONCE)
        pipeline, _, rest = nonce.rpartition(".")
        if pipeline != self._pipeline or len(rest) < _LEAST:
            raise RefusedError(
                Reason.UNAUTHENTICATED, f"the sign-in was not to the pipeline {self._pipeline!r}", field="nonce"
            )
        secret = new_secret()
        try:
            person = await self._verifier.person(request.id_token, nonce)
            started = await self._calls.call(StartSession(person, digest(secret), self._rules.lifetime_us))
            if isinstance(started, RefusedError):
                raise started
        except RefusedError as refusal:
            if refusal.reason is Reason.FORBIDDEN:
                self._forbidden(Act("", "", "sign in refused", self._pipeline, {"why": str(refusal)}))
            raise
        token = cast("Token", started)
        return pb.ExchangeTokenResponse(
            access_token=secret,
            caller=pb.Caller(name=token.annotator, role=token.role.value, known=True),
            expires_at_us=token.expires_at,
        )
