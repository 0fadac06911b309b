"""Headers of consumed records, whatever their names are.

A header's name is any bytes to Kafka. Where one is no UTF-8, the first `Message.headers()` of Kafka's client (2.16)
gives a list with holes and leaves an error set, each further one the list alone, and the holes end the process when
they are touched. So headers are read here alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import methodcaller
from typing import Final, cast

from confluent_kafka import Message

from tidemark.runtime.processor import Headers

UNREADABLE: Final = ("unreadable-headers", b"the name of one is no UTF-8, so none could be read")
"""Stands for all headers of a record of which one has a name that can't be read."""
_HEADERS: Final = methodcaller("headers")
"""A call written out would be sped up by the interpreter, which then does not see that an error is set."""
_BAD_NAME: Final = (UnicodeDecodeError, SystemError)
"""SystemError is how Python tells that a list came though an error is set."""


def headers_of(message: Message) -> Headers | None:
    """Headers of a consumed record.

    Args:
        message: of a consumer.

    Returns:
        Name and value of each, in order; `UNREADABLE` alone if the name of one is no UTF-8; None if it has none.

    """
    try:
        return cast("Headers | None", _HEADERS(message))
    except _BAD_NAME:
        return _replaced(message)


def headers_of_each(messages: Sequence[Message]) -> list[Headers | None]:
    """`headers_of` many records, quickly."""
    found: list[Headers | None] = []
    rest = iter(messages)
    while len(found) < len(messages):
        try:
            found.extend(map(_HEADERS, rest))
        except _BAD_NAME:  # what came before it was added
            found.append(_replaced(messages[len(found)]))
    return found


def _replaced(message: Message) -> Headers:
    message.set_headers([UNREADABLE])
    return [UNREADABLE]
