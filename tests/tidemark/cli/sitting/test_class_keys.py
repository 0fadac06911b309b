"""Which keys stand for which class."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidemark.cli.sitting.class_keys import COMMANDS, can_become, letters_of, matching, numbers_of, typed_number

CLASSES = st.lists(st.text(min_size=1, max_size=6), min_size=2, max_size=300, unique=True)


@given(CLASSES)
def test_every_class_has_a_number_of_its_own_whatever_its_name(classes: list[str]) -> None:
    numbers = numbers_of(classes)
    assert list(numbers.values()) == classes
    assert [int(number) for number in numbers] == list(range(1, len(classes) + 1))
    for number, name in numbers.items():
        assert typed_number(number, numbers) == name
        assert typed_number(number.lstrip("0"), numbers, ended=True) == name
        assert all(typed_number(number[:length], numbers) is None for length in range(len(number)))
        assert all(can_become(number[:length], numbers) for length in range(1, len(number) + 1))
        assert can_become(number.lstrip("0"), numbers)


@given(CLASSES, st.text(min_size=1, max_size=6))
def test_a_class_that_comes_later_changes_no_number_of_one_digit(classes: list[str], later: str) -> None:
    if len(classes) < 9 and later not in classes:
        assert list(numbers_of([*classes, later]))[:-1] == list(numbers_of(classes))


@given(CLASSES)
def test_a_letter_is_one_class_and_no_command(classes: list[str]) -> None:
    for letter, name in letters_of(classes).items():
        assert name.lower().startswith(letter)
        assert [its for its in classes if its[:1].lower() == letter] == [name]
        assert letter not in COMMANDS


def test_letters_are_first_letters_where_they_can_be() -> None:
    assert letters_of(["genuine", "fraud"]) == {"g": "genuine", "f": "fraud"}
    assert letters_of(["sepsis", "healthy", "heart"]) == {}
    assert numbers_of(["sepsis", "healthy"]) == {"1": "sepsis", "2": "healthy"}


def test_zeros_may_be_left_out_before_enter() -> None:
    numbers = numbers_of([f"class {number}" for number in range(1, 101)])
    assert typed_number("42", numbers) is None
    assert typed_number("42", numbers, ended=True) == typed_number("042", numbers) == "class 42"
    assert typed_number("0", numbers, ended=True) is None
    assert typed_number("101", numbers, ended=True) is None
    assert not can_become("101", numbers)
    assert not can_become("2222", numbers)


@given(st.lists(st.text("abAB c", min_size=1, max_size=4), min_size=1, max_size=30, unique=True), st.data())
def test_a_class_is_found_by_its_name(classes: list[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(classes))
    found = matching(name, classes)
    if name.strip():
        assert name in found
        assert all(name.strip().casefold() in its.casefold() for its in found)
    assert matching("  ", classes) == []
    assert matching("no such", classes) == []
