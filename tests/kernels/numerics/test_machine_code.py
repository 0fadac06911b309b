"""Machine code is shared by all copies of one version, and run only where nobody else could have written it."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numba
import numpy as np
import pytest
from uncompiled import UNCOMPILED

from kernels.numerics import _machine_code
from kernels.numerics._jit import kernel
from kernels.numerics._machine_code import version

ROOT = Path(__file__).parents[3]
CALLS = """
import numba
import numpy as np
from kernels.sampling import hashing

hashing.hash_int64(np.arange(4))
hashing.unit(np.arange(4, dtype=np.uint64))
compiled = [k for k in vars(hashing).values() if hasattr(k, "stats")]
for counts in ("cache_hits", "cache_misses"):
    print(sum(sum(getattr(k.stats, counts).values()) for k in compiled))
"""

compiled_only = pytest.mark.skipif(UNCOMPILED, reason="nothing is compiled")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder that machine code of this test is kept in."""
    folder = tmp_path / "code"
    monkeypatch.setattr(_machine_code, "roots", lambda: iter([folder]))
    return folder


def doubled() -> Any:  # noqa: ANN401 numba has no types of its own to say
    """A kernel that was not called yet, as another process has it."""

    def double(values: Any) -> Any:  # noqa: ANN401 as above
        return values + values

    return kernel(double)


def compiled(function: Any) -> int:  # noqa: ANN401 as above
    """How many combinations of types were compiled rather than read."""
    return sum(function.stats.cache_misses.values())


def files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


@compiled_only
def test_a_second_copy_of_the_project_compiles_nothing(tmp_path: Path) -> None:
    told = []
    for copy in ("first", "second"):
        shutil.copytree(ROOT / "kernels", tmp_path / copy / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
        for path in (tmp_path / copy).rglob("*.py"):
            os.utime(path, (0, len(copy)))
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "PYTHON"))}
        done = subprocess.run(
            [sys.executable, "-c", CALLS],
            cwd=tmp_path / copy,
            env=environment | {"TIDEMARK_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path / copy)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        told.append(tuple(map(int, done.stdout.split())))
    (_, first), (read, second) = told
    assert first > 0
    assert (read > 0, second) == (True, 0)
    assert stat.S_IMODE((tmp_path / "cache" / "kernels").stat().st_mode) == 0o700


@compiled_only
def test_processes_that_compile_for_different_types_at_once_keep_what_each_compiled(cache: Path) -> None:
    one, other = doubled(), doubled()
    one(1)
    other(1.5)  # which looked before `one` had saved
    reader = doubled()
    assert (reader(2), reader(2.5), compiled(reader)) == (4, 5.0, 0)
    assert len(files(cache)) == 2


@compiled_only
@pytest.mark.parametrize(
    "harm",
    [
        lambda file, _: file.write_bytes(b""),
        lambda file, _: file.write_bytes(file.read_bytes()[:-1]),
        lambda file, _: file.write_bytes(bytes(32) + file.read_bytes()[32:]),
        lambda file, other: file.write_bytes(other.read_bytes()),
        lambda file, _: file.chmod(0o666),
        lambda file, other: (file.unlink(), file.symlink_to(other)),
        lambda file, _: (file.unlink(), file.mkdir()),
        lambda file, _: file.parent.chmod(0o777),
    ],
    ids=["empty", "cut", "changed", "another's", "open to others", "a link", "a folder", "in an open folder"],
)
def test_what_is_not_whole_or_not_ours_is_never_run_but_compiled_anew(
    cache: Path, harm: Callable[[Path, Path], object]
) -> None:
    first = doubled()
    first(1.5)
    (file,) = files(cache)
    first(1)
    (other,) = set(files(cache)) - {file}
    harm(file, other)
    again = doubled()
    assert (again(2.5), compiled(again)) == (5.0, 1)


@compiled_only
def test_a_kernel_runs_where_nothing_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    monkeypatch.setattr(_machine_code, "roots", lambda: iter([in_the_way / "below", Path("/proc/nowhere")]))
    function = doubled()
    assert (function(np.ones(2)).tolist(), compiled(function)) == ([2.0, 2.0], 1)


@pytest.mark.parametrize("changed", ["itself", "what it imports", "numba", "python", "an option"])
def test_the_version_tells_the_sources_the_compiler_and_its_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    package = tmp_path / "kernels"
    (package / "numerics").mkdir(parents=True)
    source, imported = package / "one.py", package / "numerics" / "other.py"
    source.write_text("from kernels.numerics import (\n    other,\n)\n")
    imported.write_text("x = 1\n")
    monkeypatch.setattr(_machine_code, "_PACKAGE", package)
    fresh = cast("Callable[[Path], str]", cast("Any", version).__wrapped__)
    before = fresh(source)
    match changed:
        case "itself":
            source.write_text(source.read_text() + "y = 1\n")
        case "what it imports":
            imported.write_text("x = 2\n")
        case "numba":
            monkeypatch.setattr(numba, "__version__", "0.0")
        case "python":
            monkeypatch.setattr(platform, "python_version", lambda: "3.11.0")
        case _:
            monkeypatch.setattr(numba.config, "OPT", 1)
    assert fresh(source) != before


@compiled_only
def test_versions_that_nothing_has_used_for_a_month_are_removed(cache: Path) -> None:
    function = doubled()
    function(1)
    (folder,) = cache.iterdir()
    module = folder.name.rpartition("-")[0]
    for name, days in ((f"{module}-{'0' * 16}", 31), (f"{module}-{'1' * 16}", 29), (f"{module}.x-{'0' * 16}", 31)):
        (cache / name).mkdir()
        moment = time.time() - days * 86_400
        os.utime(cache / name, (moment, moment))
    shutil.rmtree(folder)
    again = doubled()
    again(1)
    kept = {path.name for path in cache.iterdir()}
    assert kept == {folder.name, f"{module}-{'1' * 16}", f"{module}.x-{'0' * 16}"}
    os.utime(folder, (0, 0))
    doubled()(1)
    assert time.time() - folder.stat().st_mtime < 60
