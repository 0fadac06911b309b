"""Programs of others, each in a virtual environment of its own in the user's cache."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Final

import uv

from tidemark.runtime.settings import Settings

_ROOT: Final = Path(__file__).parents[2]
_COMPLETE: Final = "complete"


def environment(name: str) -> Path:
    """The folder of an environment with the packages of `requirements-NAME.txt`, made on first use.

    Args:
        name: of the requirements.

    Returns:
        The folder.

    Raises:
        CalledProcessError: its packages can't be installed.

    """
    requirements = _ROOT / f"requirements-{name}.txt"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = Settings.from_environment().cache_dir / f"{name}-{digest}"
    if not (folder / _COMPLETE).exists():
        program, python = uv.find_uv_bin(), folder / "bin" / "python"
        subprocess.run([program, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        install = (program, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", requirements)
        subprocess.run(install, check=True)
        (folder / _COMPLETE).touch()
    return folder
