"""Expressions of pipeline files that were found right: a command that reads them again does not try them again.

That takes most of a command's start, for SQLGlot and Polars are loaded for it. What is kept is that a text has no
problem, and nothing of what it says: a pipeline is always made from its file. The text is the part of the file that
expressions depend on, as canonical JSON. It is known by its hash together with all that decides the verdict, which is
the code of the checks and the libraries that they use. What names code of other people (`module:attribute`, or a thing
that an installed package adds) is checked each time, for it may change while the text does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import platform
import re
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from kernels.numerics.trusted_files import trusted
from tidemark.pipeline.model import Pipeline
from tidemark.pipeline.names import OneOf

DECIDE: Final = (
    "tidemark/errors.py",
    "tidemark/pipeline",
    "tidemark/records",
    "tidemark/runtime",
    "tidemark/strategies",
    "tidemark/times",
    "kernels/windows/specs.py",
)
"""Modules, and rooms with all of their modules, by which a pipeline file is checked."""
_LIBRARIES: Final = ("numpy", "polars", "pydantic", "sqlglot")
_ROOT: Final = Path(__file__).parents[2]
_REFERENCE: Final = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")
_MOST: Final = 200
"""Texts that are kept; the oldest go."""


class CheckedTexts:
    """Texts that were found right, each an empty file of a folder, named by its hash."""

    def __init__(self, folder: Path) -> None:
        """Look in a folder.

        Args:
            folder: need not exist. One that others can write to is neither read nor written.

        """
        self._folder = folder

    @classmethod
    def of(cls, cache_dir: Path) -> CheckedTexts:
        """Those of a cache folder."""
        return cls(cache_dir / "checked")

    def has(self, text: str) -> bool:
        """Whether a text was found right by these checks."""
        return (self._folder / _name(text)).is_file() and trusted(self._folder)

    def add(self, text: str, pipeline: Pipeline) -> None:
        """Remember a text that was found right, unless its pipeline names code of others. Never fails.

        Args:
            text: of the file.
            pipeline: what the text says.

        """
        if names_others(pipeline):
            return
        with contextlib.suppress(OSError):  # then it is checked again next time
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if trusted(self._folder):
                (self._folder / _name(text)).touch(mode=0o600)
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        kept = sorted(self._folder.iterdir(), key=lambda file: file.stat().st_mtime_ns, reverse=True)
        for file in kept[_MOST:]:
            file.unlink(missing_ok=True)


def names_others(part: object) -> bool:
    """Whether a table of a pipeline file, or a table in it, names code that is not Tidemark's."""
    if isinstance(part, BaseModel):
        for name, field in type(part).model_fields.items():
            value = getattr(part, name)
            if any(isinstance(each, OneOf) and not each.own(value) for each in field.metadata) or names_others(value):
                return True
        return False
    if isinstance(part, dict):
        return any(map(names_others, part.values()))
    if isinstance(part, list | tuple):
        return any(map(names_others, part))
    return isinstance(part, str) and _REFERENCE.fullmatch(part) is not None


def _name(text: str) -> str:
    return hashlib.sha256(f"{_checks()}\0{text}".encode()).hexdigest()


@cache
def _checks() -> str:
    """Hash of what decides whether a text is right."""
    digest = hashlib.sha256(repr((platform.python_version(), [version(name) for name in _LIBRARIES])).encode())
    for place in DECIDE:
        path = _ROOT / place
        for file in [path] if path.suffix else sorted(path.rglob("*.py")):
            digest.update(f"{file.relative_to(_ROOT)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()
