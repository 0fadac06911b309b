"""Selection strategies by name. A module of this package with a `Strategy` is one: there is nothing else to register.

The module's name is the strategy's. A strategy of another package is an entry point of the
group `tidemark.strategies` that names its class, or `module:Class` in the pipeline file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

import lazy_loader

from tidemark.runtime.plugins import Plugins

if TYPE_CHECKING:
    from tidemark.strategies.base import Option as Option
    from tidemark.strategies.base import Pool as Pool
    from tidemark.strategies.base import Scored as Scored
    from tidemark.strategies.base import Settings as Settings
    from tidemark.strategies.base import Strategy as Strategy
    from tidemark.strategies.base import feature_table as feature_table
    from tidemark.strategies.base import left_to_chance as left_to_chance
    from tidemark.strategies.base import narrowed as narrowed

GROUP: Final = "tidemark.strategies"
"""Group of the entry points of other packages' strategies."""
_BASE: Final = "base"
_NOT_A_NAME: Final = {"random_draw": "random"}
"""Modules that may not be called as their strategy is: Python's own has that name."""


class BuiltIn(Mapping[str, "type[Strategy]"]):
    """Strategies of this package by name. None is imported before it is asked for."""

    def __getitem__(self, name: str) -> type[Strategy]:
        """The class of a name."""
        module = importlib.import_module(f"{__name__}.{self._modules()[name]}")
        base = importlib.import_module(f"{__name__}.{_BASE}")
        for thing in vars(module).values():
            own = isinstance(thing, type) and thing.__module__ == module.__name__
            if own and issubclass(thing, base.Strategy) and getattr(thing, "name", None) == name:
                found: type[Strategy] = thing
                return found
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        """Names, in their order."""
        return iter(sorted(self._modules()))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._modules())

    def __contains__(self, name: object) -> bool:
        """Whether there is one of a name; it is not imported."""
        return name in self._modules()

    def _modules(self) -> dict[str, str]:
        return _modules_in(tuple(__path__))


@cache
def _modules_in(folders: tuple[str, ...]) -> dict[str, str]:
    """Modules of strategies by the strategies' names."""
    modules = (module.name for module in pkgutil.iter_modules(folders) if module.name != _BASE)
    return {_NOT_A_NAME.get(module, module): module for module in modules}


def _accept(_: str, found: object) -> type[Strategy]:
    from tidemark.strategies.base import Strategy  # noqa: PLC0415 - brings numpy, which commands have no use for

    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise ValueError(f"it is a {type(found).__name__}, not a subclass of tidemark.strategies.Strategy")  # noqa: TRY004
    if unnamed := [name for name in ("name", "source", "fails") if not isinstance(getattr(found, name, None), str)]:
        raise ValueError(f"{found.__name__} has no {' and no '.join(unnamed)}; write a text for each")
    return found


STRATEGIES: Final = Plugins("strategy", GROUP, BuiltIn(), _accept)
"""Every selection strategy by its name."""


def make(settings: Settings, classes: Sequence[str] = ()) -> Strategy:
    """The strategy of a pipeline.

    Args:
        settings: its `[selection]`.
        classes: its label's, where the strategy needs them.

    Returns:
        The strategy, ready to use.

    Raises:
        ConfigError: there is no such strategy any more (`tidemark check` tells that first).

    """
    return STRATEGIES.get(settings.policy)(settings, classes)


__getattr__, _, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        _BASE: ("Option", "Pool", "Scored", "Settings", "Strategy", "feature_table", "left_to_chance", "narrowed")
    },
)
"""What a strategy is made of."""
