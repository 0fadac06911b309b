"""How a case is answered by keys: by a class's number or letter, or by typing a number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.text import Text

from labeling_grpc.client import NumberRange, Task
from tidemark.cli.sitting.class_keys import MANY, can_become, letters_of, numbers_of, typed_number
from tidemark.runtime.safe_text import safe


@dataclass(frozen=True, slots=True)
class Typed:
    """What a key comes to. text: typed so far.  answer: None while it is none yet.  problem: what is wrong, or ""."""

    text: str = ""
    answer: str | None = None
    problem: str = ""


class AnswerKeys(Protocol):
    """The keys that answer a case."""

    @property
    def finds(self) -> bool:
        """Whether a class is found by its name."""

    @property
    def listed(self) -> Sequence[str]:
        """Classes for the help page."""

    @property
    def help(self) -> tuple[tuple[str, str], ...]:
        """Keys, and what they do, for the help page."""

    def press(self, typed: str, key: str) -> Typed | None:
        """A key with a character; None: it is none of these."""

    def enter(self, typed: str) -> Typed:
        """Enter, after something was typed."""

    def prompt(self, typed: str) -> str:
        """What is told of what was typed so far."""

    def shown(self) -> list[Text]:
        """The answers beside their keys."""

    @property
    def hint(self) -> str:
        """Which keys answer, for who pressed a wrong one."""


class ClassKeys:
    """A class by its number, or by its first letter where that is its own."""

    finds = True
    help = (("1 2 3 …", "answer with this class; so does its first letter, where it is shown"),)

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self._numbers = numbers_of(classes)
        self._letters = letters_of(classes)

    @property
    def listed(self) -> Sequence[str]:
        """Of many classes all, with their numbers."""
        if len(self._classes) < MANY:
            return ()
        return [f"{number} {safe(name)}" for number, name in self._numbers.items()]

    def press(self, typed: str, key: str) -> Typed | None:
        """A letter, or a digit of a number."""
        if not (key.isdecimal() and key.isascii()):
            name = self._letters.get(key)
            return None if name is None else Typed(answer=name)
        name = typed_number(typed + key, self._numbers)
        if name is None and not can_become(typed + key, self._numbers):
            return self._no_class(typed + key)
        return Typed(typed + key if name is None else "", name)

    def enter(self, typed: str) -> Typed:
        """The class of the number."""
        name = typed_number(typed, self._numbers, ended=True)
        return self._no_class(typed) if name is None else Typed(answer=name)

    def _no_class(self, typed: str) -> Typed:
        return Typed(problem=f"there is no class {typed}: they go from 1 to {len(self._classes)}")

    def prompt(self, typed: str) -> str:
        """The digits so far."""
        return f"class {typed}_ (Enter takes it, Backspace mends it)"

    def shown(self) -> list[Text]:
        """Each class behind its number and letter."""
        letters = {name: letter for letter, name in self._letters.items()}
        return [
            Text.assemble(
                (f" {number}{' ' + letters[name] if name in letters else ''} ", "bold reverse"),
                (f" {safe(name)}", "bold"),
            )
            for number, name in self._numbers.items()
        ]

    @property
    def hint(self) -> str:
        """The digits, where one is enough."""
        return "" if len(self._classes) >= MANY else f" 1 to {len(self._classes)} answer,"


class NumberKeys:
    """A number, typed as a decimal."""

    finds = False
    listed: Sequence[str] = ()
    help = (("0 – 9 . - e", "type the number; Enter sends it, Backspace mends it"),)

    def __init__(self, number: NumberRange) -> None:
        self._number = number

    def press(self, typed: str, key: str) -> Typed | None:
        """A digit, a point, a sign, or the e of an exponent."""
        if key == ",":
            return Typed(typed, problem="write a point for decimals, and nothing between thousands")
        sign = key == "-" and (not typed or typed.endswith("e"))
        exponent = key == "e" and typed[-1:].isdecimal()
        if (key.isdecimal() and key.isascii()) or key == "." or sign or exponent:
            return Typed(typed + key)
        return None

    def enter(self, typed: str) -> Typed:
        """The number, if it is one within the bounds."""
        try:
            number = float(typed)
        except ValueError:
            number = math.nan
        if not self._number.least <= number <= self._number.greatest:
            return Typed(typed, problem=f"{typed} is no number from {safe(self._number.bounds)}: Backspace mends it")
        return Typed(answer=repr(number + 0.0))

    def prompt(self, typed: str) -> str:
        """What was typed, with its unit."""
        return f"number {typed}_ {safe(self._number.unit)} (Enter sends it, Backspace mends it)"

    def shown(self) -> list[Text]:
        """The bounds, and what is usual."""
        usual = self._number.usually
        shown = [Text.assemble((" 0–9 Enter ", "bold reverse"), (f" {safe(self._number.bounds)}", "bold"))]
        return [*shown, Text(f"usually {safe(usual)}")] if usual else shown

    @property
    def hint(self) -> str:
        """Digits and Enter."""
        return " digits and Enter answer,"


def keys_of(task: Task) -> AnswerKeys:
    """The keys that answer a case."""
    return ClassKeys(task.classes) if task.number is None else NumberKeys(task.number)
