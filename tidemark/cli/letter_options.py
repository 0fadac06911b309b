"""Options by which the commands over dead letters say which are meant: in one place, for all of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from tidemark.cli.letter_choice import Place, choice, meant

if TYPE_CHECKING:
    from tidemark.replay import Chosen, Letter


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What the options say. Each field is one of them."""

    offset: Annotated[
        list[int] | None,
        typer.Option("--offset", help="Offset of a dead letter, as `list` shows it; may be given again."),
    ] = None
    reason: Annotated[str, typer.Option(help="Those whose reason contains this text.")] = ""
    step: Annotated[str, typer.Option(help="Those of this step.")] = ""
    topic: Annotated[str, typer.Option("--topic", help="Those whose record was in this topic.")] = ""
    since: Annotated[
        str, typer.Option(metavar="TIME", help="Those made since: ISO 8601 in UTC, or so long ago ('2h').")
    ] = ""
    until: Annotated[str, typer.Option(metavar="TIME", help="Those made before, written alike.")] = ""
    every: Annotated[bool, typer.Option("--all", help="All that are open.")] = False
    partition: Annotated[int, typer.Option(min=0, help="Partition of the dead-letter topic, where it has several.")] = 0

    @property
    def given(self) -> bool:
        """Whether any of them was."""
        return self.every or any((self.offset, self.reason, self.step, self.topic, self.since, self.until))

    @property
    def chosen(self) -> Chosen:
        """Which dead letters they mean."""
        return choice(self.offset, self.reason, self.step, self.topic, self.since, self.until)

    def letters(self, place: Place) -> list[Letter]:
        """The dead letters that they mean.

        Raises:
            TidemarkError: They mean none, or not only some; or there are too many.

        """
        meant(self.offset, self.reason, self.step, self.topic, self.since, self.until, every=self.every)
        return place.chosen(self.offset, self.partition, self.chosen)


def selecting(*left_out: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a `Selection`, which it takes as its parameter `selection`.

    Args:
        left_out: Names of options that the command does not have.

    Returns:
        A decorator, to stand below `@app.command()`.

    """
    kinds = get_type_hints(Selection, include_extras=True)
    options = [
        inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=kinds[each.name])
        for each in fields(Selection)
        if each.name not in left_out
    ]
    names = {option.name for option in options}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [each for each in inspect.signature(command).parameters.values() if each.name != "selection"]
        hints = get_type_hints(command, include_extras=True)

        @wraps(command)
        def called(**given: Any) -> None:  # noqa: ANN401 - as typer gives them
            selection = Selection(**{name: value for name, value in given.items() if name in names})
            command(**{name: value for name, value in given.items() if name not in names}, selection=selection)

        parameters = [
            each.replace(annotation=hints[each.name], kind=inspect.Parameter.KEYWORD_ONLY) for each in own
        ] + options
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {each.name: each.annotation for each in parameters} | {"return": None}
        del called.__wrapped__  # typer would read the command's own signature
        return called

    return decorate
