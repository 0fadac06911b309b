"""The table of docs/contributing/extending.md is what adding one thing of each kind took, and the thing works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Final

import pytest
from additions import ADDITIONS, AGGREGATE, Addition, Copy
from outside import EXTENDING

_GENERATED: Final = "labeling_grpc/v1/"
_ROW: Final = re.compile(r"^\| (an? [^|]+?) \| ([^|]+) \| ([^|]+) \| [^|]+ \|$", re.MULTILINE)
_TABLE: Final = {kind: files for kind, files, _ in _ROW.findall(EXTENDING.read_text(encoding="utf-8"))}
_USED: Final = "tests/lib/additions_used.py"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("copy"))


@pytest.fixture(scope="module")
def changed(copy: Copy) -> dict[str, set[str]]:
    """Files that each addition changed; all of them are in the copy, one upon the other."""
    files: dict[str, set[str]] = {}
    for addition in ADDITIONS:
        before = copy.contents()
        addition.add(copy)
        after = copy.contents()
        assert before.keys() <= after.keys()
        files[addition.kind] = {path for path, content in after.items() if before.get(path) != content}
    return files


@pytest.fixture(scope="module")
def outcomes(copy: Copy, changed: dict[str, set[str]]) -> dict[str, bool]:
    """Whether each test passed that is about a thing which was added, of those that run over all things of a kind."""
    assert changed
    report = copy.folder / "report.xml"
    files = sorted({path for addition in ADDITIONS for path in addition.tests})
    names = " or ".join(addition.name for addition in ADDITIONS)
    arguments = ["-q", "-p", "no:cacheprovider", f"--junitxml={report}", "-k", names, *files, _USED]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=copy.folder,
        env={**os.environ, "PYTHONPATH": str(copy.folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert report.exists(), done.stdout[-3_000:] + done.stderr[-3_000:]
    cases = ET.parse(report).getroot().iter("testcase")  # noqa: S314 - our own
    passed = {f"{case.get('classname')}.{case.get('name')}": len(case) == 0 for case in cases}
    assert [test for test, well in passed.items() if not well] == [], done.stdout[-6_000:]
    return passed


def _listed(kind: str, name: str) -> set[str]:
    return {path.replace("NAME", name) for path in re.findall(r"`([\w/.]+)`", _TABLE[kind])}


def _measured(paths: set[str]) -> set[str]:
    """What a tool generates counts as the folder that it writes."""
    return {_GENERATED if path.startswith(_GENERATED) else path for path in paths}


def test_every_kind_of_the_table_is_added_by_this_test() -> None:
    assert sorted(_TABLE) == sorted([AGGREGATE.kind, *(addition.kind for addition in ADDITIONS)])


@pytest.mark.parametrize("addition", ADDITIONS, ids=lambda addition: addition.name)
def test_a_thing_is_added_by_the_files_of_the_table_and_no_others(
    addition: Addition, changed: dict[str, set[str]]
) -> None:
    assert _measured(changed[addition.kind]) == _listed(addition.kind, addition.name)


@pytest.mark.parametrize("addition", ADDITIONS, ids=lambda addition: addition.name)
def test_an_added_thing_passes_the_tests_of_its_kind_and_is_used(addition: Addition, outcomes: dict[str, bool]) -> None:
    about = [test for test in outcomes if addition.name.lower() in test.lower()]
    for file in (*addition.tests, _USED):
        place = file.removesuffix(".py").replace("/", ".")
        assert [test for test in about if test.startswith(f"{place}.")], f"{file} has no test of {addition.name}"


_AGGREGATE_USED: Final = """
import numpy as np
from kernels.windows.specs import WindowSpec
from kernels.windows.state import WindowState
from tests import naive
from types import SimpleNamespace as Stream
rng = np.random.default_rng(3)
n = 80
values = np.round(rng.normal(size=(n, 1)), 1)
values[rng.random((n, 1)) < 0.2] = np.nan
stream = Stream(keys=rng.integers(0, 3, n).astype(np.uint64), times=np.cumsum(rng.integers(0, 3, n)), values=values)
specs = [WindowSpec("spread", 0, size, current) for size in (5, 30) for current in (False, True)]
given = WindowState(specs, 1, 10).update(stream.keys, stream.times, stream.values)
np.testing.assert_allclose(given, naive.windows(specs, stream, 10))
assert np.nanmax(given) > 1
"""


def test_an_aggregate_is_added_by_the_files_of_the_table_and_agrees_with_its_oracle(tmp_path: Path) -> None:
    copy = Copy(tmp_path, ("kernels", "tests"))
    before = copy.contents()
    AGGREGATE.add(copy)
    after = copy.contents()
    assert {path for path in after if before.get(path) != after[path]} == _listed(AGGREGATE.kind, AGGREGATE.name)
    done = subprocess.run(
        [sys.executable, "-c", _AGGREGATE_USED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
