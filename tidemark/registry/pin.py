"""The pin: a champion that the retrain flow leaves in force until a person lifts it.

It is a record of `P.models`, signed as models are. It says nothing to those who serve the champion.
"""

from __future__ import annotations

from typing import Final

from tidemark.records import Int64, Record

PIN_KEY: Final = b"pipeline/pin"


class Pin(Record, frozen=True, kw_only=True):
    """`P.models`, key `pipeline/pin`.

    version: the champion that stays; None where a pin was lifted.  at: µs since 1970.  by: who did it.
    """

    version: str | None
    at: Int64
    by: str
