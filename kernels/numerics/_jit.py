"""The one way in which this package compiles: cached, without the GIL, IEEE floating point, one thread.

``parallel=True`` aborts the process under two threads of numba's workqueue layer and ``fastmath=True`` deletes NaN
checks, so neither can be asked for here.

numba keeps machine code by the time and size of the file that a function is in. It does not see that a function from
another file, compiled into this one, has changed, and wheels give all files one time: an upgrade could run the old
code. So the code is kept in a folder named after the sources that it was made from.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

_config: Any = numba.config
_PACKAGE: Final = Path(__file__).parents[1]
_IMPORT: Final = re.compile(r"^from kernels((?:\.\w+)*) import (\([^)]*\)|[^(\n]*)", re.MULTILINE)


def _imported(text: str) -> Iterator[str]:
    """Modules of this package that a source imports: by their names, or as names from their room."""
    for dotted, names in _IMPORT.findall(text):
        module = dotted[1:]
        if _file(module).exists():
            yield module
            continue
        for name in re.findall(r"(?:^|,)\s*(\w+)", names.strip("()\n ")):
            if _file(f"{module}.{name}").exists():
                yield f"{module}.{name}"


def _file(module: str) -> Path:
    """Where a module of this package is: `windows.state` in `windows/state.py`."""
    return _PACKAGE.joinpath(*module.split(".")).with_suffix(".py")


@cache
def _sources(module: str) -> frozenset[str]:
    """A module of this package and all that it imports from the package."""
    found = {module}
    new = [module]
    while new:
        text = _file(new.pop()).read_text(encoding="utf-8")
        new += [name for name in _imported(text) if name not in found]
        found.update(new)
    return frozenset(found)


def _folders() -> Iterator[Path]:
    """Where machine code may be kept: where numba was told to, beside the sources, in the user's cache."""
    if _config.CACHE_DIR:
        yield Path(_config.CACHE_DIR)
    yield _PACKAGE / "__pycache__"
    yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidemark" / "kernels"


@cache
def cache_folder(module: str) -> Path | None:
    """The folder for the machine code of a module; None where no folder can be written to."""
    digest = hashlib.sha256()
    for name in sorted(_sources(module)):
        digest.update(_file(name).read_bytes())
    for folder in _folders():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError:
            continue
        return folder / f"{module}-{digest.hexdigest()[:16]}"
    return None


def kernel(function: F) -> F:
    """Compile a function with numba on its first call, and keep the machine code on disk where that is possible."""
    return _compiled(function, _nrt=True)


def lean(function: F) -> F:
    """As ``kernel``, for a function that makes no array: numba then counts no references to those it is given.

    It counts them at each call of one kernel in another, an atomic step for each array and a barrier to inlining, which
    made loops that call others up to three times as slow.
    """
    return _compiled(function, _nrt=False)


def _compiled(function: F, **options: bool) -> F:
    # Division as IEEE has it: a check for 0 that raises keeps a loop from being vectorised.
    jit = partial(numba.njit, nogil=True, error_model="numpy", **options)
    path = Path(function.__code__.co_filename).resolve().relative_to(_PACKAGE.resolve())
    folder = cache_folder(".".join(path.with_suffix("").parts))
    if folder is None:
        return cast("F", jit()(function))
    told, _config.CACHE_DIR = _config.CACHE_DIR, str(folder)
    try:
        return cast("F", jit(cache=True)(function))
    finally:
        _config.CACHE_DIR = told
