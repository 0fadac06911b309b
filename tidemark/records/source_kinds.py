"""Kinds of sources: from where a pipeline's raw records come besides a Kafka topic that others write.

`[[sources]] kind` names one. A module of `tidemark/sources/kinds/` with a `KIND` is one, by the module's name: there is
nothing else to register. A kind of another package is an entry point of the group `tidemark.source_kinds` that names
its `SourceKind`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from tidemark.runtime.plugins import Plugins

GROUP: Final = "tidemark.source_kinds"
"""Group of the entry points of other packages' kinds."""
_ROOM: Final = "tidemark.sources.kinds"
"""Package of Tidemark's own kinds. It stands above this room, so that its modules are imported by their names."""


class SourceOptions(BaseModel):
    """Base of the options of a kind, `[sources.options]`: unknown keys are errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


@dataclass(frozen=True, slots=True)
class SourceKind:
    """A kind of source.

    Attributes:
        meaning: what it reads, in a sentence.
        options: its options, with their checks.
        attributes: what each of its records tells beside its body, which `[sources.columns]` may name: attribute to
            meaning. One that ends in `.` is a prefix of names that senders choose. `body` is of every kind.
        open: makes a `tidemark.sources.source.Source` of a `tidemark.sources.source.Setting`.
        alone: one process at a time, because it keeps positions; others wait for the same records.
        text: a record's body is a text by default, of which columns are made, and no record of the topic's format.
        binary: a body is all bytes of one message, so that it may be an Arrow stream (`body = "arrow"`).

    """

    meaning: str
    options: type[SourceOptions]
    attributes: Mapping[str, str]
    open: Callable[[Any], Any]
    alone: bool = False
    text: bool = False
    binary: bool = False


class BuiltIn(Mapping[str, SourceKind]):
    """Tidemark's own kinds by name. None is imported before it is asked for."""

    def __getitem__(self, name: str) -> SourceKind:
        """The kind of a name."""
        if name not in _modules():
            raise KeyError(name)
        kind: SourceKind = importlib.import_module(f"{_ROOM}.{name}").KIND
        return kind

    def __iter__(self) -> Iterator[str]:
        """Names, in their order."""
        return iter(_modules())

    def __len__(self) -> int:
        """How many there are."""
        return len(_modules())

    def __contains__(self, name: object) -> bool:
        """Whether there is one of a name; it is not imported."""
        return name in _modules()


@cache
def _modules() -> tuple[str, ...]:
    room = Path(__file__).parents[1] / "sources" / "kinds"
    return tuple(sorted(path.stem for path in room.glob("*.py") if path.stem != "__init__"))


def _accept(_: str, found: object) -> SourceKind:
    if not isinstance(found, SourceKind):
        raise ValueError(f"it is a {type(found).__name__}, not a SourceKind")  # noqa: TRY004 a setting
    options: object = found.options
    if not (isinstance(options, type) and issubclass(options, SourceOptions)):
        raise ValueError("its options are no subclass of SourceOptions")  # noqa: TRY004 a setting
    return found


SOURCE_KINDS: Final = Plugins[SourceKind]("kind of source", GROUP, BuiltIn(), _accept)
"""Every kind of source by its name."""
