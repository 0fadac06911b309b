"""Events of the background sample, `P.sample`, as they are read back: a stranger may have written them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from tidemark.errors import RecordError
from tidemark.records.event_id import parse_event_id
from tidemark.records.messages import SampledEvent, decode

DEFINITIONS: Final = "definitions"
"""Header that tells by what definition each feature was computed."""
_STEP: Final = "sample"
_MOST: Final = 10_000
"""Features of an event, and classes, at most."""
_FARTHEST: Final = 2**62
_TOLERANCE: Final = 1e-3
_KEY_DIGITS: Final = 6
_names: Final = msgspec.json.Decoder(dict[str, str])


@dataclass(frozen=True, slots=True)
class Sampled:
    """An event of the sample.

    place: in the sample.  time: of the event, µs.  chance: with which it was drawn, above 0.
    values: its features in the order asked for, NaN where missing.  probabilities: None without a model.
    """

    place: int
    event_id: str
    time: int
    chance: float
    model: str
    values: list[float]
    probabilities: list[float] | None


def sampled(
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | None]] | None,
    ids: Sequence[str],
    size: int,
) -> Sampled | None:
    """An event of the sample from its record.

    Args:
        key: of the record.
        value: of the record.
        headers: of the record.
        ids: of the definitions of the features that are wanted.
        size: of the sample, in places.

    Returns:
        The event; None where it lacks a feature, as those do that were drawn under another pipeline file, or where
        its place is beyond the sample's size, as those are that were drawn when that was larger.

    Raises:
        RecordError: the record is no event of a sample; the reason names what is wrong.

    """
    if key is None or not key.isdigit() or len(key) > _KEY_DIGITS:
        raise RecordError(_STEP, f"key {(key or b'')[:20]!r} is no place in a sample")
    event = decode(SampledEvent, value)
    parse_event_id(event.event_id)
    if not abs(event.time) < _FARTHEST:
        raise RecordError(_STEP, f"{event.time} is no time in µs since 1970")
    if not 0 < event.inclusion_probability <= 1:
        raise RecordError(_STEP, f"{event.inclusion_probability} is no chance of being drawn")
    if len(event.model) > 100 or len(event.features) > _MOST:
        raise RecordError(_STEP, f"a model's name of {len(event.model)} letters, or {len(event.features)} features")
    _check_probabilities(event.probabilities)
    names = {identity: name for name, identity in definitions_of(headers).items()}
    place = int(key)
    if place >= size or not all(identity in names and names[identity] in event.features for identity in ids):
        return None
    values = [event.features[names[identity]] for identity in ids]
    return Sampled(
        place,
        event.event_id,
        event.time,
        event.inclusion_probability,
        event.model,
        [math.nan if each is None else each for each in values],
        event.probabilities,
    )


def definitions_of(headers: Sequence[tuple[str, bytes | None]] | None) -> Mapping[str, str]:
    """By what definition each feature of a record was computed, by the feature's name.

    Args:
        headers: of the record.

    Returns:
        The ids.

    Raises:
        RecordError: it does not tell.

    """
    told = next((content for name, content in headers or [] if name == DEFINITIONS), None)
    if not told:
        raise RecordError(_STEP, f"no header '{DEFINITIONS}' where an event of the sample was expected")
    try:
        return _names.decode(told)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(_STEP, f"the header '{DEFINITIONS}' names no definitions: {error}") from error


def _check_probabilities(probabilities: Sequence[float] | None) -> None:
    if probabilities is None:
        return
    few = 2 <= len(probabilities) <= _MOST
    if not few or not all(0 <= p <= 1 for p in probabilities) or abs(sum(probabilities) - 1) > _TOLERANCE:
        raise RecordError(_STEP, f"{len(probabilities)} numbers that are no probabilities which sum to 1")
