"""Things of one kind by their names: Tidemark's own, those that installed packages add, and `module:attribute`.

A package adds a thing by an entry point (its `pyproject.toml`): the group says of which kind it is, the name how a
pipeline file or a command names it. Nothing of a package is imported before its thing is asked for by name, so that a
broken package is in nobody's way who does not use it.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Generic, TypeVar

from tidemark.errors import ConfigError
from tidemark.runtime.suggestions import did_you_mean

T = TypeVar("T")
_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,59}")
_SHOWN: Final = 300


class Plugins(Generic[T]):
    """The things of one kind.

    A name of Tidemark's own can't be taken by a package, nor one name by two packages: what a pipeline file says must
    not depend on what else is installed.
    """

    def __init__(self, kind: str, group: str, own: Mapping[str, T], accept: Callable[[str, object], T]) -> None:
        """Describe a kind.

        Args:
            kind: what a thing is called in a sentence, such as `flow`.
            group: of the entry points.
            own: Tidemark's own things by name.
            accept: takes the name and the object that an entry point or `module:attribute` names, and returns the
                thing; raises ValueError with what is wrong with it.

        """
        self.kind, self.group, self.own, self._accept = kind, group, own, accept

    def names(self) -> list[str]:
        """Names of all that there are, Tidemark's own first. No package is imported."""
        return [*self.own, *sorted({point.name for point in self._points()} - self.own.keys())]

    def get(self, name: str) -> T:
        """The thing of a name.

        Args:
            name: as Tidemark or a package calls it, or `module:attribute`.

        Returns:
            The thing.

        Raises:
            ConfigError: there is none of this name, two packages claim the name, or it is broken.

        """
        if name in self.own:
            return self.own[name]
        if ":" in name:
            return self._accepted(name, f"'{name[:_SHOWN]}'", lambda: pkgutil.resolve_name(name))
        found = [point for point in self._points() if point.name == name]
        if not found:
            raise ConfigError(f"there is no {self.kind} '{name[:_SHOWN]}'; {did_you_mean(name, self.names())}")
        return self._loaded(found)

    def all(self) -> dict[str, T]:
        """Every thing by its name, Tidemark's own first.

        Raises:
            ConfigError: a package's is broken, or has a name that is taken.

        """
        by_name: dict[str, list[EntryPoint]] = {}
        for point in self._points():
            by_name.setdefault(point.name, []).append(point)
        return {**self.own, **{name: self._loaded(by_name[name]) for name in sorted(by_name)}}

    def _points(self) -> list[EntryPoint]:
        return list(entry_points(group=self.group))

    def _loaded(self, points: list[EntryPoint]) -> T:
        point, packages = points[0], sorted({_package(each) for each in points})
        named = f"{point.name[:_SHOWN]!r} of package {packages[0]}"
        if point.name in self.own:
            raise ConfigError(
                f"{self.kind} {named}: Tidemark has one of this name; rename it in the package, or uninstall it"
            )
        if not _NAME.fullmatch(point.name):
            raise ConfigError(
                f"{self.kind} {named}: a name begins with a small letter, and has small letters, digits, '_', '.' and "
                "'-', at most 60; rename it in the package, or uninstall it"
            )
        if len(points) > 1:
            raise ConfigError(
                f"{self.kind} '{point.name}' is added more than once, by {' and '.join(packages)}; uninstall one"
            )
        return self._accepted(point.name, named, point.load)

    def _accepted(self, name: str, named: str, load: Callable[[], object]) -> T:
        try:
            found = load()
        except (Exception, SystemExit) as error:  # a stranger's module may raise anything while it is imported
            raise ConfigError(
                f"{self.kind} {named} can't be loaded: {type(error).__name__}: {_line(error)}; mend or install what it "
                "names"
            ) from error
        try:
            return self._accept(name, found)
        except ValueError as error:
            raise ConfigError(f"{self.kind} {named} can't be used: {_line(error)}") from error


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unknown package"


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0][:_SHOWN]


def instance_of(kind: type[T]) -> Callable[[str, object], T]:
    """What `Plugins` accepts where any instance of a class will do.

    Args:
        kind: the class.

    Returns:
        A function that returns the object it is given, or raises ValueError.

    """

    def accept(_: str, found: object) -> T:
        if not isinstance(found, kind):
            raise ValueError(f"it is a {type(found).__name__}, not a {kind.__module__}.{kind.__qualname__}")  # noqa: TRY004
        return found

    return accept
