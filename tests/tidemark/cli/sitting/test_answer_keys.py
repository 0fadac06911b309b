from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling_grpc.client import NumberRange
from tidemark.cli.sitting.answer_keys import ClassKeys, NumberKeys

HOURS = NumberKeys(NumberRange("h", -50.0, 500.0, 2.0, (12.0, 80.5)))


def typed(keys: str) -> str:
    """What is there after these keys."""
    text = ""
    for key in keys:
        pressed = HOURS.press(text, key)
        assert pressed is not None, key
        assert pressed.answer is None
        text = pressed.text
    return text


@given(st.floats(-50, 500))
def test_every_number_within_the_bounds_is_typed_and_sent_as_its_canonical_text(number: float) -> None:
    answer = HOURS.enter(typed(repr(number).replace("+", ""))).answer
    assert answer == repr(number + 0.0)


@pytest.mark.parametrize("text", ["501", "-50.5", ".", "-", "1e", "1.2.3", "1e999"])
def test_what_is_no_number_within_the_bounds_stays_and_is_said(text: str) -> None:
    pressed = HOURS.enter(typed(text))
    assert (pressed.text, pressed.answer) == (text, None)
    assert "no number from -50 to 500 h" in pressed.problem


def test_letters_of_commands_are_no_part_of_a_number() -> None:
    for key in "sucqz!+?/ ":
        assert HOURS.press("", key) is None
        assert HOURS.press("12", key) is None
    assert HOURS.press("", "e") is None
    assert HOURS.press("1-", "-") is None
    comma = HOURS.press("1", ",")
    assert comma is not None
    assert "a point for decimals" in comma.problem


def test_bounds_and_what_is_usual_are_shown() -> None:
    assert [text.plain for text in HOURS.shown()] == [" 0–9 Enter  -50 to 500 h", "usually 12 to 80.5 h"]
    assert HOURS.prompt("12") == "number 12_ h (Enter sends it, Backspace mends it)"
    assert not HOURS.finds
    assert ClassKeys(("no", "yes")).finds
