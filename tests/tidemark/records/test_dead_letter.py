"""A dead letter holds its record whole, or says what it had to leave out."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tidemark.records.dead_letter import MAX_HEADERS, MAX_KEY, MAX_VALUE, OWN_HEADER, dead_letter
from tidemark.runtime.processor import Batch, Headers, Output, Partition

_BROKER_LIMIT = 1_048_588
_OURS = st.sampled_from(["reason", "step", "source_topic", "truncated", "record.reason", "record."])
_HEADERS = st.lists(st.tuples(st.text(max_size=20) | _OURS, st.none() | st.binary(max_size=20)), max_size=8)


def _letter(
    value: bytes | None = b"{", key: bytes | None = b"C1", headers: Headers | None = None, reason: str = "is no object"
) -> Output:
    batch = Batch(
        Partition("shop.raw", 3, "0a1b2c3d"), np.array([7]), np.array([1_700_000_000_000]), [key], [value], [headers]
    )
    return dead_letter("shop.deadletter", batch, 0, "decode", reason)


def _own(letter: Output) -> Headers:
    return [(name.removeprefix(OWN_HEADER), value) for name, value in letter.headers if name.startswith(OWN_HEADER)]


def _said(letter: Output) -> dict[str, bytes]:
    said = [(name, value) for name, value in letter.headers if not name.startswith(OWN_HEADER)]
    assert len(dict(said)) == len(said), "one of ours is there twice"
    return dict(said)


@given(headers=_HEADERS, value=st.none() | st.binary(max_size=30), key=st.none() | st.binary(max_size=10))
def test_a_dead_letter_has_the_records_key_value_and_headers_whatever_they_are(
    headers: Headers, value: bytes | None, key: bytes | None
) -> None:
    """Headers without a value, several of a name, and names that the dead letter uses itself; in their order."""
    letter = _letter(value, key, headers)
    assert (letter.value, letter.key, _own(letter)) == (value, key, headers)
    said = _said(letter)
    assert (said["source_topic"], said["source_partition"], said["source_offset"]) == (b"shop.raw", b"3", b"7")
    assert (said["source_incarnation"], said["source_timestamp"]) == (b"0a1b2c3d", b"1700000000000")
    assert (said["step"], said["reason"]) == (b"decode", b"is no object")
    assert "truncated" not in said


def test_what_is_too_large_is_cut_and_the_dead_letter_says_so() -> None:
    """Value, key and headers each; the whole stays below what a broker takes."""
    value, key = b"v" * 5_000_000, b"k" * 1_000_000
    headers: Headers = [("h", b"x" * 20_000)] * 50
    letter = _letter(value, key, headers, reason="\N{SNOWMAN}" * 10_000)
    said = _said(letter)
    assert (letter.value, letter.key) == (value[:MAX_VALUE], key[:MAX_KEY])
    assert (said["truncated"], said["size"], said["key_size"]) == (b"true", b"5000000", b"1000000")
    assert said["sha256"].decode() == hashlib.sha256(value).hexdigest()
    assert said["key_sha256"].decode() == hashlib.sha256(key).hexdigest()
    kept = _own(letter)
    assert int(said["headers_left_out"]) == len(headers) - len(kept) > 0
    assert sum(len(content or b"") for _, content in kept) <= MAX_HEADERS
    assert letter.value is not None
    assert letter.key is not None
    size = len(letter.value) + len(letter.key) + sum(len(n.encode()) + len(v or b"") + 10 for n, v in letter.headers)
    assert size < _BROKER_LIMIT - 1_000


def test_many_empty_headers_do_not_make_a_dead_letter_too_large() -> None:
    """Each costs a few bytes in the record, and more under its prefix."""
    letter = _letter(headers=[("", None)] * 400_000)
    assert sum(len(name) + len(value or b"") + 2 for name, value in letter.headers) < MAX_HEADERS
    assert int(_said(letter)["headers_left_out"]) == 400_000 - len(_own(letter))


def test_a_reason_with_half_a_surrogate_pair_does_not_stop_its_flow() -> None:
    """A reason may quote what came."""
    assert _said(_letter(reason="x \ud800 y"))["reason"] == rb"x \ud800 y"
