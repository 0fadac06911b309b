"""The map for contributors leads to rooms and tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_MAP = _ROOT / "docs" / "contributing" / "map.md"
_PATH = re.compile(r"`([a-z_]+/[\w/.]*)`")
_PACKAGES = ("tidemark", "dataflows", "kernels", "labeling_grpc", "prediction_grpc", "console")
_INSIDE = {"labeling_grpc/storage/migrations/", "labeling_grpc/storage/migrations/versions/", "tidemark/"}
"""Folders of packages that are no room of their own."""


def _changes() -> list[list[str]]:
    """Rows of the first table: change, where, tests."""
    section = _MAP.read_text(encoding="utf-8").partition("## I want to")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return rows[1:]


def test_the_map_names_twenty_changes_each_with_a_room_and_a_test() -> None:
    changes = _changes()
    assert len(changes) >= 20
    for change, room, tests in changes:
        assert _PATH.findall(room), change
        assert _PATH.findall(tests), change


def test_every_path_of_the_map_exists_and_folders_end_in_a_slash() -> None:
    paths = _PATH.findall(_MAP.read_text(encoding="utf-8"))
    wrong = [path for path in paths if not (_ROOT / path).exists() or (_ROOT / path).is_dir() != path.endswith("/")]
    assert wrong == [], "docs/contributing/map.md: these were moved; write where they are now"


def test_every_test_file_of_the_map_holds_tests() -> None:
    for change, _, tests in _changes():
        for path in _PATH.findall(tests):
            assert re.search(r"^(async )?def test_", (_ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), (
                change,
                path,
            )


def test_every_room_is_described_on_the_map() -> None:
    """A folder of Python modules, however deep, is a room; the reader learns what it holds."""
    described = set(re.findall(r"^\| `([\w/]+/)` \| \S", _MAP.read_text(encoding="utf-8"), re.MULTILINE))
    rooms = {
        folder.relative_to(_ROOT).as_posix() + "/"
        for package in _PACKAGES
        for folder in {path.parent for path in (_ROOT / package).rglob("*.py")}
    }
    assert sorted(rooms - described - _INSIDE - {f"{package}/" for package in _PACKAGES}) == [], (
        "docs/contributing/map.md: say in its tables what these rooms hold"
    )
