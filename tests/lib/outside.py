"""Packages of somebody else, made for a test: what they add by entry points is there while the test runs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

EXTENDING: Final = Path(__file__).parents[2] / "docs" / "contributing" / "extending.md"
OWN_SOURCE: Final = EXTENDING.parents[1] / "how-to" / "own-source.md"
_FILE: Final = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```', re.MULTILINE | re.DOTALL)


def examples(folder: str, page: Path = EXTENDING) -> dict[str, str]:
    """Files of a worked example as a page has them.

    Args:
        folder: first part of their titles, the example's project.
        page: by default that on extending.

    Returns:
        Text by name.

    """
    found = dict(_FILE.findall(page.read_text(encoding="utf-8")))
    files = {name.partition("/")[2]: text for name, text in found.items() if name.startswith(f"{folder}/")}
    assert files, f"{page.name} has no example {folder}"
    return files


def entry_points_of(project: str) -> dict[str, dict[str, str]]:
    """The entry points that a `pyproject.toml` declares."""
    import tomllib  # noqa: PLC0415 - needed by examples alone

    found: dict[str, dict[str, str]] = tomllib.loads(project)["project"]["entry-points"]
    return found


def install(site: Path, name: str, files: Mapping[str, str], points: Mapping[str, Mapping[str, str]]) -> Path:
    """Write a package as pip would have installed it.

    Args:
        site: folder to put in the path.
        name: of the distribution.
        files: text of its modules by their names.
        points: its entry points: group, name, object.

    Returns:
        The folder.

    """
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text, encoding="utf-8")
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    lines = [
        line for group, named in points.items() for line in (f"[{group}]", *(f"{n} = {v}" for n, v in named.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return site


@contextmanager
def in_path(site: Path) -> Iterator[None]:
    """Have a folder in the path of this process for a while, and forget its modules afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        before = set(sys.modules)
        try:
            yield
        finally:
            for name in set(sys.modules) - before:
                if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(site)):
                    del sys.modules[name]
