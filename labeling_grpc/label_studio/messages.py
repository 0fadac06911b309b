"""What Label Studio's API answers, as far as the bridge reads it. All of it is a stranger's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

CONTROL: Final = "label"
"""Name of the control that asks for the class."""
OBJECT: Final = "event"
"""Name of what it is asked about."""
MARK: Final = "tidemark-closed"
"""Id of the one result of an annotation that the bridge made itself, to take a task out of people's hands."""
EVENT: Final = "event_id"
PIPELINE: Final = "tidemark_pipeline"
"""Fields of a task's data."""
_LONGEST: Final = 200


class Person(msgspec.Struct, frozen=True):
    """A user. email: what they sign in with."""

    id: int
    email: str = ""
    username: str = ""


class Annotation(msgspec.Struct, frozen=True):
    """What somebody said of a task. completed_by: who made it, a number or an object with one."""

    id: int
    completed_by: int | dict[str, Any] | None = None
    updated_by: int | dict[str, Any] | None = None
    result: Any = None
    was_cancelled: bool = False
    updated_at: str = ""

    @property
    def author(self) -> int | None:
        """Number of the user who made it."""
        return _number(self.completed_by)

    @property
    def editor(self) -> int | None:
        """Number of the user who changed it last; its author, where Label Studio does not tell."""
        editor = _number(self.updated_by)
        return self.author if editor is None else editor

    @property
    def choices(self) -> tuple[str, ...]:
        """What was chosen in the control that asks for the class, each shortened; a result of another form has none."""
        return tuple(
            str(choice)[:_LONGEST]
            for each in self._results()
            if each.get("type") == "choices" and each.get("from_name") == CONTROL
            for choice in _list(_dict(each.get("value")).get("choices"))
        )

    @property
    def is_mark(self) -> bool:
        """Whether the bridge made it."""
        return any(each.get("id") == MARK for each in self._results())

    def _results(self) -> Iterable[Mapping[str, Any]]:
        return (each for each in _list(self.result) if isinstance(each, dict))


class Task(msgspec.Struct, frozen=True):
    """A task with what was said of it."""

    id: int
    data: Any = None
    annotations: list[Annotation] = []
    updated_at: str = ""

    @property
    def event_id(self) -> str:
        """Of the case that it is about, "" where it is about none."""
        event_id = _dict(self.data).get(EVENT)
        return event_id if isinstance(event_id, str) else ""

    @property
    def pipeline(self) -> str:
        """Whose case it is, "" where it does not say."""
        name = _dict(self.data).get(PIPELINE)
        return name if isinstance(name, str) else ""


class TaskPage(msgspec.Struct, frozen=True):
    """Some tasks of a project. total: of all pages."""

    tasks: list[Task]
    total: int = 0


class Project(msgspec.Struct, frozen=True):
    """A project. label_config: XML.  skip_queue: what is done with tasks that were skipped."""

    id: int
    label_config: str = ""
    title: str = ""
    skip_queue: str = ""


class Webhook(msgspec.Struct, frozen=True):
    """A webhook of Label Studio. project: None where it is of all of them."""

    id: int
    url: str = ""
    project: int | None = None


class AccessToken(msgspec.Struct, frozen=True):
    """What a personal access token is exchanged for."""

    access: str


def choice(label: str, *, identity: str | None = None) -> dict[str, Any]:
    """A result that says a class, "" for none."""
    chosen = [label] if label else []
    result: dict[str, Any] = {
        "from_name": CONTROL,
        "to_name": OBJECT,
        "type": "choices",
        "value": {"choices": chosen},
    }
    return result if identity is None else {"id": identity, **result}


def _number(user: int | dict[str, Any] | None) -> int | None:
    value = user.get("id") if isinstance(user, dict) else user
    return value if isinstance(value, int) else None


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
