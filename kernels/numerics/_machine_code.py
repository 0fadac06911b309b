"""Machine code of kernels on disk, one for all processes and all copies of one version of the sources.

numba's own cache keeps code by the path of its source, so that each copy of the project compiles anew. Its index is
read, changed and written without a lock: of two processes that compile one function for different types, one loses its
code, or takes the file of the other's. Here each kernel and each combination of types has a file of its own, which is
written whole and then named. A folder is named after what decides the code: the sources that a kernel is made from,
the versions of numba, LLVM and Python, and the options of the compiler; the processor is part of the file's key.

What is read here is run. So it is read only from where nobody but this user and root can write, and only from files
of theirs; a file that is not whole, or is of another key than its name says, is compiled anew.
"""

import contextlib
import hashlib
import os
import pickle
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import llvmlite
import numba
import platformdirs
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile
from numba.core.serialize import dumps

from kernels.numerics.trusted_files import closed_to_others, trusted

_config: Any = numba.config
_dumps: Callable[[Any], bytes] = dumps
_PACKAGE: Final = Path(__file__).parents[1]
_IMPORT: Final = re.compile(r"^from kernels((?:\.\w+)*) import (\([^)]*\)|[^(\n]*)", re.MULTILINE)
_OPTIONS: Final = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT")
_DIGEST_BYTES: Final = hashlib.sha256().digest_size
_PRIVATE: Final = 0o700
_DAY: Final = 86_400.0
_UNUSED_DAYS: Final = 30
"""A version that nothing has used for so long is removed when another of its kernels comes."""


class MachineCode(FunctionCache):
    """numba's cache of one function, kept in files of ours."""

    def __init__(self, function: Callable[..., Any]) -> None:  # all that the base's would do is choose a folder
        self._name = repr(function)
        self._py_func = function
        self._impl = _Results(function)
        self._cache_file = self._files = _Files(function)
        self._enabled = True

    @property
    def cache_path(self) -> str | None:
        """The first folder that is looked in; None where there is none."""
        return next(map(str, self._files.folders()), None)


class _Results(CompileResultCacheImpl):
    """How numba writes down what it compiled."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._lineno = function.__code__.co_firstlineno
        self._locator = _Nowhere(function.__code__.co_filename)


class _Nowhere:
    """In place of what tells numba a folder: `_Files` knows it."""

    def __init__(self, file: str) -> None:
        self._py_file = file

    def ensure_cache_path(self) -> None:
        """Folders are made when they are written to."""


class _Files(IndexDataCacheFile):
    """The files of one function, by numba's key: types, processor, byte code, closure."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._source = Path(function.__code__.co_filename)
        self._module = function.__module__
        self._function = function.__qualname__.replace("<locals>", "local")

    def folders(self) -> Iterator[Path]:
        """Where its code may be, there or not."""
        name = f"{self._module}-{version(self._source)}"
        return (root / name for root in roots())

    def load(self, key: Any) -> Any:  # noqa: ANN401 numba's own
        """What was saved under a key; None where nothing is, or nothing that may be run."""
        for folder in self.folders():
            if not trusted(folder):
                continue
            found = _read(folder / self._file(key))
            if found is not None and found[0] == key:
                _mark_used(folder)
                return found[1]
        return None

    def save(self, key: Any, data: Any) -> None:  # noqa: ANN401 as above
        """Keep what a key has, in the first folder that can be written to; nowhere if there is none."""
        whole = _dumps((key, data))
        for folder in self.folders():
            with contextlib.suppress(OSError):
                folder.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
                if not folder.exists():
                    _remove_unused(folder)
                    folder.mkdir(mode=_PRIVATE, exist_ok=True)
                if trusted(folder):
                    _write(folder / self._file(key), whole)
                    return

    def flush(self) -> None:
        """Forget all that is kept of this version."""
        for folder in self.folders():
            shutil.rmtree(folder, ignore_errors=True)

    def _file(self, key: Any) -> str:  # noqa: ANN401 as above
        return f"{self._function}-{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}.code"


def roots() -> Iterator[Path]:
    """Where folders of machine code may be: where numba was told to, in the user's cache, beside the sources."""
    if _config.CACHE_DIR:
        yield Path(_config.CACHE_DIR).absolute()
    named = os.environ.get("TIDEMARK_CACHE", "").strip()
    user = Path(named).expanduser().absolute() if named else platformdirs.user_cache_path("tidemark", appauthor=False)
    if user.is_absolute():  # it is not where the user has no home
        yield user / "kernels"
    yield _PACKAGE / "__pycache__"


@cache
def version(source: Path) -> str:
    """Of what decides the code of the kernels in a file: sources, compiler, options.

    Args:
        source: of this package, or of another that imports kernels or compiles as they do.

    Returns:
        16 hexadecimal digits.

    """
    digest = hashlib.sha256(_compiler().encode())
    digest.update(source.read_bytes())
    for file in sorted(_imported(source)):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _compiler() -> str:
    versions = (numba.__version__, llvmlite.__version__, platform.python_implementation(), platform.python_version())
    return repr((versions, [(name, getattr(_config, name, None)) for name in _OPTIONS]))


@cache
def _imported(source: Path) -> frozenset[Path]:
    """All files of this package that a file imports, directly or not."""
    found: set[Path] = set()
    new = [source]
    while new:
        files = [file for file in _imports(new.pop()) if file not in found]
        new += files
        found.update(files)
    return frozenset(found)


def _imports(source: Path) -> Iterator[Path]:
    """Files of this package that a file imports: by their names, or as names from their room."""
    for dotted, names in _IMPORT.findall(source.read_text(encoding="utf-8")):
        room = _PACKAGE.joinpath(*dotted.split("."))
        if room.with_suffix(".py").exists():
            yield room.with_suffix(".py")
            continue
        for name in re.findall(r"(?:^|,)\s*(\w+)", names.strip("()\n ")):
            if (room / f"{name}.py").exists():
                yield room / f"{name}.py"


def _read(file: Path) -> Any:  # noqa: ANN401 a pair of numba's key and data
    """What a file holds; None where there is no file of ours, or it is not whole."""
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as opened:
            if not closed_to_others(os.fstat(opened.fileno()), sticky=False):
                return None
            digest, whole = opened.read(_DIGEST_BYTES), opened.read()
    except OSError:
        return None
    return pickle.loads(whole) if hashlib.sha256(whole).digest() == digest else None  # noqa: S301 ours: see `trusted`


def _write(file: Path, whole: bytes) -> None:
    number, name = tempfile.mkstemp(dir=file.parent, prefix=".new-")  # for this user alone
    try:
        with os.fdopen(number, "wb") as opened:
            opened.write(hashlib.sha256(whole).digest() + whole)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink()
        raise


def _mark_used(folder: Path) -> None:
    with contextlib.suppress(OSError):
        if time.time() - folder.stat().st_mtime > _DAY:
            os.utime(folder)


def _remove_unused(folder: Path) -> None:
    """Remove other versions of a module's code that nothing has used for long."""
    module = folder.name.rpartition("-")[0]
    for other in folder.parent.glob(f"{module}-*"):
        if other.name.rpartition("-")[0] == module and time.time() - other.stat().st_mtime > _UNUSED_DAYS * _DAY:
            shutil.rmtree(other, ignore_errors=True)
