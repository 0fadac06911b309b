"""Checks of single fields: each gives what the field says, or refuses it with its name and the remedy."""

from __future__ import annotations

import math
from typing import Final

from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.contract.text import hidden, is_name, is_reserved
from labeling_grpc.v1 import admin_pb2
from labeling_grpc.v1 import labeling_pb2 as pb

MAX_COMMENT: Final = 4_000
MAX_TIME_US: Final = 253_402_300_799_999_999
"""The end of the year 9999."""


def confidence(message: pb.Annotation | pb.AmendLabelRequest | admin_pb2.ImportedLabel) -> float | None:
    """The confidence of a message, None where it is not set."""
    value = message.confidence if message.HasField("confidence") else None
    if value is not None and not (math.isfinite(value) and 0.0 <= value <= 1.0):
        raise RefusedError(Reason.INVALID_FIELD, f"confidence ({value}) is not in 0 to 1", field="confidence")
    return value


def name(field: str, value: str, longest: int) -> str:
    """A name of 1 to `longest` printable characters."""
    if not is_name(value, longest):
        raise RefusedError(Reason.INVALID_FIELD, f"{field} must have 1 to {longest} printable characters", field=field)
    return value


def person(field: str, value: str) -> str:
    """A name that somebody may have.

    Args:
        field: Of the request.
        value: What it says.

    Returns:
        The name.

    Raises:
        RefusedError: It is no name, or a reserved one.

    """
    if is_reserved(name(field, value, 128)):
        raise RefusedError(
            Reason.INVALID_FIELD,
            f"{value!r} is who gives verdicts on several answers: nobody has this name",
            field=field,
        )
    return value


def key(value: str) -> str:
    """An idempotency key, "" where there is none."""
    return name("idempotency_key", value, 128) if value else ""


def text(field: str, value: str) -> str | None:
    """Text of at most `MAX_COMMENT` characters, all of which can be seen; None where it is empty."""
    if len(value) > MAX_COMMENT:
        raise RefusedError(
            Reason.INVALID_FIELD, f"{field} has {len(value)} characters; at most {MAX_COMMENT} are kept", field=field
        )
    if (character := hidden(value)) is not None:
        raise RefusedError(
            Reason.INVALID_FIELD,
            f"{field} has the character {character}, which can't be seen: take it out",
            field=field,
        )
    return value or None


def known_at(value: int) -> int:
    """The event time, µs, from which something may be used."""
    return between("known_at_us", value, 0, MAX_TIME_US)


def between(field: str, value: int, low: int, high: int) -> int:
    """A number from `low` to `high`."""
    if not low <= value <= high:
        raise RefusedError(Reason.INVALID_FIELD, f"{field} ({value}) must be {low} to {high}", field=field)
    return value
