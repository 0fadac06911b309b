"""Which keys stand for which class in a terminal: one for each while there are enough, else a number; or its name."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
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
"""Keys that are no answers. No further one is a letter: classes have theirs by what is left."""

FIND: Final = "/"
"""Key that finds a class by its name, where there are many."""

MANY: Final = 10
"""From so many classes on they are looked for by name, and only the likeliest are shown with what the model thinks."""

_BACK: Final = {"\x7f", "\b"}


def keys_of(classes: Sequence[str]) -> dict[str, str]:
    """Give each class its key.

    Args:
        classes: Any number.

    Returns:
        Key to class, in the order of the classes: the first letter, if it is free and no other class begins with it,
        else a digit or another letter. Where these do not suffice, numbers of as many digits as the last one has.

    """
    letters = [name[:1].lower() for name in classes]
    own = {letter for letter in letters if letter.isalnum() and letter not in COMMANDS and letters.count(letter) == 1}
    free = string.digits[1:] + "0" + string.ascii_lowercase
    spare = [key for key in free if key not in COMMANDS and key not in own]
    if len(classes) - len(own) > len(spare):
        width = len(str(len(classes)))
        return {f"{number:0{width}}": name for number, name in enumerate(classes, start=1)}
    rest = iter(spare)
    return {letter if letter in own else next(rest): name for letter, name in zip(letters, classes, strict=True)}


def pressed(key: str, keys: Mapping[str, str], following: Callable[[str], str]) -> str | None:
    """Read a class from keys.

    Args:
        key: The first that was pressed.
        keys: As `keys_of` gives them.
        following: Gives the next key, told what was typed so far.

    Returns:
        The class; None: it stands for none, or was given up.

    """
    while key not in keys and any(whole.startswith(key) for whole in keys):
        more = following(key).lower()
        key = key[:-1] if more in _BACK else key + more
        if not key:
            return None
    return keys.get(key)


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
