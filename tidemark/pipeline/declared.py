"""What a pipeline file declares under a name: one of its sources, one of its webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from tidemark.errors import ConfigError
from tidemark.pipeline.model import Pipeline
from tidemark.runtime.suggestions import did_you_mean


class Named(Protocol):
    """A table of the file that has a name."""

    @property
    def name(self) -> str:
        """Its name."""


_Spec = TypeVar("_Spec", bound=Named)


def declared(pipeline: Pipeline, kind: str, specs: Sequence[_Spec], name: str) -> _Spec:
    """What a pipeline declares under a name.

    Args:
        pipeline: that declares it.
        kind: what it is, as a person says it and as the tables are called in the singular: `source`.
        specs: the tables of that kind.
        name: of the one that is looked for.

    Returns:
        Its table of the file.

    Raises:
        ConfigError: there is none of this name.

    """
    for spec in specs:
        if spec.name == name:
            return spec
    names = [spec.name for spec in specs]
    remedy = did_you_mean(name, names) if names else f"declare it in [[{kind}s]]"
    raise ConfigError(f"pipeline '{pipeline.name}' has no {kind} '{name[:60]}'; {remedy}")
