"""Records in a format of the user's own get through the checks that JSON records get through."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from streaming import START, shop

from tidemark.formats.decoder import Decoder
from tidemark.formats.each_record import EachRecord
from tidemark.runtime.processor import UNKNOWN_TIME, Batch, Partition

_PIPELINE = shop(keys=1)
_NOW = START + 10**9
_NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5), st.none(), st.booleans())
_ROWS = st.fixed_dictionaries(
    {"id": st.one_of(st.text(max_size=5), _NUMBERS), "at": _NUMBERS, "who": st.text(max_size=3), "place": _NUMBERS},
    optional={"amount": _NUMBERS, "kind": st.sampled_from(["a", "ü", "other", None]), "extra": _NUMBERS},
)


def _reversed(value: bytes) -> Mapping[str, object]:
    """A format of which JSON is the mirror image."""
    told = json.loads(value[::-1])
    if not isinstance(told, dict):
        raise ValueError("no object")  # noqa: TRY004 what a user's function may raise
    return told


def _batch(values: list[bytes | None]) -> Batch:
    n = len(values)
    stamps = np.full(n, _NOW // 1_000, np.int64)
    return Batch(Partition("shop.raw", 0, "0000aaaa"), np.arange(n), stamps, [b"k"] * n, values)


@given(st.lists(st.one_of(_ROWS, st.sampled_from(["{", "[1]", "", None])), max_size=8))
def test_a_record_of_ones_own_is_what_the_same_record_in_json_is(rows: list[object]) -> None:
    plain = [None if row is None else (json.dumps(row) if isinstance(row, dict) else str(row)).encode() for row in rows]
    own = [None if value is None else value[::-1] for value in plain]
    expected = Decoder(_PIPELINE).decode(_batch(plain), _NOW)
    decoder = EachRecord(_PIPELINE, _reversed)
    given_ = decoder.decode(_batch(own), _NOW)
    assert given_.frame.equals(expected.frame, null_equal=True)
    assert given_.rows.tolist() == expected.rows.tolist()
    assert (given_.times.tolist(), given_.bounded.tolist()) == (expected.times.tolist(), expected.bounded.tolist())
    assert [one.row for one in given_.bad] == [one.row for one in expected.bad]
    assert decoder.event_times(_batch(own)) == Decoder(_PIPELINE).event_times(_batch(plain))


def test_what_the_function_raises_is_the_reason_of_the_dead_letter() -> None:
    def columns(value: bytes) -> Mapping[str, object]:
        if value == b"value":
            raise ValueError("such a value")
        return {"who": json.loads("{}")["a column"]} if value == b"lookup" else {"who": object()}

    decoder = EachRecord(_PIPELINE, columns)
    batch = _batch([b"value", b"lookup", b"type", None])
    reasons = [one.reason for one in decoder.decode(batch, _NOW).bad]
    assert reasons[0] == "ValueError: such a value"
    assert reasons[1].startswith("KeyError: ")
    assert reasons[2].startswith("TypeError: ")
    assert "tombstone" in reasons[3]
    assert decoder.event_times(batch) == [UNKNOWN_TIME] * 4
