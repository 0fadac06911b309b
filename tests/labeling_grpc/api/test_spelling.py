"""Which characters comments may have: those of every script, and none by which a reader is misled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling_grpc.api import fields
from labeling_grpc.contract.errors import RefusedError
from labeling_grpc.contract.text import hidden, is_name, lookup, storable

SPELLED = [
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian: mi-khaham
    "\u0928\u094d\u200d\u0928",  # Devanagari, a half form
    "\u0995\u09cd\u200c\u09b7",  # Bengali, no ligature
    "\u0d28\u0d4d\u200d",  # Malayalam, at the end of a word
    "\u0915\u094d\u200d \u0915",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",  # a family
    "\U0001f441\ufe0f\u200d\U0001f5e8\ufe0f",
    "\U0001f469\U0001f3fd\u200d\U0001f4bb",
    "tab\tand\nline",
]
MISLEADING = [
    "\u202eabc", "a\u202d", "\u2066x\u2069", "a\u200eb", "a\u200fb", "a\u061cb", "a\u200bb", "\ufeffa",
    "a\u200db", "a\u200cb", "\u200d", "\u200ca", " \u200d ", "\u0645\u200c\u200c\u062e",
    "\u00e9\u200d\u00e9", "a\x00", "\x1b[2J", "a\x9b",
    "\u2060", "\ufff9",
]  # fmt: skip


@pytest.mark.parametrize("text", SPELLED)
def test_what_is_spelled_with_a_joiner_is_taken(text: str) -> None:
    assert hidden(text) is None
    assert fields.text("comment", text) == text
    assert is_name(text, 100) is (text == "\u0645"), "names are compared, so that what can't be seen is none of them"


@pytest.mark.parametrize("text", MISLEADING)
def test_what_misleads_a_reader_is_refused_and_named(text: str) -> None:
    with pytest.raises(RefusedError, match=r"U\+[0-9A-F]{4}"):
        fields.text("comment", text)
    assert not is_name(text, 100)


@given(st.text(max_size=40))
def test_a_character_that_is_named_is_in_the_text(text: str) -> None:
    found = hidden(text)
    if found is not None:
        assert chr(int(found.removeprefix("U+"), 16)) in text


@given(st.text(max_size=3_000), st.integers(10, 4_000))
def test_what_is_stored_has_no_nul_and_keeps_its_bound(text: str, most: int) -> None:
    stored = storable(text, most)
    assert "\0" not in stored
    assert len(stored.encode()) <= most
    if "\0" not in text and len(text.encode()) <= most:
        assert stored == text


@given(
    st.lists(st.one_of(st.text(max_size=5), st.text(min_size=1, max_size=2).map(lambda its: its * 1_500)), max_size=9)
)
def test_texts_are_looked_up_by_what_tells_them_apart(texts: list[str]) -> None:
    found = {text: lookup(text) for text in texts}
    assert len(set(found.values())) == len(found)
    assert all("\0" not in its and len(its.encode()) <= 2_000 for its in found.values())
