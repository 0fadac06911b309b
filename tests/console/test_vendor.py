"""What the pages load of others is what npm gave: by hash, with its licence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_FOLDERS = [_ROOT / "console" / "static" / "vendor", Path(__file__).parent / "vendor"]


@pytest.mark.parametrize("folder", _FOLDERS, ids=["console", "tests"])
def test_every_vendored_file_is_listed_with_its_hash_and_every_package_has_its_licence(folder: Path) -> None:
    packages = json.loads((folder / "vendor.json").read_text(encoding="utf-8"))
    listed = {name: digest for package in packages for name, digest in package["files"].items()}
    there = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != "vendor.json"
    }
    assert there == listed
    notice = (_ROOT / "NOTICE").read_text(encoding="utf-8")
    for package in packages:
        assert f"* {package['package']}: {package['licence']}" in notice
        assert any(name.endswith(".LICENSE") for name in package["files"])
