"""Which keys stand for which class in a terminal: its number always, and its first letter where that is its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

COMMANDS: Final = {
    "s": "skip",
    "u": "give back",
    "c": "comment",
    "+": "tell others",
    "!": "escalate",
    "z": "undo",
    "q": "quit",
}
"""Keys that are no answers. No further one is a letter: a class would lose its key by it."""

FIND: Final = "/"
"""Key that finds a class by its name."""

MANY: Final = 10
"""From so many classes on a number has several digits, and only the likeliest are shown with what the model thinks."""


def numbers_of(classes: Sequence[str]) -> dict[str, str]:
    """Number the classes as the pipeline has them.

    Args:
        classes: Any number.

    Returns:
        Number to class, in the order of the classes, from 1, all of as many digits as the last one has. A class that is
        added at the end changes no other's number, while there are fewer than ten, than a hundred, and so on.

    """
    width = len(str(len(classes)))
    return {f"{number:0{width}}": name for number, name in enumerate(classes, start=1)}


def letters_of(classes: Sequence[str]) -> dict[str, str]:
    """Letters that stand for a class besides its number.

    Args:
        classes: Any number.

    Returns:
        First letter to class, where no other class begins with it and no command has it.

    """
    letters = [name[:1].lower() for name in classes]
    return {
        letter: name
        for letter, name in zip(letters, classes, strict=True)
        if letter.isalpha() and len(letter) == 1 and letter not in COMMANDS and letters.count(letter) == 1
    }


def typed_number(typed: str, numbers: Mapping[str, str], *, ended: bool = False) -> str | None:
    """Read a class from digits.

    Args:
        typed: So far.
        numbers: As `numbers_of` gives them.
        ended: Enter was pressed: zeros in front may be left out.

    Returns:
        The class; None: the digits stand for none, or more of them are needed.

    """
    width = len(next(iter(numbers), ""))
    return numbers.get(typed.zfill(width) if ended else typed)


def can_become(typed: str, numbers: Mapping[str, str]) -> bool:
    """Whether digits can become a class's number: by more of them, or by Enter."""
    return typed_number(typed, numbers, ended=True) is not None or any(each.startswith(typed) for each in numbers)


def matching(text: str, classes: Sequence[str]) -> list[str]:
    """Find classes by what somebody typed of their name.

    Args:
        text: Some of it, in any case.
        classes: All there are.

    Returns:
        The class of this very name alone; else those that begin so; else those that hold it; in their order.

    """
    typed = text.strip().casefold()
    if not typed:
        return []
    exact = [name for name in classes if name.strip().casefold() == typed]
    begins = [name for name in classes if name.strip().casefold().startswith(typed)]
    return exact or begins or [name for name in classes if typed in name.casefold()]
