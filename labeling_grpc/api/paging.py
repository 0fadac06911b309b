"""Page tokens: where a list goes on, for the same query alone. Rows that come or go meanwhile shift nothing."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

import msgspec
from google.protobuf.message import Message

from labeling_grpc.contract.errors import Reason, RefusedError

DEFAULT_SIZE: Final = 50
MAX_SIZE: Final = 500
_SIGNED: Final = 16

Key = int | str


class Pages:
    """Makes and reads the tokens of one queue. secret: the same in all of its replicas."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def token(self, request: Message, last: Key) -> str:
        """The token of the page after the row `last`, for requests like this one."""
        body = msgspec.json.encode(last)
        return base64.urlsafe_b64encode(self._signature(request, body) + body).decode()

    def after(self, request: Message, kind: type[Key], start: Key) -> Key:
        """The row after which a request's page begins: `start` for the first page.

        Raises:
            RefusedError: the token is not one that this query gave.

        """
        token: str = getattr(request, "page_token")  # noqa: B009 - requests of lists have it, which Message does not say
        if not token:
            return start
        try:
            raw = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
            last: Key = msgspec.json.decode(raw[_SIGNED:], type=kind)
        except (UnicodeEncodeError, binascii.Error, msgspec.DecodeError) as error:
            raise _mangled() from error
        if not hmac.compare_digest(raw[:_SIGNED], self._signature(request, raw[_SIGNED:])):
            raise _mangled()
        return last

    def _signature(self, request: Message, body: bytes) -> bytes:
        query = type(request)()
        query.CopyFrom(request)
        for field in ("page_token", "page_size"):
            if field in query.DESCRIPTOR.fields_by_name:
                query.ClearField(field)
        signed = [request.DESCRIPTOR.full_name.encode(), query.SerializeToString(deterministic=True), body]
        return hmac.new(self._secret, msgspec.json.encode(signed), hashlib.sha256).digest()[:_SIGNED]


def size(asked: int) -> int:
    """Rows of a page.

    Raises:
        RefusedError: it is not 0 (the default) to 500.

    """
    if not 0 <= asked <= MAX_SIZE:
        raise RefusedError(
            Reason.INVALID_FIELD, f"page_size ({asked}) must be 1 to {MAX_SIZE}, or 0", field="page_size"
        )
    return asked or DEFAULT_SIZE


def _mangled() -> RefusedError:
    return RefusedError(
        Reason.INVALID_FIELD,
        "page_token is not one that this list gave for the same filters: begin without it",
        field="page_token",
    )
