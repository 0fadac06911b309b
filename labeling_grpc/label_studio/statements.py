"""What people say in Label Studio: annotations as classes, in the names that annotators have here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import msgspec

from labeling_grpc.contract.programs import is_program
from labeling_grpc.contract.text import is_name, is_reserved
from labeling_grpc.label_studio.messages import Annotation, Person, Task
from tidemark.runtime.safe_text import safe

_LONGEST_NAME: Final = 128
_SHOWN: Final = 60
_UNCLEAR: Final = "?"


@dataclass(frozen=True, slots=True)
class Statement:
    """What one person says of one task now.

    annotation: its number in Label Studio.  who: the annotator, "" where that can't be told.  label: the class; None
    where the task was skipped.  version: equal where the same is said.  at: when, by Label Studio's clock, µs, 0: not
    told.  unclear: why it is no answer, "" where it is one; where the pipeline file says later what it means, it is of
    another version.
    """

    annotation: int
    who: str
    label: str | None
    version: str
    at: int
    unclear: str = ""

    @property
    def content(self) -> str:
        """Equal where the same is said, whether or not it is clear."""
        return self.version.removeprefix(_UNCLEAR)


@dataclass(frozen=True, slots=True)
class Names:
    """Who is who, and what is what.

    classes: of the pipeline.  choices: the class that a choice stands for, where it is not its own name.  annotators:
    by the e-mail address, in small letters, that somebody signs in to Label Studio with.
    """

    classes: tuple[str, ...]
    choices: Mapping[str, str] = field(default_factory=dict)
    annotators: Mapping[str, str] = field(default_factory=dict)

    def choice(self, label: str) -> str:
        """The choice of the project that stands for a class, "" for none."""
        return next((choice for choice, meant in self.choices.items() if meant == label), label)

    def annotator(self, person: Person | None) -> str:
        """The annotator that a user is; "" where nobody may have the name."""
        if person is None:
            return ""
        email = (person.email or person.username).strip().lower()
        name = self.annotators.get(email, email)
        usable = is_name(name, _LONGEST_NAME) and not is_reserved(name) and not is_program(name)
        return name if usable else ""


def statements(task: Task, people: Mapping[int, Person], names: Names, mark: str | None) -> list[Statement]:
    """What is said of a task, the newest of each person.

    Args:
        task: with its annotations.
        people: users by number.
        names: who is who.
        mark: class that the bridge closed the task with, "" for none; None: it did not.

    Returns:
        One a person, in the order in which they were said.

    """
    newest: dict[str, Statement] = {}
    for annotation in sorted(task.annotations, key=lambda each: (_micros(each.updated_at), each.id)):
        if annotation.is_mark and not _edited(annotation, mark):
            continue
        said = _statement(annotation, people, names)
        newest[said.who or f"#{annotation.id}"] = said
    return list(newest.values())


def users_of(task: Task) -> set[int]:
    """Numbers of the users who said something of a task."""
    found = {each.editor if each.is_mark else each.author for each in task.annotations}
    return {number for number in found if number is not None}


def changed_at(task: Task) -> int:
    """When a task was changed last, by Label Studio's clock, µs; 0 where it does not tell."""
    return _micros(task.updated_at)


def _edited(annotation: Annotation, mark: str | None) -> bool:
    """Whether somebody has said something else in the bridge's own annotation."""
    return annotation.editor != annotation.author and (annotation.choices or ("",)) != (mark or "",)


def _statement(annotation: Annotation, people: Mapping[int, Person], names: Names) -> Statement:
    number = annotation.editor if annotation.is_mark else annotation.author
    person = None if number is None else people.get(number)
    who = names.annotator(person)
    label, unclear = None, ""
    if not who:
        known = "" if person is None else f" ({safe(person.email or person.username)[:_SHOWN]})"
        unclear = f"its user {number}{known} is nobody who may be an annotator; name them in label_studio.users"
    elif not annotation.was_cancelled:
        label, unclear = _class(annotation.choices, names)
    content = [who, annotation.was_cancelled, annotation.choices]
    version = hashlib.blake2b(msgspec.json.encode(content), digest_size=8).hexdigest()
    version = _UNCLEAR + version if unclear else version
    return Statement(annotation.id, who, label, version, _micros(annotation.updated_at), unclear)


def _class(choices: Sequence[str], names: Names) -> tuple[str | None, str]:
    """The class that is chosen, or why none is."""
    shown = ", ".join(safe(choice)[:_SHOWN] for choice in choices[:5])
    if len(choices) != 1:
        said = f"several choices ({shown})" if choices else "no choice"
        return None, f"it says {said}, and not one class"
    label = names.choices.get(choices[0], choices[0])
    if label in names.classes:
        return label, ""
    return None, f"'{shown}' is no class of this pipeline ({', '.join(names.classes)})"


def _micros(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1e6)
