"""The newest alarm of drift that something follows from, as `P.models` keeps it for `select` and `retrain`."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

import msgspec

from tidemark.errors import ModelError, RecordError
from tidemark.records import Record, decode, encode
from tidemark.registry import signature
from tidemark.registry.codec import Headers, signed
from tidemark.runtime.processor import Output

ALARM_KEY: Final = b"pipeline/alarm"
AlarmName = Literal["inputs_changed", "predictions_changed", "labels_changed", "quality_fell"]
ALARMS: Final[dict[str, AlarmName]] = {name: name for name in get_args(AlarmName)}


class Alarm(Record, frozen=True, kw_only=True):
    """`P.models`, key `pipeline/alarm`.

    name: of the metric that told it.  at: when it was noticed, by Kafka's clock, µs since 1970.
    """

    name: AlarmName
    at: Annotated[int, msgspec.Meta(ge=0, lt=2**62)]


def alarm_record(topic: str, alarm: Alarm, secret: bytes | None) -> Output:
    """The record of an alarm, with its digest."""
    return signed(topic, ALARM_KEY, encode(alarm), secret)


def read_alarm(value: bytes | None, headers: Headers, secret: bytes | None) -> Alarm | None:
    """The alarm in a record of the key `ALARM_KEY`; None in a tombstone.

    Raises:
        ModelError: it is malformed, or its digest is wrong.

    """
    if value is None:
        return None
    if why := signature.refusal(ALARM_KEY, value, signature.given(headers), secret):
        raise ModelError(f"an alarm is refused: {why}")
    try:
        return decode(Alarm, value)
    except RecordError as error:
        raise ModelError(f"an alarm is refused: {error.reason}") from error
